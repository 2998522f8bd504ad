-- Recordings over sixty months, :rows of them, with costs of odd decimals and their ledger.
INSERT INTO archiver.recordings
    (recording_id, state, project_id, room_session_id, recording_status, started_at, finished_at,
     created_at, updated_at, duration_secs, declared_size_bytes, media_format, cost_usd,
     cost_observed_at, cost_changed_at, cost_asked_at, metadata, object_url, object_key, size_bytes,
     sha256, crc64nvme, evidence, etag, next_attempt_at, error_kind, error_message, enqueued_at,
     archived_at, verified_at, finalized_at)
SELECT id, state, 'project-' || n % 3,
       CASE WHEN n % 50 > 0 THEN md5('session ' || n / 4)::uuid END,
       'completed', started_at, started_at + seconds * interval '1 s', started_at,
       started_at + interval '1 h', seconds, seconds * 200000, 'video/mp4', cost,
       CASE WHEN cost IS NOT NULL THEN seen_at + CASE WHEN n % 100 = 0 OR seen_at > now() - interval '8 d'
            THEN interval '1 d' ELSE interval '8 d' END END,
       CASE WHEN cost IS NOT NULL THEN seen_at END, seen_at,
       jsonb_build_object('id', id, 'status', 'completed', 'duration', seconds, 'cost_in_dollars', cost,
                          'format', 'mp4', 'started_at', started_at, 'type', 'video',
                          'room_session_id', md5('session ' || n / 4)::uuid),
       CASE WHEN archived THEN 's3://bucket/video/' || id || '.mp4' END,
       CASE WHEN archived THEN 'video/' || id || '.mp4' END,
       CASE WHEN archived THEN seconds * 200000 + n % 1000 END,
       CASE WHEN archived THEN sha256(id::text::bytea) END,
       CASE WHEN archived THEN 'AAAAAAAAAAA=' END, CASE WHEN archived THEN 'full_object' END,
       CASE WHEN archived THEN md5(n::text) END,
       seen_at, CASE state WHEN 'failed' THEN 'not_found' END, CASE state WHEN 'failed' THEN 'unknown' END,
       seen_at, CASE WHEN archived THEN seen_at END,
       CASE WHEN archived AND n % 10 > 0 THEN now() - (n % 86400 * 90) * interval '1 s' END,
       CASE WHEN state IN ('archived', 'failed') THEN seen_at END
  FROM (SELECT *, state = 'archived' AS archived,
               CASE WHEN n % 200 > 0 THEN (seconds * 0.0004)::numeric(12, 4)
                    + CASE WHEN n % 7 = 0 THEN 0.000000001 * (n % 10) ELSE 0 END END AS cost
          FROM (SELECT n, gen_random_uuid() AS id, 30 + n * 7919 % 7200 AS seconds,
                       now() - (:rows - n) * (interval '1825 d' / :rows) AS started_at,
                       now() - (:rows - n) * (interval '1825 d' / :rows) + interval '2 h' AS seen_at,
                       CASE WHEN n % 1000 = 999 THEN 'failed'
                            WHEN n > :rows * 0.998 THEN 'pending' ELSE 'archived' END AS state
                  FROM generate_series(1::bigint, :rows) n) it) it;
INSERT INTO archiver.cost_observations (recording_id, observed_at, cost_usd, recording_status, observed_by)
SELECT recording_id, cost_changed_at, cost_usd, 'completed', 'archive'
  FROM archiver.recordings WHERE cost_usd IS NOT NULL;
INSERT INTO archiver.cost_observations (recording_id, observed_at, cost_usd, recording_status, observed_by)
SELECT recording_id, cost_changed_at + interval '20 d', cost_usd + 0.01, 'completed', 'reprice'
  FROM archiver.recordings WHERE cost_usd IS NOT NULL AND duration_secs % 100 = 0;
VACUUM ANALYZE archiver.recordings;
VACUUM ANALYZE archiver.cost_observations;
