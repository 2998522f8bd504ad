-- What reading the archive again could not read or found different waits its turn like all else,
-- and what the provider has no more is believed when it has said so for days.

ALTER TABLE archiver.recordings
    ADD COLUMN verify_failed_at timestamptz,
    ADD COLUMN source_missing_since timestamptz,
    ADD COLUMN previous_sha256 bytea CHECK (octet_length(previous_sha256) = 32);
COMMENT ON COLUMN archiver.recordings.verify_failed_at IS
    'When reading the object again was last tried and did not find it equal; NULL since it has.';
COMMENT ON COLUMN archiver.recordings.source_missing_since IS
    'Since when the provider has answered that it has no such recording, to whoever asked for its cost; NULL while it has.';
COMMENT ON COLUMN archiver.recordings.previous_sha256 IS
    'What the SHA-256 was before the recording was archived again in other bytes.';
COMMENT ON COLUMN archiver.recordings.source_deleted_at IS
    'When the provider was first known to have it no more: `retire` had it deleted or found it gone, or the provider has answered so for days. NULL again if the provider shows it after all.';

CREATE INDEX recordings_to_try ON archiver.recordings
    (coalesce(greatest(verified_at, verify_failed_at), '-infinity'), archived_at, recording_id)
    WHERE state = 'archived';
COMMENT ON INDEX archiver.recordings_to_try IS
    'Archived rows in the order in which they are read again: the longest untried first, those never tried before all others.';
CREATE INDEX recordings_verify_failed ON archiver.recordings (verify_failed_at)
    WHERE state = 'archived' AND verify_failed_at IS NOT NULL;
COMMENT ON INDEX archiver.recordings_verify_failed IS
    'Archived rows whose last reading did not find them equal.';
