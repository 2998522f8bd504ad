//! Where the archiver goes and where it must not: signed links, redirects, and hosts that name no
//! length.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use futures_util::stream;
use recording_archiver::archive::{Archiver, Report};
use recording_archiver::error::ErrorKind;
use recording_archiver::queue::Outcome;
use recording_archiver::simulator::{Media, MediaFault, MetadataFault, SimulatedRecording, Times};
use recording_archiver::transfer::LinkPolicy;
use uuid::Uuid;

use crate::harness::binary::Binary;
use crate::harness::media_host::{MediaHost, MediaReply, MediaRequest, add_at, mp4};
use crate::harness::s3::on_server_threads;
use crate::harness::world::{MIB, PART, World};

mod hostile;

use hostile::{HOSTILE, Verdict};

/// As for a real space, but for https, which nothing here speaks.
fn strict(world: &World) -> Archiver {
    world.archiver_with(|settings| {
        settings.links = LinkPolicy {
            require_https: false,
            allow_private: false,
        };
    })
}

async fn add(world: &World) -> Uuid {
    world
        .add(SimulatedRecording::new(Uuid::new_v4(), 1000))
        .await
}

async fn demand_refused(world: &World, id: Uuid, report: &Report, about: &str) {
    assert_eq!(report.outcome, Outcome::Failed, "{about}: {report:?}");
    let kind = report.failure.as_ref().map(|failure| failure.kind);
    assert_eq!(kind, Some(ErrorKind::LinkRefused), "{about}: {report:?}");
    let row = world.row(id).await;
    assert_eq!(row.state, "failed", "{about}");
    assert_eq!(row.error_kind.as_deref(), Some("link_refused"), "{about}");
    world.demand_nothing_stored(id).await;
}

/// What is no link may be one the next time.
async fn demand_unreadable(world: &World, id: Uuid, report: &Report, about: &str) {
    assert_eq!(report.outcome, Outcome::Retrying, "{about}: {report:?}");
    let row = world.row(id).await;
    assert_eq!(row.error_kind.as_deref(), Some("bad_metadata"), "{about}");
    world.demand_nothing_stored(id).await;
}

/// A place that nobody must come to.
struct Trap(TcpListener);

impl Trap {
    fn new(address: &str) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    fn demand_nobody_came(&self, about: &str) {
        let came = self.0.accept().map_err(|error| error.kind());
        assert!(
            matches!(came, Err(std::io::ErrorKind::WouldBlock)),
            "{about}: {came:?}"
        );
    }
}

#[tokio::test]
async fn links_that_lead_inside_are_refused_before_a_byte_is_sent() {
    let world = World::local().await;
    let trap = Trap::new("127.0.0.1:0");
    let archiver = strict(&world);
    let mut tried = 0;
    for (verdict, links) in HOSTILE {
        for link in *links {
            let id = add(&world).await;
            let link = link.replace("{port}", &trap.port().to_string());
            let fault = MetadataFault::Uri(link.clone());
            world.simulator.inject(id, fault, Times::ONCE);
            let report = world.attempt(&archiver).await;
            match verdict {
                Verdict::Refused => demand_refused(&world, id, &report, &link).await,
                Verdict::Unreadable => demand_unreadable(&world, id, &report, &link).await,
            }
            trap.demand_nobody_came(&link);
            tried += 1;
        }
    }
    assert!(tried >= 60, "{tried}");
    // The simulator's own link leads to loopback as well.
    let id = add(&world).await;
    let report = world.attempt(&strict(&world)).await;
    demand_refused(&world, id, &report, "the provider's own link").await;
    assert_eq!(world.simulator.counts(id).media_requests, 0);
}

#[tokio::test]
async fn a_link_of_absurd_length_is_refused_whoever_it_leads_to() {
    let world = World::local().await;
    let link = |bytes| format!("http://files.signalwire.com/{}", "x".repeat(bytes));
    for (bytes, kind) in [
        (20_000, "link_refused"),
        (900_000, "link_refused"),
        // More than an answer may have.
        (3_000_000, "bad_metadata"),
    ] {
        let id = add(&world).await;
        let fault = MetadataFault::Uri(link(bytes));
        world.simulator.inject(id, fault, Times::ONCE);
        world.attempt(&strict(&world)).await;
        let row = world.row(id).await;
        assert_eq!(row.error_kind.as_deref(), Some(kind), "{bytes}");
        let message = row.error_message.unwrap();
        assert!(message.len() < 200, "{message}");
    }
}

#[tokio::test]
async fn no_proxy_comes_between_this_machine_and_itself_or_the_media() {
    let world = World::s3().await;
    let trap = Trap::new("127.0.0.1:0");
    let mut binary = Binary::of(&world);
    for variable in [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        binary = binary.with(variable, format!("http://127.0.0.1:{}", trap.port()));
    }
    let id = add(&world).await;
    let archived = binary.run(&["archive", "--id", &id.to_string()]).await;
    archived.demand_code(0);
    world.demand_archived(id).await;
    trap.demand_nobody_came("a proxy");
}

#[tokio::test]
async fn a_real_space_means_https() {
    let world = World::local().await;
    let trap = Trap::new("127.0.0.1:0");
    let archiver = world.archiver_with(|settings| settings.links.require_https = true);
    let id = add(&world).await;
    let link = format!("http://127.0.0.1:{}/x", trap.port());
    let fault = MetadataFault::Uri(link.clone());
    world.simulator.inject(id, fault, Times::ONCE);
    let report = world.attempt(&archiver).await;
    demand_refused(&world, id, &report, &link).await;
    trap.demand_nobody_came(&link);
}

#[tokio::test]
async fn every_hop_of_a_redirect_is_checked() {
    let world = World::local().await;
    let trap = Trap::new("127.0.0.1:0");
    for link in [
        format!("ftp://127.0.0.1:{}/x", trap.port()),
        format!("http://user:password@127.0.0.1:{}/x", trap.port()),
    ] {
        let id = add(&world).await;
        let fault = MediaFault::Redirect(link.clone());
        world.simulator.inject(id, fault, Times::ONCE);
        let report = world.attempt(&world.archiver()).await;
        demand_refused(&world, id, &report, &link).await;
        trap.demand_nobody_came(&link);
    }
}

#[tokio::test]
async fn the_credentials_go_to_the_api_and_nowhere_else() {
    let world = World::local().await;
    let trap = Trap::new("127.0.0.1:0");
    let id = add(&world).await;
    let elsewhere = format!("http://127.0.0.1:{}/", trap.port());
    let fault = MetadataFault::Redirect(elsewhere);
    world.simulator.inject(id, fault, Times::ONCE);
    world
        .simulator
        .inject(id, MediaFault::RedirectLoop, Times::ONCE);
    let report = world.attempt(&world.archiver()).await;
    assert_eq!(report.outcome, Outcome::Retrying, "{report:?}");
    trap.demand_nobody_came("a redirect of the API");
    world.make_due().await;
    world.attempt(&world.archiver()).await;
    world.demand_archived(id).await;

    let (api, media): (Vec<_>, Vec<_>) = world
        .simulator
        .requests()
        .into_iter()
        .partition(|request| request.path.starts_with("/api/"));
    // The redirect of the recording, the list that is compared with it, and the recording again.
    assert_eq!((api.len(), media.len()), (3, 2));
    assert!(api.iter().all(|request| request.has_authorization));
    for request in media {
        assert!(!request.has_authorization && !request.has_cookie && !request.has_referer);
        assert_eq!(request.accept_encoding.as_deref(), Some("identity"));
        assert_eq!(request.range.as_deref(), Some("bytes=0-5242879"));
        let agent = request.user_agent.unwrap();
        assert!(agent.starts_with("recording-archiver/"), "{agent}");
    }
}

#[tokio::test]
async fn a_link_that_has_died_of_age_is_asked_for_again() {
    let world = World::local().await;
    let id = add(&world).await;
    // A lifetime of nothing is over at once.
    let short = world.archiver_with(|settings| settings.signalwire.media_ttl = Duration::ZERO);
    let report = world.attempt(&short).await;
    assert_eq!(report.outcome, Outcome::Retrying, "{report:?}");
    let kind = report.failure.map(|failure| failure.kind);
    assert_eq!(kind, Some(ErrorKind::LinkExpired));
    assert_eq!(world.simulator.counts(id).media_refused, 1);
    world.make_due().await;
    world.attempt(&world.archiver()).await;
    world.demand_archived(id).await;
}

/// A media host that sends these bytes in chunks, under this content type, and names no length.
async fn host_without_length(bytes: Bytes, content_type: &'static str) -> SocketAddr {
    let app = Router::new().fallback(move || {
        let pieces: Vec<Bytes> = bytes.chunks(65_536).map(Bytes::copy_from_slice).collect();
        let pieces = pieces.into_iter().map(Ok::<_, std::io::Error>);
        let body = Body::from_stream(stream::iter(pieces));
        async move { ([("content-type", content_type)], body) }
    });
    on_server_threads(async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        address
    })
    .await
}

/// The first attempt on `size_bytes` from such a host, when the provider declares `declared`.
async fn without_length(world: &World, size_bytes: u64, declared: Option<u64>) -> (Uuid, Report) {
    let mut bytes = vec![0x5a; usize::try_from(size_bytes).unwrap()];
    if let Some(head) = bytes.get_mut(..12) {
        head.copy_from_slice(b"\0\0\0\x0cftypisom");
    }
    let bytes = Bytes::from(bytes);
    let address = host_without_length(bytes.clone(), "video/mp4").await;
    let mut recording = SimulatedRecording::new(Uuid::new_v4(), 0);
    recording.media = Media::Bytes(bytes);
    recording.declared_size_bytes = declared;
    if declared.is_none() {
        recording.extra_fields = vec![("size_in_bytes".into(), "null".into())];
    }
    let id = world.add(recording).await;
    let fault = MetadataFault::Uri(format!("http://{address}/recording.mp4"));
    world.simulator.inject(id, fault, Times::Always);
    (id, world.attempt(&world.archiver()).await)
}

#[tokio::test]
async fn a_body_of_unknown_length_is_archived_when_it_ends_regularly() {
    for world in [World::local().await, World::s3().await] {
        for size_bytes in [1000, PART, 2 * PART + 5] {
            for declared in [Some(size_bytes), None] {
                let (id, report) = without_length(&world, size_bytes, declared).await;
                assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
                assert_eq!(report.bytes_fetched, size_bytes);
                world.demand_archived(id).await;
            }
        }
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_must_have_the_declared_size() {
    let world = World::s3().await;
    for (size_bytes, declared, kind) in [
        (PART + 5, Some(PART + 6), ErrorKind::SizeMismatch),
        (PART + 5, Some(PART + 4), ErrorKind::SizeMismatch),
        (1000, Some(999), ErrorKind::SizeMismatch),
        (100, Some(99), ErrorKind::SizeMismatch),
        (100, Some(101), ErrorKind::SizeMismatch),
        (0, None, ErrorKind::Truncated),
        (0, Some(5), ErrorKind::Truncated),
    ] {
        let (id, report) = without_length(&world, size_bytes, declared).await;
        assert_eq!(report.outcome, Outcome::Retrying, "{report:?}");
        let found = report.failure.map(|failure| failure.kind);
        assert_eq!(found, Some(kind), "{size_bytes} {declared:?}");
        world.demand_nothing_stored(id).await;
    }
}

#[tokio::test]
async fn what_calls_itself_a_document_is_no_media_whatever_its_bytes() {
    let world = World::local().await;
    for content_type in [
        "text/html; charset=utf-8",
        "application/xml",
        "application/json",
    ] {
        let id = add(&world).await;
        let mp4 = Bytes::from_static(b"\0\0\0\x0cftypisom and so on");
        let address = host_without_length(mp4, content_type).await;
        let fault = MetadataFault::Uri(format!("http://{address}/recording.mp4"));
        world.simulator.inject(id, fault, Times::ONCE);
        let report = world.attempt(&world.archiver()).await;
        assert_eq!(report.outcome, Outcome::Retrying, "{report:?}");
        let kind = report.failure.map(|failure| failure.kind);
        assert_eq!(kind, Some(ErrorKind::NotMedia), "{content_type}");
        world.demand_nothing_stored(id).await;
    }
}

#[tokio::test]
async fn signed_link_is_requested_byte_for_byte() {
    let world = World::local().await;
    let bytes = mp4(3 * MIB);
    let host = MediaHost::start(bytes.clone(), None, |request: &MediaRequest, size| {
        MediaReply::regular(request, size).etag("one")
    })
    .await;
    for target in [
        "/a/./b/../c//%2e%2e/it's.mp4?Policy='a'&Signature=~%7e|{}[]^\\",
        "/a\\b?c/../d",
        "/?Expires=1&Expires=1",
        "/%E4?%zz&+",
    ] {
        let id = add_at(&world, &host, &bytes, Some(3 * MIB)).await;
        let link = MetadataFault::Uri(format!("http://{}{target}#part", host.address));
        world.simulator.clear_faults();
        world.simulator.inject(id, link, Times::Always);
        let seen = host.requests().len();
        let archiver = world.archiver_with(|it| it.storage.part_size_bytes = MIB);
        world.attempt(&archiver).await;
        world.demand_archived(id).await;
        let requests = host.requests().split_off(seen);
        assert_eq!(requests.len(), 3, "{target}");
        for request in requests {
            assert_eq!(request.target, target);
            assert_eq!(request.headers["host"], host.address.to_string());
        }
    }
}
