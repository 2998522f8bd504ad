-- Postgres reads the text of a trigger's condition anew for each statement, whether it fires or not,
-- and that of the two that kept the sums took longer than what they did. The columns that a statement
-- writes cost nothing to look at, and one function does the work of both.

CREATE FUNCTION archiver.count_changed() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    was_archived int;
    is_archived int;
    was_provisional int;
    is_provisional int;
    was_timed int;
    is_timed int;
    was_sized int;
    is_sized int;
BEGIN
    -- A claim, or a wait: mostly nothing that counts has changed.
    IF TG_OP = 'UPDATE'
       AND (OLD.state = 'archived', OLD.billing_month, OLD.project_id, OLD.duration_secs, OLD.size_bytes,
            OLD.cost_usd, scale(OLD.cost_usd), OLD.recording_status, OLD.cost_observed_at,
            OLD.cost_changed_at, OLD.source_deleted_at, OLD.verified_at)
           IS NOT DISTINCT FROM
           (NEW.state = 'archived', NEW.billing_month, NEW.project_id, NEW.duration_secs, NEW.size_bytes,
            NEW.cost_usd, scale(NEW.cost_usd), NEW.recording_status, NEW.cost_observed_at,
            NEW.cost_changed_at, NEW.source_deleted_at, NEW.verified_at) THEN
        RETURN NULL;
    END IF;

    was_archived := (OLD.state = 'archived')::int;
    was_provisional := (OLD.cost_usd IS NOT NULL)::int;
    was_timed := (OLD.cost_usd IS NOT NULL AND coalesce(OLD.duration_secs, 0) > 0)::int;
    was_sized := (OLD.cost_usd IS NOT NULL AND coalesce(OLD.size_bytes, 0) > 0)::int;
    -- The rule is asked for only where it decides.
    IF was_provisional = 1 AND OLD.recording_status = 'completed' THEN
        was_provisional := (OLD.source_deleted_at IS NULL AND
                            (SELECT OLD.cost_observed_at - OLD.cost_changed_at >= max(final_after)
                               FROM archiver.finance_rules) IS NOT TRUE)::int;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        is_archived := (NEW.state = 'archived')::int;
        is_provisional := (NEW.cost_usd IS NOT NULL)::int;
        is_timed := (NEW.cost_usd IS NOT NULL AND coalesce(NEW.duration_secs, 0) > 0)::int;
        is_sized := (NEW.cost_usd IS NOT NULL AND coalesce(NEW.size_bytes, 0) > 0)::int;
        IF is_provisional = 1 AND NEW.recording_status = 'completed' THEN
            is_provisional := (NEW.source_deleted_at IS NULL AND
                               (SELECT NEW.cost_observed_at - NEW.cost_changed_at >= max(final_after)
                                  FROM archiver.finance_rules) IS NOT TRUE)::int;
        END IF;
    END IF;

    IF TG_OP = 'DELETE' THEN
        INSERT INTO archiver.cost_totals
               (billing_month, project_id, cost_scale, recordings, archived, timed, duration_secs,
                sized, size_bytes, provisional, cost_usd,
                timed_costs, timed_cost_usd, sized_costs, sized_cost_usd, provisional_usd)
        VALUES (OLD.billing_month, OLD.project_id, scale(OLD.cost_usd), -1,
                -was_archived,
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
                -was_archived,
                -(OLD.duration_secs IS NOT NULL)::int, -coalesce(OLD.duration_secs, 0),
                -(OLD.size_bytes IS NOT NULL)::int, -coalesce(OLD.size_bytes, 0),
                -was_provisional, -coalesce(OLD.cost_usd, 0),
                -was_timed, -was_timed * coalesce(OLD.cost_usd, 0),
                -was_sized, -was_sized * coalesce(OLD.cost_usd, 0),
                -was_provisional * coalesce(OLD.cost_usd, 0)),
               (NEW.billing_month, NEW.project_id, scale(NEW.cost_usd), 1,
                is_archived,
                (NEW.duration_secs IS NOT NULL)::int, coalesce(NEW.duration_secs, 0),
                (NEW.size_bytes IS NOT NULL)::int, coalesce(NEW.size_bytes, 0),
                is_provisional, coalesce(NEW.cost_usd, 0),
                is_timed, is_timed * coalesce(NEW.cost_usd, 0),
                is_sized, is_sized * coalesce(NEW.cost_usd, 0),
                is_provisional * coalesce(NEW.cost_usd, 0));
    ELSIF (was_archived, OLD.duration_secs, OLD.size_bytes, OLD.cost_usd, was_provisional)
          IS DISTINCT FROM
          (is_archived, NEW.duration_secs, NEW.size_bytes, NEW.cost_usd, is_provisional) THEN
        INSERT INTO archiver.cost_totals
               (billing_month, project_id, cost_scale, recordings, archived, timed, duration_secs,
                sized, size_bytes, provisional, cost_usd,
                timed_costs, timed_cost_usd, sized_costs, sized_cost_usd, provisional_usd)
        VALUES (NEW.billing_month, NEW.project_id, scale(NEW.cost_usd), 0,
                is_archived - was_archived,
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

    IF TG_OP = 'UPDATE'
       AND (was_archived, is_archived) = (1, 1)
       AND (OLD.verified_at, OLD.size_bytes) IS NOT DISTINCT FROM (NEW.verified_at, NEW.size_bytes) THEN
        RETURN NULL;
    END IF;
    IF was_archived = 1 THEN
        INSERT INTO archiver.read_totals (verified_on, recordings, size_bytes)
        VALUES ((OLD.verified_at AT TIME ZONE 'UTC')::date, -1, -OLD.size_bytes);
    END IF;
    IF is_archived = 1 THEN
        INSERT INTO archiver.read_totals (verified_on, recordings, size_bytes)
        VALUES ((NEW.verified_at AT TIME ZONE 'UTC')::date, 1, NEW.size_bytes);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION archiver.count_changed() IS
    'Adds the difference that a change of a recording makes to archiver.cost_totals and archiver.read_totals.';

-- billing_month follows from started_at.
CREATE TRIGGER count_changed AFTER UPDATE OF state, project_id, started_at, duration_secs, size_bytes,
    cost_usd, recording_status, cost_observed_at, cost_changed_at, source_deleted_at, verified_at
    ON archiver.recordings
    FOR EACH ROW EXECUTE FUNCTION archiver.count_changed();
COMMENT ON TRIGGER count_changed ON archiver.recordings IS
    'Keeps archiver.cost_totals and archiver.read_totals.';
CREATE TRIGGER count_deleted AFTER DELETE ON archiver.recordings
    FOR EACH ROW EXECUTE FUNCTION archiver.count_changed();
COMMENT ON TRIGGER count_deleted ON archiver.recordings IS
    'Keeps archiver.cost_totals and archiver.read_totals.';

DROP TRIGGER count_changed_costs ON archiver.recordings;
DROP TRIGGER count_deleted_costs ON archiver.recordings;
DROP TRIGGER count_changed_reads ON archiver.recordings;
DROP TRIGGER count_deleted_reads ON archiver.recordings;
DROP FUNCTION archiver.count_changed_costs();
DROP FUNCTION archiver.count_changed_reads();

-- Folding reads what was taken away before, too, until it is vacuumed: less often is cheaper, and a
-- few thousand rows are still summed up in milliseconds.
DROP TRIGGER fold ON archiver.cost_totals;
CREATE TRIGGER fold AFTER INSERT ON archiver.cost_totals
    FOR EACH ROW WHEN (NEW.total_id % 4000 = 0) EXECUTE FUNCTION archiver.fold_cost_totals();
COMMENT ON TRIGGER fold ON archiver.cost_totals IS 'Keeps the table small, whoever writes.';
DROP TRIGGER fold ON archiver.read_totals;
CREATE TRIGGER fold AFTER INSERT ON archiver.read_totals
    FOR EACH ROW WHEN (NEW.total_id % 4000 = 0) EXECUTE FUNCTION archiver.fold_read_totals();
COMMENT ON TRIGGER fold ON archiver.read_totals IS 'Keeps the table small, whoever writes.';
