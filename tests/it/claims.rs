//! Leases: who may work on a recording, for how long, and what a worker may do that lost it.

mod chores;
mod depth;
mod order;
mod plans;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use recording_archiver::archive::Report;
use recording_archiver::daemon::Ending;
use recording_archiver::digest::Fingerprinting;
use recording_archiver::error::ErrorKind;
use recording_archiver::progress::Progress;
use recording_archiver::queue::{Failure, Outcome, QueueError, StoredObject};
use recording_archiver::simulator::{CostToken, MediaFault, SimulatedRecording, Times};
use recording_archiver::upkeep;
use tokio_util::sync::CancellationToken;
use tracing::field::{Field, Visit};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use uuid::Uuid;

use crate::harness::eventually;
use crate::harness::s3::{Call, StoreFault};
use crate::harness::subscribe;
use crate::harness::world::{MIB, PART, World, begun, claim, claim_due};
use crate::seed::execute;

async fn add(world: &World, size_bytes: u64) -> Uuid {
    world
        .add(SimulatedRecording::new(Uuid::new_v4(), size_bytes))
        .await
}

#[tokio::test]
async fn two_workers_archive_each_of_two_hundred_recordings_once() {
    let world = World::local().await;
    let mut ids = Vec::new();
    for _ in 0..200 {
        ids.push(add(&world, 100).await);
    }
    let worker = |holder| world.archiver_with(|settings| settings.holder = holder);
    let ((one, reports), (other, more)) = tokio::join!(
        world.run_once(worker("one"), 8),
        world.run_once(worker("other"), 8),
    );
    assert!(matches!(one, Ending::Done), "{one:?}");
    assert!(matches!(other, Ending::Done), "{other:?}");
    assert!(!reports.is_empty() && !more.is_empty(), "both had a share");
    let reported: HashSet<Uuid> = reports
        .iter()
        .chain(&more)
        .map(|report| {
            assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
            report.recording_id.uuid()
        })
        .collect();
    assert_eq!(reports.len() + more.len(), 200);
    assert_eq!(reported.len(), 200);
    for id in ids {
        let counts = world.simulator.counts(id);
        assert_eq!((counts.metadata_requests, counts.media_requests), (1, 1));
    }
    let attempts = "SELECT count(*) FROM archiver.attempts WHERE outcome = 'archived'";
    assert_eq!(world.number(attempts).await, 200);
    let archived = "SELECT count(*) FROM archiver.recordings WHERE state = 'archived'";
    assert_eq!(world.number(archived).await, 200);
}

#[tokio::test]
async fn a_worker_claims_no_more_than_it_has_free_slots() {
    let world = World::s3().await;
    // Nobody has it: its slot is free at once, and exactly one more may be claimed.
    world.enqueue(Uuid::new_v4()).await;
    for _ in 0..10 {
        add(&world, 100).await;
    }
    let go = CancellationToken::new();
    let server = world.s3_server();
    server.inject(Call::Head, StoreFault::HoldUntil(go.clone()), 1000);
    let held = || async { (server.count(Call::Head) >= 3).then_some(()) };
    let ((ending, reports), ()) = tokio::join!(world.run_once(world.archiver(), 3), async {
        eventually("three attempts are under way", held).await;
        let states = "SELECT count(*) FROM archiver.recordings WHERE state = 'in_progress'";
        assert_eq!(world.number(states).await, 3);
        assert_eq!(server.count(Call::Head), 3);
        go.cancel();
    });
    assert!(matches!(ending, Ending::Done), "{ending:?}");
    assert_eq!(reports.len(), 11);
}

#[tokio::test]
async fn an_expired_lease_is_claimable_at_once_and_its_attempt_is_called_lost() {
    let world = World::local().await;
    let id = add(&world, 100).await;
    let archiver = world.archiver();
    let first = claim(&archiver).await;
    assert!(claim_due(&archiver, 9).await.is_empty());
    execute(
        &world.pool,
        "UPDATE archiver.recordings SET lease_expires_at = now()",
    )
    .await;
    let report = world.attempt(&archiver).await;
    assert_eq!((report.outcome, report.attempt), (Outcome::Archived, 2));
    world.demand_archived(id).await;
    let attempts = world.attempts(id).await;
    assert_eq!(attempts[0].outcome.as_deref(), Some("lost"));
    assert_eq!(attempts[0].error_kind.as_deref(), Some("lease_lost"));
    assert_eq!(attempts[1].outcome.as_deref(), Some("archived"));

    // The worker that was taken for dead comes back, when its lease is long over.
    tokio::time::pause();
    tokio::time::advance(Duration::from_hours(1)).await;
    tokio::time::resume();
    let before = (world.row(id).await, world.manifest(id));
    let progress = Arc::new(Progress::default());
    let never = CancellationToken::new();
    let report = Box::pin(archiver.attempt(first, &progress, &never)).await;
    demand_lease_lost(&report);
    let mut after = (world.row(id).await, world.manifest(id));
    after.0.due_in_secs = before.0.due_in_secs;
    assert_eq!(before, after);
    assert_eq!(world.attempts(id).await, attempts);
}

fn demand_lease_lost(report: &Report) {
    assert_eq!(report.outcome, Outcome::Released, "{report:?}");
    let kind = report.failure.as_ref().map(|failure| failure.kind);
    assert_eq!(kind, Some(ErrorKind::LeaseLost), "{report:?}");
    assert!(report.object.is_none(), "{report:?}");
}

#[tokio::test]
async fn no_statement_of_a_late_worker_changes_anything() {
    let world = World::local().await;
    let id = add(&world, 100).await;
    execute(
        &world.pool,
        "INSERT INTO archiver.projects (project_id, space) VALUES ('another', 'another')",
    )
    .await;
    let queue = world.archiver().queue;
    let object = StoredObject {
        object_key: "late".into(),
        object_url: "file:///late".into(),
        fingerprint: Fingerprinting::new().finish(),
        evidence: "read_back",
        evidence_algorithm: "sha256",
        evidence_value: None,
        upload_id: None,
        etag: None,
        archived_at: chrono::DateTime::UNIX_EPOCH,
        format_mismatch: None,
    };
    let failure = Failure {
        kind: ErrorKind::Truncated,
        message: "late".into(),
        mismatched_size_bytes: None,
    };
    for statement in [
        "complete",
        "retry_later",
        "defer",
        "fail",
        "release",
        "hand_on",
    ] {
        let late = claim(&world.archiver()).await;
        world.make_due().await;
        let present = claim(&world.archiver()).await;
        let before = world.row(id).await;
        assert!(matches!(
            queue.renew(&late).await,
            Err(QueueError::LeaseLost)
        ));
        let remembered = queue
            .remember_upload(&late, &begun("key", "s3://bucket/key", "upload"))
            .await;
        assert!(matches!(remembered, Err(QueueError::LeaseLost)));

        let (delay, mut tx) = (Duration::ZERO, queue.begin().await.unwrap());
        let settled = match statement {
            "complete" => {
                queue
                    .complete(&mut tx, late, None, &object, Outcome::Archived, 1)
                    .await
            }
            "retry_later" => queue.retry_later(&mut tx, late, &failure, delay, 1).await,
            "defer" => queue.defer(&mut tx, late, &failure, delay, 1).await,
            "fail" => queue.fail(&mut tx, late, &failure, 1).await,
            "release" => queue.release(&mut tx, late, &failure, false, 1).await,
            _ => queue
                .hand_on(&mut tx, late, &failure)
                .await
                .map(|claim| assert!(claim.is_some(), "it is not handed on")),
        };
        let harmless = ["release", "hand_on"].contains(&statement);
        match settled {
            Ok(()) => assert!(harmless, "{statement}"),
            Err(QueueError::LeaseLost) => assert!(!harmless, "{statement}"),
            Err(error) => panic!("{statement}: {error}"),
        }
        tx.commit().await.unwrap();

        let mut after = world.row(id).await;
        after.due_in_secs = before.due_in_secs;
        assert_eq!(before, after, "{statement}");
        queue.renew(&present).await.unwrap();
        world.make_due().await;
    }
}

#[tokio::test]
async fn a_worker_that_comes_too_late_with_its_bytes_publishes_nothing() {
    let world = World::s3().await;
    let id = add(&world, PART + MIB).await;
    let server = world.s3_server();
    let go = CancellationToken::new();
    // The first part of the first worker hangs until all is over.
    server.inject(Call::PutPart, StoreFault::HoldUntil(go.clone()), 1);
    let archiver = world.archiver();
    let late = world.attempt(&archiver);
    let present = async {
        let sent = || async { (server.count(Call::PutPart) > 0).then_some(()) };
        eventually("the first worker sends", sent).await;
        world.make_due().await;
        let report = world.attempt(&world.archiver()).await;
        assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
        let (row, manifest) = (world.row(id).await, world.manifest(id));
        let completed = server.count(Call::Complete);
        go.cancel();
        (row, manifest, completed)
    };
    let (report, (row, manifest, completed)) = tokio::join!(late, present);
    demand_lease_lost(&report);
    assert_eq!(server.count(Call::Complete), completed);
    assert_eq!(world.manifest(id), manifest);
    assert_eq!(world.row(id).await.sha256, row.sha256);
    world.demand_archived(id).await;
}

#[tokio::test]
async fn a_worker_whose_lease_has_passed_on_leaves_publishing_and_its_upload_to_the_other() {
    let world = World::s3().await;
    let id = add(&world, PART + MIB).await;
    let server = world.s3_server();
    let go = CancellationToken::new();
    server.inject(Call::PutPart, StoreFault::HoldUntil(go.clone()), 1);
    let archiver = world.archiver();
    let (report, ()) = tokio::join!(world.attempt(&archiver), async {
        let sent = || async { (server.count(Call::PutPart) > 0).then_some(()) };
        eventually("the worker sends", sent).await;
        execute(&world.pool, PASS_THE_LEASE_ON).await;
        go.cancel();
    });
    demand_lease_lost(&report);
    assert_eq!(server.count(Call::Complete), 0);
    assert_eq!(server.count(Call::Abort), 0);
    assert!(world.object(id).is_none() && world.manifest(id).is_none());
    assert_eq!(server.unfinished_uploads().len(), 1);

    // Every part is stored and on record: whoever has the recording now only has to publish.
    let sent = server.count(Call::PutPart);
    world.make_due().await;
    let report = world.attempt(&world.archiver()).await;
    assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
    assert_eq!(report.bytes_fetched, 0, "{report:?}");
    assert_eq!(server.count(Call::PutPart), sent);
    assert_eq!(server.count(Call::BeginUpload), 1);
    world.demand_archived(id).await;
}

const PASS_THE_LEASE_ON: &str = "UPDATE archiver.recordings
    SET lease_token = gen_random_uuid(), leased_by = 'other',
        lease_expires_at = now() + interval '1 hour'";

#[tokio::test]
async fn a_slow_transfer_keeps_its_short_lease() {
    const LEASE: Duration = Duration::from_secs(2);
    let world = World::local().await;
    let id = add(&world, 500_000).await;
    world
        .simulator
        .inject(id, MediaFault::Drip(100_000), Times::ONCE);
    let short = || world.archiver_with(|settings| settings.lease = LEASE);
    let (archiver, other) = (short(), short());
    let mut tries = 0;
    // Beside the attempt, which renews its lease while these queries wait.
    let rival = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        loop {
            ticks.tick().await;
            // Not before the attempt itself has claimed it.
            if world.row(id).await.state == "in_progress" {
                let taken = claim_due(&other, 1).await;
                assert!(taken.is_empty(), "{taken:?}");
                tries += 1;
            }
        }
    };
    let report = tokio::select! {
        report = world.attempt(&archiver) => report,
        () = rival => unreachable!("it tries until the attempt ends"),
    };
    assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
    assert!(report.elapsed > 2 * LEASE, "{report:?}");
    assert!(tries > 2, "{tries}");
    world.demand_archived(id).await;
    assert_eq!(world.attempts(id).await.len(), 1);
}

#[tokio::test]
async fn a_lost_lease_stops_the_transfer_and_leaves_its_upload_to_the_next() {
    let world = World::s3().await;
    let id = add(&world, PART + MIB).await;
    // The first part comes, and then nothing more.
    let stall = MediaFault::StallAfter(500_000);
    world.simulator.inject(id, stall, Times::Always.after(1));
    let archiver = world.archiver_with(|settings| {
        settings.lease = Duration::from_secs(1);
        settings.transfer.idle_timeout = Duration::from_mins(10);
    });
    let server = world.s3_server();
    let (report, ()) = tokio::join!(world.attempt(&archiver), async {
        let recorded = || async { (world.parts_on_record(id).await > 0).then_some(()) };
        eventually("the first part is on record", recorded).await;
        execute(&world.pool, PASS_THE_LEASE_ON).await;
    });
    demand_lease_lost(&report);
    assert!(report.elapsed < Duration::from_mins(1), "{report:?}");
    let row = world.row(id).await;
    assert_eq!((row.state.as_str(), row.attempts), ("in_progress", 1));
    // Another may have taken it over by now: the late worker does not touch it.
    assert_eq!(server.count(Call::Abort), 0);
    assert_eq!(server.unfinished_uploads().len(), 1);

    // Nor does the sweep: whoever has the lease is about to go on with it.
    let swept = upkeep::sweep(&world.pool, &archiver.storage, false).await;
    let swept = swept.unwrap();
    assert_eq!((swept.aborted, swept.left), (0, 0));
    world.simulator.clear_faults();
    world.make_due().await;
    let report = world.attempt(&world.archiver()).await;
    assert_eq!(report.bytes_fetched, MIB, "{report:?}");
    world.demand_archived(id).await;
    assert_eq!(server.upload_ids().len(), 1);
}

#[tokio::test]
async fn several_recordings_share_a_memory_of_one_part() {
    let world = World::s3().await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(add(&world, 2 * PART + MIB).await);
    }
    let archiver = world.archiver_with(|settings| settings.transfer.memory_limit_bytes = PART);
    let running = world.run_once(archiver, 4);
    let done = tokio::time::timeout(Duration::from_mins(2), running).await;
    let (ending, reports) = done.expect("nobody waits for ever");
    assert!(matches!(ending, Ending::Done), "{ending:?}");
    assert_eq!(reports.len(), 4, "{reports:?}");
    for id in ids {
        world.demand_archived(id).await;
    }
}

/// Panics at the event by which a cost is left unknown: a defect in the middle of an attempt.
struct PanicsAtAnOddCost;

impl<S: tracing::Subscriber> Layer<S> for PanicsAtAnOddCost {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        assert!(!message.0.starts_with("cost left unknown"), "a defect");
    }
}

#[tokio::test]
async fn a_panic_ends_one_attempt_and_not_the_worker() {
    let world = World::local().await;
    let mut odd = SimulatedRecording::new(Uuid::new_v4(), 100);
    odd.cost = CostToken::Json("[]".into());
    let odd = world.add(odd).await;
    let good = add(&world, 100).await;
    {
        let _panics = subscribe(tracing_subscriber::registry().with(PanicsAtAnOddCost));
        let (ending, reports) = world.run_once(world.archiver(), 1).await;
        assert!(matches!(ending, Ending::Done), "{ending:?}");
        assert_eq!(reports.len(), 1, "only the good one has a report");
    }
    world.demand_archived(good).await;
    let row = world.row(odd).await;
    assert_eq!((row.state.as_str(), row.attempts), ("in_progress", 1));

    world.make_due().await;
    let (_, reports) = world.run_once(world.archiver(), 1).await;
    assert_eq!(reports[0].attempt, 2);
    world.demand_archived(odd).await;
    let attempts = world.attempts(odd).await;
    assert_eq!(attempts[0].outcome.as_deref(), Some("lost"));
}
