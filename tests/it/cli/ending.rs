//! How `run` ends: by a signal, by a second one, or by none at all.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use recording_archiver::simulator::SimulatedRecording;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{KIB, id, offer};
use crate::harness::binary::{Binary, Running};
use crate::harness::eventually;
use crate::harness::s3::{Call, StoreFault};
use crate::harness::world::{MIB, PART, Store, World, files_below};

/// Two parts and a bit.
const LARGE: u64 = 11 * MIB;

/// A daemon in the middle of a transfer that gets no further.
async fn stalled(world: &World, drain_timeout: &str) -> (Uuid, Running) {
    let recording = offer(world, [1], LARGE)[0];
    // The store takes one part, and then no more.
    let hold = StoreFault::HoldUntil(CancellationToken::new());
    world.s3_server().inject_after(1, Call::PutPart, hold, 1000);
    world.enqueue(recording).await;
    let daemon = Binary::of(world)
        .with("RECORDING_ARCHIVER_WORKER_DRAIN_TIMEOUT", drain_timeout)
        .start(&["run"]);
    eventually("it waits for the store", || async {
        (world.s3_server().count(Call::PutPart) == 3).then_some(())
    })
    .await;
    (recording, daemon)
}

#[tokio::test]
async fn a_transfer_that_runs_may_finish_and_nothing_more_is_claimed() {
    let world = World::s3().await;
    let ids = offer(&world, [1, 2], LARGE);
    let go_on = CancellationToken::new();
    let hold = StoreFault::HoldUntil(go_on.clone());
    world.s3_server().inject(Call::Complete, hold, 1);
    world.enqueue(ids[0]).await;
    let daemon = Binary::of(&world).start(&["run"]);
    eventually("it is about to be published", || async {
        (world.s3_server().count(Call::Complete) > 0).then_some(())
    })
    .await;
    daemon.signal(Signal::SIGTERM);
    daemon.demand_log("stopping").await;
    world.enqueue(ids[1]).await;
    go_on.cancel();
    daemon
        .ended()
        .await
        .demand_code(0)
        .demand_error(&["stopped"]);
    world.demand_archived(ids[0]).await;
    assert_eq!(world.row(ids[1]).await.state, "pending");
    assert_eq!(world.attempts(ids[1]).await, []);
}

#[tokio::test]
async fn what_still_runs_after_the_drain_timeout_is_given_back_unburnt() {
    let world = World::s3().await;
    let (recording, daemon) = stalled(&world, "1s").await;
    daemon.signal(Signal::SIGTERM);
    let ended = daemon.ended().await.demand_code(0);
    ended.demand_error(&["the drain time-out has passed", "stopped"]);
    let row = world.row(recording).await;
    assert_eq!(
        (row.state.as_str(), row.attempts),
        ("pending", 0),
        "{row:?}"
    );
    assert!(row.due_in_secs <= 0.0, "due at once: {row:?}");
    let attempts = world.attempts(recording).await;
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].outcome.as_deref(), Some("released"));
    assert!(world.object(recording).is_none() && world.manifest(recording).is_none());

    // Whoever comes next goes on after the first part, unless another one was there before it.
    let stored = world.parts_on_record(recording).await;
    assert!(stored <= 1, "{stored}");
    world.s3_server().clear_faults();
    let next = Binary::of(&world).run(&["run", "--once"]).await;
    next.demand_code(0);
    world.demand_archived(recording).await;
    let fetched = world.attempts(recording).await[1].bytes_fetched;
    assert_eq!(fetched.unsigned_abs(), LARGE - stored * PART);
}

#[tokio::test]
async fn a_run_for_a_timer_drains_like_the_service_and_says_that_some_are_left() {
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let world = World::s3().await;
        let ids = offer(&world, [1, 2], LARGE);
        let go_on = CancellationToken::new();
        let hold = StoreFault::HoldUntil(go_on.clone());
        world.s3_server().inject(Call::Complete, hold, 1);
        world.enqueue(ids[0]).await;
        let once = Binary::of(&world).start(&["run", "--once"]);
        eventually("it is about to be published", || async {
            (world.s3_server().count(Call::Complete) > 0).then_some(())
        })
        .await;
        once.signal(signal);
        once.demand_log("stopping").await;
        world.enqueue(ids[1]).await;
        go_on.cancel();
        once.ended().await.demand_code(75);
        world.demand_archived(ids[0]).await;
        assert_eq!(world.attempts(ids[1]).await, []);
    }
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once_and_the_lease_finds_the_recording_again() {
    let world = World::s3().await;
    let (recording, daemon) = stalled(&world, "1h").await;
    daemon.signal(Signal::SIGTERM);
    daemon.demand_log("stopping").await;
    daemon.signal(Signal::SIGINT);
    daemon.ended().await.demand_code(1);
    assert_eq!(world.row(recording).await.state, "in_progress");

    world.s3_server().clear_faults();
    world.make_due().await;
    let binary = Binary::of(&world);
    binary.run(&["run", "--once"]).await.demand_code(0);
    binary.run(&["sweep"]).await.demand_code(0);
    world.demand_archived(recording).await;
    let outcomes: Vec<_> = world.attempts(recording).await;
    assert_eq!(outcomes[0].outcome.as_deref(), Some("lost"));
    assert_eq!(outcomes[1].outcome.as_deref(), Some("archived"));
}

const MANY: u128 = 200;
const SLOW: u128 = 6;

#[tokio::test]
async fn kill_9_in_a_directory_loses_nothing() {
    kill_in_the_middle(World::local().await).await;
}

#[tokio::test]
async fn kill_9_in_a_bucket_loses_nothing() {
    kill_in_the_middle(World::s3().await).await;
}

/// Kills a process in the middle of many recordings, twice, and lets another one finish.
async fn kill_in_the_middle(world: World) {
    let size = |number: u128| if number <= SLOW { LARGE } else { KIB };
    for number in 1..=MANY {
        let mut recording = SimulatedRecording::new(id(number), size(number));
        recording.bytes_per_second = (number <= SLOW).then_some(6 * MIB);
        world.add(recording).await;
    }
    let binary = Binary::of(&world)
        .with("RECORDING_ARCHIVER_WORKER_CONCURRENCY", "4")
        .with("RECORDING_ARCHIVER_WORKER_LEASE", "2s");
    let in_progress = "SELECT count(*) FROM archiver.recordings WHERE state = 'in_progress'";
    let archived = "SELECT count(*) FROM archiver.recordings WHERE state = 'archived'";
    for enough in [20, 60] {
        let running = binary.start(&["run", "--once"]);
        eventually("it is in the middle of it", || async {
            let many = world.number(archived).await >= enough;
            (many && world.number(in_progress).await > 0).then_some(())
        })
        .await;
        running.killed().await;
    }
    // A commit that was on its way when its sender died is carried out.
    let sessions = "SELECT count(*) FROM pg_stat_activity
                     WHERE datname = current_database()
                       AND application_name = 'recording-archiver'";
    eventually("the sessions of the dead have ended", || async {
        (world.number(sessions).await == 0).then_some(())
    })
    .await;
    // Those of the first kill may have been found by the second process, or not yet.
    let cut_off =
        "SELECT count(*) FROM archiver.attempts WHERE outcome IS NULL OR outcome = 'lost'";
    let killed = world.number(cut_off).await;
    assert!(killed >= 2, "{killed}");
    eventually("all is settled", || async {
        let ended = binary.run(&["run", "--once"]).await;
        assert!(matches!(ended.code, Some(0 | 75)), "{ended:?}");
        (ended.code == Some(0)).then_some(())
    })
    .await;
    binary.run(&["sweep"]).await.demand_code(0);

    assert_eq!(world.number(archived).await, i64::try_from(MANY).unwrap());
    for number in 1..=MANY {
        let expected = world.simulator.media_sha256(id(number)).unwrap();
        let object = world.object(id(number)).expect("the object is there");
        assert_eq!(<[u8; 32]>::from(Sha256::digest(&object)), expected);
        assert!(world.manifest(id(number)).is_some());
    }
    let lost = "SELECT count(*) FROM archiver.attempts WHERE outcome = 'lost'";
    assert!(world.number(lost).await >= killed);
    let odd: Vec<String> = sqlx::query_scalar(
        "SELECT concat_ws(' ', outcome, error_kind, error_message) FROM archiver.attempts
          WHERE outcome IS NULL OR outcome NOT IN ('archived', 'already_archived', 'lost')
            -- Where the machine is busy, a lease of two seconds may run out by itself.
            AND (outcome, error_kind) IS DISTINCT FROM ('released', 'lease_lost')",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    assert_eq!(odd, Vec::<String>::new());
    world.demand_nothing_unfinished().await;
    // Every object has its manifest, and there is nothing else.
    let directory = match &world.store {
        Store::Directory(directory) => directory.path().to_owned(),
        Store::S3(_) => world.path_of(""),
    };
    let files = files_below(&directory)
        .into_iter()
        .filter(|path| !path.to_string_lossy().contains("/.recording-archiver-"))
        .count();
    assert_eq!(files, 2 * usize::try_from(MANY).unwrap());
}

#[tokio::test]
async fn what_a_killed_process_staged_is_cleared_away_by_the_next() {
    let world = World::local().await;
    let recording = world.add(SimulatedRecording::new(id(1), KIB)).await;
    world.put_object(recording, b"");
    let object = world.path_of(&world.key_of(recording));
    fs::remove_file(&object).unwrap();
    for left in ["#1", "#2", ".manifest.json#1"] {
        fs::write(format!("{}{left}", object.display()), "half of it").unwrap();
    }
    Binary::of(&world)
        .run(&["run", "--once"])
        .await
        .demand_code(0);
    world.demand_archived(recording).await;
}

#[tokio::test]
async fn an_end_while_nothing_runs_is_quick() {
    let world = World::local().await;
    let daemon = Binary::of(&world).start(&["run"]);
    daemon.demand_log("ready").await;
    let told = std::time::Instant::now();
    daemon.signal(Signal::SIGTERM);
    daemon.ended().await.demand_code(0);
    assert!(
        told.elapsed() < Duration::from_secs(10),
        "{:?}",
        told.elapsed()
    );
}
