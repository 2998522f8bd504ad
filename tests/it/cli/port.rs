//! The HTTP port against clients that send half of what they should, or too much of it.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{demand_status, offer};
use crate::harness::binary::{Binary, Running};
use crate::harness::eventually;
use crate::harness::world::World;

/// A connection on which half of a request's head was sent.
async fn half_a_head(daemon: &Running) -> TcpStream {
    let base = daemon.http().await;
    let mut stream = TcpStream::connect(base.strip_prefix("http://").unwrap())
        .await
        .unwrap();
    stream
        .write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n")
        .await
        .unwrap();
    stream
}

#[tokio::test]
async fn sigterm_ends_the_service_in_spite_of_half_a_request() {
    let world = World::local().await;
    let daemon = Binary::of(&world)
        .with("RECORDING_ARCHIVER_WORKER_DRAIN_TIMEOUT", "1s")
        .start(&["run"]);
    daemon.demand_log("ready").await;
    let _half = half_a_head(&daemon).await;
    // Accepted, since one that came later is answered.
    demand_status(&format!("{}/livez", daemon.http().await), 200).await;
    let told = Instant::now();
    daemon.signal(Signal::SIGTERM);
    daemon.ended().await.demand_code(0);
    // The machine may be busy; without an end of its own it took until the client's.
    let took = told.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn half_open_connections_beyond_the_file_limit_stop_nothing() {
    let world = World::local().await;
    let daemon = Binary::of(&world).with_open_files(256, 256).start(&["run"]);
    daemon.demand_log("ready").await;
    let mut half_open = Vec::new();
    for _ in 0..300 {
        half_open.push(half_a_head(&daemon).await);
    }
    demand_status(&format!("{}/livez", daemon.http().await), 200).await;
    let id = offer(&world, [1], 100_000)[0];
    world.enqueue(id).await;
    eventually("it is archived", || async {
        (world.row(id).await.state == "archived").then_some(())
    })
    .await;
    daemon.signal(Signal::SIGTERM);
    let ended = daemon.ended().await.demand_code(0);
    assert!(!ended.stderr.contains("open files"), "{ended:?}");
}

#[tokio::test]
async fn soft_limit_on_open_files_is_raised_at_start() {
    let world = World::local().await;
    let daemon = Binary::of(&world).with_open_files(200, 400).start(&["run"]);
    daemon.demand_log("ready").await;
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    let numbers: Vec<&str> = line.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers, ["400", "400"], "{line}");
    super::end(daemon).await;
}
