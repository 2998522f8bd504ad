//! Every fault that the simulator knows, met by one attempt: what becomes of row, attempt and
//! store, and that the recording is archived once the fault is over.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use recording_archiver::archive::Archiver;
use recording_archiver::queue::{self, Chosen, Outcome};
use recording_archiver::simulator::{
    MetadataFault, SimulatedRecording, Times, fault_spellings, parse_fault,
};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::harness::eventually;
use crate::harness::world::{MIB, PART, World};

/// Two parts.
const SIZE: u64 = PART + MIB;

/// What the first attempt comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Archived,
    /// Archived, but the bytes are not the true ones: nobody could know.
    ArchivedAsSent,
    Retries(&'static str),
    Defers(&'static str),
    Fails(&'static str),
}

use Ends::{Archived, ArchivedAsSent, Defers, Fails, Retries};

/// Faults by their spelling, and how the attempt ends.
const TABLE: &[(&str, Ends)] = &[
    ("metadata-status:401", Retries("api_refused")),
    ("metadata-status:403", Retries("api_refused")),
    ("metadata-status:404", Fails("not_found")),
    ("metadata-status:422", Retries("api_refused")),
    ("metadata-status:500", Retries("api_unavailable")),
    ("metadata-status:502", Retries("api_unavailable")),
    ("metadata-status:503", Retries("api_unavailable")),
    ("metadata-throttled", Defers("throttled")),
    ("metadata-reset", Retries("api_unavailable")),
    ("metadata-html", Retries("api_unavailable")),
    ("metadata-truncated-json", Retries("bad_metadata")),
    ("metadata-empty-body", Retries("bad_metadata")),
    (
        "metadata-redirect:http://127.0.0.1:9/",
        Retries("api_unavailable"),
    ),
    ("metadata-other-recording", Retries("bad_metadata")),
    ("metadata-null-uri", Defers("no_media")),
    ("metadata-uri:ftp://example.com/x", Fails("link_refused")),
    ("metadata-uri:http://user@127.0.0.1/", Fails("link_refused")),
    ("metadata-uri:/relative", Retries("bad_metadata")),
    ("metadata-not-ready", Defers("not_ready")),
    ("metadata-null-status", Archived),
    ("metadata-unknown-status:filed", Archived),
    ("metadata-missing-fields", Retries("bad_metadata")),
    ("metadata-extra-fields", Archived),
    ("metadata-wrong-types", Archived),
    ("media-status:401", Retries("link_expired")),
    ("media-status:403", Retries("link_expired")),
    ("media-status:410", Retries("link_expired")),
    ("media-status:404", Retries("media_unavailable")),
    ("media-status:500", Retries("media_unavailable")),
    ("media-status:503", Retries("media_unavailable")),
    ("media-throttled", Defers("throttled")),
    ("media-link-dies", Retries("link_expired")),
    ("media-bad-request-expired", Retries("link_expired")),
    ("media-reset", Retries("media_unavailable")),
    // What breaks in the middle is asked for again, unless it brings next to nothing each time.
    ("media-reset-after:3000001", Archived),
    ("media-reset-after:1000xalways", Retries("truncated")),
    ("media-cut-after:3000001", Archived),
    ("media-cut-after:3", Retries("truncated")),
    ("media-cut-after:1000xalways", Retries("truncated")),
    // The first part is in the store by then.
    ("media-cut-after:1000xalways,after=1", Retries("truncated")),
    ("media-chunked-cut-after:3000001", Archived),
    ("media-chunked-cut-after:1000xalways", Retries("truncated")),
    ("media-hang", Retries("stalled")),
    ("media-stall-after:3000001", Archived),
    ("media-stall-after:1000xalways", Retries("stalled")),
    ("media-drip:50000000", Archived),
    ("media-drip:500xalways", Retries("stalled")),
    ("media-html", Retries("not_media")),
    ("media-html-as-media", Retries("not_media")),
    ("media-xml-error", Retries("not_media")),
    ("media-json-error", Retries("not_media")),
    ("media-shorter-by:5", Retries("size_mismatch")),
    ("media-ignore-range", Archived),
    ("media-wrong-content-range", Archived),
    ("media-short-range:1000", Archived),
    ("media-changes", Archived),
    ("media-etag-changes", Archived),
    ("media-weak-etag", Archived),
    ("media-no-validator", Archived),
    ("media-redirect:ftp://example.com/", Fails("link_refused")),
    ("media-redirect-loopx5", Archived),
    ("media-redirect-loopx6", Retries("media_unavailable")),
    ("media-gzip-claim", Archived),
    ("media-zero-bytes", Retries("truncated")),
    ("media-flipped-byte:4000000", ArchivedAsSent),
    ("media-flipped-byte:4", ArchivedAsSent),
];

/// Of listings only, or with a test of its own below.
const ELSEWHERE: [&str; 3] = [
    "metadata-empty-page",
    "metadata-repeated-next",
    "metadata-hang",
];

fn name_of(spelling: &str) -> &str {
    let end = spelling.find([':', '[', ',']).unwrap_or(spelling.len());
    spelling[..end].trim_end_matches(|c: char| c.is_ascii_digit() || c == 'x')
}

#[test]
fn the_table_knows_every_fault() {
    let table: BTreeSet<&str> = TABLE
        .iter()
        .map(|(spelling, _)| name_of(spelling))
        .chain(ELSEWHERE)
        .collect();
    let all = fault_spellings();
    let all: BTreeSet<&str> = all
        .iter()
        .map(|spelling| name_of(spelling))
        // Archiving deletes nothing: those of DELETE have a table of their own, with `retire`.
        .filter(|name| !name.starts_with("deletion-"))
        .collect();
    assert_eq!(table, all);
}

fn archiver(world: &World) -> Archiver {
    world.archiver_with(|settings| {
        settings.transfer.idle_timeout = Duration::from_millis(400);
    })
}

#[tokio::test]
async fn faults_of_the_api_have_their_outcome_and_are_made_good() {
    demand_table("metadata-").await;
}

#[tokio::test]
async fn faults_of_the_media_host_have_their_outcome_and_are_made_good() {
    demand_table("media-").await;
}

async fn demand_table(prefix: &str) {
    // Where no byte moves, the store does not matter.
    let (quick, parts) = (World::local().await, World::s3().await);
    let rows = TABLE.iter().filter(|(it, _)| it.starts_with(prefix));
    for (spelling, ends) in rows {
        let moves_bytes = *fetched_bytes(spelling, *ends).end() > 0;
        let world = if moves_bytes { &parts } else { &quick };
        let recording = SimulatedRecording::new(Uuid::new_v4(), SIZE);
        let id = world.add(recording).await;
        let order = parse_fault(&format!("{id}={spelling}")).unwrap();
        world.simulator.inject(id, order.fault, order.times);
        demand_outcome(world, id, spelling, *ends).await;
    }
}

async fn demand_outcome(world: &World, id: Uuid, spelling: &str, ends: Ends) {
    // A process of its own for each: none hears the others' failures in a row.
    let report = world.attempt(&archiver(world)).await;
    let about = format!("{spelling}: {report:?}");
    let (outcome, state, kind, burnt) = match ends {
        Archived | ArchivedAsSent => (Outcome::Archived, "archived", None, 1),
        Retries(kind) => (Outcome::Retrying, "pending", Some(kind), 1),
        Defers(kind) => (Outcome::Deferred, "pending", Some(kind), 0),
        Fails(kind) => (Outcome::Failed, "failed", Some(kind), 1),
    };
    assert_eq!(report.outcome, outcome, "{about}");
    assert!(!report.halt, "{about}");
    let reported = report.failure.as_ref().map(|failure| failure.kind.as_str());
    assert_eq!(reported, kind, "{about}");

    let row = world.row(id).await;
    assert_eq!(row.state, state, "{about}");
    assert_eq!(row.attempts, burnt, "{about}");
    // What burns nothing and is nobody's fault leaves the row as it was.
    assert_eq!(row.error_kind.as_deref(), kind, "{about}");
    assert_eq!(row.error_message.is_some(), kind.is_some(), "{about}");
    match ends {
        Retries(_) | Defers(_) => assert!(row.due_in_secs > 0.0, "{about}"),
        Archived | ArchivedAsSent | Fails(_) => {}
    }
    assert_eq!(row.lease_token, None, "{about}");

    let attempts = world.attempts(id).await;
    assert_eq!(attempts.len(), 1, "{about}");
    assert_eq!(attempts[0].attempt, 1, "{about}");
    assert_eq!(attempts[0].outcome.as_deref(), Some(outcome.as_str()));
    assert_eq!(attempts[0].error_kind.as_deref(), kind, "{about}");
    assert_eq!(attempts[0].error_message.is_some(), kind.is_some());
    let fetched = u64::try_from(attempts[0].bytes_fetched).unwrap();
    assert!(fetched_bytes(spelling, ends).contains(&fetched), "{about}");
    assert_eq!(report.bytes_fetched, fetched, "{about}");

    match ends {
        Archived => return world.demand_archived(id).await,
        ArchivedAsSent => return demand_archived_as_sent(world, id).await,
        Fails(_) => {
            world.demand_nothing_stored(id).await;
            let chosen = Chosen::Ids(vec![id.into()]);
            let retried = queue::retry(&world.pool, &chosen).await.unwrap();
            assert_eq!(retried, [id.into()], "{about}");
        }
        Retries(_) | Defers(_) => {
            assert!(world.object(id).is_none() && world.manifest(id).is_none());
            // Where a part came whole, the next attempt goes on with it.
            if fetched < PART {
                world.demand_nothing_unfinished().await;
            }
            world.make_due().await;
        }
    }
    world.simulator.clear_faults();
    // Another process: one that was throttled asks nothing more for a while.
    let report = world.attempt(&archiver(world)).await;
    assert_eq!(report.outcome, Outcome::Archived, "{spelling}: {report:?}");
    world.demand_archived(id).await;
    assert_eq!(world.row(id).await.error_kind, None, "{spelling}");
}

/// How many bytes the attempt says to have received.
fn fetched_bytes(spelling: &str, ends: Ends) -> RangeInclusive<u64> {
    let (_, argument) = spelling.split_once(':').unwrap_or_default();
    match (name_of(spelling), argument) {
        // What came before the break is kept.
        _ if matches!(ends, Archived | ArchivedAsSent) => SIZE..=SIZE,
        // Two connections, the first answer and five more on each; what a reset overtakes is lost.
        ("media-reset-after", "1000xalways") => 0..=12 * 1000,
        ("media-cut-after" | "media-chunked-cut-after" | "media-stall-after", "1000xalways") => {
            1000..=12 * 1000
        }
        ("media-cut-after", "1000xalways,after=1") => PART..=PART + 6 * 1000,
        // 200 in 0.4 s each time.
        ("media-drip", "500xalways") => 100..=12 * 1000,
        _ => 0..=0,
    }
}

async fn demand_archived_as_sent(world: &World, id: Uuid) {
    let object = world.object(id).unwrap();
    let sha256 = <[u8; 32]>::from(Sha256::digest(&object));
    assert_ne!(Some(sha256), world.simulator.media_sha256(id));
    assert_eq!(world.row(id).await.sha256.as_deref(), Some(&sha256[..]));
}

#[tokio::test]
async fn retry_after_is_honoured_in_both_forms_by_api_and_media_host() {
    let world = World::local().await;
    for (fault, seconds) in [
        ("metadata-throttled:7", 7.0),
        ("metadata-throttled:date+90", 90.0),
        ("media-throttled:7", 7.0),
        ("media-throttled:date+90", 90.0),
        ("metadata-throttled:86400", 3600.0),
        ("metadata-throttled", 30.0),
    ] {
        let id = world
            .add(SimulatedRecording::new(Uuid::new_v4(), 100))
            .await;
        let order = parse_fault(&format!("{id}={fault}")).unwrap();
        world.simulator.inject(id, order.fault, order.times);
        // A process of its own: one that was throttled asks nothing more for a while.
        let report = world.attempt(&archiver(&world)).await;
        assert_eq!(report.outcome, Outcome::Deferred, "{fault}: {report:?}");
        let row = world.row(id).await;
        let early = seconds - row.due_in_secs;
        // An HTTP date has no fractions, and the machine may be slow.
        assert!((0.0..10.0).contains(&early), "{fault}: {row:?}");
        assert_eq!(row.attempts, 0, "{fault}");
        sqlx::query("UPDATE archiver.recordings SET next_attempt_at = 'infinity'")
            .execute(&world.pool)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn an_api_that_never_answers_does_not_keep_a_process_from_ending() {
    let world = World::local().await;
    let id = world
        .add(SimulatedRecording::new(Uuid::new_v4(), 100))
        .await;
    world
        .simulator
        .inject(id, MetadataFault::Hang, Times::Count(2));
    let (archiver, stop) = (archiver(&world), CancellationToken::new());
    let asked = || async { (world.simulator.counts(id).metadata_requests > 0).then_some(()) };
    let (report, ()) = tokio::join!(world.attempt_until(&archiver, &stop), async {
        eventually("the API is asked", asked).await;
        stop.cancel();
    });
    assert_eq!(report.outcome, Outcome::Released, "{report:?}");
    let row = world.row(id).await;
    assert_eq!((row.state.as_str(), row.attempts), ("pending", 0));
    assert!(row.due_in_secs <= 0.0, "{row:?}");
    let attempts = world.attempts(id).await;
    assert_eq!(attempts[0].outcome.as_deref(), Some("released"));
    assert_eq!(attempts[0].error_kind.as_deref(), Some("cancelled"));
    world.simulator.clear_faults();
    world.attempt(&archiver).await;
    world.demand_archived(id).await;
}
