//! How many connections and how many bytes a second: what was allowed, and no more.

use std::num::{NonZeroU16, NonZeroU64};
use std::time::{Duration, Instant};

use recording_archiver::daemon::Ending;
use recording_archiver::queue::Outcome;
use recording_archiver::simulator::SimulatedRecording;
use uuid::Uuid;

use super::{SIZE, add, archiver, archiver_with, inject};
use crate::harness::world::{MIB, PART, World};

/// A recording that each connection brings at this pace.
async fn add_slow(world: &World, size_bytes: u64, bytes_per_second: u64) -> Uuid {
    let mut recording = SimulatedRecording::new(Uuid::new_v4(), size_bytes);
    recording.bytes_per_second = Some(bytes_per_second);
    world.add(recording).await
}

#[tokio::test]
async fn a_recording_has_as_many_connections_as_allowed_and_no_more() {
    for world in [World::local().await, World::s3().await] {
        for connections in [1, 2, 4] {
            let id = add_slow(&world, SIZE, 16 * MIB).await;
            world.attempt(&archiver(&world, connections)).await;
            world.demand_archived(id).await;
            let counts = world.simulator.counts(id);
            let peak = counts.peak_media_responses;
            assert_eq!(peak, u64::from(connections), "{counts:?}");
            assert_eq!(counts.media_requests, SIZE.div_ceil(PART), "{counts:?}");
        }
    }
}

#[tokio::test]
async fn a_recording_has_no_more_connections_than_parts() {
    let world = World::s3().await;
    for (size_bytes, parts) in [(PART, 1), (PART + 1, 2), (3 * PART, 3)] {
        let id = add_slow(&world, size_bytes, 16 * MIB).await;
        world.attempt(&archiver(&world, 16)).await;
        world.demand_archived(id).await;
        let counts = world.simulator.counts(id);
        assert_eq!(counts.media_requests, parts, "{counts:?}");
        assert!(counts.peak_media_responses <= parts, "{counts:?}");
    }
}

#[tokio::test]
async fn a_host_that_ignores_ranges_is_asked_once() {
    let world = World::s3().await;
    let id = add_slow(&world, SIZE, 32 * MIB).await;
    inject(&world, id, "media-ignore-rangexalways");
    world.attempt(&archiver(&world, 4)).await;
    world.demand_archived(id).await;
    let counts = world.simulator.counts(id);
    assert_eq!(counts.media_requests, 1, "{counts:?}");
    assert_eq!(counts.peak_media_responses, 1, "{counts:?}");
}

/// As the program runs it: on several threads, any connection may come first to the plan.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_byte_is_asked_for_twice_while_nothing_breaks() {
    let world = World::local().await;
    for _ in 0..8 {
        let id = add_slow(&world, SIZE, 64 * MIB).await;
        world.attempt(&archiver(&world, 4)).await;
        world.demand_archived(id).await;
        let mut counts = world.simulator.counts(id);
        counts.ranges.sort();
        counts.ranges.dedup();
        let parts = SIZE.div_ceil(PART);
        assert_eq!(counts.ranges.len() as u64, parts, "{counts:?}");
        assert_eq!(counts.media_requests, parts, "{counts:?}");
        assert_eq!(counts.media_bytes_sent, SIZE, "{counts:?}");
    }
}

#[tokio::test]
async fn all_recordings_together_have_no_more_connections_to_a_host_than_allowed() {
    let world = World::local().await;
    let size_bytes = PART + MIB;
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.push(add_slow(&world, size_bytes, 6 * MIB).await);
    }
    let archiver = archiver_with(&world, 4, |settings| {
        settings.transfer.connections_per_host = NonZeroU16::MIN;
    });
    let traffic = archiver.media.traffic().clone();
    let began = Instant::now();
    let (ending, reports) = world.run_once(archiver, 2).await;
    // 12 MiB on one connection at 6 MiB/s, however many there could be.
    let least = Duration::from_secs_f64(12.0 / 6.0 * 0.9);
    assert!(began.elapsed() >= least, "{:?}", began.elapsed());
    assert!(matches!(ending, Ending::Done), "{ending:?}");
    assert_eq!(reports.len(), 2);
    assert_eq!(traffic.open_connections(), 0);
    for id in ids {
        world.demand_archived(id).await;
        assert_eq!(world.simulator.counts(id).peak_media_responses, 1);
    }
}

#[tokio::test]
async fn one_connection_to_a_host_is_enough_for_many_recordings() {
    let world = World::s3().await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(add(&world, PART + MIB).await);
    }
    let archiver = archiver_with(&world, 4, |settings| {
        settings.transfer.connections_per_host = NonZeroU16::MIN;
        settings.transfer.memory_limit_bytes = PART;
    });
    let running = world.run_once(archiver, 4);
    let done = tokio::time::timeout(Duration::from_mins(1), running).await;
    let (_, reports) = done.expect("nobody waits for ever");
    for report in reports {
        assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
    }
    for id in ids {
        world.demand_archived(id).await;
    }
}

#[tokio::test]
async fn bytes_come_no_faster_than_the_bandwidth_limit_whatever_the_connections() {
    let world = World::local().await;
    for recordings in [1, 2] {
        let mut ids = Vec::new();
        for _ in 0..recordings {
            ids.push(add(&world, 6 * MIB / recordings).await);
        }
        let archiver = archiver_with(&world, 4, |settings| {
            settings.transfer.bandwidth_limit_bytes = NonZeroU64::new(4 * MIB);
            settings.storage.part_size_bytes = MIB;
        });
        let traffic = archiver.media.traffic().clone();
        let began = Instant::now();
        world.run_once(archiver, 2).await;
        // All but what may come in one burst.
        let least = Duration::from_secs_f64(6.0 / 4.0 * 0.9);
        assert!(began.elapsed() >= least, "{:?}", began.elapsed());
        assert_eq!(traffic.received_bytes(), 6 * MIB);
        for id in ids {
            world.demand_archived(id).await;
            assert_eq!(world.attempts(id).await.len(), 1);
        }
    }
}

#[tokio::test]
async fn waiting_for_the_bandwidth_limit_is_no_standstill() {
    let world = World::local().await;
    let id = add(&world, 600_000).await;
    let archiver = archiver_with(&world, 1, |settings| {
        settings.transfer.bandwidth_limit_bytes = NonZeroU64::new(300_000);
        settings.transfer.idle_timeout = Duration::from_millis(300);
    });
    let report = world.attempt(&archiver).await;
    assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
    world.demand_archived(id).await;
    assert_eq!(world.simulator.counts(id).media_requests, 1);
}

#[tokio::test]
async fn transfer_below_the_minimum_rate_ends_as_stalled() {
    let world = World::local().await;
    // The last one is too long to arrive in the pieces that its broken connections bring.
    for (min_rate, size_bytes, outcome) in [
        (0, 600_000, Outcome::Archived),
        (1024, 600_000, Outcome::Archived),
        (16 * MIB, 32 * MIB, Outcome::Retrying),
    ] {
        add_slow(&world, size_bytes, 300_000).await;
        let archiver = archiver_with(&world, 1, |settings| {
            settings.transfer.idle_timeout = Duration::from_secs(1);
            settings.transfer.min_bytes_per_second = min_rate;
        });
        let report = world.attempt(&archiver).await;
        assert_eq!(report.outcome, outcome, "{min_rate}: {report:?}");
    }
    let stalled = "SELECT count(*) FROM archiver.recordings WHERE error_kind = 'stalled'";
    assert_eq!(world.number(stalled).await, 1);
}
