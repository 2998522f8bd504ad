//! `run`: what wakes it, what it tells over HTTP, what it lives through.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use recording_archiver::error::ErrorKind;
use recording_archiver::simulator::{MediaFault, MetadataFault, RetryAfter, Times};
use sqlx::PgPool;
use uuid::Uuid;

use super::{KIB, demand_status, end, get, get_as, id, offer};
use crate::harness::binary::Binary;
use crate::harness::eventually;
use crate::harness::line::Line;
use crate::harness::world::World;
use crate::seed::execute;

/// A schedule that never rings while a test runs.
const NEVER: &str = "0 0 0 1 1 *";
const EVERY_SECOND: &str = "* * * * * *";
/// Without a bell the daemon looks at the queue every 15 s: sooner than this, something rang.
const WOKEN_WITHIN: Duration = Duration::from_secs(10);

fn scheduled(world: &World, schedule: &str) -> Binary {
    Binary::of(world).with("RECORDING_ARCHIVER_WORKER_SCHEDULE", schedule)
}

async fn settled(world: &World, id: Uuid) {
    eventually("it is archived", || async {
        (world.row(id).await.state == "archived").then_some(())
    })
    .await;
}

async fn archived(world: &World, id: Uuid) {
    settled(world, id).await;
    world.demand_archived(id).await;
}

/// Waits until the daemon hears notifications: it looks at the queue once more at that moment.
async fn listening(world: &World) {
    let listeners = "SELECT count(*) FROM pg_stat_activity
                      WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    eventually("the daemon listens", || async {
        (world.number(listeners).await > 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn once_ends_as_its_worst_recording_and_binds_no_port() {
    let world = World::local().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let binary = Binary::of(&world).with("RECORDING_ARCHIVER_HTTP_LISTEN", &address);
    let once = ["run", "--once"];
    binary.run(&once).await.demand_code(0);

    for id in offer(&world, 1..=10, KIB) {
        world.enqueue(id).await;
    }
    binary.run(&once).await.demand_code(0);
    for number in 1..=10 {
        world.demand_archived(id(number)).await;
    }

    let early = offer(&world, [11], KIB)[0];
    let fault = MetadataFault::NotReady;
    world.simulator.inject(early, fault, Times::Always);
    world.enqueue(early).await;
    binary.run(&once).await.demand_code(75);
    // What failed in an earlier run is no news; what failed in this one is.
    world.enqueue(id(12)).await;
    binary.run(&once).await.demand_code(1);
    binary.run(&once).await.demand_code(75);
    assert_eq!(world.row(id(12)).await.state, "failed");

    let ended = binary.run(&["run"]).await.demand_code(1);
    ended.demand_error(&["http.listen", &address, "in use"]);
}

#[tokio::test]
async fn an_insert_by_sql_rings_at_once() {
    let world = World::local().await;
    let recording = offer(&world, [1], KIB)[0];
    let daemon = scheduled(&world, NEVER).start(&["run"]);
    listening(&world).await;
    let inserted = Instant::now();
    world.enqueue(recording).await;
    archived(&world, recording).await;
    assert!(
        inserted.elapsed() < WOKEN_WITHIN,
        "{:?}",
        inserted.elapsed()
    );
    end(daemon).await;
}

#[tokio::test]
async fn the_schedule_rings_where_no_notification_comes() {
    let world = World::local().await;
    let disable = "ALTER TABLE archiver.recordings DISABLE TRIGGER ring";
    execute(&world.pool, disable).await;
    let recording = offer(&world, [1], KIB)[0];
    let daemon = scheduled(&world, EVERY_SECOND).start(&["run"]);
    listening(&world).await;
    let inserted = Instant::now();
    world.enqueue(recording).await;
    archived(&world, recording).await;
    assert!(
        inserted.elapsed() < WOKEN_WITHIN,
        "{:?}",
        inserted.elapsed()
    );
    end(daemon).await;
}

#[tokio::test]
async fn a_database_that_is_away_is_waited_for_at_start_and_later() {
    let world = World::local().await;
    let line = Line::cut_off(world.database_options()).await;
    let binary =
        scheduled(&world, EVERY_SECOND).with("DATABASE_URL", line.url(&world.database_url()));
    let daemon = binary.start(&["run"]);
    daemon.demand_log("waiting for the database").await;
    line.mend();
    let http = daemon.http().await;
    demand_status(&format!("{http}/livez"), 200).await;
    demand_status(&format!("{http}/readyz"), 200).await;
    offer(&world, [1, 2], KIB);
    world.enqueue(id(1)).await;
    archived(&world, id(1)).await;

    line.cut();
    demand_status(&format!("{http}/readyz"), 503).await;
    daemon
        .demand_log("nothing is claimed until the database is back")
        .await;
    demand_status(&format!("{http}/livez"), 200).await;
    let (_, why) = get(&format!("{http}/readyz")).await.unwrap();
    assert!(
        why.starts_with("nothing is claimed until the database is back\nerror: "),
        "{why}"
    );
    world.enqueue(id(2)).await;
    line.mend();
    demand_status(&format!("{http}/readyz"), 200).await;
    archived(&world, id(2)).await;
    let log = end(daemon).await;
    for once in [
        "waiting for the database",
        "nothing is claimed until",
        "INFO the database is back",
    ] {
        assert_eq!(log.matches(once).count(), 1, "{once}: {log}");
    }
}

#[tokio::test]
async fn a_daemon_that_waits_for_the_database_can_be_stopped() {
    let world = World::local().await;
    let line = Line::cut_off(world.database_options()).await;
    let binary = Binary::of(&world).with("DATABASE_URL", line.url(&world.database_url()));
    let daemon = binary.start(&["run"]);
    daemon.demand_log("waiting for the database").await;
    end(daemon).await;
}

/// As an administrator does, or a server that restarts.
async fn terminate_sessions(pool: &PgPool) -> i64 {
    sqlx::query_scalar(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
          WHERE datname = current_database() AND application_name = 'recording-archiver'",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn sessions_that_are_terminated_do_not_stop_it() {
    let world = World::local().await;
    offer(&world, [1, 2], KIB);
    let daemon = scheduled(&world, EVERY_SECOND).start(&["run"]);
    daemon.demand_log("ready").await;
    world.enqueue(id(1)).await;
    archived(&world, id(1)).await;
    assert!(terminate_sessions(&world.pool).await > 0);
    world.enqueue(id(2)).await;
    archived(&world, id(2)).await;
    end(daemon).await;
}

#[tokio::test]
async fn a_refused_token_halts_the_claiming_is_told_once_and_burns_nothing() {
    let world = World::local().await;
    let ids = offer(&world, 1..=5, KIB);
    for id in &ids {
        world.enqueue(*id).await;
    }
    let binary = scheduled(&world, EVERY_SECOND).with("SIGNALWIRE_API_TOKEN", "PTwrong");
    let daemon = binary.start(&["run"]);
    daemon.demand_log("claiming is halted").await;
    let http = daemon.http().await;
    demand_status(&format!("{http}/readyz"), 503).await;
    demand_status(&format!("{http}/livez"), 200).await;
    let (_, why) = get(&format!("{http}/readyz")).await.unwrap();
    for part in [
        "claiming is halted: unauthorized\n",
        "\nerror: ",
        &format!("\ncure: {}\n", ErrorKind::Unauthorized.cure()),
        "s; checked again by itself\n",
    ] {
        assert!(why.contains(part), "{part:?} is missing in\n{why}");
    }
    let (_, metrics) = get(&format!("{http}/metrics")).await.unwrap();
    for (kind, halted) in [("unauthorized", 1), ("storage_denied", 0)] {
        let sample = format!("recording_archiver_claiming_halted{{kind=\"{kind}\"}} {halted}\n");
        assert!(metrics.contains(&sample), "{sample}: {metrics}");
    }
    world.enqueue(id(6)).await;
    let log = end(daemon).await;
    assert_eq!(log.matches("claiming is halted").count(), 1, "{log}");
    assert_eq!(log.matches("ERROR").count(), 1, "{log}");
    let touched = "SELECT count(*) FROM archiver.recordings
                    WHERE state <> 'pending' OR attempts > 0 OR lease_token IS NOT NULL";
    assert_eq!(world.number(touched).await, 0);
    assert_eq!(world.attempts(id(6)).await, [], "no claim after the halt");
}

#[tokio::test]
async fn while_the_api_wants_to_be_left_alone_nothing_is_claimed_and_then_it_goes_on() {
    let world = World::local().await;
    for id in offer(&world, 1..=20, KIB) {
        world.enqueue(id).await;
    }
    let binary = scheduled(&world, EVERY_SECOND).with("RECORDING_ARCHIVER_WORKER_CONCURRENCY", "2");
    let given_back = "SELECT count(*) FROM archiver.attempts WHERE error_kind = 'throttled'";
    let later = |secs| MetadataFault::Throttled(RetryAfter::Seconds(secs));

    world.simulator.inject_for_all(later(600), Times::ONCE);
    let daemon = binary.start(&["run"]);
    daemon.demand_log("nothing is claimed for ").await;
    let http = daemon.http().await;
    // Those beside it may have come through, or not.
    assert!((1..=2).contains(&world.number(given_back).await));
    let (_, page) = get_as(&http, "text/html").await.unwrap();
    let reason = "nothing is claimed: the API wants to be left alone (429)";
    assert!(page.contains(reason), "{page}");
    demand_status(&format!("{http}/readyz"), 200).await;
    let log = end(daemon).await;
    assert_eq!(log.matches("nothing is claimed for ").count(), 1, "{log}");
    assert!((1..=2).contains(&world.number(given_back).await));

    world.simulator.inject_for_all(later(1), Times::ONCE);
    world.make_due().await;
    let daemon = binary.start(&["run"]);
    let pending = "SELECT count(*) FROM archiver.recordings WHERE state <> 'archived'";
    eventually("all are archived", || async {
        (world.number(pending).await == 0).then_some(())
    })
    .await;
    let log = end(daemon).await;
    assert!(log.contains("nothing is claimed for "), "{log}");
    assert!((2..=4).contains(&world.number(given_back).await));
}

#[tokio::test]
async fn an_api_that_is_down_opens_the_breaker_and_one_that_is_back_closes_it() {
    let world = World::local().await;
    let ids = offer(&world, 1..=8, KIB);
    let down = MetadataFault::Status(503);
    world.simulator.inject_for_all(down, Times::Always);
    let daemon = scheduled(&world, EVERY_SECOND).start(&["run"]);
    let http = daemon.http().await;
    demand_status(&format!("{http}/readyz"), 200).await;
    for id in &ids {
        world.enqueue(*id).await;
    }
    demand_status(&format!("{http}/readyz"), 503).await;
    let (_, why) = get(&format!("{http}/readyz")).await.unwrap();
    assert!(
        why.starts_with("claiming is halted: api_unavailable\n"),
        "{why}"
    );
    let demand_samples = |open: u8| {
        let http = &http;
        async move {
            let (_, metrics) = get(&format!("{http}/metrics")).await.unwrap();
            for (sample, value) in [
                ("breaker_open{side=\"api\"}", open),
                ("breaker_open{side=\"storage\"}", 0),
                ("claiming_halted{kind=\"api_unavailable\"}", open),
                ("claiming_halted{kind=\"storage_unavailable\"}", 0),
            ] {
                let line = format!("recording_archiver_{sample} {value}\n");
                assert!(metrics.contains(&line), "{line}: {metrics}");
            }
        }
    };
    demand_samples(1).await;
    world.simulator.clear_faults();
    demand_status(&format!("{http}/readyz"), 200).await;
    demand_samples(0).await;
    for id in &ids {
        settled(&world, *id).await;
    }
    for id in &ids {
        archived(&world, *id).await;
    }
    end(daemon).await;
}

#[tokio::test]
async fn one_that_fails_does_not_keep_the_others() {
    let world = World::local().await;
    let ids = offer(&world, 1..=8, KIB);
    world
        .simulator
        .inject(ids[0], MediaFault::Html, Times::Always);
    world
        .simulator
        .inject(ids[1], MediaFault::Hang, Times::Always);
    let daemon = scheduled(&world, NEVER).start(&["run"]);
    daemon.demand_log("ready").await;
    for id in &ids {
        world.enqueue(*id).await;
    }
    for id in &ids[2..] {
        settled(&world, *id).await;
    }
    let http = daemon.http().await;
    demand_status(&format!("{http}/readyz"), 200).await;
    daemon.signal(Signal::SIGTERM);
    daemon.demand_log("stopping").await;
    demand_status(&format!("{http}/readyz"), 503).await;
    let (_, why) = get(&format!("{http}/readyz")).await.unwrap();
    assert_eq!(why, "stopping: nothing more is claimed\n");
    demand_status(&format!("{http}/livez"), 200).await;
    daemon.signal(Signal::SIGTERM);
    daemon.ended().await.demand_code(1);
}
