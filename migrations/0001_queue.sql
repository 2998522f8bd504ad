-- The queue: one row per recording, from the first mention of its ID to the proof that it is stored.

-- The table of applied migrations is in it already.
CREATE SCHEMA IF NOT EXISTS archiver;
COMMENT ON SCHEMA archiver IS
    'The recording archiver''s own tables. Insert recording IDs into archiver.recordings; read money from schema finance.';

CREATE TABLE archiver.projects (
    project_id    text PRIMARY KEY CHECK (project_id <> ''),
    space         text NOT NULL,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE archiver.projects IS
    'SignalWire projects whose archivers share this database; each process registers its own at start.';
COMMENT ON COLUMN archiver.projects.project_id IS 'The Project ID used as user name at the API.';
COMMENT ON COLUMN archiver.projects.space IS 'The SignalWire space the project lives in.';
COMMENT ON COLUMN archiver.projects.first_seen_at IS 'When an archiver of this project first registered.';
COMMENT ON COLUMN archiver.projects.last_seen_at IS
    'When one last registered, which each does hourly; a project not seen for 30 days is no longer waited for.';

CREATE FUNCTION archiver.others_to_ask(asked text[]) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM archiver.projects
                    WHERE project_id <> ALL (asked)
                      AND last_seen_at > now() - interval '30 days')
$$;
COMMENT ON FUNCTION archiver.others_to_ask(text[]) IS
    'Whether a project that was seen within 30 days has not been asked for a recording yet.';

CREATE TABLE archiver.recordings (
    recording_id        uuid PRIMARY KEY,
    state               text NOT NULL DEFAULT 'pending',
    project_id          text,
    room_session_id     uuid,
    recording_status    text,
    started_at          timestamptz,
    finished_at         timestamptz,
    created_at          timestamptz,
    updated_at          timestamptz,
    duration_secs       bigint,
    declared_size_bytes bigint,
    media_format        text,
    cost_usd            numeric,
    cost_observed_at    timestamptz,
    cost_changed_at     timestamptz,
    cost_asked_at       timestamptz,
    metadata            jsonb,
    object_url          text,
    object_key          text,
    size_bytes          bigint,
    sha256              bytea,
    crc64nvme           text,
    evidence            text,
    etag                text,
    attempts            integer NOT NULL DEFAULT 0,
    next_attempt_at     timestamptz NOT NULL DEFAULT now(),
    lease_token         uuid,
    lease_expires_at    timestamptz,
    leased_by           text,
    error_kind          text,
    error_message       text,
    mismatched_size_bytes bigint,
    not_ready_since     timestamptz,
    not_found_in        text[] NOT NULL DEFAULT '{}',
    enqueued_at         timestamptz NOT NULL DEFAULT now(),
    archived_at         timestamptz,
    verified_at         timestamptz,
    finalized_at        timestamptz,
    billing_month       date GENERATED ALWAYS AS
        (date_trunc('month', coalesce(started_at, created_at) AT TIME ZONE 'UTC')::date) STORED,

    CONSTRAINT state_is_known
        CHECK (state IN ('pending', 'in_progress', 'archived', 'failed')),
    CONSTRAINT lease_exactly_while_in_progress
        CHECK ((state = 'in_progress') = (lease_token IS NOT NULL)
           AND (lease_token IS NULL) = (lease_expires_at IS NULL)
           AND (lease_token IS NULL) = (leased_by IS NULL)),
    CONSTRAINT finalized_exactly_when_terminal
        CHECK ((state IN ('archived', 'failed')) = (finalized_at IS NOT NULL)),
    CONSTRAINT archived_is_proven
        CHECK (state <> 'archived' OR (object_url IS NOT NULL AND object_key IS NOT NULL
           AND size_bytes IS NOT NULL AND sha256 IS NOT NULL AND crc64nvme IS NOT NULL
           AND evidence IS NOT NULL AND archived_at IS NOT NULL)),
    CONSTRAINT failed_has_a_reason
        CHECK (state <> 'failed' OR (error_kind IS NOT NULL AND error_message IS NOT NULL)),
    CONSTRAINT evidence_is_known
        CHECK (evidence IN ('full_object', 'read_back', 'parts')),
    CONSTRAINT sha256_is_32_bytes
        CHECK (octet_length(sha256) = 32),
    CONSTRAINT cost_is_a_number
        CHECK (cost_usd <> 'NaN'),
    CONSTRAINT amounts_are_not_negative
        CHECK (attempts >= 0 AND size_bytes >= 0 AND declared_size_bytes >= 0 AND duration_secs >= 0)
);

COMMENT ON TABLE archiver.recordings IS
    'One row per recording: the duty to archive it, and what became of it. INSERT INTO archiver.recordings (recording_id) VALUES (…) ON CONFLICT DO NOTHING enqueues.';
COMMENT ON COLUMN archiver.recordings.recording_id IS 'The provider''s ID of the recording. All that an INSERT needs.';
COMMENT ON COLUMN archiver.recordings.state IS
    'pending: waiting for next_attempt_at (retries too). in_progress: a worker holds the lease. archived: stored and proven (final). failed: given up, see error_kind (final until an operator''s retry).';
COMMENT ON COLUMN archiver.recordings.project_id IS
    'SignalWire project; NULL until one of the projects has found the recording. Only that project''s archivers claim the row.';
COMMENT ON COLUMN archiver.recordings.room_session_id IS 'Provider: the room session that was recorded.';
COMMENT ON COLUMN archiver.recordings.recording_status IS
    'Provider: recording, paused, processing, completed, or a word not documented; as last seen.';
COMMENT ON COLUMN archiver.recordings.started_at IS 'Provider: when the recording started (UTC).';
COMMENT ON COLUMN archiver.recordings.finished_at IS 'Provider: when the recording ended (UTC).';
COMMENT ON COLUMN archiver.recordings.created_at IS 'Provider: when the recording was created (UTC); decides the object key''s date.';
COMMENT ON COLUMN archiver.recordings.updated_at IS 'Provider: when the provider last changed it (UTC).';
COMMENT ON COLUMN archiver.recordings.duration_secs IS 'Provider: length in whole seconds.';
COMMENT ON COLUMN archiver.recordings.declared_size_bytes IS 'Provider: size in bytes as announced.';
COMMENT ON COLUMN archiver.recordings.media_format IS 'Provider: MIME type, such as video/mp4.';
COMMENT ON COLUMN archiver.recordings.cost_usd IS
    'Provider: cost in US dollars, exactly as spelled in its JSON; NULL while unknown, never 0 for unknown.';
COMMENT ON COLUMN archiver.recordings.cost_observed_at IS 'When the provider last stated this cost.';
COMMENT ON COLUMN archiver.recordings.cost_changed_at IS 'When the cost was first seen at its present value.';
COMMENT ON COLUMN archiver.recordings.cost_asked_at IS 'When the provider was last asked, whatever it said of the cost.';
COMMENT ON COLUMN archiver.recordings.metadata IS
    'Provider: the whole object as last sent, without the signed link. NULL if it is not valid jsonb.';
COMMENT ON COLUMN archiver.recordings.object_url IS 'Where the archived object is: s3://bucket/key or file:///path.';
COMMENT ON COLUMN archiver.recordings.object_key IS 'The whole key in the bucket, prefix included.';
COMMENT ON COLUMN archiver.recordings.size_bytes IS 'Size of the archived object in bytes.';
COMMENT ON COLUMN archiver.recordings.sha256 IS 'SHA-256 of the archived object, 32 raw bytes.';
COMMENT ON COLUMN archiver.recordings.crc64nvme IS 'CRC64NVME of the archived object as S3 spells it (base64).';
COMMENT ON COLUMN archiver.recordings.evidence IS
    'What proves the object: full_object (the store returned an equal checksum of the whole), read_back (read again, SHA-256 equal), parts (each part''s checksum verified by a store probed to reject wrong ones).';
COMMENT ON COLUMN archiver.recordings.etag IS 'The store''s ETag of the object, if it gave one.';
COMMENT ON COLUMN archiver.recordings.attempts IS 'Attempts burnt since it was queued or retried by an operator.';
COMMENT ON COLUMN archiver.recordings.next_attempt_at IS 'A pending row is due from this time on.';
COMMENT ON COLUMN archiver.recordings.lease_token IS 'Fences the worker that holds the row: settling must name it.';
COMMENT ON COLUMN archiver.recordings.lease_expires_at IS 'From this time on anybody may claim the row.';
COMMENT ON COLUMN archiver.recordings.leased_by IS 'Host and process that hold the lease.';
COMMENT ON COLUMN archiver.recordings.error_kind IS
    'The last thing that went wrong, NULL when nothing did. not_found: unknown at the API. not_ready: still recorded or processed. no_media: completed without a file. unauthorized: API credentials refused. throttled: too many requests. api_unavailable: API down. bad_metadata: API answer not understood. link_refused: link leads inside, or is not https. link_expired: link died early. media_unavailable: media host down. not_media: an error page or another format came. size_mismatch: declared and real size differ. truncated: fewer bytes came than announced. source_changed: file changed meanwhile. stalled: no byte moved. storage_unavailable: store down. storage_denied: store refuses. checksum_mismatch: stored is not what was sent. object_conflict: another object under the key. object_missing: archived object gone. lease_lost: another worker has it. cancelled: told to stop. internal: a defect, or the database failed.';
COMMENT ON COLUMN archiver.recordings.error_message IS 'The same in a sentence. Never holds a link or a secret.';
COMMENT ON COLUMN archiver.recordings.mismatched_size_bytes IS
    'Real size seen by the last attempt when it differed from the declared one; the same again fails for good.';
COMMENT ON COLUMN archiver.recordings.not_ready_since IS
    'When it was first found not ready; worker.not_ready_deadline counts from here.';
COMMENT ON COLUMN archiver.recordings.not_found_in IS 'Projects that answered 404 while project_id was NULL.';
COMMENT ON COLUMN archiver.recordings.enqueued_at IS 'When the row was inserted.';
COMMENT ON COLUMN archiver.recordings.archived_at IS 'When the archived object was proven.';
COMMENT ON COLUMN archiver.recordings.verified_at IS 'When the object was last read back and found equal.';
COMMENT ON COLUMN archiver.recordings.finalized_at IS 'When the row became archived or failed.';
COMMENT ON COLUMN archiver.recordings.billing_month IS
    'First day of the UTC month of started_at, else of created_at.';
COMMENT ON CONSTRAINT lease_exactly_while_in_progress ON archiver.recordings IS
    'A row has token, expiry and holder exactly while it is in progress.';
COMMENT ON CONSTRAINT state_is_known ON archiver.recordings IS 'The states of the machine; see the column.';
COMMENT ON CONSTRAINT finalized_exactly_when_terminal ON archiver.recordings IS
    'archived and failed are final, and nothing else is.';
COMMENT ON CONSTRAINT failed_has_a_reason ON archiver.recordings IS 'Nothing fails without saying why.';
COMMENT ON CONSTRAINT evidence_is_known ON archiver.recordings IS 'The kinds of evidence; see the column.';
COMMENT ON CONSTRAINT sha256_is_32_bytes ON archiver.recordings IS 'Raw bytes, not hex.';
COMMENT ON CONSTRAINT cost_is_a_number ON archiver.recordings IS 'NaN would spoil every sum it is in.';
COMMENT ON CONSTRAINT amounts_are_not_negative ON archiver.recordings IS 'Counts and sizes.';
COMMENT ON CONSTRAINT archived_is_proven ON archiver.recordings IS
    'Nothing is called archived without place, size, digests and evidence.';

-- A claim walks these in order, and skips what belongs to other projects; finished rows are in neither.
CREATE INDEX recordings_due ON archiver.recordings (next_attempt_at) WHERE state = 'pending';
CREATE INDEX recordings_leased ON archiver.recordings (lease_expires_at) WHERE state = 'in_progress';
CREATE INDEX recordings_failed ON archiver.recordings (error_kind) WHERE state = 'failed';
COMMENT ON INDEX archiver.recordings_due IS 'What may be claimed next.';
COMMENT ON INDEX archiver.recordings_leased IS 'Leases that may have expired.';
COMMENT ON INDEX archiver.recordings_failed IS 'For status and retry by kind.';

CREATE TABLE archiver.attempts (
    attempt_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    recording_id  uuid NOT NULL REFERENCES archiver.recordings ON DELETE CASCADE,
    attempt       integer NOT NULL,
    started_at    timestamptz NOT NULL DEFAULT now(),
    finished_at   timestamptz,
    leased_by     text NOT NULL,
    lease_token   uuid NOT NULL,
    outcome       text,
    error_kind    text,
    error_message text,
    bytes_fetched bigint NOT NULL DEFAULT 0,
    CONSTRAINT outcome_is_known CHECK (outcome IN
        ('archived', 'already_archived', 'deferred', 'retrying', 'failed', 'released', 'lost')),
    CONSTRAINT finished_exactly_with_an_outcome CHECK ((outcome IS NULL) = (finished_at IS NULL))
);
CREATE UNIQUE INDEX attempts_by_lease ON archiver.attempts (recording_id, lease_token);
COMMENT ON TABLE archiver.attempts IS 'One row per claim of a recording, the running one included.';
COMMENT ON COLUMN archiver.attempts.attempt_id IS 'Order of all attempts.';
COMMENT ON COLUMN archiver.attempts.recording_id IS 'The recording.';
COMMENT ON COLUMN archiver.attempts.attempt IS
    'Number of the attempt; one that burnt nothing (deferred, released) lends its number to the next.';
COMMENT ON COLUMN archiver.attempts.started_at IS 'When it was claimed.';
COMMENT ON COLUMN archiver.attempts.finished_at IS 'When it was settled; NULL while it runs.';
COMMENT ON COLUMN archiver.attempts.leased_by IS 'Host and process that tried.';
COMMENT ON COLUMN archiver.attempts.lease_token IS 'The lease under which it ran.';
COMMENT ON COLUMN archiver.attempts.outcome IS
    'archived, already_archived (an equal object was there), deferred (not ready, throttled), retrying, failed, released (given back), lost (its lease ran out); NULL while it runs.';
COMMENT ON COLUMN archiver.attempts.error_kind IS 'What went wrong, from the fixed list.';
COMMENT ON COLUMN archiver.attempts.error_message IS 'The same in a sentence.';
COMMENT ON COLUMN archiver.attempts.bytes_fetched IS 'Media bytes received in this attempt.';
COMMENT ON CONSTRAINT outcome_is_known ON archiver.attempts IS 'The outcomes; see the column.';
COMMENT ON CONSTRAINT finished_exactly_with_an_outcome ON archiver.attempts IS
    'An attempt has an outcome exactly when it has ended.';
COMMENT ON INDEX archiver.attempts_by_lease IS 'Settling finds its attempt by the lease.';

CREATE TABLE archiver.uploads (
    recording_id uuid NOT NULL REFERENCES archiver.recordings ON DELETE CASCADE,
    lease_token  uuid NOT NULL,
    object_key   text NOT NULL,
    object_url   text NOT NULL,
    upload_id    text NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (recording_id, lease_token)
);
COMMENT ON TABLE archiver.uploads IS
    'Unfinished multipart uploads, written before their first part. One whose lease has ended is aborted by the next sweep.';
COMMENT ON COLUMN archiver.uploads.recording_id IS 'The recording being uploaded.';
COMMENT ON COLUMN archiver.uploads.lease_token IS 'The lease under which the upload was begun.';
COMMENT ON COLUMN archiver.uploads.object_key IS 'The key being written.';
COMMENT ON COLUMN archiver.uploads.object_url IS 'The same with its store, because several may share one database.';
COMMENT ON COLUMN archiver.uploads.upload_id IS 'The store''s ID of the multipart upload.';
COMMENT ON COLUMN archiver.uploads.started_at IS 'When it was begun.';

-- A wake-up only: polling finds everything that a lost notification would have told.
CREATE FUNCTION archiver.ring() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('recording_archiver', '');
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION archiver.ring() IS 'Tells listening workers that there may be something to do.';
CREATE TRIGGER ring AFTER INSERT ON archiver.recordings
    FOR EACH STATEMENT EXECUTE FUNCTION archiver.ring();
COMMENT ON TRIGGER ring ON archiver.recordings IS 'Wakes the workers after an enqueue.';

-- The migrations' own table, which is there before its first migration when this program applies it.
DO $$
BEGIN
    IF to_regclass('archiver._sqlx_migrations') IS NULL THEN
        RETURN;
    END IF;
    COMMENT ON TABLE archiver._sqlx_migrations IS 'Which migrations have been applied. Not for other hands.';
    COMMENT ON COLUMN archiver._sqlx_migrations.version IS 'Number of the migration.';
    COMMENT ON COLUMN archiver._sqlx_migrations.description IS 'Its name.';
    COMMENT ON COLUMN archiver._sqlx_migrations.installed_on IS 'When it was applied.';
    COMMENT ON COLUMN archiver._sqlx_migrations.success IS 'Whether it was applied whole.';
    COMMENT ON COLUMN archiver._sqlx_migrations.checksum IS 'Digest of its text: an applied migration is never edited.';
    COMMENT ON COLUMN archiver._sqlx_migrations.execution_time IS 'How long it took, in nanoseconds.';
END
$$;
