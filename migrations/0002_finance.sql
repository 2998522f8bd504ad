-- Money: an append-only ledger of observed costs, and the views that finance reads.

CREATE TABLE archiver.cost_observations (
    observation_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    recording_id     uuid NOT NULL REFERENCES archiver.recordings,
    observed_at      timestamptz NOT NULL DEFAULT now(),
    cost_usd         numeric NOT NULL CHECK (cost_usd <> 'NaN'),
    recording_status text,
    observed_by      text NOT NULL,
    CONSTRAINT observed_by_is_known CHECK (observed_by IN ('archive', 'discover', 'reprice', 'rebuild'))
);
CREATE INDEX cost_observations_by_recording
    ON archiver.cost_observations (recording_id, observation_id DESC);
COMMENT ON TABLE archiver.cost_observations IS
    'The ledger: one row each time a recording''s cost was seen to change. Rows are never changed or deleted.';
COMMENT ON COLUMN archiver.cost_observations.observation_id IS 'Order of all observations.';
COMMENT ON COLUMN archiver.cost_observations.recording_id IS 'The recording.';
COMMENT ON COLUMN archiver.cost_observations.observed_at IS 'When the provider was seen to state this cost.';
COMMENT ON COLUMN archiver.cost_observations.cost_usd IS 'US dollars, exactly as the provider spelled it.';
COMMENT ON COLUMN archiver.cost_observations.recording_status IS 'What the provider said of the recording then.';
COMMENT ON COLUMN archiver.cost_observations.observed_by IS
    'Which path saw it: archive, discover, reprice or rebuild.';
COMMENT ON CONSTRAINT observed_by_is_known ON archiver.cost_observations IS 'The paths; see the column.';
COMMENT ON INDEX archiver.cost_observations_by_recording IS 'The last observation of a recording.';

CREATE FUNCTION archiver.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'archiver.cost_observations is append-only: % is refused', TG_OP
        USING HINT = 'A new cost is a new row; what was observed stays.';
END
$$;
COMMENT ON FUNCTION archiver.refuse_change() IS 'Keeps the ledger append-only, for every role.';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON archiver.cost_observations
    FOR EACH STATEMENT EXECUTE FUNCTION archiver.refuse_change();
COMMENT ON TRIGGER append_only ON archiver.cost_observations IS 'Keeps the ledger append-only.';

CREATE TABLE archiver.finance_rules (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    final_after interval NOT NULL DEFAULT '7 days'
);
INSERT INTO archiver.finance_rules DEFAULT VALUES;
COMMENT ON TABLE archiver.finance_rules IS 'The one row of rules that the finance views apply.';
COMMENT ON COLUMN archiver.finance_rules.only_row IS 'There is exactly one row.';
COMMENT ON COLUMN archiver.finance_rules.final_after IS
    'A cost is final once it has stayed the same this long after completion: finance.final_after of the configuration, written at each start of the daemon.';

CREATE SCHEMA finance;
COMMENT ON SCHEMA finance IS
    'What finance reads. These views are a stable interface; the tables of schema archiver are not. Amounts are exact US dollars, months are UTC.';

CREATE VIEW finance.recordings AS
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
                AND r.cost_observed_at - r.cost_changed_at >= rules.final_after THEN 'final'
           ELSE 'provisional'
       END AS cost_state,
       r.cost_observed_at,
       r.state AS archive_state,
       r.archived_at,
       r.object_url
  FROM archiver.recordings r
 CROSS JOIN archiver.finance_rules rules;
COMMENT ON VIEW finance.recordings IS
    'One row per recording. The provider does not say when a cost is final; our rule: the recording is completed, and the cost was asked for again and found unchanged finance.final_after (7 days) or longer after it was first seen.';
COMMENT ON COLUMN finance.recordings.recording_id IS 'The provider''s ID of the recording.';
COMMENT ON COLUMN finance.recordings.project_id IS 'SignalWire project; NULL until found.';
COMMENT ON COLUMN finance.recordings.room_session_id IS 'The room session that was recorded.';
COMMENT ON COLUMN finance.recordings.billing_month IS
    'First day of the UTC month of started_at, else of created_at; NULL while neither is known.';
COMMENT ON COLUMN finance.recordings.started_at IS 'When the recording started.';
COMMENT ON COLUMN finance.recordings.finished_at IS 'When the recording ended.';
COMMENT ON COLUMN finance.recordings.duration_secs IS 'Length in seconds, as the provider states it.';
COMMENT ON COLUMN finance.recordings.size_bytes IS 'Size in the archive; NULL until archived.';
COMMENT ON COLUMN finance.recordings.cost_usd IS 'Latest cost stated by the provider; NULL while unknown.';
COMMENT ON COLUMN finance.recordings.cost_state IS 'missing, provisional or final; see the comment of the view.';
COMMENT ON COLUMN finance.recordings.cost_observed_at IS 'When the provider last stated this cost.';
COMMENT ON COLUMN finance.recordings.archive_state IS 'pending, in_progress, archived or failed.';
COMMENT ON COLUMN finance.recordings.archived_at IS 'When it was proven to be in the archive.';
COMMENT ON COLUMN finance.recordings.object_url IS 'Where it is in the archive.';

CREATE VIEW finance.monthly_costs AS
SELECT billing_month,
       project_id,
       count(*) AS recordings,
       count(*) FILTER (WHERE archive_state = 'archived') AS archived,
       sum(duration_secs)::bigint AS duration_secs,
       sum(size_bytes)::bigint AS size_bytes,
       sum(cost_usd) AS cost_usd,
       count(*) FILTER (WHERE cost_state = 'provisional') AS provisional,
       count(*) FILTER (WHERE cost_state = 'missing') AS missing_cost
  FROM finance.recordings
 GROUP BY billing_month, project_id;
COMMENT ON VIEW finance.monthly_costs IS
    'Costs by UTC month and project. A recording belongs to the month in which it started. Recordings whose month is not known yet stand under NULL.';
COMMENT ON COLUMN finance.monthly_costs.billing_month IS 'First day of the month.';
COMMENT ON COLUMN finance.monthly_costs.project_id IS 'SignalWire project.';
COMMENT ON COLUMN finance.monthly_costs.recordings IS 'Recordings of the month.';
COMMENT ON COLUMN finance.monthly_costs.archived IS 'Of these, archived.';
COMMENT ON COLUMN finance.monthly_costs.duration_secs IS 'Seconds recorded.';
COMMENT ON COLUMN finance.monthly_costs.size_bytes IS 'Bytes in the archive.';
COMMENT ON COLUMN finance.monthly_costs.cost_usd IS 'Exact sum of the known costs; NULL when none is known.';
COMMENT ON COLUMN finance.monthly_costs.provisional IS 'Recordings whose cost may still change.';
COMMENT ON COLUMN finance.monthly_costs.missing_cost IS 'Recordings whose cost is unknown, not part of cost_usd.';

CREATE VIEW finance.session_costs AS
SELECT room_session_id,
       project_id,
       billing_month,
       count(*) AS recordings,
       sum(duration_secs)::bigint AS duration_secs,
       sum(size_bytes)::bigint AS size_bytes,
       sum(cost_usd) AS cost_usd
  FROM finance.recordings
 WHERE room_session_id IS NOT NULL
 GROUP BY room_session_id, project_id, billing_month;
COMMENT ON VIEW finance.session_costs IS
    'Recording costs by room session (not the session''s own cost), split by month where recordings of one session started in two.';
COMMENT ON COLUMN finance.session_costs.room_session_id IS 'The room session.';
COMMENT ON COLUMN finance.session_costs.project_id IS 'SignalWire project.';
COMMENT ON COLUMN finance.session_costs.billing_month IS 'First day of the UTC month.';
COMMENT ON COLUMN finance.session_costs.recordings IS 'Recordings of the session in that month.';
COMMENT ON COLUMN finance.session_costs.duration_secs IS 'Seconds recorded.';
COMMENT ON COLUMN finance.session_costs.size_bytes IS 'Bytes in the archive.';
COMMENT ON COLUMN finance.session_costs.cost_usd IS 'Exact sum of the known costs; NULL when none is known.';

CREATE VIEW finance.cost_changes AS
SELECT o.recording_id,
       r.project_id,
       r.billing_month,
       o.observed_at,
       o.previous_cost_usd,
       o.cost_usd,
       o.cost_usd - o.previous_cost_usd AS change_usd,
       coalesce(o.observed_at AT TIME ZONE 'UTC' >= r.billing_month + interval '1 month', false)
           AS after_month_end
  FROM (SELECT recording_id, observed_at, cost_usd,
               lag(cost_usd) OVER (PARTITION BY recording_id ORDER BY observation_id)
                   AS previous_cost_usd
          FROM archiver.cost_observations) o
  JOIN archiver.recordings r USING (recording_id)
 WHERE o.previous_cost_usd IS NOT NULL;
COMMENT ON VIEW finance.cost_changes IS
    'Every change of a cost after its first observation, late ones marked.';
COMMENT ON COLUMN finance.cost_changes.recording_id IS 'The recording.';
COMMENT ON COLUMN finance.cost_changes.project_id IS 'SignalWire project.';
COMMENT ON COLUMN finance.cost_changes.billing_month IS 'First day of the UTC month the recording belongs to.';
COMMENT ON COLUMN finance.cost_changes.observed_at IS 'When the new cost was seen.';
COMMENT ON COLUMN finance.cost_changes.previous_cost_usd IS 'The cost before.';
COMMENT ON COLUMN finance.cost_changes.cost_usd IS 'The cost from then on.';
COMMENT ON COLUMN finance.cost_changes.change_usd IS 'Difference, exact.';
COMMENT ON COLUMN finance.cost_changes.after_month_end IS
    'Whether it was seen after the billing month had ended (UTC), when a report may have been closed.';
