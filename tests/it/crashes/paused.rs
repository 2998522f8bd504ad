//! A worker that stands still past its lease and then goes on as if nothing had happened: a virtual
//! machine that was moved, a host that swapped. It must change neither row nor object.

use std::time::SystemTime;

use nix::sys::signal::Signal;
use recording_archiver::simulator::SimulatedRecording;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::SIZE;
use crate::harness::binary::{Binary, Running};
use crate::harness::eventually;
use crate::harness::s3::{Call, StoreFault};
use crate::harness::world::{Row, World};

fn daemon(world: &World) -> Running {
    Binary::of(world)
        .with("RECORDING_ARCHIVER_WORKER_LEASE", "2s")
        .with("RECORDING_ARCHIVER_WORKER_SCHEDULE", "* * * * * *")
        .start(&["run"])
}

#[tokio::test]
async fn a_worker_paused_while_it_sends_its_parts_does_not_publish() {
    demand_fenced_off(Call::PutPart, 2, 0).await;
}

#[tokio::test]
async fn a_worker_paused_while_it_publishes_does_not_publish_over_the_next_one() {
    demand_fenced_off(Call::Complete, 0, 1).await;
}

/// Without create-only writes only the upload ID keeps the bytes of a late worker out: the source
/// has changed since that worker read it.
#[tokio::test]
async fn small_object_of_paused_worker_does_not_replace_next_workers_object() {
    let world = World::s3().await;
    let server = world.s3_server();
    server.honour_create_only(false);
    let let_go = CancellationToken::new();
    for publishing in [Call::Put, Call::Complete] {
        server.inject(publishing, StoreFault::HoldUntil(let_go.clone()), 1000);
    }
    let id = world
        .add(SimulatedRecording::new(Uuid::new_v4(), 10_000))
        .await;
    let late = daemon(&world);
    eventually("the first daemon publishes", || async {
        (server.held() == 1).then_some(())
    })
    .await;
    late.signal(Signal::SIGSTOP);
    server.clear_faults();
    let other_bytes = SimulatedRecording::new(Uuid::new_v4(), 10_000).media;
    world
        .simulator
        .update(id, |recording| recording.media = other_bytes);
    let in_time = daemon(&world);
    eventually("the second daemon has archived it", || async {
        (world.row(id).await.state == "archived").then_some(())
    })
    .await;
    let before = state(&world, id).await;

    let_go.cancel();
    eventually("the late request is executed", || async {
        (server.held() == 0).then_some(())
    })
    .await;
    late.signal(Signal::SIGCONT);
    late.signal(Signal::SIGTERM);
    late.ended().await.demand_code(0);

    world.demand_archived(id).await;
    assert_eq!(state(&world, id).await, before);
    in_time.signal(Signal::SIGTERM);
    in_time.ended().await.demand_code(0);
}

/// Pauses a daemon at its `after`-th call of this kind until another one has archived the
/// recording, and lets it go on then. It has sent so many calls to publish by then.
async fn demand_fenced_off(call: Call, after: u32, by_the_late: usize) {
    let world = World::s3().await;
    let server = world.s3_server();
    let let_go = CancellationToken::new();
    server.inject_after(after, call, StoreFault::HoldUntil(let_go.clone()), 1000);
    let id = world
        .add(SimulatedRecording::new(Uuid::new_v4(), SIZE))
        .await;
    let late = daemon(&world);
    eventually("the first daemon waits for the store", || async {
        (server.count(call) > after as usize).then_some(())
    })
    .await;
    late.signal(Signal::SIGSTOP);
    // What it has sent is still on its way.
    server.clear_faults();
    let in_time = daemon(&world);
    eventually("the second daemon has archived it", || async {
        (world.row(id).await.state == "archived").then_some(())
    })
    .await;
    let completed = server.count(Call::Complete);
    let before = state(&world, id).await;

    let_go.cancel();
    late.signal(Signal::SIGCONT);
    late.signal(Signal::SIGTERM);
    late.ended().await.demand_code(0);

    assert_eq!(
        server.count(Call::Complete),
        completed,
        "it publishes no more"
    );
    assert_eq!(completed, 1 + by_the_late);
    assert_eq!(state(&world, id).await, before);
    world.demand_archived(id).await;
    let attempts = world.attempts(id).await;
    let outcomes: Vec<_> = attempts.iter().map(|it| it.outcome.as_deref()).collect();
    assert_eq!(outcomes, [Some("lost"), Some("archived")], "{attempts:?}");
    in_time.signal(Signal::SIGTERM);
    in_time.ended().await.demand_code(0);
}

/// All that a late worker could change.
async fn state(world: &World, id: Uuid) -> (Row, Option<String>, SystemTime, i64) {
    let mut row = world.row(id).await;
    row.due_in_secs = 0.0;
    let object = std::fs::metadata(world.path_of(&world.key_of(id))).unwrap();
    let costs = world
        .number("SELECT count(*) FROM archiver.cost_observations")
        .await;
    (row, world.manifest(id), object.modified().unwrap(), costs)
}
