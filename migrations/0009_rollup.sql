-- Figures of the whole archive at the price of a few rows: sums that are kept as rows change.
--
-- A row per group that every settling transaction updates would make them wait for one another. So
-- each statement adds a row with the difference that it made, and whoever adds the thousandth folds
-- them. The sum over all rows is the figure, exact in any snapshot: a difference is seen exactly
-- when the change is that made it.

-- Until all of this is there, nobody writes (about a minute for 5,000,000 recordings): daemons
-- of the version before meet a lock timeout at worst, try again, and are counted from then on.
LOCK TABLE archiver.recordings IN SHARE ROW EXCLUSIVE MODE;

-- An infinite cost would stay in a sum after it is gone. No provider's JSON can state one, so that
-- the rows that are there need not be read for it.
ALTER TABLE archiver.recordings ADD CONSTRAINT cost_is_finite CHECK (cost_usd - cost_usd = 0) NOT VALID;
COMMENT ON CONSTRAINT cost_is_finite ON archiver.recordings IS 'Infinity would spoil every sum it is in.';

CREATE INDEX recordings_by_month ON archiver.recordings (billing_month, room_session_id, project_id)
    INCLUDE (cost_usd, duration_secs, size_bytes)
    WHERE billing_month IS NOT NULL;
COMMENT ON INDEX archiver.recordings_by_month IS
    'One month''s recordings without the other months, session by session with what those sum up.';
CREATE INDEX recordings_by_archived_at ON archiver.recordings (archived_at) INCLUDE (size_bytes)
    WHERE state = 'archived';
COMMENT ON INDEX archiver.recordings_by_archived_at IS 'What was archived lately.';
CREATE INDEX recordings_damaged ON archiver.recordings (error_kind)
    WHERE state = 'archived' AND error_kind IS NOT NULL;
COMMENT ON INDEX archiver.recordings_damaged IS 'What is archived and known to be damaged or gone.';

CREATE TABLE archiver.cost_totals (
    total_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    billing_month  date,
    project_id     text,
    cost_scale     integer,
    recordings     bigint NOT NULL,
    archived       bigint NOT NULL,
    timed          bigint NOT NULL,
    duration_secs  numeric NOT NULL,
    sized          bigint NOT NULL,
    size_bytes     numeric NOT NULL,
    provisional    bigint NOT NULL,
    cost_usd       numeric NOT NULL,
    timed_costs    bigint NOT NULL,
    timed_cost_usd numeric NOT NULL,
    sized_costs    bigint NOT NULL,
    sized_cost_usd numeric NOT NULL,
    provisional_usd numeric NOT NULL
);
COMMENT ON TABLE archiver.cost_totals IS
    'What the finance views sum up instead of all recordings: by month, project and decimals of the cost. The figures of a group are the sums over its rows, which are differences, negative ones too. archiver.wrong_totals() holds them against the recordings, archiver.recount() counts anew.';
COMMENT ON COLUMN archiver.cost_totals.total_id IS 'Order of writing.';
COMMENT ON COLUMN archiver.cost_totals.billing_month IS 'As in archiver.recordings.';
COMMENT ON COLUMN archiver.cost_totals.project_id IS 'As in archiver.recordings.';
COMMENT ON COLUMN archiver.cost_totals.cost_scale IS
    'Decimals of the cost as it is spelled, so that a sum has as many as the longest of its costs; NULL: the cost is unknown.';
COMMENT ON COLUMN archiver.cost_totals.recordings IS 'Recordings.';
COMMENT ON COLUMN archiver.cost_totals.archived IS 'Of these, archived.';
COMMENT ON COLUMN archiver.cost_totals.timed IS 'Of these, of known length.';
COMMENT ON COLUMN archiver.cost_totals.duration_secs IS 'Their seconds.';
COMMENT ON COLUMN archiver.cost_totals.sized IS 'Those with a size in the archive.';
COMMENT ON COLUMN archiver.cost_totals.size_bytes IS 'Their bytes.';
COMMENT ON COLUMN archiver.cost_totals.provisional IS
    'Those whose cost is known and not final, by the rule in archiver.finance_rules.';
COMMENT ON COLUMN archiver.cost_totals.cost_usd IS 'Exact sum of the known costs.';
COMMENT ON COLUMN archiver.cost_totals.timed_costs IS 'Recordings of known cost and a length above 0.';
COMMENT ON COLUMN archiver.cost_totals.timed_cost_usd IS 'Exact sum of their costs.';
COMMENT ON COLUMN archiver.cost_totals.sized_costs IS 'Recordings of known cost and a size above 0.';
COMMENT ON COLUMN archiver.cost_totals.sized_cost_usd IS 'Exact sum of their costs.';
COMMENT ON COLUMN archiver.cost_totals.provisional_usd IS 'Exact sum of the costs that are not final.';

CREATE TABLE archiver.read_totals (
    total_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    verified_on date,
    recordings  bigint NOT NULL,
    size_bytes  numeric NOT NULL
);
COMMENT ON TABLE archiver.read_totals IS
    'How much is archived, by the day on which it was last read again. The figures of a day are the sums over its rows, as in archiver.cost_totals.';
COMMENT ON COLUMN archiver.read_totals.total_id IS 'Order of writing.';
COMMENT ON COLUMN archiver.read_totals.verified_on IS 'UTC day of verified_at; NULL: never.';
COMMENT ON COLUMN archiver.read_totals.recordings IS 'Archived recordings.';
COMMENT ON COLUMN archiver.read_totals.size_bytes IS 'Bytes of their objects.';

-- Small tables whose rows are soon replaced: dead ones must not pile up.
ALTER TABLE archiver.cost_totals SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 50000
);
ALTER TABLE archiver.read_totals SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 50000
);

-- Whoever may insert recordings need have no right on the totals: the functions below run as their
-- owner, and look nowhere but where they say.

CREATE FUNCTION archiver.count_new() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Mostly there is nothing but IDs.
    IF NOT EXISTS (SELECT FROM new_rows
                    WHERE state = 'archived' OR num_nonnulls(billing_month, project_id, duration_secs,
                                                             size_bytes, cost_usd) > 0) THEN
        INSERT INTO archiver.cost_totals
               (recordings, archived, timed, duration_secs, sized, size_bytes, provisional, cost_usd,
                timed_costs, timed_cost_usd, sized_costs, sized_cost_usd, provisional_usd)
        SELECT count(*), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 FROM new_rows HAVING count(*) > 0;
        RETURN NULL;
    END IF;
    INSERT INTO archiver.cost_totals
           (billing_month, project_id, cost_scale, recordings, archived, timed, duration_secs, sized,
            size_bytes, provisional, cost_usd, timed_costs, timed_cost_usd, sized_costs, sized_cost_usd,
            provisional_usd)
    SELECT r.billing_month, r.project_id, scale(r.cost_usd), count(*),
           count(*) FILTER (WHERE r.state = 'archived'),
           count(r.duration_secs), coalesce(sum(r.duration_secs), 0),
           count(r.size_bytes), coalesce(sum(r.size_bytes), 0),
           count(r.cost_usd) FILTER (WHERE (r.recording_status = 'completed'
               AND (r.source_deleted_at IS NOT NULL
                    OR r.cost_observed_at - r.cost_changed_at >= rules.final_after)) IS NOT TRUE),
           coalesce(sum(r.cost_usd), 0),
           count(r.cost_usd) FILTER (WHERE r.duration_secs > 0),
           coalesce(sum(r.cost_usd) FILTER (WHERE r.duration_secs > 0), 0),
           count(r.cost_usd) FILTER (WHERE r.size_bytes > 0),
           coalesce(sum(r.cost_usd) FILTER (WHERE r.size_bytes > 0), 0),
           coalesce(sum(r.cost_usd) FILTER (WHERE (r.recording_status = 'completed'
               AND (r.source_deleted_at IS NOT NULL
                    OR r.cost_observed_at - r.cost_changed_at >= rules.final_after)) IS NOT TRUE), 0)
      FROM new_rows r
     CROSS JOIN (SELECT max(final_after) AS final_after FROM archiver.finance_rules) rules
     GROUP BY 1, 2, 3;
    INSERT INTO archiver.read_totals (verified_on, recordings, size_bytes)
    SELECT (r.verified_at AT TIME ZONE 'UTC')::date, count(*), sum(r.size_bytes)
      FROM new_rows r
     WHERE r.state = 'archived'
     GROUP BY 1;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION archiver.count_new() IS
    'Adds inserted recordings to archiver.cost_totals and archiver.read_totals.';

-- Each settled recording passes here three times: a statement that groups and sums up two rows would
-- take ten times as long.
CREATE FUNCTION archiver.count_changed_costs() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    was_provisional int := (OLD.cost_usd IS NOT NULL)::int;
    is_provisional int := (NEW.cost_usd IS NOT NULL)::int;
    was_timed int := (OLD.cost_usd IS NOT NULL AND coalesce(OLD.duration_secs, 0) > 0)::int;
    is_timed int := (NEW.cost_usd IS NOT NULL AND coalesce(NEW.duration_secs, 0) > 0)::int;
    was_sized int := (OLD.cost_usd IS NOT NULL AND coalesce(OLD.size_bytes, 0) > 0)::int;
    is_sized int := (NEW.cost_usd IS NOT NULL AND coalesce(NEW.size_bytes, 0) > 0)::int;
BEGIN
    -- The rule is asked for only where it decides.
    IF was_provisional = 1 AND OLD.recording_status = 'completed' THEN
        was_provisional := (OLD.source_deleted_at IS NULL AND
                            (SELECT OLD.cost_observed_at - OLD.cost_changed_at >= max(final_after)
                               FROM archiver.finance_rules) IS NOT TRUE)::int;
    END IF;
    IF is_provisional = 1 AND NEW.recording_status = 'completed' THEN
        is_provisional := (NEW.source_deleted_at IS NULL AND
                           (SELECT NEW.cost_observed_at - NEW.cost_changed_at >= max(final_after)
                              FROM archiver.finance_rules) IS NOT TRUE)::int;
    END IF;
    IF TG_OP = 'DELETE' THEN
        INSERT INTO archiver.cost_totals
               (billing_month, project_id, cost_scale, recordings, archived, timed, duration_secs,
                sized, size_bytes, provisional, cost_usd,
                timed_costs, timed_cost_usd, sized_costs, sized_cost_usd, provisional_usd)
        VALUES (OLD.billing_month, OLD.project_id, scale(OLD.cost_usd), -1,
                -(OLD.state = 'archived')::int,
                -(OLD.duration_secs IS NOT NULL)::int, -coalesce(OLD.duration_secs, 0),
                -(OLD.size_bytes IS NOT NULL)::int, -coalesce(OLD.size_bytes, 0),
                -was_provisional, -coalesce(OLD.cost_usd, 0),
                -was_timed, -was_timed * coalesce(OLD.cost_usd, 0),
                -was_sized, -was_sized * coalesce(OLD.cost_usd, 0),
                -was_provisional * coalesce(OLD.cost_usd, 0));
    ELSIF (OLD.billing_month, OLD.project_id, scale(OLD.cost_usd))
          IS DISTINCT FROM (NEW.billing_month, NEW.project_id, scale(NEW.cost_usd)) THEN
        INSERT INTO archiver.cost_totals
               (billing_month, project_id, cost_scale, recordings, archived, timed, duration_secs,
                sized, size_bytes, provisional, cost_usd,
                timed_costs, timed_cost_usd, sized_costs, sized_cost_usd, provisional_usd)
        VALUES (OLD.billing_month, OLD.project_id, scale(OLD.cost_usd), -1,
                -(OLD.state = 'archived')::int,
                -(OLD.duration_secs IS NOT NULL)::int, -coalesce(OLD.duration_secs, 0),
                -(OLD.size_bytes IS NOT NULL)::int, -coalesce(OLD.size_bytes, 0),
                -was_provisional, -coalesce(OLD.cost_usd, 0),
                -was_timed, -was_timed * coalesce(OLD.cost_usd, 0),
                -was_sized, -was_sized * coalesce(OLD.cost_usd, 0),
                -was_provisional * coalesce(OLD.cost_usd, 0)),
               (NEW.billing_month, NEW.project_id, scale(NEW.cost_usd), 1,
                (NEW.state = 'archived')::int,
                (NEW.duration_secs IS NOT NULL)::int, coalesce(NEW.duration_secs, 0),
                (NEW.size_bytes IS NOT NULL)::int, coalesce(NEW.size_bytes, 0),
                is_provisional, coalesce(NEW.cost_usd, 0),
                is_timed, is_timed * coalesce(NEW.cost_usd, 0),
                is_sized, is_sized * coalesce(NEW.cost_usd, 0),
                is_provisional * coalesce(NEW.cost_usd, 0));
    ELSIF (OLD.state = 'archived', OLD.duration_secs, OLD.size_bytes, OLD.cost_usd, was_provisional)
          IS DISTINCT FROM
          (NEW.state = 'archived', NEW.duration_secs, NEW.size_bytes, NEW.cost_usd, is_provisional) THEN
        INSERT INTO archiver.cost_totals
               (billing_month, project_id, cost_scale, recordings, archived, timed, duration_secs,
                sized, size_bytes, provisional, cost_usd,
                timed_costs, timed_cost_usd, sized_costs, sized_cost_usd, provisional_usd)
        VALUES (NEW.billing_month, NEW.project_id, scale(NEW.cost_usd), 0,
                (NEW.state = 'archived')::int - (OLD.state = 'archived')::int,
                (NEW.duration_secs IS NOT NULL)::int - (OLD.duration_secs IS NOT NULL)::int,
                coalesce(NEW.duration_secs, 0)::numeric - coalesce(OLD.duration_secs, 0),
                (NEW.size_bytes IS NOT NULL)::int - (OLD.size_bytes IS NOT NULL)::int,
                coalesce(NEW.size_bytes, 0)::numeric - coalesce(OLD.size_bytes, 0),
                is_provisional - was_provisional,
                coalesce(NEW.cost_usd, 0) - coalesce(OLD.cost_usd, 0),
                is_timed - was_timed,
                is_timed * coalesce(NEW.cost_usd, 0) - was_timed * coalesce(OLD.cost_usd, 0),
                is_sized - was_sized,
                is_sized * coalesce(NEW.cost_usd, 0) - was_sized * coalesce(OLD.cost_usd, 0),
                is_provisional * coalesce(NEW.cost_usd, 0)
                - was_provisional * coalesce(OLD.cost_usd, 0));
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION archiver.count_changed_costs() IS
    'Adds the difference that a change of a recording makes to archiver.cost_totals.';

CREATE FUNCTION archiver.count_changed_reads() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF OLD.state = 'archived' THEN
        INSERT INTO archiver.read_totals (verified_on, recordings, size_bytes)
        VALUES ((OLD.verified_at AT TIME ZONE 'UTC')::date, -1, -OLD.size_bytes);
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.state = 'archived' THEN
        INSERT INTO archiver.read_totals (verified_on, recordings, size_bytes)
        VALUES ((NEW.verified_at AT TIME ZONE 'UTC')::date, 1, NEW.size_bytes);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION archiver.count_changed_reads() IS
    'Adds the difference that a change of a recording makes to archiver.read_totals.';

-- Inserts come many in one statement and are counted together. Updates are counted row by row,
-- because then a condition can tell what counts: a claim, a wait, a renewed lease call nothing.
CREATE TRIGGER count_new AFTER INSERT ON archiver.recordings
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION archiver.count_new();
COMMENT ON TRIGGER count_new ON archiver.recordings IS
    'Keeps archiver.cost_totals and archiver.read_totals.';
CREATE TRIGGER count_changed_costs AFTER UPDATE ON archiver.recordings
    FOR EACH ROW
    WHEN ((OLD.billing_month, OLD.project_id, OLD.state = 'archived', OLD.duration_secs,
           OLD.size_bytes, OLD.cost_usd, scale(OLD.cost_usd), OLD.recording_status,
           OLD.cost_observed_at, OLD.cost_changed_at, OLD.source_deleted_at)
          IS DISTINCT FROM
          (NEW.billing_month, NEW.project_id, NEW.state = 'archived', NEW.duration_secs,
           NEW.size_bytes, NEW.cost_usd, scale(NEW.cost_usd), NEW.recording_status,
           NEW.cost_observed_at, NEW.cost_changed_at, NEW.source_deleted_at))
    EXECUTE FUNCTION archiver.count_changed_costs();
COMMENT ON TRIGGER count_changed_costs ON archiver.recordings IS 'Keeps archiver.cost_totals.';
CREATE TRIGGER count_deleted_costs AFTER DELETE ON archiver.recordings
    FOR EACH ROW EXECUTE FUNCTION archiver.count_changed_costs();
COMMENT ON TRIGGER count_deleted_costs ON archiver.recordings IS 'Keeps archiver.cost_totals.';
CREATE TRIGGER count_changed_reads AFTER UPDATE ON archiver.recordings
    FOR EACH ROW
    WHEN ((OLD.state = 'archived' OR NEW.state = 'archived')
          AND (OLD.state, OLD.verified_at, OLD.size_bytes)
              IS DISTINCT FROM (NEW.state, NEW.verified_at, NEW.size_bytes))
    EXECUTE FUNCTION archiver.count_changed_reads();
COMMENT ON TRIGGER count_changed_reads ON archiver.recordings IS 'Keeps archiver.read_totals.';
CREATE TRIGGER count_deleted_reads AFTER DELETE ON archiver.recordings
    FOR EACH ROW WHEN (OLD.state = 'archived') EXECUTE FUNCTION archiver.count_changed_reads();
COMMENT ON TRIGGER count_deleted_reads ON archiver.recordings IS 'Keeps archiver.read_totals.';

-- Folding moves sums and changes none: rows that one statement takes away come back added up in it.

CREATE FUNCTION archiver.fold_cost_totals() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Another one who folds would be waited for, and under an old snapshot its rows cannot be taken.
    IF current_setting('transaction_isolation') <> 'read committed'
       OR NOT pg_try_advisory_xact_lock('archiver.cost_totals'::regclass::oid::bigint) THEN
        RETURN NULL;
    END IF;
    WITH split AS (
        SELECT total_id
          FROM (SELECT total_id, billing_month, project_id, cost_scale,
                       count(*) OVER (PARTITION BY billing_month, project_id, cost_scale) AS rows
                  FROM archiver.cost_totals) t
         WHERE rows > 1
         ORDER BY billing_month, project_id, cost_scale
         LIMIT 20000
    ), taken AS (
        DELETE FROM archiver.cost_totals t USING split
         WHERE t.total_id = split.total_id RETURNING t.*
    )
    INSERT INTO archiver.cost_totals
           (billing_month, project_id, cost_scale, recordings, archived, timed, duration_secs, sized,
            size_bytes, provisional, cost_usd, timed_costs, timed_cost_usd, sized_costs, sized_cost_usd,
            provisional_usd)
    SELECT * FROM (
        SELECT billing_month, project_id, cost_scale, sum(recordings) AS recordings,
               sum(archived) AS archived, sum(timed) AS timed, sum(duration_secs) AS duration_secs,
               sum(sized) AS sized, sum(size_bytes) AS size_bytes, sum(provisional) AS provisional,
               sum(cost_usd) AS cost_usd, sum(timed_costs) AS timed_costs,
               sum(timed_cost_usd) AS timed_cost_usd, sum(sized_costs) AS sized_costs,
               sum(sized_cost_usd) AS sized_cost_usd,
               sum(provisional_usd) AS provisional_usd
          FROM taken GROUP BY 1, 2, 3) total
     WHERE (recordings, archived, timed, duration_secs, sized, size_bytes, provisional, cost_usd,
            timed_costs, timed_cost_usd, sized_costs, sized_cost_usd, provisional_usd)
           <> (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION archiver.fold_cost_totals() IS
    'Makes one row of the many of each group, of a bounded number of rows at once.';
CREATE TRIGGER fold AFTER INSERT ON archiver.cost_totals
    FOR EACH ROW WHEN (NEW.total_id % 1000 = 0) EXECUTE FUNCTION archiver.fold_cost_totals();
COMMENT ON TRIGGER fold ON archiver.cost_totals IS 'Keeps the table small, whoever writes.';

CREATE FUNCTION archiver.fold_read_totals() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed'
       OR NOT pg_try_advisory_xact_lock('archiver.read_totals'::regclass::oid::bigint) THEN
        RETURN NULL;
    END IF;
    WITH split AS (
        SELECT total_id
          FROM (SELECT total_id, verified_on, count(*) OVER (PARTITION BY verified_on) AS rows
                  FROM archiver.read_totals) t
         WHERE rows > 1
         ORDER BY verified_on
         LIMIT 20000
    ), taken AS (
        DELETE FROM archiver.read_totals t USING split
         WHERE t.total_id = split.total_id RETURNING t.*
    )
    INSERT INTO archiver.read_totals (verified_on, recordings, size_bytes)
    SELECT verified_on, sum(recordings), sum(size_bytes)
      FROM taken GROUP BY 1
    HAVING (sum(recordings), sum(size_bytes)) <> (0, 0);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION archiver.fold_read_totals() IS
    'Makes one row of the many of each day, of a bounded number of rows at once.';
CREATE TRIGGER fold AFTER INSERT ON archiver.read_totals
    FOR EACH ROW WHEN (NEW.total_id % 1000 = 0) EXECUTE FUNCTION archiver.fold_read_totals();
COMMENT ON TRIGGER fold ON archiver.read_totals IS 'Keeps the table small, whoever writes.';

CREATE FUNCTION archiver.counted_costs()
RETURNS TABLE (billing_month date, project_id text, cost_scale integer, recordings bigint,
               archived bigint, timed bigint, duration_secs numeric, sized bigint,
               size_bytes numeric, provisional bigint, cost_usd numeric, timed_costs bigint,
               timed_cost_usd numeric, sized_costs bigint, sized_cost_usd numeric,
               provisional_usd numeric)
LANGUAGE sql STABLE AS $$
    SELECT r.billing_month, r.project_id, scale(r.cost_usd), count(*),
           count(*) FILTER (WHERE r.state = 'archived'),
           count(r.duration_secs), coalesce(sum(r.duration_secs), 0),
           count(r.size_bytes), coalesce(sum(r.size_bytes), 0),
           count(r.cost_usd) FILTER (WHERE (r.recording_status = 'completed'
               AND (r.source_deleted_at IS NOT NULL
                    OR r.cost_observed_at - r.cost_changed_at >= rules.final_after)) IS NOT TRUE),
           coalesce(sum(r.cost_usd), 0),
           count(r.cost_usd) FILTER (WHERE r.duration_secs > 0),
           coalesce(sum(r.cost_usd) FILTER (WHERE r.duration_secs > 0), 0),
           count(r.cost_usd) FILTER (WHERE r.size_bytes > 0),
           coalesce(sum(r.cost_usd) FILTER (WHERE r.size_bytes > 0), 0),
           coalesce(sum(r.cost_usd) FILTER (WHERE (r.recording_status = 'completed'
               AND (r.source_deleted_at IS NOT NULL
                    OR r.cost_observed_at - r.cost_changed_at >= rules.final_after)) IS NOT TRUE), 0)
      FROM archiver.recordings r
     CROSS JOIN (SELECT max(final_after) AS final_after FROM archiver.finance_rules) rules
     GROUP BY 1, 2, 3
$$;
COMMENT ON FUNCTION archiver.counted_costs() IS
    'What archiver.cost_totals must sum up to, counted from all recordings.';

CREATE FUNCTION archiver.counted_reads()
RETURNS TABLE (verified_on date, recordings bigint, size_bytes numeric)
LANGUAGE sql STABLE AS $$
    SELECT (verified_at AT TIME ZONE 'UTC')::date, count(*), sum(size_bytes)
      FROM archiver.recordings WHERE state = 'archived' GROUP BY 1
$$;
COMMENT ON FUNCTION archiver.counted_reads() IS
    'What archiver.read_totals must sum up to, counted from all recordings.';

CREATE FUNCTION archiver.wrong_totals() RETURNS TABLE (total text, side text, figures jsonb)
LANGUAGE sql STABLE AS $$
    WITH kept_costs AS (
        SELECT billing_month, project_id, cost_scale, sum(recordings) AS recordings,
               sum(archived) AS archived, sum(timed) AS timed, sum(duration_secs) AS duration_secs,
               sum(sized) AS sized, sum(size_bytes) AS size_bytes, sum(provisional) AS provisional,
               sum(cost_usd) AS cost_usd, sum(timed_costs) AS timed_costs,
               sum(timed_cost_usd) AS timed_cost_usd, sum(sized_costs) AS sized_costs,
               sum(sized_cost_usd) AS sized_cost_usd,
               sum(provisional_usd) AS provisional_usd
          FROM archiver.cost_totals GROUP BY 1, 2, 3
    ), kept_costs_left AS (
        SELECT * FROM kept_costs
         WHERE (recordings, archived, timed, duration_secs, sized, size_bytes, provisional, cost_usd,
                timed_costs, timed_cost_usd, sized_costs, sized_cost_usd, provisional_usd)
               <> (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    ), counted_costs AS (
        SELECT * FROM archiver.counted_costs()
    ), kept_reads AS (
        SELECT verified_on, sum(recordings) AS recordings, sum(size_bytes) AS size_bytes
          FROM archiver.read_totals GROUP BY 1
        HAVING (sum(recordings), sum(size_bytes)) <> (0, 0)
    ), counted_reads AS (
        SELECT * FROM archiver.counted_reads()
    )
    SELECT 'cost_totals', 'kept', to_jsonb(it)
      FROM (SELECT * FROM kept_costs_left EXCEPT SELECT * FROM counted_costs) it
    UNION ALL
    SELECT 'cost_totals', 'counted', to_jsonb(it)
      FROM (SELECT * FROM counted_costs EXCEPT SELECT * FROM kept_costs_left) it
    UNION ALL
    SELECT 'read_totals', 'kept', to_jsonb(it)
      FROM (SELECT * FROM kept_reads EXCEPT SELECT * FROM counted_reads) it
    UNION ALL
    SELECT 'read_totals', 'counted', to_jsonb(it)
      FROM (SELECT * FROM counted_reads EXCEPT SELECT * FROM kept_reads) it
$$;
COMMENT ON FUNCTION archiver.wrong_totals() IS
    'Holds archiver.cost_totals and archiver.read_totals against all recordings: no row if they are right, else what is kept and what is counted. Reads every recording.';

CREATE FUNCTION archiver.recount() RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Whoever has changed a recording has ended by then, and who will waits until this has.
    LOCK TABLE archiver.recordings IN SHARE ROW EXCLUSIVE MODE;
    PERFORM pg_advisory_xact_lock('archiver.cost_totals'::regclass::oid::bigint);
    PERFORM pg_advisory_xact_lock('archiver.read_totals'::regclass::oid::bigint);
    DELETE FROM archiver.cost_totals;
    INSERT INTO archiver.cost_totals
           (billing_month, project_id, cost_scale, recordings, archived, timed, duration_secs, sized,
            size_bytes, provisional, cost_usd, timed_costs, timed_cost_usd, sized_costs, sized_cost_usd,
            provisional_usd)
    SELECT * FROM archiver.counted_costs();
    DELETE FROM archiver.read_totals;
    INSERT INTO archiver.read_totals (verified_on, recordings, size_bytes)
    SELECT * FROM archiver.counted_reads();
END
$$;
COMMENT ON FUNCTION archiver.recount() IS
    'Counts archiver.cost_totals and archiver.read_totals anew from all recordings. Writers wait meanwhile.';
REVOKE EXECUTE ON FUNCTION archiver.recount() FROM PUBLIC;

-- Which costs are final hangs on the rule: another rule is another count.
CREATE FUNCTION archiver.recount_by_rule() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM archiver.recount();
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION archiver.recount_by_rule() IS 'Counts anew what is provisional under a new rule.';
CREATE TRIGGER recount AFTER UPDATE ON archiver.finance_rules
    FOR EACH ROW WHEN (OLD.final_after IS DISTINCT FROM NEW.final_after)
    EXECUTE FUNCTION archiver.recount_by_rule();
COMMENT ON TRIGGER recount ON archiver.finance_rules IS 'Keeps archiver.cost_totals.';

SELECT archiver.recount();

-- What the provider has no more can change no more. The rules are an aggregate now: that is one row
-- to the planner, which takes a small table that nobody has analyzed for a large one.
CREATE OR REPLACE VIEW finance.recordings AS
SELECT r.recording_id,
       r.project_id,
       r.room_session_id,
       r.billing_month,
       r.started_at,
       r.finished_at,
       r.duration_secs,
       r.size_bytes,
       r.cost_usd,
       CASE
           WHEN r.cost_usd IS NULL THEN 'missing'
           WHEN r.recording_status = 'completed'
                AND (r.source_deleted_at IS NOT NULL
                     OR r.cost_observed_at - r.cost_changed_at >= rules.final_after) THEN 'final'
           ELSE 'provisional'
       END AS cost_state,
       r.cost_observed_at,
       r.state AS archive_state,
       r.archived_at,
       r.object_url
  FROM archiver.recordings r
 CROSS JOIN (SELECT max(final_after) AS final_after FROM archiver.finance_rules) rules;

COMMENT ON VIEW finance.recordings IS
    'One row per recording. The provider does not say when a cost is final; our rule: the recording is completed, and the cost was asked for again and found unchanged finance.final_after (7 days) or longer after it was first seen, or the provider has the recording no more.';

CREATE OR REPLACE VIEW finance.monthly_costs AS
SELECT billing_month,
       project_id,
       sum(recordings)::bigint AS recordings,
       sum(archived)::bigint AS archived,
       CASE WHEN sum(timed) > 0 THEN sum(duration_secs)::bigint END AS duration_secs,
       CASE WHEN sum(sized) > 0 THEN sum(size_bytes)::bigint END AS size_bytes,
       round(sum(cost_usd) FILTER (WHERE cost_scale IS NOT NULL), max(cost_scale)) AS cost_usd,
       sum(provisional)::bigint AS provisional,
       coalesce(sum(recordings) FILTER (WHERE cost_scale IS NULL), 0)::bigint AS missing_cost
  FROM (SELECT billing_month, project_id, cost_scale,
               sum(recordings) AS recordings, sum(archived) AS archived, sum(timed) AS timed,
               sum(duration_secs) AS duration_secs, sum(sized) AS sized,
               sum(size_bytes) AS size_bytes, sum(cost_usd) AS cost_usd,
               sum(provisional) AS provisional
          FROM archiver.cost_totals
         GROUP BY billing_month, project_id, cost_scale
        HAVING sum(recordings) > 0) totals
 GROUP BY billing_month, project_id;

CREATE OR REPLACE VIEW finance.unit_costs AS
SELECT billing_month,
       project_id,
       sum(recordings)::bigint AS recordings,
       round(sum(cost_usd), max(cost_scale)) AS cost_usd,
       CASE WHEN sum(timed) > 0 THEN sum(duration_secs)::bigint END AS duration_secs,
       round(round(sum(timed_cost_usd), max(cost_scale) FILTER (WHERE timed_costs > 0)) * 3600
             / nullif(sum(duration_secs), 0), 9) AS usd_per_hour,
       CASE WHEN sum(sized) > 0 THEN sum(size_bytes)::bigint END AS size_bytes,
       round(round(sum(sized_cost_usd), max(cost_scale) FILTER (WHERE sized_costs > 0)) * 1073741824
             / nullif(sum(size_bytes), 0), 9) AS usd_per_gib
  FROM (SELECT billing_month, project_id, cost_scale,
               sum(recordings) AS recordings, sum(timed) AS timed,
               sum(duration_secs) AS duration_secs, sum(sized) AS sized,
               sum(size_bytes) AS size_bytes, sum(cost_usd) AS cost_usd,
               sum(timed_costs) AS timed_costs, sum(timed_cost_usd) AS timed_cost_usd,
               sum(sized_costs) AS sized_costs, sum(sized_cost_usd) AS sized_cost_usd
          FROM archiver.cost_totals
         WHERE cost_scale IS NOT NULL
         GROUP BY billing_month, project_id, cost_scale
        HAVING sum(recordings) > 0) totals
 GROUP BY billing_month, project_id;

-- From the index alone: nothing here hangs on a rule.
CREATE OR REPLACE VIEW finance.session_costs AS
SELECT room_session_id,
       project_id,
       billing_month,
       count(*) AS recordings,
       sum(duration_secs)::bigint AS duration_secs,
       sum(size_bytes)::bigint AS size_bytes,
       sum(cost_usd) AS cost_usd
  FROM archiver.recordings
 WHERE room_session_id IS NOT NULL
 GROUP BY billing_month, room_session_id, project_id;

CREATE VIEW finance.provisional_costs AS
SELECT billing_month,
       project_id,
       sum(recordings)::bigint AS recordings,
       round(sum(cost_usd), max(cost_scale)) AS cost_usd
  FROM (SELECT billing_month, project_id, cost_scale,
               sum(provisional) AS recordings, sum(provisional_usd) AS cost_usd
          FROM archiver.cost_totals
         GROUP BY billing_month, project_id, cost_scale
        HAVING sum(provisional) > 0) totals
 GROUP BY billing_month, project_id;
COMMENT ON VIEW finance.provisional_costs IS
    'The part of each month''s costs that may still change, by UTC month and project; a month whose known costs are all final has no row.';
COMMENT ON COLUMN finance.provisional_costs.billing_month IS 'First day of the month.';
COMMENT ON COLUMN finance.provisional_costs.project_id IS 'SignalWire project.';
COMMENT ON COLUMN finance.provisional_costs.recordings IS 'Recordings whose cost may still change.';
COMMENT ON COLUMN finance.provisional_costs.cost_usd IS 'Exact sum of their costs as they are now.';

-- The three states have indexes of their own.
CREATE OR REPLACE VIEW finance.not_archived AS
SELECT r.recording_id,
       r.project_id,
       r.billing_month,
       r.state AS archive_state,
       r.error_kind,
       r.enqueued_at AS queued_at,
       r.cost_usd
  FROM archiver.recordings r
 WHERE r.state = 'pending' OR r.state = 'in_progress' OR r.state = 'failed';

CREATE OR REPLACE FUNCTION archiver.coverage(within interval)
RETURNS TABLE (archived bigint, archived_bytes numeric, read_again bigint, read_again_bytes numeric,
               damaged bigint, longest_unread_since timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT days.recordings::bigint,
           days.size_bytes,
           (days.read_again + first_day.read_again)::bigint,
           days.read_again_bytes + first_day.read_again_bytes,
           (SELECT count(*) FROM archiver.recordings
             WHERE state = 'archived' AND error_kind IS NOT NULL),
           least((SELECT archived_at FROM archiver.recordings
                   WHERE state = 'archived' AND coalesce(verified_at, '-infinity') = '-infinity'
                   ORDER BY archived_at LIMIT 1),
                 (SELECT verified_at FROM archiver.recordings
                   WHERE state = 'archived' AND coalesce(verified_at, '-infinity') > '-infinity'
                   ORDER BY coalesce(verified_at, '-infinity') LIMIT 1))
      FROM (SELECT coalesce(sum(recordings), 0) AS recordings,
                   coalesce(sum(size_bytes), 0) AS size_bytes,
                   coalesce(sum(recordings) FILTER (WHERE is_within), 0) AS read_again,
                   coalesce(sum(size_bytes) FILTER (WHERE is_within), 0) AS read_again_bytes
              FROM archiver.read_totals,
           LATERAL (SELECT verified_on > ((now() - within) AT TIME ZONE 'UTC')::date AS is_within) day
           ) days,
           -- Of the day on which the time begins, only what came after that moment.
           (SELECT count(*) AS read_again, coalesce(sum(size_bytes), 0) AS read_again_bytes
              FROM archiver.recordings
             WHERE state = 'archived'
               AND coalesce(verified_at, '-infinity') > now() - within
               AND coalesce(verified_at, '-infinity') <
                   (((now() - within) AT TIME ZONE 'UTC')::date + 1)::timestamp AT TIME ZONE 'UTC'
           ) first_day
$$;
