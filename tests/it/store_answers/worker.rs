//! The worker against a store that refuses: one object's trouble stays its own, what is about every
//! recording halts without counting an attempt, and ends when the store is well again.

use std::sync::Arc;

use recording_archiver::archive::Report;
use recording_archiver::daemon::{Controls, Ending, Readiness, Shutdown, Standing, Worker};
use recording_archiver::error::ErrorKind;
use recording_archiver::progress::Board;
use recording_archiver::queue::Outcome;
use recording_archiver::simulator::SimulatedRecording;
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;

use crate::harness::eventually;
use crate::harness::s3::{Call, StoreFault};
use crate::harness::world::{PART, World};

const KIB: u64 = 1024;

struct Running {
    controls: Controls,
    readiness: Readiness,
    reports: mpsc::UnboundedReceiver<Report>,
    stop: tokio_util::sync::DropGuard,
}

async fn start(world: &World) -> Running {
    let archiver = world.archiver();
    archiver.storage.enforcement().await.unwrap();
    let (sender, reports) = mpsc::unbounded_channel();
    let worker = Worker::new(Arc::new(archiver), 2, Board::default(), sender);
    let (controls, readiness) = (worker.controls(), worker.readiness());
    let shutdown = Shutdown::default();
    let stop = shutdown.soft.clone().drop_guard();
    tokio::spawn(async move { worker.run(&Notify::new(), &shutdown).await });
    Running {
        controls,
        readiness,
        reports,
        stop,
    }
}

async fn add(world: &World, size_bytes: u64) -> Uuid {
    let recording = SimulatedRecording::new(Uuid::new_v4(), size_bytes);
    world.add(recording).await
}

async fn halted(running: &Running, kind: ErrorKind, says: &str) {
    eventually("it halts", || async {
        (running.readiness.halted() == Some(kind)).then_some(())
    })
    .await;
    let Standing::Halted { message, .. } = running.readiness.standing() else {
        panic!("{:?}", running.readiness.standing());
    };
    assert!(message.contains(says), "{message}");
    let told = running.readiness.standing().to_string();
    assert!(told.contains(kind.cure()), "{told}");
}

async fn demand_all_archived_at_the_first_attempt(world: &World, ids: &[Uuid]) {
    for id in ids {
        eventually("it is archived", || async {
            (world.row(*id).await.state == "archived").then_some(())
        })
        .await;
    }
    // All have ended: what one leaves unfinished is not another's at work.
    for id in ids {
        world.demand_archived(*id).await;
        assert_eq!(world.row(*id).await.attempts, 1, "no attempt was counted");
    }
}

/// Those that ran when it halted are given back as they end.
async fn demand_no_attempt_counted(world: &World, ids: &[Uuid]) {
    for id in ids {
        eventually("it is given back", || async {
            let row = world.row(*id).await;
            (row.state == "pending" && row.attempts == 0).then_some(())
        })
        .await;
    }
}

/// An object that is equal, of which only reading tells, and three that are not there yet.
async fn one_to_be_read_and_three_others(world: &World) -> (Uuid, [Uuid; 3]) {
    let first = add(world, KIB).await;
    let other = World::local().await;
    other.enqueue(first).await;
    let archiver = other.archiver_with(|settings| {
        settings.signalwire = world.settings().signalwire;
    });
    other.attempt(&archiver).await;
    world.put_object(first, &other.object(first).unwrap());
    let others = [
        add(world, KIB).await,
        add(world, PART + 1).await,
        add(world, KIB).await,
    ];
    (first, others)
}

#[tokio::test]
async fn one_cold_object_keeps_nobody_from_being_archived() {
    let world = World::s3().await;
    let (cold, others) = one_to_be_read_and_three_others(&world).await;
    let fault = StoreFault::Refuse(403, "InvalidObjectState");
    world.s3_server().inject(Call::Get, fault, 1000);
    let (ending, reports) = world.run_once(world.archiver(), 1).await;
    assert!(matches!(ending, Ending::Done), "{ending:?}");
    assert!(reports.iter().all(|report| !report.halt), "{reports:?}");
    for id in others {
        world.demand_archived(id).await;
    }
    let row = world.row(cold).await;
    assert_eq!(row.state, "failed");
    assert_eq!(row.error_kind.as_deref(), Some("object_archived_cold"));
}

#[tokio::test]
async fn one_denied_object_keeps_nobody_from_being_archived() {
    let world = World::s3().await;
    let (denied, others) = one_to_be_read_and_three_others(&world).await;
    let fault = StoreFault::Refuse(403, "AccessDenied");
    world.s3_server().inject(Call::Get, fault, 1000);
    let (ending, reports) = world.run_once(world.archiver(), 1).await;
    assert!(matches!(ending, Ending::Done), "{ending:?}");
    assert!(reports.iter().all(|report| !report.halt), "{reports:?}");
    for id in others {
        world.demand_archived(id).await;
    }
    let row = world.row(denied).await;
    assert_eq!((row.state.as_str(), row.attempts), ("pending", 1));
    assert_eq!(row.error_kind.as_deref(), Some("storage_refused"));
}

#[tokio::test]
async fn unknown_refusal_of_every_request_halts_and_counts_no_attempt() {
    let world = World::s3().await;
    let mut running = start(&world).await;
    let fault = StoreFault::RefuseSaying(400, "InvalidRequest", "Date is too old");
    world.s3_server().inject_everywhere(&Call::ALL, &fault);
    let ids = [add(&world, KIB).await, add(&world, PART + 1).await];
    running.controls.look_again();
    halted(&running, ErrorKind::StorageRefused, "set this host's clock").await;
    demand_no_attempt_counted(&world, &ids).await;
    world.s3_server().clear_faults();
    running.controls.look_again();
    demand_all_archived_at_the_first_attempt(&world, &ids).await;
    running.reports.close();
    drop(running.stop);
}

#[tokio::test]
async fn full_store_halts_until_something_large_fits_again() {
    let world = World::s3().await;
    let running = start(&world).await;
    let fault = StoreFault::RefuseLarger(KIB, 507, "XMinioStorageFull");
    let server = world.s3_server();
    server.inject_everywhere(&[Call::Put, Call::PutPart], &fault);
    let ids = [add(&world, 4 * KIB).await, add(&world, PART + 1).await];
    running.controls.look_again();
    halted(&running, ErrorKind::StorageFull, "XMinioStorageFull").await;
    let fetched = world.simulator.counts(ids[0]).media_requests;
    let requests = server.requests();
    running.controls.look_again();
    eventually("it is checked", || async {
        (server.requests() > requests).then_some(())
    })
    .await;
    assert_eq!(running.readiness.halted(), Some(ErrorKind::StorageFull));
    assert_eq!(world.simulator.counts(ids[0]).media_requests, fetched);
    demand_no_attempt_counted(&world, &ids).await;
    server.clear_faults();
    running.controls.look_again();
    demand_all_archived_at_the_first_attempt(&world, &ids).await;
    drop(running);
}

/// The test object fits, and the recording does not: one is tried at each check, not all.
#[tokio::test]
async fn full_bucket_is_tried_with_one_recording_at_a_time() {
    let world = World::s3().await;
    let mut running = start(&world).await;
    let fault = StoreFault::Refuse(403, "QuotaExceeded");
    world.s3_server().inject(Call::Complete, fault, 1000);
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(add(&world, PART + 1).await);
    }
    running.controls.look_again();
    halted(&running, ErrorKind::StorageFull, "QuotaExceeded").await;
    for _ in 0..2 {
        // Those that ran when it halted have ended, too.
        let mut ended = 0;
        while running.reports.try_recv().is_ok() {
            ended += 1;
        }
        assert!(ended <= 2, "{ended}");
        running.controls.look_again();
        let report = running.reports.recv().await.unwrap();
        assert_eq!(report.outcome, Outcome::Released, "{report:?}");
        halted(&running, ErrorKind::StorageFull, "QuotaExceeded").await;
        assert!(running.reports.is_empty(), "one at a time");
    }
    world.s3_server().clear_faults();
    running.controls.look_again();
    demand_all_archived_at_the_first_attempt(&world, &ids).await;
    drop(running);
}
