//! A world that looks like a real one: fourteen months of recordings of somebody else's project,
//! so that no daemon of a test touches them.

use uuid::Uuid;

use crate::harness::binary::{Binary, Running};
use crate::harness::world::World;
use crate::seed::execute;

/// What a provider, or whoever speaks in its name, may send.
pub(crate) const HOSTILE: &str = "<script>alert('x')</script><img src=x onerror=alert(1)> \"'&amp; \u{202e}gpj.exe\u{200b}\u{1b}[31m </dd></main>";
/// As the page must write it.
pub(crate) const HARMLESS: &str = r"&lt;script&gt;alert('x')&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt; &quot;'&amp;amp; \u{202e}gpj.exe\u{200b}\u{1b}[31m &lt;/dd&gt;&lt;/main&gt;";

/// Archived, with attempts, evidence and a cost that changed.
pub(crate) const STORIED: Uuid = Uuid::from_u128(0xa11c_e000_0000_4000_8000_0000_0000_0001);
/// Failed, and everything about it is hostile.
pub(crate) const HOSTILE_ONE: Uuid = Uuid::from_u128(0xbad0_0000_0000_4000_8000_0000_0000_0001);

/// A daemon that reaches the database of this world and leaves its rows alone.
pub(crate) async fn served(world: &World) -> (Running, String) {
    let daemon = daemon(world).start(&["run"]);
    daemon.demand_log("ready").await;
    let base = daemon.http().await;
    (daemon, base)
}

pub(crate) fn daemon(world: &World) -> Binary {
    Binary::of(world).with("RECORDING_ARCHIVER_WORKER_SCHEDULE", "0 0 0 1 1 *")
}

/// Fills the database. Days hang on the present one; what a number is made of does not.
pub(crate) async fn fill(world: &World) {
    let pool = &world.pool;
    execute(pool, ARCHIVED).await;
    execute(pool, TROUBLE).await;
    execute(pool, RUNNING).await;
    execute(pool, STORY).await;
    sqlx::query(
        "INSERT INTO archiver.recordings
             (recording_id, state, project_id, recording_status, media_format, error_kind,
              error_message, finalized_at, object_url, object_key, etag, kept_aside_url, leased_by)
         VALUES ($1, 'failed', $2, $2, $2, 'not_media', $2, now() - interval '3 minutes',
                 $2, $2, $2, $2, NULL)",
    )
    .bind(HOSTILE_ONE)
    .bind(HOSTILE)
    .execute(pool)
    .await
    .unwrap();
    sqlx::query(
        "INSERT INTO archiver.attempts (recording_id, attempt, started_at, finished_at, leased_by,
                                        lease_token, outcome, error_kind, error_message)
         VALUES ($1, 1, now() - interval '4 minutes', now() - interval '3 minutes', $2,
                 gen_random_uuid(), 'failed', $2, $2)",
    )
    .bind(HOSTILE_ONE)
    .bind(HOSTILE)
    .execute(pool)
    .await
    .unwrap();
    sqlx::query(
        "INSERT INTO archiver.cost_observations (recording_id, cost_usd, recording_status, observed_by)
         VALUES ($1, 0.1, $2, 'archive')",
    )
    .bind(HOSTILE_ONE)
    .bind(HOSTILE)
    .execute(pool)
    .await
    .unwrap();
    execute(pool, "ANALYZE").await;
}

/// 1,400 over fourteen months, more each month, fewer at weekends; the last days are dense.
const ARCHIVED: &str = "
    INSERT INTO archiver.recordings
        (recording_id, state, project_id, room_session_id, recording_status, started_at, created_at,
         finished_at, duration_secs, declared_size_bytes, size_bytes, media_format, cost_usd,
         cost_observed_at, cost_changed_at, object_url, object_key, sha256, crc64nvme, evidence,
         enqueued_at, archived_at, finalized_at, verified_at)
    SELECT md5('recording' || n)::uuid, 'archived', 'acme-video', md5('session' || n / 9)::uuid,
           'completed', at, at, at + secs * interval '1 second', secs, secs * 190000, secs * 190000,
           'video/mp4', CASE WHEN n % 97 <> 0 THEN (secs * 0.0004171)::numeric(12, 7) END,
           CASE WHEN n % 97 <> 0 THEN least(now(), at + interval '9 days') END,
           CASE WHEN n % 97 <> 0 THEN least(now(), at + interval '1 hour') END,
           's3://recordings/video/' || n || '.mp4', 'video/' || n || '.mp4', sha256(n::text::bytea),
           'AAAAAAAAAAA=', CASE WHEN n % 5 = 0 THEN 'read_back' ELSE 'full_object' END,
           at + secs * interval '1 second', least(now(), at + interval '2 hours'),
           least(now(), at + interval '2 hours'),
           CASE WHEN n % 3 > 0 THEN now() - (n % 80) * interval '1 day' END
      FROM (SELECT n, 240 + n * 7919 % 5400 AS secs,
                   now() - interval '3 hours'
                       - (426 * (1 - sqrt(n / 1400.0))) * interval '1 day' AS at
              FROM generate_series(1, 1400) n) recordings
     WHERE extract(isodow FROM at) < 6 OR n % 4 = 0;
    UPDATE archiver.recordings SET error_kind = 'checksum_mismatch', error_message = 'SHA-256 differs',
           damage_found_at = now() - interval '1 day'
     WHERE recording_id IN (md5('recording3')::uuid, md5('recording700')::uuid);";

/// What waits, what is tried again, what has failed, two of them at the end of a long road.
const TROUBLE: &str = "
    INSERT INTO archiver.recordings (recording_id, project_id, enqueued_at, next_attempt_at)
    SELECT md5('due' || n)::uuid, 'acme-video', now() - n * interval '40 seconds',
           now() - n * interval '5 seconds'
      FROM generate_series(1, 23) n;
    INSERT INTO archiver.recordings (recording_id, project_id, enqueued_at, next_attempt_at, attempts,
                                     error_kind, error_message)
    SELECT md5('retry' || n)::uuid, 'acme-video', now() - n * interval '5 hours',
           now() + n * interval '3 minutes', n % 8 + 1, kind, message
      FROM (SELECT n, (ARRAY['media_unavailable', 'not_ready', 'stalled'])[n % 3 + 1] AS kind,
                   (ARRAY['the media host answers 503 Service Unavailable',
                          'the recording is not ready yet (status: processing)',
                          'next to no byte moved for 30 s at 41 % of 1.2 GiB'])[n % 3 + 1] AS message
              FROM generate_series(1, 11) n) retries;
    INSERT INTO archiver.recordings (recording_id, state, project_id, attempts, error_kind, error_message,
                                     enqueued_at, finalized_at)
    SELECT md5('failed' || n)::uuid, 'failed', 'acme-video', 10, kind, message,
           now() - n * interval '1 day', now() - n * interval '7 hours'
      FROM (SELECT n, (ARRAY['not_found', 'object_conflict', 'not_found'])[n % 3 + 1] AS kind,
                   (ARRAY['the API knows no such recording (404), or it belongs to another project',
                          'another object of 48211 bytes stands under the key',
                          'the API knows no such recording (404), or it belongs to another project'])[n % 3 + 1] AS message
              FROM generate_series(1, 13) n) failures;
    INSERT INTO archiver.recordings (recording_id, state, attempts, error_kind, error_message, finalized_at)
    VALUES (md5('newer')::uuid, 'failed', 1, 'from_the_future', 'who knows', now() - interval '9 days');";

/// Three in workers' hands, one of which has nothing yet.
const RUNNING: &str = "
    INSERT INTO archiver.recordings (recording_id, state, project_id, attempts, leased_by, lease_token,
                                     lease_expires_at)
    SELECT md5('running' || n)::uuid, 'in_progress', 'acme-video', 1, 'host-' || n || ':4711',
           md5('token' || n)::uuid, now() + interval '1 hour'
      FROM generate_series(1, 3) n;
    INSERT INTO archiver.attempts (recording_id, attempt, started_at, leased_by, lease_token, stage,
                                   bytes_fetched, bytes_resumed, size_bytes, progress_at)
    SELECT recording_id, 1, now() - interval '2 minutes', leased_by, lease_token, 'transfer',
           3221225472 / (row_number() OVER (ORDER BY leased_by)), 104857600, 4294967296,
           now() - interval '3 seconds'
      FROM archiver.recordings WHERE state = 'in_progress' AND leased_by < 'host-3';";

/// One that has seen much.
const STORY: &str = "
    INSERT INTO archiver.recordings
        (recording_id, state, project_id, room_session_id, recording_status, started_at, finished_at,
         created_at, updated_at, duration_secs, declared_size_bytes, size_bytes, media_format, cost_usd,
         cost_observed_at, cost_changed_at, object_url, object_key, sha256, crc64nvme, evidence, etag,
         attempts, enqueued_at, archived_at, finalized_at, verified_at)
    VALUES ('a11ce000-0000-4000-8000-000000000001', 'archived', 'acme-video', md5('session3')::uuid,
            'completed', now() - interval '30 hours', now() - interval '29 hours', now() - interval '30 hours',
            now() - interval '28 hours', 3671, 733184411, 733184411, 'video/mp4', 0.15308070,
            now() - interval '2 hours', now() - interval '20 hours',
            's3://recordings/video/year=2026/month=11/day=24/a11ce000-0000-4000-8000-000000000001.mp4',
            'video/year=2026/month=11/day=24/a11ce000-0000-4000-8000-000000000001.mp4',
            sha256('story'), 'KoKQMp+3wPY=', 'full_object', '\"9b2cf535f27731c974343645a3985328-88\"', 1,
            now() - interval '29 hours', now() - interval '26 hours', now() - interval '26 hours',
            now() - interval '1 hour');
    INSERT INTO archiver.attempts (recording_id, attempt, started_at, finished_at, leased_by, lease_token,
                                   outcome, error_kind, error_message, bytes_fetched)
    VALUES ('a11ce000-0000-4000-8000-000000000001', 1, now() - interval '29 hours', now() - interval '29 hours',
            'host-1:4711', gen_random_uuid(), 'deferred', 'not_ready', 'the recording is not ready yet (status: processing)', 0),
           ('a11ce000-0000-4000-8000-000000000001', 1, now() - interval '27 hours', now() - interval '26 hours 50 minutes',
            'host-2:812', gen_random_uuid(), 'retrying', 'stalled', 'next to no byte moved for 30 s', 301989888),
           ('a11ce000-0000-4000-8000-000000000001', 2, now() - interval '26 hours 10 minutes', now() - interval '26 hours',
            'host-1:4711', gen_random_uuid(), 'archived', NULL, NULL, 431194523);
    INSERT INTO archiver.cost_observations (recording_id, observed_at, cost_usd, recording_status, observed_by)
    VALUES ('a11ce000-0000-4000-8000-000000000001', now() - interval '26 hours', 0.1521, 'completed', 'archive'),
           ('a11ce000-0000-4000-8000-000000000001', now() - interval '20 hours', 0.15308070, 'completed', 'reprice');
    INSERT INTO archiver.retirements (recording_id, begun_at, ended_at, retired_by, outcome, reason, object_url,
                                      size_bytes, sha256, evidence, cost_usd)
    VALUES ('a11ce000-0000-4000-8000-000000000001', now() - interval '1 hour', now() - interval '1 hour',
            'host-1:5120', 'refused', 'its cost is not final', 's3://x', 1, sha256('story'), 'full_object', 0.1531);";
