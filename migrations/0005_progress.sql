-- How far running attempts are: for `status`, which looks from another process.

ALTER TABLE archiver.attempts
    ADD COLUMN stage         text,
    ADD COLUMN size_bytes    bigint,
    ADD COLUMN bytes_resumed bigint NOT NULL DEFAULT 0,
    ADD COLUMN progress_at   timestamptz,
    ADD CONSTRAINT stage_is_known CHECK (stage IN
        ('metadata', 'look', 'transfer', 'publish', 'prove', 'manifest', 'settle'));
COMMENT ON COLUMN archiver.attempts.bytes_fetched IS
    'Media bytes received in this attempt; while it runs, those up to progress_at.';
COMMENT ON COLUMN archiver.attempts.stage IS
    'What it was doing at progress_at. metadata: asking the API. look: looking at what stands under the key. transfer: fetching, hashing and sending. publish: making the object appear. prove: comparing what is stored. manifest: writing the sidecar. settle: writing the row.';
COMMENT ON COLUMN archiver.attempts.size_bytes IS 'Size of the whole file, as far as known at progress_at.';
COMMENT ON COLUMN archiver.attempts.bytes_resumed IS 'Media bytes that earlier attempts had left in the store.';
COMMENT ON COLUMN archiver.attempts.progress_at IS
    'When the attempt last wrote down that it had got further; NULL: not yet.';
COMMENT ON CONSTRAINT stage_is_known ON archiver.attempts IS 'The stages; see the column.';
