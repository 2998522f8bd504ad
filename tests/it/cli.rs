//! The command line as people and scripts meet it: the real binary, its exit codes, its words.

mod accept_size;
mod alone;
mod archive;
mod backfill;
mod database;
mod doctor;
mod ending;
mod follow_up;
mod found;
mod health;
mod interrupted;
mod logs;
mod metrics;
mod outages;
mod port;
mod projects;
mod queueing;
mod reload;
mod restore;
mod resumed;
mod secrets;
mod service;
mod simulate;
mod usage;
mod verify;
mod versions;

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use uuid::Uuid;

use recording_archiver::simulator::SimulatedRecording;

use crate::harness::binary::Running;
use crate::harness::eventually;
use crate::harness::world::World;

const KIB: u64 = 1024;

/// The n-th recording of a test.
fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x1000_0000_0000_4000_8000_0000_0000_0000 | number)
}

/// Status and body, or that nobody answers.
async fn get(url: &str) -> Option<(u16, String)> {
    get_as(url, "*/*").await
}

/// The same for somebody who wants a certain type.
async fn get_as(url: &str, accept: &str) -> Option<(u16, String)> {
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .build()
        .unwrap();
    let asked = client.get(url).header("Accept", accept);
    let answer = asked.send().await.ok()?;
    Some((answer.status().as_u16(), answer.text().await.ok()?))
}

async fn demand_status(url: &str, status: u16) {
    eventually(&format!("{url} answers {status}"), || async {
        (get(url).await?.0 == status).then_some(())
    })
    .await;
}

/// Ends a daemon as systemd does, and gives what it logged.
pub(crate) async fn end(daemon: Running) -> String {
    daemon.signal(Signal::SIGTERM);
    daemon.ended().await.demand_code(0).stderr
}

/// Adds recordings at the provider, which the queue does not know yet.
fn offer(world: &World, numbers: impl IntoIterator<Item = u128>, size_bytes: u64) -> Vec<Uuid> {
    let ids: Vec<Uuid> = numbers.into_iter().map(id).collect();
    for id in &ids {
        world
            .simulator
            .add(SimulatedRecording::new(*id, size_bytes));
    }
    ids
}

/// `archive --output jsonl` and the words of the line.
fn outcome(line: &Value) -> (&str, Option<&str>) {
    (
        line["outcome"].as_str().unwrap(),
        line["error_kind"].as_str(),
    )
}

/// `--id` for each.
fn id_flags(ids: &[String]) -> Vec<&str> {
    ids.iter().flat_map(|id| ["--id", id.as_str()]).collect()
}

fn texts(ids: &[Uuid]) -> Vec<String> {
    ids.iter().map(Uuid::to_string).collect()
}
