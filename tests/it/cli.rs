//! The command line as people and scripts meet it: the real binary, its exit codes, its words.

mod accept_size;
mod alone;
mod archive;
mod doctor;
mod ending;
mod health;
mod interrupted;
mod logs;
mod outages;
mod projects;
mod queueing;
mod resumed;
mod secrets;
mod service;
mod simulate;
mod usage;

use serde_json::Value;
use uuid::Uuid;

use recording_archiver::simulator::SimulatedRecording;

use crate::harness::world::World;

const KIB: u64 = 1024;

/// The n-th recording of a test.
fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x1000_0000_0000_4000_8000_0000_0000_0000 | number)
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
