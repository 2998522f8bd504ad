-- Many hosts on one queue: claims that cost the same however deep it is, and chores that one of them does.

-- A claim takes from one lane (first tries or further ones, of one project or of nobody's yet), and
-- goes on where the last one ended: the order must be total, because a bulk INSERT makes all equal.
CREATE INDEX recordings_lanes ON archiver.recordings
    (least(attempts, 1), coalesce(project_id, ''), next_attempt_at, recording_id)
    WHERE state = 'pending';
COMMENT ON INDEX archiver.recordings_lanes IS
    'What may be claimed next: first tries (0) and further ones (1), by project, the longest due first.';
DROP INDEX archiver.recordings_due;

-- Every recording passes through this table's versions several times: dead ones are cleared early.
ALTER TABLE archiver.recordings SET (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.02
);

CREATE TABLE archiver.chores (
    chore            text NOT NULL,
    scope            text NOT NULL,
    leased_by        text NOT NULL,
    lease_token      uuid NOT NULL,
    lease_expires_at timestamptz NOT NULL,
    begun_at         timestamptz NOT NULL DEFAULT now(),
    ended_at         timestamptz,
    PRIMARY KEY (chore, scope)
);
COMMENT ON TABLE archiver.chores IS
    'Periodic chores: which host does each one, so that the others need not. One row per chore and scope, written at its first turn.';
COMMENT ON COLUMN archiver.chores.chore IS 'sweep or reprice.';
COMMENT ON COLUMN archiver.chores.scope IS 'What it is done for: a store (sweep) or a project (reprice).';
COMMENT ON COLUMN archiver.chores.leased_by IS 'Host and process that does it, or did it last.';
COMMENT ON COLUMN archiver.chores.lease_token IS 'The turn; whoever has another one is late.';
COMMENT ON COLUMN archiver.chores.lease_expires_at IS 'Nobody else begins it before this.';
COMMENT ON COLUMN archiver.chores.begun_at IS 'When the last turn began.';
COMMENT ON COLUMN archiver.chores.ended_at IS 'When the last turn ended; NULL while it lasts, or if its host died.';
