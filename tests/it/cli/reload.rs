//! SIGHUP: what a running service takes from its configuration, and what it refuses.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio_util::sync::CancellationToken;

use super::{KIB, get, id, offer};
use crate::harness::binary::{Binary, Running};
use crate::harness::eventually;
use crate::harness::line::Line;
use crate::harness::s3::{Call, StoreFault};
use crate::harness::world::{MIB, World};
use crate::seed::execute;

/// Two parts and a bit.
const LARGE: u64 = 11 * MIB;
const NEVER: &str = "0 0 0 1 1 *";

/// A binary whose settings of interest stand in its file.
fn with_file(world: &World, settings: &str) -> Binary {
    let binary = Binary::of(world).without("RECORDING_ARCHIVER_SIGNALWIRE_REQUESTS_PER_SECOND");
    write(&binary, settings);
    binary
}

fn write(binary: &Binary, settings: &str) {
    fs::write(binary.directory().join("config.toml"), settings).unwrap();
}

/// Starts the service and waits until it hears signals.
async fn started(binary: &Binary) -> Running {
    let daemon = binary.start(&["run"]);
    daemon.demand_log("ready").await;
    daemon
}

async fn reload(binary: &Binary, daemon: &Running, settings: &str, answer: &str) {
    write(binary, settings);
    daemon.signal(Signal::SIGHUP);
    daemon.demand_log(answer).await;
}

async fn end(daemon: Running) -> String {
    daemon.signal(Signal::SIGTERM);
    daemon.ended().await.demand_code(0).stderr
}

async fn in_state(world: &World, state: &'static str, number: i64) {
    let counted = format!("SELECT count(*) FROM archiver.recordings WHERE state = '{state}'");
    let counted: &'static str = Box::leak(counted.into_boxed_str());
    eventually(&format!("{number} are {state}"), || async {
        (world.number(counted).await == number).then_some(())
    })
    .await;
}

async fn metric(http: &str, name: &str) -> u64 {
    let (_, text) = get(&format!("{http}/metrics")).await.unwrap();
    let line = format!("recording_archiver_{name} ");
    let value = text.lines().find_map(|it| it.strip_prefix(&line));
    value.expect("it is a metric").parse().unwrap()
}

#[tokio::test]
async fn another_bandwidth_limit_holds_for_a_transfer_that_runs() {
    let world = World::local().await;
    // By this limit it takes minutes.
    let binary = with_file(&world, "[transfer]\nbandwidth_limit = '64KiB'\n");
    let daemon = started(&binary).await;
    let http = daemon.http().await;
    let limit = "bandwidth_limit_bytes_per_second";
    assert_eq!(metric(&http, limit).await, 64 * KIB);
    let recording = offer(&world, [1], LARGE)[0];
    world.enqueue(recording).await;
    eventually("bytes come", || async {
        (metric(&http, "received_bytes_total").await > 0).then_some(())
    })
    .await;
    let answer = "reloaded: transfer.bandwidth_limit";
    reload(&binary, &daemon, "", answer).await;
    in_state(&world, "archived", 1).await;
    world.demand_archived(recording).await;
    assert_eq!(world.attempts(recording).await.len(), 1);
    assert_eq!(metric(&http, limit).await, 0);
    end(daemon).await;
}

#[tokio::test]
async fn another_api_rate_holds_for_those_who_wait_already() {
    let world = World::local().await;
    // By this limit it takes a minute and a half.
    let binary = with_file(&world, "[signalwire]\nrequests_per_second = 1\n");
    let daemon = started(&binary).await;
    for id in offer(&world, 1..=90, KIB) {
        world.enqueue(id).await;
    }
    eventually("it has begun", || async {
        (world.simulator.requests().len() > 2).then_some(())
    })
    .await;
    let answer = "reloaded: signalwire.requests_per_second";
    let settings = "[signalwire]\nrequests_per_second = 1000\n";
    reload(&binary, &daemon, settings, answer).await;
    in_state(&world, "archived", 90).await;
    let http = daemon.http().await;
    assert_eq!(metric(&http, "api_requests_per_second_limit").await, 1000);
    end(daemon).await;
}

#[tokio::test]
async fn more_concurrency_claims_at_once_and_less_lets_go_on_what_runs() {
    let world = World::s3().await;
    let binary = with_file(&world, "[worker]\nconcurrency = 1\n");
    let daemon = started(&binary).await;
    // The store is known after this one: its probes are over.
    let ids = offer(&world, 1..=5, LARGE);
    world.enqueue(ids[0]).await;
    in_state(&world, "archived", 1).await;
    let go_on = CancellationToken::new();
    let hold = StoreFault::HoldUntil(go_on.clone());
    world.s3_server().inject(Call::Complete, hold, 3);
    for id in &ids[1..4] {
        world.enqueue(*id).await;
    }
    in_state(&world, "in_progress", 1).await;
    let three = "[worker]\nconcurrency = 3\n";
    reload(&binary, &daemon, three, "reloaded: worker.concurrency").await;
    in_state(&world, "in_progress", 3).await;

    let one = "[worker]\nconcurrency = 1\ndrain_timeout = '61s'\n";
    let answer = "reloaded: worker.concurrency, worker.drain_timeout";
    reload(&binary, &daemon, one, answer).await;
    world.enqueue(ids[4]).await;
    assert_eq!(world.row(ids[4]).await.state, "pending");
    go_on.cancel();
    in_state(&world, "archived", 5).await;
    for id in &ids {
        world.demand_archived(*id).await;
        assert_eq!(world.attempts(*id).await.len(), 1, "nothing was cut off");
    }
    let began_before_the_others_ended = "
        SELECT count(*) FROM archiver.attempts others, archiver.attempts last
         WHERE last.attempt_id = (SELECT max(attempt_id) FROM archiver.attempts)
           AND others.attempt_id <> last.attempt_id AND others.finished_at > last.started_at";
    assert_eq!(world.number(began_before_the_others_ended).await, 0);
    end(daemon).await;
}

#[tokio::test]
async fn another_schedule_rings() {
    let world = World::local().await;
    let binary = with_file(&world, &format!("[worker]\nschedule = '{NEVER}'\n"));
    let daemon = started(&binary).await;
    offer(&world, [1], KIB);
    let every_second = "[worker]\nschedule = '* * * * * *'\n[sweep]\nschedule = 'off'\n";
    let answer = "reloaded: worker.schedule, sweep.schedule";
    reload(&binary, &daemon, every_second, answer).await;
    // Its own bell rings before it is due.
    let later = format!(
        "INSERT INTO archiver.recordings (recording_id, next_attempt_at)
         VALUES ('{}', now() + interval '2 seconds')",
        id(1)
    );
    execute(&world.pool, &later).await;
    in_state(&world, "archived", 1).await;
    end(daemon).await;
}

#[tokio::test]
async fn the_log_level_follows_the_file_unless_rust_log_is_set() {
    let world = World::local().await;
    let (errors, infos) = ("[log]\nlevel = 'error'\n", "[log]\nlevel = 'info'\n");
    let binary = with_file(&world, errors);
    let daemon = binary.start(&["run"]);
    offer(&world, 1..=3, KIB);
    world.enqueue(id(1)).await;
    in_state(&world, "archived", 1).await;
    reload(&binary, &daemon, infos, "reloaded: log.level").await;
    world.enqueue(id(2)).await;
    daemon.demand_log(&format!("archived {}", id(2))).await;
    let log = end(daemon).await;
    assert!(!log.contains(&format!("archived {}", id(1))), "{log}");

    let daemon = started(&binary).await;
    let http = daemon.http().await;
    write(
        &binary,
        &format!("{errors}[transfer]\nbandwidth_limit = '1MiB'\n"),
    );
    daemon.signal(Signal::SIGHUP);
    eventually("it is reloaded", || async {
        let limit = metric(&http, "bandwidth_limit_bytes_per_second").await;
        (limit == MIB).then_some(())
    })
    .await;
    world.enqueue(id(3)).await;
    in_state(&world, "archived", 3).await;
    let log = end(daemon).await;
    assert!(!log.contains(&format!("archived {}", id(3))), "{log}");

    write(&binary, infos);
    let binary = binary.with("RUST_LOG", "info");
    let daemon = started(&binary).await;
    let answer = "log.level has no effect while RUST_LOG is set";
    reload(&binary, &daemon, errors, answer).await;
    end(daemon).await;
}

#[tokio::test]
async fn a_broken_file_is_refused_with_its_place_and_the_former_configuration_goes_on() {
    let world = World::local().await;
    let binary = with_file(&world, "[worker]\nconcurrency = 2\n");
    let daemon = started(&binary).await;
    let broken = "[worker]\nconcurrency = 'many'\nshedule = '* * * * * *'\n";
    reload(&binary, &daemon, broken, "not reloaded").await;
    daemon.demand_log("config.toml:2:15").await;
    daemon.demand_log("unknown key `worker.shedule`").await;
    // One that is gone is no leave to take another one, or the defaults.
    fs::remove_file(binary.directory().join("config.toml")).unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.demand_log("check that it exists").await;
    let recording = offer(&world, [1], KIB)[0];
    world.enqueue(recording).await;
    in_state(&world, "archived", 1).await;
    world.demand_archived(recording).await;
    // After all that, it still listens.
    reload(&binary, &daemon, "", "reloaded: worker.concurrency").await;
    let log = end(daemon).await;
    assert_eq!(log.matches("not reloaded").count(), 2, "{log}");
}

#[tokio::test]
async fn what_needs_a_restart_is_named_in_one_line_and_changes_nothing() {
    let world = World::local().await;
    let binary = with_file(&world, "");
    let daemon = started(&binary).await;
    let settings =
        "[worker]\nlease = '90s'\nconcurrency = 3\n[storage]\nlayout = '{recording_id}'\n";
    let answer = "in need of a restart: storage.layout, worker.lease\n";
    reload(&binary, &daemon, settings, answer).await;
    let recording = offer(&world, [1], KIB)[0];
    world.enqueue(recording).await;
    in_state(&world, "archived", 1).await;
    world.demand_archived(recording).await;
    // It is still so when another setting changes, and over when it is as at the start.
    let settings = "[worker]\nlease = '90s'\nconcurrency = 4\n";
    reload(
        &binary,
        &daemon,
        settings,
        "in need of a restart: worker.lease\n",
    )
    .await;
    reload(
        &binary,
        &daemon,
        "[worker]\nlease = '2m'\n",
        "reloaded: worker.concurrency\n",
    )
    .await;
    let log = end(daemon).await;
    assert_eq!(log.matches("restart").count(), 2, "{log}");
}

#[tokio::test]
async fn of_two_signals_in_a_row_the_last_file_holds() {
    let world = World::local().await;
    let binary = with_file(&world, "[transfer]\nbandwidth_limit = '1MiB'\n");
    let daemon = started(&binary).await;
    let http = daemon.http().await;
    for limit in 2..=9 {
        write(
            &binary,
            &format!("[transfer]\nbandwidth_limit = '{limit}MiB'\n"),
        );
        daemon.signal(Signal::SIGHUP);
    }
    eventually("the last limit holds", || async {
        let limit = metric(&http, "bandwidth_limit_bytes_per_second").await;
        (limit == 9 * MIB).then_some(())
    })
    .await;
    end(daemon).await;
}

#[tokio::test]
async fn another_drain_timeout_holds_and_while_it_drains_nothing_is_reloaded() {
    let world = World::s3().await;
    let binary = with_file(&world, "[worker]\ndrain_timeout = '1h'\n");
    let daemon = started(&binary).await;
    let recording = offer(&world, [1], LARGE)[0];
    let hold = StoreFault::HoldUntil(CancellationToken::new());
    world.s3_server().inject_after(1, Call::PutPart, hold, 1000);
    world.enqueue(recording).await;
    eventually("it waits for the store", || async {
        (world.s3_server().count(Call::PutPart) == 3).then_some(())
    })
    .await;
    let short = "[worker]\ndrain_timeout = '3s'\n";
    reload(&binary, &daemon, short, "reloaded: worker.drain_timeout").await;
    daemon.signal(Signal::SIGTERM);
    daemon.demand_log("what runs has 3s to finish").await;
    let answer = "not reloaded, because the service is stopping";
    reload(&binary, &daemon, "nonsense", answer).await;
    let log = daemon.ended().await.demand_code(0).stderr;
    assert!(log.contains("the drain time-out has passed"), "{log}");
    let row = world.row(recording).await;
    assert_eq!((row.state.as_str(), row.attempts), ("pending", 0));
}

#[tokio::test]
async fn a_rotated_token_cures_a_halt_at_once() {
    let world = World::local().await;
    let binary = with_file(&world, "")
        .without("SIGNALWIRE_API_TOKEN")
        .with("SIGNALWIRE_API_TOKEN_FILE", "token");
    let token = binary.directory().join("token");
    fs::write(&token, "PTwrong").unwrap();
    let daemon = started(&binary).await;
    let recording = offer(&world, [1], KIB)[0];
    world.enqueue(recording).await;
    daemon.demand_log("claiming is halted").await;
    fs::write(&token, world.simulator.api_token()).unwrap();
    let told = Instant::now();
    reload(&binary, &daemon, "", "reloaded: signalwire.api_token").await;
    in_state(&world, "archived", 1).await;
    // By itself it would look after 15 s.
    assert!(told.elapsed() < Duration::from_secs(10), "{told:?}");
    world.demand_archived(recording).await;
    end(daemon).await;
}

#[tokio::test]
async fn a_signal_before_the_database_is_there_ends_nothing() {
    let world = World::local().await;
    let line = Line::cut_off(world.database_options()).await;
    let binary = with_file(&world, "").with("DATABASE_URL", line.url(&world.database_url()));
    let daemon = binary.start(&["run"]);
    daemon.demand_log("waiting for the database").await;
    write(&binary, "[worker]\nconcurrency = 3\n");
    daemon.signal(Signal::SIGHUP);
    line.mend();
    daemon.demand_log("reloaded: worker.concurrency").await;
    end(daemon).await;
}

#[tokio::test]
async fn systemd_hears_when_a_reload_begins_and_ends() {
    let world = World::local().await;
    let binary = with_file(&world, "");
    let socket = binary.directory().join("notify");
    let systemd = UnixDatagram::bind(&socket).unwrap();
    systemd
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let binary = binary.with("NOTIFY_SOCKET", &socket);
    let daemon = started(&binary).await;
    let heard = move || {
        let mut message = [0; 256];
        loop {
            let length = systemd.recv(&mut message).unwrap();
            let text = String::from_utf8_lossy(&message[..length])
                .trim()
                .to_owned();
            if text != "WATCHDOG=1" {
                return text;
            }
        }
    };
    assert_eq!(heard(), "READY=1");
    for settings in ["", "nonsense"] {
        write(&binary, settings);
        daemon.signal(Signal::SIGHUP);
        let began = heard();
        let usec = began.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
        let usec: u64 = usec.expect("it begins").parse().unwrap();
        assert!(usec > 0);
        assert_eq!(heard(), "READY=1");
    }
    daemon.signal(Signal::SIGTERM);
    assert_eq!(heard(), "STOPPING=1");
    daemon.ended().await.demand_code(0);
}
