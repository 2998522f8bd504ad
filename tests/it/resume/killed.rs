//! Killed, stopped or broken off in the middle: the next attempt goes on where the last one was.

use std::sync::Arc;

use recording_archiver::error::ErrorKind;
use recording_archiver::progress::Progress;
use recording_archiver::queue::Outcome;
use recording_archiver::simulator::{MediaFault, Times, parse_fault};
use tokio_util::sync::CancellationToken;

use super::{
    IMPATIENT, PARTS, SIZE, add, archiver, archiver_with, demand_going_on, demand_true_row, dry_up,
    ending, endings, kill_when, killed_in_the_middle, on_record,
};
use crate::harness::eventually;
use crate::harness::s3::{Call, StoreFault};
use crate::harness::world::{PART, World, claim};
use crate::seed::execute;

#[tokio::test]
async fn an_attempt_that_was_killed_is_gone_on_with_by_another_process() {
    let world = World::s3().await;
    let id = killed_in_the_middle(&world).await;
    let report = demand_going_on(&world, id).await;
    assert_eq!(report.attempt, 2);
    let lost = ending("lost", Some("lease_lost"));
    assert_eq!(endings(&world, id).await, [lost, ending("archived", None)]);
}

#[tokio::test]
async fn a_source_that_brings_one_part_at_a_time_is_archived_in_the_end() {
    let world = World::s3().await;
    let id = add(&world).await;
    let impatient = archiver_with(&world, |it| it.transfer.idle_timeout = IMPATIENT);
    for stored in 1..PARTS {
        dry_up(&world, id, 1);
        let report = world.attempt(&impatient).await;
        assert_eq!(report.outcome, Outcome::Retrying, "{report:?}");
        assert_eq!(world.parts_on_record(id).await, stored);
        // One part, and what came of the next in six tries.
        let fetched = PART..=PART + 6 * 1000;
        assert!(fetched.contains(&report.bytes_fetched), "{report:?}");
        world.simulator.clear_faults();
        world.make_due().await;
        // More of them than are allowed.
        execute(&world.pool, "UPDATE archiver.recordings SET attempts = 0").await;
    }
    let report = demand_going_on(&world, id).await;
    assert_eq!(report.bytes_fetched, SIZE - 4 * PART);
    assert_eq!(world.s3_server().count(Call::BeginUpload), 1);
    assert_eq!(world.s3_server().count(Call::PutPart), 5);
}

#[tokio::test]
async fn one_that_was_told_to_stop_leaves_every_part_that_came() {
    let world = World::s3().await;
    let id = add(&world).await;
    dry_up(&world, id, 3);
    let (archiver, stop) = (archiver(&world), CancellationToken::new());
    let (report, ()) = tokio::join!(world.attempt_until(&archiver, &stop), async {
        eventually("the third part is sent", || async {
            (world.s3_server().count(Call::PutPart) == 3).then_some(())
        })
        .await;
        stop.cancel();
    });
    assert_eq!(report.outcome, Outcome::Released, "{report:?}");
    let row = world.row(id).await;
    assert_eq!((row.state.as_str(), row.attempts), ("pending", 0));
    // What was on the wire then was waited for a moment.
    assert_eq!(world.parts_on_record(id).await, 3);
    assert!(world.object(id).is_none() && world.manifest(id).is_none());

    world.simulator.clear_faults();
    demand_going_on(&world, id).await;
    let released = ending("released", Some("cancelled"));
    assert_eq!(
        endings(&world, id).await,
        [released, ending("archived", None)]
    );
}

#[tokio::test]
async fn a_source_that_dries_up_costs_the_attempt_and_not_what_came() {
    let world = World::s3().await;
    let id = add(&world).await;
    dry_up(&world, id, 3);
    let impatient = archiver_with(&world, |it| it.transfer.idle_timeout = IMPATIENT);
    let report = world.attempt(&impatient).await;
    assert_eq!(report.outcome, Outcome::Retrying, "{report:?}");
    let kind = report.failure.map(|failure| failure.kind);
    assert_eq!(kind, Some(ErrorKind::Stalled));
    assert_eq!(world.parts_on_record(id).await, 3);

    world.simulator.clear_faults();
    world.make_due().await;
    demand_going_on(&world, id).await;
    let stalled = ending("retrying", Some("stalled"));
    assert_eq!(
        endings(&world, id).await,
        [stalled, ending("archived", None)]
    );
}

#[tokio::test]
async fn a_part_that_the_store_never_took_is_the_first_to_be_sent_again() {
    let world = World::s3().await;
    let server = world.s3_server();
    let id = add(&world).await;
    // All come but the last three, however long it is waited for.
    let hold = StoreFault::HoldUntil(CancellationToken::new());
    server.inject_after(2, Call::PutPart, hold, 1000);
    let first = archiver(&world);
    let claimed = claim(&first).await;
    kill_when(&first, claimed, on_record(&world, id, 2)).await;
    server.clear_faults();
    world.make_due().await;
    demand_going_on(&world, id).await;
}

#[tokio::test]
async fn trouble_in_the_middle_of_going_on_is_made_good_as_well() {
    let world = World::s3().await;
    for fault in [
        "media-cut-after:1000001x2",
        "media-link-dies,after=1",
        "media-stall-after:1000001",
    ] {
        let id = killed_in_the_middle(&world).await;
        let stored = world.parts_on_record(id).await;
        let order = parse_fault(&format!("{id}={fault}")).unwrap();
        world.simulator.inject(id, order.fault, order.times);
        let impatient = archiver_with(&world, |it| it.transfer.idle_timeout = IMPATIENT);
        let report = world.attempt(&impatient).await;
        assert_eq!(report.outcome, Outcome::Archived, "{fault}: {report:?}");
        assert_eq!(report.bytes_fetched, SIZE - stored * PART, "{fault}");
        demand_true_row(&world, id).await;
    }
}

#[tokio::test]
async fn a_crash_between_publishing_and_settling_is_recognized_without_a_byte() {
    let world = World::s3().await;
    let server = world.s3_server();
    let id = add(&world).await;
    let go = CancellationToken::new();
    server.inject(Call::Complete, StoreFault::HoldUntil(go.clone()), 1);
    let first = archiver(&world);
    let claimed = claim(&first).await;
    kill_when(&first, claimed, async {
        eventually("it is about to be published", || async {
            (server.count(Call::Complete) == 1).then_some(())
        })
        .await;
        // What would prove the object then never comes.
        let (looks, hold) = (server.count(Call::Head), CancellationToken::new());
        server.inject(Call::Head, StoreFault::HoldUntil(hold), 1000);
        go.cancel();
        eventually("it is published", || async {
            (server.count(Call::Head) > looks).then_some(())
        })
        .await;
    })
    .await;
    assert!(world.object(id).is_some() && world.manifest(id).is_none());
    assert_eq!(world.row(id).await.state, "in_progress");

    server.clear_faults();
    world.make_due().await;
    let media_requests = world.simulator.counts(id).media_requests;
    let calls = (server.count(Call::Complete), server.count(Call::Get));
    let report = world.attempt(&archiver(&world)).await;
    assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
    assert_eq!(report.bytes_fetched, 0, "{report:?}");
    assert_eq!(world.simulator.counts(id).media_requests, media_requests);
    assert_eq!(
        (server.count(Call::Complete), server.count(Call::Get)),
        calls
    );
    demand_true_row(&world, id).await;
    assert!(world.row(id).await.etag.is_some());
}

#[tokio::test]
async fn a_late_worker_changes_neither_row_nor_object_nor_the_upload_of_the_other() {
    let world = World::s3().await;
    let server = world.s3_server();
    let id = add(&world).await;
    let (late_go, present_go) = (CancellationToken::new(), CancellationToken::new());
    // The late worker's next three parts hang, more it may not hold, and then the other one's Complete.
    server.inject_after(2, Call::PutPart, StoreFault::HoldUntil(late_go.clone()), 3);
    server.inject(Call::Complete, StoreFault::HoldUntil(present_go.clone()), 1);
    let (late, present) = (archiver(&world), archiver(&world));
    let claimed = claim(&late).await;
    let (progress, never) = (Arc::new(Progress::default()), CancellationToken::new());
    let others = async {
        on_record(&world, id, 2).await;
        eventually("the late one's parts hang", || async {
            (server.count(Call::PutPart) == 5).then_some(())
        })
        .await;
        world.make_due().await;
        let report = async {
            let report = world.attempt(&present).await;
            assert_eq!(report.bytes_fetched, SIZE - 2 * PART, "{report:?}");
            report
        };
        let held = async {
            eventually("the other one is about to publish", || async {
                (server.count(Call::Complete) == 1).then_some(())
            })
            .await;
            let before = world.row(id).await.lease_token;
            late_go.cancel();
            before
        };
        tokio::join!(report, held)
    };
    let late_attempt = async {
        let report = Box::pin(late.attempt(claimed, &progress, &never)).await;
        // All that it could do is done: the other one's row, upload and parts are as they were.
        assert_eq!(world.row(id).await.state, "in_progress");
        assert_eq!(server.count(Call::Complete), 1);
        assert_eq!(server.count(Call::Abort), 0);
        assert_eq!(world.parts_on_record(id).await, PARTS);
        let lease_token = world.row(id).await.lease_token;
        present_go.cancel();
        (report, lease_token)
    };
    let ((report, lease_token), (archived, before)) = tokio::join!(late_attempt, others);
    assert_eq!(lease_token, before);
    assert_eq!(report.outcome, Outcome::Released, "{report:?}");
    let kind = report.failure.map(|failure| failure.kind);
    assert_eq!(kind, Some(ErrorKind::LeaseLost));
    assert_eq!(archived.outcome, Outcome::Archived, "{archived:?}");
    assert_eq!(server.count(Call::BeginUpload), 1);
    demand_true_row(&world, id).await;
}

#[tokio::test]
async fn a_recording_without_a_strong_validator_leaves_nothing_to_go_on_with() {
    let world = World::s3().await;
    let id = add(&world).await;
    let no_validator = MediaFault::NoValidator;
    world.simulator.inject(id, no_validator, Times::ONCE);
    // The plain request that brings all, in its fourth part.
    let stall = MediaFault::StallAfter(3 * PART + 1000);
    world.simulator.inject(id, stall, Times::ONCE);
    let impatient = archiver_with(&world, |it| it.transfer.idle_timeout = IMPATIENT);
    let report = world.attempt(&impatient).await;
    assert_eq!(report.outcome, Outcome::Retrying, "{report:?}");
    assert_eq!(report.bytes_fetched, 3 * PART + 1000, "{report:?}");
    world.demand_nothing_stored(id).await;
    world.make_due().await;
    let report = world.attempt(&archiver(&world)).await;
    assert_eq!(report.bytes_fetched, SIZE, "{report:?}");
    demand_true_row(&world, id).await;
}
