-- Least rights: no function that runs as its owner is executable by anybody else, the ledger is dated
-- by the server, and a finished row of the audit stays.

-- A role that may create a temporary table could name the functions that run as their owner as
-- triggers of it, and have its own code (a cast of its own type) run with the owner's rights. A
-- trigger that exists needs no EXECUTE to fire. Default privileges for one schema cannot take this
-- from PUBLIC, so each migration that adds a function revokes it; a test demands that.
REVOKE EXECUTE ON FUNCTION
    archiver.count_new(), archiver.count_changed(), archiver.recount_by_rule(), archiver.recount(),
    archiver.fold_cost_totals(), archiver.fold_read_totals(), archiver.is_time_to_fold(bigint, bigint),
    archiver.counted_costs(), archiver.counted_reads(), archiver.wrong_totals(),
    archiver.coverage(interval), archiver.others_to_ask(text[]),
    archiver.ring(), archiver.refuse_change()
    FROM PUBLIC;

-- The ledger. An observation is dated when it is written, so that no figure of a month that was
-- reported before can include it. A rebuild restores the dates that the manifests state.
CREATE FUNCTION archiver.date_observation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- The owner restores dumps, which hold the dates of then.
    IF NOT pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE') THEN
        NEW.observed_at := CASE WHEN NEW.observed_by = 'rebuild' AND isfinite(NEW.observed_at)
                                THEN least(NEW.observed_at, now()) ELSE now() END;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION archiver.date_observation() IS
    'Dates an observation by the database''s clock, whatever a role other than the owner inserts; a rebuild may state an earlier time.';
REVOKE EXECUTE ON FUNCTION archiver.date_observation() FROM PUBLIC;
CREATE TRIGGER date_observation BEFORE INSERT ON archiver.cost_observations
    FOR EACH ROW WHEN (NEW.observed_at IS DISTINCT FROM now())
    EXECUTE FUNCTION archiver.date_observation();
COMMENT ON TRIGGER date_observation ON archiver.cost_observations IS
    'Keeps the dates of the ledger true.';
COMMENT ON COLUMN archiver.cost_observations.observed_at IS
    'When the cost was written here, by the database''s clock; of a rebuild, when the provider stated it by the manifest.';

-- The audit of deletions. An open row changes until its outcome is known; a finished row is final.
CREATE FUNCTION archiver.refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'archiver.retirements is append-only: % is refused', TG_OP
        USING HINT = 'A row with an outcome is final, and no row is deleted.';
END
$$;
COMMENT ON FUNCTION archiver.refuse_audit_change() IS 'Keeps the audit append-only, for every role.';
REVOKE EXECUTE ON FUNCTION archiver.refuse_audit_change() FROM PUBLIC;
CREATE TRIGGER final_when_finished BEFORE UPDATE ON archiver.retirements
    FOR EACH ROW WHEN (OLD.outcome IS NOT NULL)
    EXECUTE FUNCTION archiver.refuse_audit_change();
COMMENT ON TRIGGER final_when_finished ON archiver.retirements IS 'Keeps finished rows as they are.';
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON archiver.retirements
    FOR EACH STATEMENT EXECUTE FUNCTION archiver.refuse_audit_change();
COMMENT ON TRIGGER append_only ON archiver.retirements IS 'Keeps the audit append-only.';

-- Roles that were granted before keep working, with the rights that `migrate --grant-…` gives now.
DO $$
DECLARE
    service name;
BEGIN
    FOR service IN
        SELECT DISTINCT r.rolname FROM pg_class c, aclexplode(c.relacl) a, pg_roles r
         WHERE c.oid = 'archiver.attempts'::regclass AND a.privilege_type = 'INSERT'
           AND a.grantee <> c.relowner AND r.oid = a.grantee
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION archiver.coverage(interval),
                            archiver.others_to_ask(text[]) TO %I', service);
        EXECUTE format('REVOKE INSERT, UPDATE ON archiver.cost_observations, archiver.retirements,
                            archiver.finance_rules FROM %I', service);
        EXECUTE format('GRANT INSERT (recording_id, observed_at, cost_usd, recording_status, observed_by)
                            ON archiver.cost_observations TO %I', service);
        EXECUTE format('GRANT INSERT (recording_id, retired_by, object_url, size_bytes, sha256, evidence,
                                      cost_usd),
                            UPDATE (begun_at, ended_at, retired_by, outcome, reason, object_url,
                                    size_bytes, sha256, evidence, cost_usd)
                            ON archiver.retirements TO %I', service);
        EXECUTE format('GRANT UPDATE (final_after) ON archiver.finance_rules TO %I', service);
    END LOOP;
END
$$;
