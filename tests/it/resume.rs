//! Attempts that end in the middle, and what the next one makes of what they left.

mod killed;
mod left;
mod odd_ranges;
mod restarts;

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use recording_archiver::archive::{Archiver, Report};
use recording_archiver::digest::Fingerprinting;
use recording_archiver::progress::Progress;
use recording_archiver::queue::{Claim, Outcome};
use recording_archiver::simulator::{MediaFault, SimulatedRecording, Times};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::harness::eventually;
use crate::harness::s3::Call;
use crate::harness::world::{MIB, PART, Settings, World, claim};

/// Four parts and a bit.
const SIZE: u64 = 4 * PART + MIB + 7;
const PARTS: u64 = 5;

async fn add(world: &World) -> Uuid {
    world
        .add(SimulatedRecording::new(Uuid::new_v4(), SIZE))
        .await
}

/// On one connection: the parts come one after the other, and so do their requests.
fn archiver(world: &World) -> Archiver {
    archiver_with(world, |_| {})
}

fn archiver_with(world: &World, change: impl FnOnce(&mut Settings)) -> Archiver {
    world.archiver_with(|settings| {
        settings.transfer.connections = NonZeroU16::MIN;
        change(settings);
    })
}

/// Lets the source bring so many parts and nothing more.
fn dry_up(world: &World, id: Uuid, parts: u32) {
    let stall = MediaFault::StallAfter(1000);
    world
        .simulator
        .inject(id, stall, Times::Always.after(parts));
}

/// Works on a claim until something has come about, and is killed there.
async fn kill_when(archiver: &Archiver, claim: Claim, came_about: impl Future<Output = ()>) {
    let progress = Arc::new(Progress::default());
    let never = CancellationToken::new();
    tokio::select! {
        report = Box::pin(archiver.attempt(claim, &progress, &never)) => panic!("it ended: {report:?}"),
        () = came_about => {}
    }
}

async fn on_record(world: &World, id: Uuid, least: u64) {
    eventually("a checkpoint is written", || async {
        (world.parts_on_record(id).await >= least).then_some(())
    })
    .await;
}

/// A recording whose worker was killed when the source had brought two parts, and both were on
/// record. The source is well again, and the lease over.
pub(crate) async fn killed_in_the_middle(world: &World) -> Uuid {
    let id = add(world).await;
    dry_up(world, id, 2);
    let archiver = archiver(world);
    let claim = claim(&archiver).await;
    kill_when(&archiver, claim, on_record(world, id, 2)).await;
    world.simulator.clear_faults();
    world.make_due().await;
    id
}

/// Has another process work on the recording, and demands that it fetches and sends what is not on
/// record, and nothing else.
async fn demand_going_on(world: &World, id: Uuid) -> Report {
    let stored = world.parts_on_record(id).await;
    assert!((1..=PARTS).contains(&stored), "{stored} parts on record");
    let server = world.s3_server();
    let before = (server.count(Call::BeginUpload), server.count(Call::PutPart));
    let asked = world.simulator.counts(id).ranges.len();
    let other = archiver_with(world, |settings| settings.holder = "other");

    let report = world.attempt(&other).await;

    assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
    let rest = SIZE - (stored * PART).min(SIZE);
    assert_eq!(report.bytes_fetched, rest, "{report:?}");
    let sent = usize::try_from(PARTS - stored).unwrap();
    let after = (server.count(Call::BeginUpload), server.count(Call::PutPart));
    assert_eq!(after, (before.0, before.1 + sent));
    let ranges = world.simulator.counts(id).ranges;
    assert_eq!(ranges.len() - asked, sent, "{ranges:?}");
    if rest > 0 {
        let first = format!("bytes={}-", stored * PART);
        assert!(ranges[asked].starts_with(&first), "{ranges:?}");
    }
    demand_true_row(world, id).await;
    report
}

/// Has another process work on the recording, and demands that it begins at the front.
async fn demand_fresh_start(world: &World, id: Uuid, about: &str) {
    let server = world.s3_server();
    let begun = server.count(Call::BeginUpload);
    let report = world.attempt(&archiver(world)).await;
    assert_eq!(report.outcome, Outcome::Archived, "{about}: {report:?}");
    assert_eq!(report.bytes_fetched, SIZE, "{about}: {report:?}");
    assert_eq!(server.count(Call::BeginUpload), begun + 1, "{about}");
    demand_true_row(world, id).await;
}

/// Demands that the row says of the object what is true of it, and that nothing else is left.
async fn demand_true_row(world: &World, id: Uuid) {
    world.demand_archived(id).await;
    let mut fingerprint = Fingerprinting::new();
    fingerprint.update(&world.object(id).unwrap());
    let crc64nvme = fingerprint.finish().crc64nvme.to_string();
    let row = world.row(id).await;
    assert_eq!(row.crc64nvme.as_deref(), Some(&*crc64nvme), "{row:?}");
    let evidence = row.evidence.as_deref().unwrap();
    // By the store's own checksums, which is as good as in one go.
    assert!(["full_object", "parts"].contains(&evidence), "{row:?}");
    assert_eq!(row.evidence_value, Some(crc64nvme), "{row:?}");
    assert_eq!(row.error_kind, None, "{row:?}");
}

/// Outcome and kind of each attempt.
async fn endings(world: &World, id: Uuid) -> Vec<(String, Option<String>)> {
    let attempts = world.attempts(id).await.into_iter();
    attempts
        .map(|attempt| (attempt.outcome.unwrap_or_default(), attempt.error_kind))
        .collect()
}

fn ending(outcome: &str, kind: Option<&str>) -> (String, Option<String>) {
    (outcome.to_owned(), kind.map(str::to_owned))
}

/// A worker that gives up on a source that stands still for this long.
const IMPATIENT: Duration = Duration::from_millis(300);
