-- The page: what was archived day by day, and what failed last, without reading every row.

CREATE INDEX recordings_by_archived_at ON archiver.recordings (archived_at) INCLUDE (size_bytes)
    WHERE state = 'archived';
COMMENT ON INDEX archiver.recordings_by_archived_at IS
    'Archived rows in the order in which they were proven, with their bytes.';
CREATE INDEX recordings_failed_last ON archiver.recordings (finalized_at) WHERE state = 'failed';
COMMENT ON INDEX archiver.recordings_failed_last IS 'Failed rows, the last ones at the end.';
