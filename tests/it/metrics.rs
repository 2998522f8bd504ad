//! The gauges and counters show what they are named after, each from its own source.

use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

use recording_archiver::metrics::Metrics;
use recording_archiver::progress::Progress;
use recording_archiver::queue::{Waiting, depth};
use recording_archiver::simulator::{SimulatedRecording, parse_fault};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::harness::eventually;
use crate::harness::world::{MIB, PART, World, claim};
use crate::seed::{Seed, execute, migrated_database};

fn value(metrics: &Metrics, name: &str) -> u64 {
    let text = metrics.encode();
    let start = format!("recording_archiver_{name} ");
    let sample = text.lines().find_map(|line| line.strip_prefix(&start));
    sample.expect("it is exported").parse().unwrap()
}

/// Limits that are all different, and traffic that makes every number another one.
#[tokio::test]
async fn each_number_of_the_flow_comes_from_its_own_source() {
    let world = World::s3().await;
    let mut settings = world.settings();
    settings.transfer.connections = NonZeroU16::new(3).unwrap();
    settings.transfer.connections_per_host = NonZeroU16::new(7).unwrap();
    settings.transfer.memory_limit_bytes = 80 * MIB;
    settings.transfer.bandwidth_limit_bytes = NonZeroU64::new(900 * MIB);
    settings.transfer.idle_timeout = Duration::from_secs(30);
    settings.signalwire.requests_per_second = NonZeroU32::new(500).unwrap();
    let (transfer, signalwire) = (settings.transfer.clone(), settings.signalwire.clone());
    let archiver = settings.archiver(world.pool.clone());
    let metrics = Metrics::new();
    let names = [
        "received_bytes_total",
        "range_breaks_total",
        "dead_links_total",
        "media_connections",
        "media_connections_per_recording_limit",
        "media_connections_per_host_limit",
        "buffer_bytes",
        "buffer_limit_bytes",
        "bandwidth_limit_bytes_per_second",
        "api_requests_per_second_limit",
    ];
    for name in names {
        assert_eq!(value(&metrics, name), 0, "{name} before there is a source");
    }
    metrics.watch(
        archiver.media.traffic(),
        &archiver.memory,
        &transfer,
        &signalwire,
    );
    for (name, limit) in [
        ("media_connections_per_recording_limit", 3),
        ("media_connections_per_host_limit", 7),
        ("buffer_limit_bytes", 30 * MIB),
        ("bandwidth_limit_bytes_per_second", 900 * MIB),
        ("api_requests_per_second_limit", 500),
        ("media_connections", 0),
        ("buffer_bytes", 0),
    ] {
        assert_eq!(value(&metrics, name), limit, "{name}");
    }

    // Two answers break off, then one link dies under one connection; all is made good.
    let size_bytes = 4 * PART;
    let mut recording = SimulatedRecording::new(Uuid::new_v4(), size_bytes);
    recording.bytes_per_second = Some(64 * MIB);
    let id = world.add(recording).await;
    for fault in [
        "media-cut-after:700001x2,after=1",
        "media-status:410,after=3",
    ] {
        let order = parse_fault(&format!("{id}={fault}")).unwrap();
        world.simulator.inject(id, order.fault, order.times);
    }
    world.attempt(&archiver).await;
    world.demand_archived(id).await;
    assert_eq!(value(&metrics, "range_breaks_total"), 2);
    assert_eq!(value(&metrics, "dead_links_total"), 1);
    assert_eq!(value(&metrics, "received_bytes_total"), size_bytes);
    assert_eq!(value(&metrics, "media_connections"), 0);
    assert_eq!(value(&metrics, "buffer_bytes"), 0);

    // Two connections that stand still, each with a buffer.
    let id = world
        .add(SimulatedRecording::new(Uuid::new_v4(), 2 * PART))
        .await;
    let order = parse_fault(&format!("{id}=media-stall-after:1000xalways")).unwrap();
    world.simulator.inject(id, order.fault, order.times);
    let (progress, stop) = (Arc::new(Progress::default()), CancellationToken::new());
    let claim = claim(&archiver).await;
    let watched = async {
        eventually("both connections stand still", || async {
            (value(&metrics, "received_bytes_total") == size_bytes + 2000).then_some(())
        })
        .await;
        assert_eq!(value(&metrics, "media_connections"), 2);
        assert_eq!(value(&metrics, "buffer_bytes"), 2 * PART);
        stop.cancel();
    };
    tokio::join!(Box::pin(archiver.attempt(claim, &progress, &stop)), watched);
    assert_eq!(value(&metrics, "media_connections"), 0);
    assert_eq!(value(&metrics, "buffer_bytes"), 0);
}

/// Eleven recordings: 4 due, 3 later, 2 held of which 1 by a dead worker, 1 failed, 1 archived.
#[tokio::test]
async fn each_state_of_the_queue_has_its_own_number_and_age() {
    let database = migrated_database().await;
    let pool = database.pool();
    for number in 1..=11 {
        Seed {
            number,
            archived: number == 11,
            ..Seed::default()
        }
        .insert(&pool)
        .await;
    }
    execute(
        &pool,
        "UPDATE archiver.recordings SET enqueued_at = now() - interval '1 day';
         CREATE FUNCTION number(uuid) RETURNS integer LANGUAGE sql
             RETURN ('x' || right($1::text, 4))::bit(16)::integer;
         UPDATE archiver.recordings SET next_attempt_at = now() - number(recording_id) * interval '10 s'
          WHERE number(recording_id) <= 4;
         UPDATE archiver.recordings SET next_attempt_at = now() + interval '1 hour',
                enqueued_at = now() - number(recording_id) * interval '100 s'
          WHERE number(recording_id) BETWEEN 5 AND 7;
         UPDATE archiver.recordings SET state = 'in_progress', leased_by = 'test',
                lease_token = recording_id,
                lease_expires_at = now() + (number(recording_id) - 8) * interval '1 minute'
          WHERE number(recording_id) BETWEEN 8 AND 9;
         INSERT INTO archiver.attempts (recording_id, attempt, started_at, leased_by, lease_token)
         SELECT recording_id, 1, now() - number(recording_id) * interval '1000 s', leased_by, lease_token
           FROM archiver.recordings WHERE state = 'in_progress';
         UPDATE archiver.recordings SET state = 'failed', error_kind = 'stalled', error_message = '',
                finalized_at = now() - interval '20 days'
          WHERE number(recording_id) = 10",
    )
    .await;
    let found = depth(&pool).await.unwrap();
    let metrics = Metrics::new();
    metrics.show_queue(&found);
    for (state, waiting, recordings, secs) in [
        ("due", found.due, 4, 40.0),
        ("later", found.later, 3, 700.0),
        ("in_progress", found.in_progress, 2, 9000.0),
        ("failed", found.failed, 1, 1_728_000.0),
    ] {
        let Waiting { oldest_secs, .. } = waiting;
        assert_eq!(waiting.recordings, recordings, "{state}");
        assert!(
            (secs..secs + 30.0).contains(&oldest_secs),
            "{state}: {oldest_secs}"
        );
        let text = metrics.encode();
        for sample in [
            format!("queue_recordings{{state=\"{state}\"}} {recordings}\n"),
            format!("queue_oldest_age_seconds{{state=\"{state}\"}} {oldest_secs:?}\n"),
        ] {
            assert!(text.contains(&sample), "{sample}{text}");
        }
    }
    assert_eq!(found.expired_leases, 1);
    assert_eq!(value(&metrics, "queue_expired_leases"), 1);
    assert_eq!(value(&metrics, "database_up"), 1);
    let now = u64::try_from(found.now.timestamp()).unwrap();
    assert_eq!(value(&metrics, "queue_observed_timestamp_seconds"), now);
    metrics.show_no_database();
    assert_eq!(value(&metrics, "database_up"), 0);
    assert_eq!(value(&metrics, "queue_expired_leases"), 1, "as seen last");
}
