//! The faults: each does what its name says, as often as asked, and then all is well again.

use std::{io::ErrorKind, time::Duration};

use recording_archiver::simulator::{
    MediaFault, MetadataFault, RetryAfter, SimulatedRecording, Simulator, Times,
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::{io::AsyncReadExt, time::timeout};
use uuid::Uuid;

use super::{ID, Setup, body_of, drain, header_of, json};

const SIZE: u64 = 1_000_000;

/// Long enough for anything on loopback to arrive, short enough to wait for its absence.
const A_MOMENT: Duration = Duration::from_millis(300);

async fn setup_with_metadata_fault(fault: MetadataFault) -> Setup {
    let setup = Setup::new(SIZE).await;
    assert!(setup.simulator.inject(ID, fault, Times::ONCE));
    setup
}

async fn setup_with_media_fault(fault: MediaFault) -> Setup {
    let setup = Setup::new(SIZE).await;
    assert!(setup.simulator.inject(ID, fault, Times::ONCE));
    setup
}

fn true_digest(simulator: &Simulator) -> [u8; 32] {
    simulator.media_sha256(ID).unwrap()
}

#[tokio::test]
async fn a_status_fault_happens_so_many_times_and_heals() {
    let setup = Setup::new(SIZE).await;
    setup
        .simulator
        .inject(ID, MetadataFault::Status(503), Times::Count(2));
    setup
        .simulator
        .inject(ID, MetadataFault::Status(403), Times::ONCE);
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(
            setup
                .api(&format!("room_recordings/{ID}"))
                .await
                .status()
                .as_u16(),
        );
    }
    assert_eq!(seen, [503, 503, 403, 200]);

    setup
        .simulator
        .inject(ID, MediaFault::Status(410), Times::Always);
    for _ in 0..3 {
        assert_eq!(setup.media(&[]).await.status(), 410);
    }
    setup.simulator.clear_faults();
    assert_eq!(setup.media(&[]).await.status(), 200);
}

#[tokio::test]
async fn a_fault_for_all_meets_any_recording_and_listings() {
    let setup = Setup::new(SIZE).await;
    let other = Uuid::from_u128(5);
    setup.simulator.add(SimulatedRecording::new(other, 10));
    setup
        .simulator
        .inject_for_all(MetadataFault::Status(500), Times::Count(3));
    for path in ["room_recordings", &format!("room_recordings/{other}")] {
        let response = setup.api(path).await;
        assert_eq!(response.status(), 500, "{path}");
        assert_eq!(
            response.text().await.unwrap(),
            r#"{"error":"Internal Server Error"}"#
        );
    }
    assert_eq!(
        setup.api(&format!("room_recordings/{ID}")).await.status(),
        500
    );
    assert_eq!(setup.api("room_recordings").await.status(), 200);
    assert!(
        !setup
            .simulator
            .inject(Uuid::nil(), MediaFault::Reset, Times::ONCE)
    );
}

#[tokio::test]
async fn throttling_says_when_to_come_back_in_each_form() {
    let setup = Setup::new(SIZE).await;
    for after in [
        RetryAfter::Absent,
        RetryAfter::Seconds(7),
        RetryAfter::DateInSeconds(3600),
    ] {
        setup
            .simulator
            .inject(ID, MetadataFault::Throttled(after), Times::ONCE);
        let api = setup.api(&format!("room_recordings/{ID}")).await;
        setup
            .simulator
            .inject(ID, MediaFault::Throttled(after), Times::ONCE);
        let media = setup.media(&[]).await;
        for response in [api, media] {
            assert_eq!(response.status(), 429);
            let header = header_of(&response, "retry-after");
            match after {
                RetryAfter::Absent => assert_eq!(header, None),
                RetryAfter::Seconds(_) => assert_eq!(header.as_deref(), Some("7")),
                RetryAfter::DateInSeconds(_) => {
                    let date = httpdate::parse_http_date(&header.unwrap()).unwrap();
                    let wait = date.duration_since(std::time::SystemTime::now()).unwrap();
                    assert!((3500..=3600).contains(&wait.as_secs()), "{wait:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn metadata_can_say_anything() {
    type Check = fn(&Value) -> bool;
    let cases: [(MetadataFault, Check); 9] = [
        (MetadataFault::OtherRecording, |it| {
            it["id"] != ID.to_string() && it["uri"].is_string()
        }),
        (MetadataFault::NullUri, |it| {
            it["uri"].is_null() && it["status"] == "completed"
        }),
        (MetadataFault::Uri("file:///etc/passwd".into()), |it| {
            it["uri"] == "file:///etc/passwd"
        }),
        (MetadataFault::NotReady, |it| {
            it["status"] == "processing" && it["uri"].is_null()
        }),
        (MetadataFault::NullStatus, |it| {
            it["status"].is_null() && it["uri"].is_string()
        }),
        (MetadataFault::UnknownStatus("lost".into()), |it| {
            it["status"] == "lost" && it["finished_at"].is_string()
        }),
        (MetadataFault::MissingFields, |it| {
            it.as_object().unwrap().len() == 3
        }),
        (MetadataFault::ExtraFields, |it| {
            it.as_object().unwrap().len() > 12
        }),
        (MetadataFault::WrongTypes, |it| {
            it["size_in_bytes"].is_string()
        }),
    ];
    for (fault, check) in cases {
        let setup = setup_with_metadata_fault(fault.clone()).await;
        let spoiled = setup.metadata().await;
        assert!(check(&spoiled), "{fault:?}: {spoiled}");
        let healed = setup.metadata().await;
        assert!(!check(&healed), "{fault:?}: {healed}");
    }
}

#[tokio::test]
async fn metadata_can_be_no_metadata_at_all() {
    let path = format!("room_recordings/{ID}");
    let setup = setup_with_metadata_fault(MetadataFault::Html).await;
    let html = setup.api(&path).await;
    assert_eq!(
        header_of(&html, "content-type").as_deref(),
        Some("text/html; charset=utf-8")
    );
    assert!(html.text().await.unwrap().starts_with("<!DOCTYPE html>"));

    let setup = setup_with_metadata_fault(MetadataFault::TruncatedJson).await;
    let half = setup.api(&path).await.text().await.unwrap();
    assert!(half.starts_with("{\"id\":"), "{half}");
    assert!(serde_json::from_str::<Value>(&half).unwrap_err().is_eof());

    let setup = setup_with_metadata_fault(MetadataFault::EmptyBody).await;
    let empty = setup.api(&path).await;
    assert_eq!(
        (empty.status().as_u16(), empty.content_length()),
        (200, Some(0))
    );

    let setup = setup_with_metadata_fault(MetadataFault::Redirect("http://[::1]/".into())).await;
    let elsewhere = setup.api(&path).await;
    assert_eq!(elsewhere.status(), 302);
    assert_eq!(
        header_of(&elsewhere, "location").as_deref(),
        Some("http://[::1]/")
    );
}

#[tokio::test]
async fn the_api_can_break_off_or_say_nothing() {
    let path = format!("room_recordings/{ID}");
    let setup = setup_with_metadata_fault(MetadataFault::Reset).await;
    let error = setup.try_api(&path).await.unwrap_err();
    assert!(error.is_request() && !error.is_timeout(), "{error:?}");

    let setup = setup_with_metadata_fault(MetadataFault::Hang).await;
    assert!(timeout(A_MOMENT, setup.try_api(&path)).await.is_err());
    assert_eq!(setup.api(&path).await.status(), 200);
}

#[tokio::test]
async fn a_reset_is_a_reset_and_a_close_is_a_close() {
    let setup = setup_with_media_fault(MediaFault::Reset).await;
    let (bytes, end) = drain(&mut setup.socket().await).await;
    assert_eq!(
        (bytes.len(), end.unwrap_err().kind()),
        (0, ErrorKind::ConnectionReset)
    );

    for position in [0, 1, 300_000] {
        let setup = setup_with_media_fault(MediaFault::ResetAfter(position)).await;
        let (answer, end) = drain(&mut setup.socket().await).await;
        assert_eq!(
            end.unwrap_err().kind(),
            ErrorKind::ConnectionReset,
            "after {position}"
        );
        assert!(body_of(&answer).len() as u64 <= position);

        let setup = setup_with_media_fault(MediaFault::CutAfter(position)).await;
        let (answer, end) = drain(&mut setup.socket().await).await;
        assert!(end.is_ok(), "after {position}: {end:?}");
        assert_eq!(body_of(&answer).len() as u64, position);
        assert!(String::from_utf8_lossy(&answer).contains("content-length: 1000000\r\n"));
    }
}

#[tokio::test]
async fn an_early_end_without_a_length_looks_regular() {
    let setup = setup_with_media_fault(MediaFault::ChunkedCutAfter(1234)).await;
    let response = setup.media(&[]).await;
    assert_eq!(header_of(&response, "content-length"), None);
    assert_eq!(
        header_of(&response, "transfer-encoding").as_deref(),
        Some("chunked")
    );
    assert_eq!(response.bytes().await.unwrap().len(), 1234);
}

#[tokio::test]
async fn a_stall_sends_what_it_says_and_then_nothing() {
    let setup = setup_with_media_fault(MediaFault::StallAfter(200_000)).await;
    let mut response = setup.media(&[]).await;
    let mut received = 0;
    while received < 200_000 {
        received += response.chunk().await.unwrap().unwrap().len();
    }
    assert_eq!(received, 200_000);
    assert!(timeout(A_MOMENT, response.chunk()).await.is_err());

    let setup = setup_with_media_fault(MediaFault::Hang).await;
    let mut socket = setup.socket().await;
    assert!(timeout(A_MOMENT, socket.read_u8()).await.is_err());
    setup.simulator.stop().await;
    assert_eq!(
        socket.read_u8().await.unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
}

#[tokio::test]
async fn a_drip_arrives_slowly_but_whole() {
    let setup = Setup::new(1000).await;
    setup
        .simulator
        .inject(ID, MediaFault::Drip(5000), Times::ONCE);
    let started = std::time::Instant::now();
    assert_eq!(setup.media(&[]).await.bytes().await.unwrap().len(), 1000);
    assert!(
        started.elapsed().as_millis() >= 140,
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn something_else_can_come_in_place_of_the_media() {
    for (fault, content_type, start) in [
        (
            MediaFault::Html,
            "text/html; charset=utf-8",
            "<!DOCTYPE html>",
        ),
        (MediaFault::HtmlAsMedia, "video/mp4", "<!DOCTYPE html>"),
        (MediaFault::XmlError, "application/xml", "<?xml"),
        (
            MediaFault::JsonError,
            "application/json; charset=utf-8",
            "{\"error\"",
        ),
        (MediaFault::ZeroBytes, "video/mp4", ""),
    ] {
        let setup = setup_with_media_fault(fault.clone()).await;
        let response = setup.media(&[("Range", "bytes=0-")]).await;
        assert_eq!(response.status(), 200, "{fault:?}");
        assert_eq!(
            header_of(&response, "content-type").as_deref(),
            Some(content_type)
        );
        let body = response.text().await.unwrap();
        assert!(body.starts_with(start), "{fault:?}: {body}");
        assert_eq!(body.is_empty(), start.is_empty(), "{fault:?}");
    }
}

#[tokio::test]
async fn the_bytes_or_their_length_can_differ_from_what_was_declared() {
    let setup = setup_with_media_fault(MediaFault::FlippedByte(500_000)).await;
    let flipped = setup.media(&[]).await.bytes().await.unwrap();
    let sound = setup.media(&[]).await.bytes().await.unwrap();
    let differing: Vec<_> = (0..sound.len())
        .filter(|&at| sound[at] != flipped[at])
        .collect();
    assert_eq!(differing, [500_000]);
    assert_eq!(
        true_digest(&setup.simulator)[..],
        Sha256::digest(&sound)[..]
    );

    let setup = setup_with_media_fault(MediaFault::ShorterBy(10)).await;
    let shorter = setup.media(&[("Range", "bytes=0-")]).await;
    let expected = "bytes 0-999989/999990";
    assert_eq!(
        header_of(&shorter, "content-range").as_deref(),
        Some(expected)
    );
    assert_eq!(shorter.bytes().await.unwrap().len(), 999_990);

    let setup = Setup::new(SIZE).await;
    setup
        .simulator
        .update(ID, |recording| recording.declared_size_bytes = Some(5));
    assert_eq!(setup.metadata().await["size_in_bytes"], 5);
    assert_eq!(setup.media(&[]).await.content_length(), Some(SIZE));
}

#[tokio::test]
async fn headers_can_be_wrong() {
    let range = [("Range", "bytes=10-19")];
    let setup = setup_with_media_fault(MediaFault::IgnoreRange).await;
    // A request without a range cannot show it, and leaves it for one that can.
    assert_eq!(setup.media(&[]).await.status(), 200);
    let ignored = setup.media(&range).await;
    assert_eq!(
        (ignored.status().as_u16(), ignored.content_length()),
        (200, Some(SIZE))
    );

    let setup = setup_with_media_fault(MediaFault::WrongContentRange).await;
    let wrong = setup.media(&range).await;
    assert_eq!(
        header_of(&wrong, "content-range").as_deref(),
        Some("bytes 11-20/1000000")
    );
    let sound = setup.media(&range).await;
    assert_eq!(
        header_of(&sound, "content-range").as_deref(),
        Some("bytes 10-19/1000000")
    );
    assert_eq!(wrong.bytes().await.unwrap(), sound.bytes().await.unwrap());

    let setup = setup_with_media_fault(MediaFault::GzipClaim).await;
    let claimed = setup.media(&[]).await;
    assert_eq!(
        header_of(&claimed, "content-encoding").as_deref(),
        Some("gzip")
    );
    assert_eq!(&claimed.bytes().await.unwrap()[4..8], b"ftyp");

    let setup = setup_with_media_fault(MediaFault::NoValidator).await;
    let bare = setup.media(&[]).await;
    assert_eq!(
        (header_of(&bare, "etag"), header_of(&bare, "last-modified")),
        (None, None)
    );

    let setup = setup_with_media_fault(MediaFault::WeakEtag).await;
    assert!(
        header_of(&setup.media(&[]).await, "etag")
            .unwrap()
            .starts_with("W/\"")
    );
}

#[tokio::test]
async fn a_changed_etag_stays_changed() {
    let setup = Setup::new(SIZE).await;
    let before = header_of(&setup.media(&[]).await, "etag").unwrap();
    setup
        .simulator
        .inject(ID, MediaFault::EtagChanges, Times::ONCE);
    let after = header_of(&setup.media(&[]).await, "etag").unwrap();
    assert_ne!(before, after);
    let stale = setup
        .media(&[("Range", "bytes=5-"), ("If-Match", &before)])
        .await;
    assert_eq!(stale.status(), 412);
    let fresh = setup
        .media(&[("Range", "bytes=5-"), ("If-Match", &after)])
        .await;
    assert_eq!(fresh.status(), 206);
}

#[tokio::test]
async fn a_link_that_dies_stays_dead_until_a_fresh_one_is_asked_for() {
    let setup = Setup::new(SIZE).await;
    let other = Uuid::from_u128(5);
    setup.simulator.add(SimulatedRecording::new(other, 10));
    let other = json(setup.api(&format!("room_recordings/{other}")).await).await;
    setup
        .simulator
        .inject(ID, MediaFault::LinkDies, Times::ONCE);
    let link = setup.link().await;
    for _ in 0..2 {
        let response = setup.open(&link, &[]).await;
        assert_eq!(response.status(), 403);
        assert!(
            response
                .text()
                .await
                .unwrap()
                .contains("Request has expired")
        );
    }
    assert_eq!(setup.media(&[]).await.status(), 200);
    assert_eq!(
        setup
            .open(other["uri"].as_str().unwrap(), &[])
            .await
            .status(),
        200
    );
}

#[tokio::test]
async fn the_media_host_can_send_clients_in_circles() {
    let setup = setup_with_media_fault(MediaFault::RedirectLoop).await;
    let link = setup.link().await;
    let response = setup.open(&link, &[]).await;
    assert_eq!(response.status(), 302);
    assert_eq!(header_of(&response, "location"), Some(link));

    let target = "http://169.254.169.254/latest/meta-data/";
    let setup = setup_with_media_fault(MediaFault::Redirect(target.into())).await;
    assert_eq!(
        header_of(&setup.media(&[]).await, "location").as_deref(),
        Some(target)
    );
}
