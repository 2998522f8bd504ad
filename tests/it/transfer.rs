//! The engine over real sockets: trouble in the middle and what it costs, and the limits it keeps.

mod ladder;
mod limits;
mod restarts;
mod trouble;
mod whole;

use std::num::NonZeroU16;
use std::time::Duration;

use recording_archiver::archive::Archiver;
use recording_archiver::simulator::{SimulatedRecording, parse_fault};
use uuid::Uuid;

use crate::harness::world::{MIB, PART, Settings, World};

/// Four parts and a bit.
const SIZE: u64 = 4 * PART + MIB + 7;

async fn add(world: &World, size_bytes: u64) -> Uuid {
    world
        .add(SimulatedRecording::new(Uuid::new_v4(), size_bytes))
        .await
}

/// Lets the media host do this, as it is spelled on the command line.
fn inject(world: &World, id: Uuid, spelling: &str) {
    let order = parse_fault(&format!("{id}={spelling}")).unwrap();
    world.simulator.inject(id, order.fault, order.times);
}

/// An archiver that takes a second for a standstill, and with it may wait a second when told so.
fn archiver(world: &World, connections: u16) -> Archiver {
    archiver_with(world, connections, |_| {})
}

fn archiver_with(world: &World, connections: u16, change: impl FnOnce(&mut Settings)) -> Archiver {
    world.archiver_with(|settings| {
        settings.transfer.connections = NonZeroU16::new(connections).unwrap();
        settings.transfer.idle_timeout = Duration::from_secs(1);
        change(settings);
    })
}
