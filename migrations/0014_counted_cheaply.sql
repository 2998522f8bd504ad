-- Settling a recording counts it, and PL/pgSQL compiles what it meets anew in each transaction: it
-- is the number of expressions and statements that costs, not what they do. So a claim meets two of
-- them, and the first that is heard of a recording, which is what most settling is, writes one row of
-- one table.

-- Until all of this is there, nobody writes (about a minute for 5,000,000 recordings).
LOCK TABLE archiver.recordings IN SHARE ROW EXCLUSIVE MODE;

ALTER TABLE archiver.cost_totals
    ADD COLUMN archived_bytes numeric NOT NULL DEFAULT 0,
    ADD COLUMN described bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN archiver.cost_totals.archived_bytes IS 'Bytes of the archived recordings.';
COMMENT ON COLUMN archiver.cost_totals.described IS
    'Recordings of which nothing but the ID was known before: each is one fewer of those, which no row of theirs says.';
COMMENT ON TABLE archiver.cost_totals IS
    'What the finance views sum up instead of all recordings: by month, project and decimals of the cost. The rows are differences, negative ones too; archiver.kept_costs sums them up. archiver.wrong_totals() holds them against the recordings, archiver.recount() counts anew.';

DELETE FROM archiver.read_totals WHERE verified_on IS NULL;
ALTER TABLE archiver.read_totals ALTER COLUMN verified_on SET NOT NULL;
COMMENT ON TABLE archiver.read_totals IS
    'How much of the archive was read again, by the day on which it last was. The figures of a day are the sums over its rows, which are differences.';
COMMENT ON COLUMN archiver.read_totals.verified_on IS 'UTC day of verified_at.';

CREATE VIEW archiver.kept_costs AS
SELECT billing_month, project_id, cost_scale,
       sum(recordings) AS recordings,
       sum(archived) AS archived,
       sum(archived_bytes) AS archived_bytes,
       sum(timed) AS timed,
       sum(duration_secs) AS duration_secs,
       sum(sized) AS sized,
       sum(size_bytes) AS size_bytes,
       sum(provisional) AS provisional,
       sum(cost_usd) AS cost_usd,
       sum(timed_costs) AS timed_costs,
       sum(timed_cost_usd) AS timed_cost_usd,
       sum(sized_costs) AS sized_costs,
       sum(sized_cost_usd) AS sized_cost_usd,
       sum(provisional_usd) AS provisional_usd
  FROM (SELECT billing_month, project_id, cost_scale, recordings, archived, archived_bytes, timed,
               duration_secs, sized, size_bytes, provisional, cost_usd, timed_costs, timed_cost_usd,
               sized_costs, sized_cost_usd, provisional_usd
          FROM archiver.cost_totals
         UNION ALL
        SELECT NULL, NULL, NULL, -coalesce(sum(described), 0), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
          FROM archiver.cost_totals) differences
 GROUP BY billing_month, project_id, cost_scale
HAVING (sum(recordings), sum(archived), sum(archived_bytes), sum(timed), sum(duration_secs), sum(sized),
        sum(size_bytes), sum(provisional), sum(cost_usd), sum(timed_costs), sum(timed_cost_usd),
        sum(sized_costs), sum(sized_cost_usd), sum(provisional_usd))
       <> (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
COMMENT ON VIEW archiver.kept_costs IS
    'archiver.cost_totals summed up, group by group, without those that sum up to nothing.';
COMMENT ON COLUMN archiver.kept_costs.billing_month IS 'As in archiver.recordings.';
COMMENT ON COLUMN archiver.kept_costs.project_id IS 'As in archiver.recordings.';
COMMENT ON COLUMN archiver.kept_costs.cost_scale IS 'Decimals of the cost as it is spelled; NULL: the cost is unknown.';
COMMENT ON COLUMN archiver.kept_costs.recordings IS 'Recordings.';
COMMENT ON COLUMN archiver.kept_costs.archived IS 'Of these, archived.';
COMMENT ON COLUMN archiver.kept_costs.archived_bytes IS 'Bytes of the archived ones.';
COMMENT ON COLUMN archiver.kept_costs.timed IS 'Of these, of known length.';
COMMENT ON COLUMN archiver.kept_costs.duration_secs IS 'Their seconds.';
COMMENT ON COLUMN archiver.kept_costs.sized IS 'Those with a size in the archive.';
COMMENT ON COLUMN archiver.kept_costs.size_bytes IS 'Their bytes.';
COMMENT ON COLUMN archiver.kept_costs.provisional IS 'Those whose cost is known and not final.';
COMMENT ON COLUMN archiver.kept_costs.cost_usd IS 'Exact sum of the known costs.';
COMMENT ON COLUMN archiver.kept_costs.timed_costs IS 'Recordings of known cost and a length above 0.';
COMMENT ON COLUMN archiver.kept_costs.timed_cost_usd IS 'Exact sum of their costs.';
COMMENT ON COLUMN archiver.kept_costs.sized_costs IS 'Recordings of known cost and a size above 0.';
COMMENT ON COLUMN archiver.kept_costs.sized_cost_usd IS 'Exact sum of their costs.';
COMMENT ON COLUMN archiver.kept_costs.provisional_usd IS 'Exact sum of the costs that are not final.';

-- Folding. Who counts calls it, because a trigger's condition is read anew for each row counted. It is
-- done with the rights and the search path of who counts.

CREATE FUNCTION archiver.is_time_to_fold(last_total_id bigint, written bigint) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$ SELECT last_total_id % 4000 < written $$;
COMMENT ON FUNCTION archiver.is_time_to_fold(bigint, bigint) IS
    'Whether one of the rows that were just written, of which the last has this number, was the four thousandth since the last time.';

DROP TRIGGER fold ON archiver.cost_totals;
DROP TRIGGER fold ON archiver.read_totals;
DROP FUNCTION archiver.fold_cost_totals();
DROP FUNCTION archiver.fold_read_totals();

CREATE FUNCTION archiver.fold_cost_totals() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    -- Another one who folds would be waited for, and under an old snapshot its rows cannot be taken.
    IF current_setting('transaction_isolation') <> 'read committed'
       OR NOT pg_try_advisory_xact_lock('archiver.cost_totals'::regclass::oid::bigint) THEN
        RETURN;
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
           (billing_month, project_id, cost_scale, described, recordings, archived, archived_bytes,
            timed, duration_secs, sized, size_bytes, provisional, cost_usd, timed_costs,
            timed_cost_usd, sized_costs, sized_cost_usd, provisional_usd)
    SELECT * FROM (
        SELECT billing_month, project_id, cost_scale, sum(described) AS described,
               sum(recordings) AS recordings, sum(archived) AS archived,
               sum(archived_bytes) AS archived_bytes, sum(timed) AS timed,
               sum(duration_secs) AS duration_secs, sum(sized) AS sized,
               sum(size_bytes) AS size_bytes, sum(provisional) AS provisional,
               sum(cost_usd) AS cost_usd, sum(timed_costs) AS timed_costs,
               sum(timed_cost_usd) AS timed_cost_usd, sum(sized_costs) AS sized_costs,
               sum(sized_cost_usd) AS sized_cost_usd, sum(provisional_usd) AS provisional_usd
          FROM taken GROUP BY 1, 2, 3) total
     WHERE (described, recordings, archived, archived_bytes, timed, duration_secs, sized, size_bytes,
            provisional, cost_usd, timed_costs, timed_cost_usd, sized_costs, sized_cost_usd,
            provisional_usd)
           <> (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
END
$$;
COMMENT ON FUNCTION archiver.fold_cost_totals() IS
    'Makes one row of the many of each group, of a bounded number of rows at once.';

CREATE FUNCTION archiver.fold_read_totals() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed'
       OR NOT pg_try_advisory_xact_lock('archiver.read_totals'::regclass::oid::bigint) THEN
        RETURN;
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
END
$$;
COMMENT ON FUNCTION archiver.fold_read_totals() IS
    'Makes one row of the many of each day, of a bounded number of rows at once.';

-- Counting.

CREATE OR REPLACE FUNCTION archiver.count_new() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    written bigint;
    written_reads bigint;
BEGIN
    -- Mostly there is nothing but IDs.
    IF NOT EXISTS (SELECT FROM new_rows
                    WHERE state = 'archived' OR num_nonnulls(billing_month, project_id, duration_secs,
                                                             size_bytes, cost_usd) > 0) THEN
        INSERT INTO archiver.cost_totals
               (recordings, archived, timed, duration_secs, sized, size_bytes, provisional, cost_usd,
                timed_costs, timed_cost_usd, sized_costs, sized_cost_usd, provisional_usd)
        SELECT count(*), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 FROM new_rows HAVING count(*) > 0;
        GET DIAGNOSTICS written = ROW_COUNT;
    ELSE
        INSERT INTO archiver.cost_totals
               (billing_month, project_id, cost_scale, recordings, archived, archived_bytes, timed,
                duration_secs, sized, size_bytes, provisional, cost_usd, timed_costs, timed_cost_usd,
                sized_costs, sized_cost_usd, provisional_usd)
        SELECT r.billing_month, r.project_id, scale(r.cost_usd), count(*),
               count(*) FILTER (WHERE r.state = 'archived'),
               coalesce(sum(r.size_bytes) FILTER (WHERE r.state = 'archived'), 0),
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
        GET DIAGNOSTICS written = ROW_COUNT;
        INSERT INTO archiver.read_totals (verified_on, recordings, size_bytes)
        SELECT (r.verified_at AT TIME ZONE 'UTC')::date, count(*), sum(r.size_bytes)
          FROM new_rows r
         WHERE r.state = 'archived' AND r.verified_at IS NOT NULL
         GROUP BY 1;
        GET DIAGNOSTICS written_reads = ROW_COUNT;
    END IF;
    -- Who has written no row cannot ask for its number.
    IF written_reads > 0 THEN
        IF archiver.is_time_to_fold(currval('archiver.read_totals_total_id_seq'), written_reads) THEN
            PERFORM archiver.fold_read_totals();
        END IF;
    END IF;
    IF written > 0 THEN
        IF archiver.is_time_to_fold(currval('archiver.cost_totals_total_id_seq'), written) THEN
            PERFORM archiver.fold_cost_totals();
        END IF;
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION archiver.count_changed() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    was_final boolean;
    is_final boolean;
    written bigint := 0;
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.state <> 'archived'
       AND num_nonnulls(OLD.billing_month, OLD.project_id, OLD.duration_secs, OLD.size_bytes,
                        OLD.cost_usd) = 0 THEN
        -- A claim, or given up, with as little known as before.
        IF NEW.state <> 'archived'
           AND num_nonnulls(NEW.billing_month, NEW.project_id, NEW.duration_secs, NEW.size_bytes,
                            NEW.cost_usd) = 0 THEN
            RETURN NULL;
        END IF;
        INSERT INTO archiver.cost_totals
               (described, billing_month, project_id, cost_scale, recordings, archived, archived_bytes,
                timed, duration_secs, sized, size_bytes, provisional, cost_usd, timed_costs,
                timed_cost_usd, sized_costs, sized_cost_usd, provisional_usd)
        SELECT 1, NEW.billing_month, NEW.project_id, scale(NEW.cost_usd), 1,
               (NEW.state = 'archived')::int,
               CASE WHEN NEW.state = 'archived' THEN NEW.size_bytes ELSE 0 END,
               (NEW.duration_secs IS NOT NULL)::int, coalesce(NEW.duration_secs, 0),
               (NEW.size_bytes IS NOT NULL)::int, coalesce(NEW.size_bytes, 0),
               CASE WHEN NEW.cost_usd IS NULL OR rule.is_final THEN 0 ELSE 1 END,
               coalesce(NEW.cost_usd, 0),
               CASE WHEN NEW.cost_usd IS NOT NULL AND NEW.duration_secs > 0 THEN 1 ELSE 0 END,
               CASE WHEN NEW.duration_secs > 0 THEN coalesce(NEW.cost_usd, 0) ELSE 0 END,
               CASE WHEN NEW.cost_usd IS NOT NULL AND NEW.size_bytes > 0 THEN 1 ELSE 0 END,
               CASE WHEN NEW.size_bytes > 0 THEN coalesce(NEW.cost_usd, 0) ELSE 0 END,
               CASE WHEN NEW.cost_usd IS NULL OR rule.is_final THEN 0 ELSE NEW.cost_usd END
          FROM (VALUES (1)) one
          -- An aggregate, as elsewhere, would be a node more to set up.
          LEFT JOIN archiver.finance_rules rules ON true
         CROSS JOIN LATERAL (SELECT NEW.recording_status = 'completed'
                                    AND (NEW.source_deleted_at IS NOT NULL
                                         OR NEW.cost_observed_at - NEW.cost_changed_at
                                            >= rules.final_after) AS is_final) rule;
        GET DIAGNOSTICS written = ROW_COUNT;
    ELSE
        -- A claim, or a wait.
        IF TG_OP = 'UPDATE'
           AND (OLD.state = 'archived', OLD.billing_month, OLD.project_id, OLD.duration_secs,
                OLD.size_bytes, OLD.cost_usd, scale(OLD.cost_usd), OLD.recording_status,
                OLD.cost_observed_at, OLD.cost_changed_at, OLD.source_deleted_at, OLD.verified_at)
               IS NOT DISTINCT FROM
               (NEW.state = 'archived', NEW.billing_month, NEW.project_id, NEW.duration_secs,
                NEW.size_bytes, NEW.cost_usd, scale(NEW.cost_usd), NEW.recording_status,
                NEW.cost_observed_at, NEW.cost_changed_at, NEW.source_deleted_at, NEW.verified_at) THEN
            RETURN NULL;
        END IF;
        SELECT OLD.recording_status = 'completed'
               AND (OLD.source_deleted_at IS NOT NULL
                    OR OLD.cost_observed_at - OLD.cost_changed_at >= max(final_after)),
               NEW.recording_status = 'completed'
               AND (NEW.source_deleted_at IS NOT NULL
                    OR NEW.cost_observed_at - NEW.cost_changed_at >= max(final_after))
          INTO was_final, is_final
          FROM archiver.finance_rules;
        -- Where a price was confirmed, or an object read again, no sum is another.
        IF TG_OP = 'DELETE'
           OR (OLD.state = 'archived', OLD.billing_month, OLD.project_id, OLD.duration_secs,
               OLD.size_bytes, OLD.cost_usd, scale(OLD.cost_usd), was_final IS TRUE)
              IS DISTINCT FROM
              (NEW.state = 'archived', NEW.billing_month, NEW.project_id, NEW.duration_secs,
               NEW.size_bytes, NEW.cost_usd, scale(NEW.cost_usd), is_final IS TRUE) THEN
            INSERT INTO archiver.cost_totals
                   (billing_month, project_id, cost_scale, recordings, archived, archived_bytes, timed,
                    duration_secs, sized, size_bytes, provisional, cost_usd, timed_costs,
                    timed_cost_usd, sized_costs, sized_cost_usd, provisional_usd)
            SELECT r.billing_month, r.project_id, scale(r.cost_usd), r.one,
                   CASE WHEN r.state = 'archived' THEN r.one ELSE 0 END,
                   CASE WHEN r.state = 'archived' THEN r.one * r.size_bytes ELSE 0 END,
                   CASE WHEN r.duration_secs IS NULL THEN 0 ELSE r.one END,
                   r.one * coalesce(r.duration_secs, 0),
                   CASE WHEN r.size_bytes IS NULL THEN 0 ELSE r.one END,
                   r.one * coalesce(r.size_bytes, 0),
                   CASE WHEN r.cost_usd IS NULL OR r.is_final THEN 0 ELSE r.one END,
                   r.one * coalesce(r.cost_usd, 0),
                   CASE WHEN r.cost_usd IS NOT NULL AND r.duration_secs > 0 THEN r.one ELSE 0 END,
                   CASE WHEN r.duration_secs > 0 THEN r.one * coalesce(r.cost_usd, 0) ELSE 0 END,
                   CASE WHEN r.cost_usd IS NOT NULL AND r.size_bytes > 0 THEN r.one ELSE 0 END,
                   CASE WHEN r.size_bytes > 0 THEN r.one * coalesce(r.cost_usd, 0) ELSE 0 END,
                   CASE WHEN r.is_final THEN 0 ELSE r.one * coalesce(r.cost_usd, 0) END
              FROM (VALUES (-1, OLD.state, OLD.billing_month, OLD.project_id, OLD.duration_secs,
                            OLD.size_bytes, OLD.cost_usd, was_final),
                           (1, NEW.state, NEW.billing_month, NEW.project_id, NEW.duration_secs,
                            NEW.size_bytes, NEW.cost_usd, is_final))
                   AS r (one, state, billing_month, project_id, duration_secs, size_bytes, cost_usd,
                         is_final)
             WHERE r.one < 0 OR TG_OP = 'UPDATE';
            GET DIAGNOSTICS written = ROW_COUNT;
        END IF;
    END IF;
    -- Who has written no row cannot ask for its number.
    IF written > 0 THEN
        IF archiver.is_time_to_fold(currval('archiver.cost_totals_total_id_seq'), written) THEN
            PERFORM archiver.fold_cost_totals();
        END IF;
    END IF;

    IF OLD.verified_at IS NOT NULL OR NEW.verified_at IS NOT NULL THEN
        INSERT INTO archiver.read_totals (verified_on, recordings, size_bytes)
        SELECT (r.verified_at AT TIME ZONE 'UTC')::date, r.one, r.one * r.size_bytes
          FROM (VALUES (-1, OLD.state, OLD.verified_at, OLD.size_bytes),
                       (1, NEW.state, NEW.verified_at, NEW.size_bytes))
               AS r (one, state, verified_at, size_bytes)
         WHERE r.state = 'archived' AND r.verified_at IS NOT NULL
           AND (OLD.state, OLD.verified_at, OLD.size_bytes)
               IS DISTINCT FROM (NEW.state, NEW.verified_at, NEW.size_bytes);
        GET DIAGNOSTICS written = ROW_COUNT;
        IF written > 0 THEN
            IF archiver.is_time_to_fold(currval('archiver.read_totals_total_id_seq'), written) THEN
                PERFORM archiver.fold_read_totals();
            END IF;
        END IF;
    END IF;
    RETURN NULL;
END
$$;

-- billing_month follows from started_at and created_at.
DROP TRIGGER count_changed ON archiver.recordings;
CREATE TRIGGER count_changed AFTER UPDATE OF state, project_id, started_at, created_at,
    duration_secs, size_bytes, cost_usd, recording_status, cost_observed_at, cost_changed_at,
    source_deleted_at, verified_at
    ON archiver.recordings
    FOR EACH ROW EXECUTE FUNCTION archiver.count_changed();
COMMENT ON TRIGGER count_changed ON archiver.recordings IS
    'Keeps archiver.cost_totals and archiver.read_totals.';

-- What is kept, held against what is there.

DROP FUNCTION archiver.counted_costs();
CREATE FUNCTION archiver.counted_costs()
RETURNS TABLE (billing_month date, project_id text, cost_scale integer, recordings bigint,
               archived bigint, archived_bytes numeric, timed bigint, duration_secs numeric, sized bigint,
               size_bytes numeric, provisional bigint, cost_usd numeric, timed_costs bigint,
               timed_cost_usd numeric, sized_costs bigint, sized_cost_usd numeric,
               provisional_usd numeric)
LANGUAGE sql STABLE AS $$
    SELECT r.billing_month, r.project_id, scale(r.cost_usd), count(*),
           count(*) FILTER (WHERE r.state = 'archived'),
           coalesce(sum(r.size_bytes) FILTER (WHERE r.state = 'archived'), 0),
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
    'What archiver.kept_costs must be, counted from all recordings.';

CREATE OR REPLACE FUNCTION archiver.counted_reads()
RETURNS TABLE (verified_on date, recordings bigint, size_bytes numeric)
LANGUAGE sql STABLE AS $$
    SELECT (verified_at AT TIME ZONE 'UTC')::date, count(*), sum(size_bytes)
      FROM archiver.recordings WHERE state = 'archived' AND verified_at IS NOT NULL GROUP BY 1
$$;

CREATE OR REPLACE FUNCTION archiver.wrong_totals() RETURNS TABLE (total text, side text, figures jsonb)
LANGUAGE sql STABLE AS $$
    WITH kept_costs AS (
        SELECT * FROM archiver.kept_costs
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
      FROM (SELECT * FROM kept_costs EXCEPT SELECT * FROM counted_costs) it
    UNION ALL
    SELECT 'cost_totals', 'counted', to_jsonb(it)
      FROM (SELECT * FROM counted_costs EXCEPT SELECT * FROM kept_costs) it
    UNION ALL
    SELECT 'read_totals', 'kept', to_jsonb(it)
      FROM (SELECT * FROM kept_reads EXCEPT SELECT * FROM counted_reads) it
    UNION ALL
    SELECT 'read_totals', 'counted', to_jsonb(it)
      FROM (SELECT * FROM counted_reads EXCEPT SELECT * FROM kept_reads) it
$$;

CREATE OR REPLACE FUNCTION archiver.recount() RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Whoever has changed a recording has ended by then, and who will waits until this has.
    LOCK TABLE archiver.recordings IN SHARE ROW EXCLUSIVE MODE;
    PERFORM pg_advisory_xact_lock('archiver.cost_totals'::regclass::oid::bigint);
    PERFORM pg_advisory_xact_lock('archiver.read_totals'::regclass::oid::bigint);
    DELETE FROM archiver.cost_totals;
    INSERT INTO archiver.cost_totals
           (billing_month, project_id, cost_scale, recordings, archived, archived_bytes, timed,
            duration_secs, sized, size_bytes, provisional, cost_usd, timed_costs, timed_cost_usd,
            sized_costs, sized_cost_usd, provisional_usd)
    SELECT * FROM archiver.counted_costs();
    DELETE FROM archiver.read_totals;
    INSERT INTO archiver.read_totals (verified_on, recordings, size_bytes)
    SELECT * FROM archiver.counted_reads();
END
$$;

-- What reads them. The other finance views count what has a cost, and sum up the rows as they are.

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
  FROM archiver.kept_costs
 WHERE recordings > 0
 GROUP BY billing_month, project_id;

CREATE OR REPLACE FUNCTION archiver.coverage(within interval)
RETURNS TABLE (archived bigint, archived_bytes numeric, read_again bigint, read_again_bytes numeric,
               damaged bigint, longest_unread_since timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT totals.archived::bigint,
           totals.archived_bytes,
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
      FROM (SELECT coalesce(sum(archived), 0) AS archived,
                   coalesce(sum(archived_bytes), 0) AS archived_bytes
              FROM archiver.cost_totals) totals,
           (SELECT coalesce(sum(recordings) FILTER (WHERE is_within), 0) AS read_again,
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

-- The bytes of what is archived, group by group.
SELECT archiver.recount();
