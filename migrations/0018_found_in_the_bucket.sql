-- What is found in the bucket is no witness for itself, and a time in the future hides nothing.

ALTER TABLE archiver.recordings
    DROP CONSTRAINT evidence_is_known,
    ADD CONSTRAINT evidence_is_known
        CHECK (evidence IN ('full_object', 'read_back', 'parts', 'found', 'manifest')),
    -- Rows that are there already are not read through for it.
    ADD CONSTRAINT archived_at_is_finite CHECK (isfinite(archived_at)) NOT VALID;
COMMENT ON CONSTRAINT evidence_is_known ON archiver.recordings IS 'The kinds of evidence; see the column.';
COMMENT ON CONSTRAINT archived_at_is_finite ON archiver.recordings IS
    'Objects are read again in the order of these times, which have an end.';
COMMENT ON COLUMN archiver.recordings.evidence IS
    'What proves the object: full_object (the store returned an equal checksum of the whole), read_back (read again, SHA-256 equal), parts (each part''s checksum verified by a store probed to reject wrong ones). Of rows that `rebuild` made, which were never compared with their source: found (read, and equal to the manifest beside the object), manifest (not read: only the manifest says so). `retire` never rests on these two.';
COMMENT ON COLUMN archiver.recordings.object_key IS
    'The whole key in the bucket, prefix included. Of a row that is not archived: where `rebuild` has found an object for it.';

CREATE OR REPLACE FUNCTION archiver.coverage(within interval)
RETURNS TABLE (archived bigint, archived_bytes numeric, read_again bigint, read_again_bytes numeric,
               damaged bigint, longest_unread_since timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT totals.archived::bigint,
           totals.archived_bytes,
           (days.read_again + first_day.read_again - later_today.read_again)::bigint,
           days.read_again_bytes + first_day.read_again_bytes - later_today.read_again_bytes,
           (SELECT count(*) FROM archiver.recordings
             WHERE state = 'archived' AND error_kind IS NOT NULL),
           least((SELECT archived_at FROM archiver.recordings
                   WHERE state = 'archived' AND coalesce(verified_at, '-infinity') = '-infinity'
                   ORDER BY archived_at LIMIT 1),
                 -- Nobody has read it in the future: a clock was wrong.
                 (SELECT min(archived_at) FROM archiver.recordings
                   WHERE state = 'archived' AND coalesce(verified_at, '-infinity') > now()),
                 (SELECT verified_at FROM archiver.recordings
                   WHERE state = 'archived' AND coalesce(verified_at, '-infinity') > '-infinity'
                     AND coalesce(verified_at, '-infinity') <= now()
                   ORDER BY coalesce(verified_at, '-infinity') LIMIT 1))
      FROM (SELECT coalesce(sum(archived), 0) AS archived,
                   coalesce(sum(archived_bytes), 0) AS archived_bytes
              FROM archiver.cost_totals) totals,
           (SELECT coalesce(sum(recordings) FILTER (WHERE is_within), 0) AS read_again,
                   coalesce(sum(size_bytes) FILTER (WHERE is_within), 0) AS read_again_bytes
              FROM archiver.read_totals,
           LATERAL (SELECT verified_on > ((now() - within) AT TIME ZONE 'UTC')::date
                       AND verified_on <= (now() AT TIME ZONE 'UTC')::date AS is_within) day
           ) days,
           -- Of the day on which the time begins, only what came after that moment.
           (SELECT count(*) AS read_again, coalesce(sum(size_bytes), 0) AS read_again_bytes
              FROM archiver.recordings
             WHERE state = 'archived'
               AND coalesce(verified_at, '-infinity') > now() - within
               AND coalesce(verified_at, '-infinity') <
                   (((now() - within) AT TIME ZONE 'UTC')::date + 1)::timestamp AT TIME ZONE 'UTC'
           ) first_day,
           -- Of today, nothing that is yet to come.
           (SELECT count(*) AS read_again, coalesce(sum(size_bytes), 0) AS read_again_bytes
              FROM archiver.recordings
             WHERE state = 'archived'
               AND coalesce(verified_at, '-infinity') > now()
               AND coalesce(verified_at, '-infinity') <
                   ((now() AT TIME ZONE 'UTC')::date + 1)::timestamp AT TIME ZONE 'UTC'
           ) later_today
$$;
