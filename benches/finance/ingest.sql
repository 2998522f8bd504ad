-- For pgbench: one recording enqueued, claimed, and settled with its cost, as the service does.
SELECT gen_random_uuid() AS id, gen_random_uuid() AS lease, random() AS chance \gset
INSERT INTO archiver.recordings (recording_id) VALUES (:id) ON CONFLICT DO NOTHING;
UPDATE archiver.recordings
   SET state = 'in_progress', attempts = attempts + 1, lease_token = :lease,
       lease_expires_at = now() + interval '2 min', leased_by = 'bench'
 WHERE recording_id = :id;
INSERT INTO archiver.attempts (recording_id, attempt, leased_by, lease_token)
VALUES (:id, 1, 'bench', :lease);
BEGIN;
WITH seen AS (
    SELECT recording_id FROM archiver.recordings WHERE recording_id = :id FOR NO KEY UPDATE
), changed AS (
    INSERT INTO archiver.cost_observations (recording_id, cost_usd, recording_status, observed_by)
    SELECT recording_id, 0.2400, 'completed', 'archive' FROM seen)
SELECT FROM seen;
UPDATE archiver.recordings
   SET project_id = 'project-0', room_session_id = gen_random_uuid(), recording_status = 'completed',
       started_at = now() - :chance::float8 * interval '60 d', created_at = now(), duration_secs = 600,
       declared_size_bytes = 120000000, media_format = 'video/mp4', cost_asked_at = now(),
       metadata = jsonb_build_object('id', :id::text, 'status', 'completed', 'duration', 600,
                                     'cost_in_dollars', 0.24, 'format', 'mp4', 'type', 'video'),
       cost_observed_at = now(), cost_usd = 0.2400, cost_changed_at = now(),
       state = 'archived', object_key = :id::text, object_url = 's3://bucket/' || :id::text,
       size_bytes = 120000000, sha256 = sha256(''), crc64nvme = 'AAAAAAAAAAA=',
       evidence = 'full_object', archived_at = now(), finalized_at = now(),
       lease_token = NULL, lease_expires_at = NULL, leased_by = NULL
 WHERE recording_id = :id AND lease_token = :lease AND state = 'in_progress';
UPDATE archiver.attempts SET outcome = 'archived', finished_at = now(), bytes_fetched = 120000000
 WHERE recording_id = :id AND lease_token = :lease AND outcome IS NULL;
COMMIT;
