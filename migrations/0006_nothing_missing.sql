-- Nothing missing: walks through the provider's list, objects read again, recordings deleted at their source.

CREATE TABLE archiver.discoveries (
    project_id text PRIMARY KEY,
    walk_token uuid NOT NULL,
    next_page  text,
    pages      bigint NOT NULL DEFAULT 0,
    listed     bigint NOT NULL DEFAULT 0,
    queued     bigint NOT NULL DEFAULT 0,
    begun_at   timestamptz NOT NULL DEFAULT now(),
    walked_at  timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz,
    last_whole_walk_at timestamptz
);
COMMENT ON TABLE archiver.discoveries IS
    'Walks through the provider''s list of recordings: how far the last one is, so that another process can go on with it. One row per project.';
COMMENT ON COLUMN archiver.discoveries.project_id IS 'SignalWire project whose list is walked.';
COMMENT ON COLUMN archiver.discoveries.walk_token IS
    'Fences whoever walks: another one that goes on with the walk, or begins anew, has another token.';
COMMENT ON COLUMN archiver.discoveries.next_page IS
    'Query of the page to go on with, as the provider spelled it; NULL before the first page and after the last.';
COMMENT ON COLUMN archiver.discoveries.pages IS 'Pages read in this walk.';
COMMENT ON COLUMN archiver.discoveries.listed IS 'Recordings on them.';
COMMENT ON COLUMN archiver.discoveries.queued IS 'Of these, unknown until then and queued.';
COMMENT ON COLUMN archiver.discoveries.begun_at IS 'When this walk began.';
COMMENT ON COLUMN archiver.discoveries.walked_at IS 'When it last got a page further.';
COMMENT ON COLUMN archiver.discoveries.ended_at IS 'When it reached the end; NULL while it has not.';
COMMENT ON COLUMN archiver.discoveries.last_whole_walk_at IS
    'When the last walk that reached the end had begun: all that was listed then is known.';

ALTER TABLE archiver.recordings
    ADD COLUMN damage_found_at timestamptz,
    ADD COLUMN kept_aside_url  text,
    ADD COLUMN source_deleted_at timestamptz;
COMMENT ON COLUMN archiver.recordings.cost_observed_at IS
    'When the provider last stated this cost; not written again once the cost is final.';
COMMENT ON COLUMN archiver.recordings.damage_found_at IS
    'When the archived object was first found damaged or gone (error_kind says which); NULL while it is not.';
COMMENT ON COLUMN archiver.recordings.kept_aside_url IS
    'Where the last damaged object is kept that was moved out of the way.';
COMMENT ON COLUMN archiver.recordings.source_deleted_at IS
    'When `retire` had the provider delete it, or found it gone there while about to.';

CREATE INDEX recordings_archived_by_key ON archiver.recordings (object_key COLLATE "C")
    WHERE state = 'archived';
COMMENT ON INDEX archiver.recordings_archived_by_key IS
    'Archived rows in the order in which stores list their objects.';
CREATE INDEX recordings_to_verify ON archiver.recordings
    (coalesce(verified_at, '-infinity'), archived_at, recording_id) INCLUDE (verified_at, size_bytes, error_kind)
    WHERE state = 'archived';
COMMENT ON INDEX archiver.recordings_to_verify IS
    'Archived rows, the longest unread first; those never read again before all others.';

CREATE FUNCTION archiver.coverage(within interval)
RETURNS TABLE (archived bigint, archived_bytes numeric, read_again bigint, read_again_bytes numeric,
               damaged bigint, longest_unread_since timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT count(*),
           coalesce(sum(size_bytes), 0),
           count(*) FILTER (WHERE verified_at > now() - within),
           coalesce(sum(size_bytes) FILTER (WHERE verified_at > now() - within), 0),
           count(*) FILTER (WHERE error_kind IS NOT NULL),
           min(coalesce(verified_at, archived_at))
      FROM archiver.recordings
     WHERE state = 'archived'
$$;
COMMENT ON FUNCTION archiver.coverage(interval) IS
    'How much of the archive was read again and found equal within this time: recordings and bytes, all and read again; how many are known to be damaged or gone; and since when the one that waits longest has not been read.';

CREATE TABLE archiver.retirements (
    retirement_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    recording_id  uuid NOT NULL REFERENCES archiver.recordings,
    begun_at      timestamptz NOT NULL DEFAULT now(),
    ended_at      timestamptz,
    retired_by    text NOT NULL,
    outcome       text,
    reason        text,
    object_url    text NOT NULL,
    size_bytes    bigint NOT NULL,
    sha256        bytea NOT NULL CHECK (octet_length(sha256) = 32),
    evidence      text NOT NULL,
    cost_usd      numeric NOT NULL,
    CONSTRAINT outcome_is_known CHECK (outcome IN ('deleted', 'gone', 'refused')),
    CONSTRAINT ended_exactly_with_an_outcome CHECK ((outcome IS NULL) = (ended_at IS NULL)),
    CONSTRAINT refused_has_a_reason CHECK ((outcome = 'refused') = (reason IS NOT NULL))
);
COMMENT ON TABLE archiver.retirements IS
    'The audit of `retire`: one row each time it was about to delete a recording at the provider, with what the deletion rested on. Rows are never deleted.';
COMMENT ON COLUMN archiver.retirements.retirement_id IS 'Order of all.';
COMMENT ON COLUMN archiver.retirements.recording_id IS 'The recording.';
COMMENT ON COLUMN archiver.retirements.begun_at IS 'When it was taken up; written before anything is deleted.';
COMMENT ON COLUMN archiver.retirements.ended_at IS 'When its outcome was known; NULL if the process died in between.';
COMMENT ON COLUMN archiver.retirements.retired_by IS 'Host and process.';
COMMENT ON COLUMN archiver.retirements.outcome IS
    'deleted: the provider confirmed it. gone: the provider had it no more. refused: something was uncertain, see reason; nothing was deleted.';
COMMENT ON COLUMN archiver.retirements.reason IS 'Why it was refused.';
COMMENT ON COLUMN archiver.retirements.object_url IS 'The archived object that was read again right before.';
COMMENT ON COLUMN archiver.retirements.size_bytes IS 'Its size in bytes.';
COMMENT ON COLUMN archiver.retirements.sha256 IS 'Its SHA-256, 32 raw bytes.';
COMMENT ON COLUMN archiver.retirements.evidence IS 'What had proven it when it was archived.';
COMMENT ON COLUMN archiver.retirements.cost_usd IS 'The final cost on record.';
CREATE UNIQUE INDEX retirements_one_at_a_time ON archiver.retirements (recording_id)
    WHERE outcome IS NULL;
COMMENT ON INDEX archiver.retirements_one_at_a_time IS 'Nobody takes up what another one is at.';
COMMENT ON CONSTRAINT outcome_is_known ON archiver.retirements IS 'The outcomes; see the column.';
COMMENT ON CONSTRAINT ended_exactly_with_an_outcome ON archiver.retirements IS
    'It has ended exactly when its outcome is known.';
COMMENT ON CONSTRAINT refused_has_a_reason ON archiver.retirements IS 'Nothing is refused without saying why.';

COMMENT ON COLUMN archiver.chores.chore IS 'discover, verify, sweep or reprice.';
COMMENT ON COLUMN archiver.chores.scope IS
    'What it is done for: a store (sweep, verify) or a project (discover, reprice).';

ALTER TABLE archiver.chores ADD COLUMN kept_pace_until timestamptz;
COMMENT ON COLUMN archiver.chores.kept_pace_until IS
    'For verify: when the last slice began that was read to its end. The next one makes up for the time since then.';
ALTER TABLE archiver.chores ADD COLUMN succeeded_at timestamptz;
COMMENT ON COLUMN archiver.chores.succeeded_at IS 'When it last ended well; NULL if it never has.';
