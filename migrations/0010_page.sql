-- The page: what failed last, without reading every row.

CREATE INDEX recordings_failed_last ON archiver.recordings (finalized_at) WHERE state = 'failed';
COMMENT ON INDEX archiver.recordings_failed_last IS 'Failed rows, the last ones at the end.';
