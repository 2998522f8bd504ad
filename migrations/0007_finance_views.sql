-- What finance asks next: unit costs, one month against the one before, and what is not archived yet.

CREATE VIEW finance.unit_costs AS
SELECT billing_month,
       project_id,
       count(*) AS recordings,
       sum(cost_usd) AS cost_usd,
       sum(duration_secs)::bigint AS duration_secs,
       round(sum(cost_usd) FILTER (WHERE duration_secs > 0) * 3600
             / nullif(sum(duration_secs), 0), 9) AS usd_per_hour,
       sum(size_bytes)::bigint AS size_bytes,
       round(sum(cost_usd) FILTER (WHERE size_bytes > 0) * 1073741824
             / nullif(sum(size_bytes), 0), 9) AS usd_per_gib
  FROM finance.recordings
 WHERE cost_usd IS NOT NULL
 GROUP BY billing_month, project_id;
COMMENT ON VIEW finance.unit_costs IS
    'What an hour recorded and a GiB archived cost, by UTC month and project, of recordings whose cost is known. The quotients are rounded to nine decimals; the sums are exact.';
COMMENT ON COLUMN finance.unit_costs.billing_month IS 'First day of the month.';
COMMENT ON COLUMN finance.unit_costs.project_id IS 'SignalWire project.';
COMMENT ON COLUMN finance.unit_costs.recordings IS 'Recordings whose cost is known.';
COMMENT ON COLUMN finance.unit_costs.cost_usd IS 'Exact sum of their costs.';
COMMENT ON COLUMN finance.unit_costs.duration_secs IS 'Seconds recorded by them.';
COMMENT ON COLUMN finance.unit_costs.usd_per_hour IS
    'US dollars for an hour recorded, of those whose length is known; rounded to nine decimals.';
COMMENT ON COLUMN finance.unit_costs.size_bytes IS 'Bytes of them in the archive.';
COMMENT ON COLUMN finance.unit_costs.usd_per_gib IS
    'US dollars for a GiB, of those that are archived; rounded to nine decimals.';

CREATE VIEW finance.monthly_changes AS
SELECT m.billing_month,
       m.project_id,
       before.cost_usd AS previous_cost_usd,
       m.cost_usd,
       m.cost_usd - before.cost_usd AS change_usd,
       round((m.cost_usd - before.cost_usd) * 100 / nullif(before.cost_usd, 0), 2)
           AS change_percent,
       before.recordings AS previous_recordings,
       m.recordings
  FROM finance.monthly_costs m
  LEFT JOIN finance.monthly_costs before
    ON before.billing_month = m.billing_month - interval '1 month'
   AND before.project_id IS NOT DISTINCT FROM m.project_id
 WHERE m.billing_month IS NOT NULL;
COMMENT ON VIEW finance.monthly_changes IS
    'Each month''s costs against those of the calendar month before; NULL where that month has none.';
COMMENT ON COLUMN finance.monthly_changes.billing_month IS 'First day of the month.';
COMMENT ON COLUMN finance.monthly_changes.project_id IS 'SignalWire project.';
COMMENT ON COLUMN finance.monthly_changes.previous_cost_usd IS 'Exact sum of the month before.';
COMMENT ON COLUMN finance.monthly_changes.cost_usd IS 'Exact sum of the month.';
COMMENT ON COLUMN finance.monthly_changes.change_usd IS 'Difference, exact.';
COMMENT ON COLUMN finance.monthly_changes.change_percent IS
    'Difference in percent of the month before, rounded to two decimals.';
COMMENT ON COLUMN finance.monthly_changes.previous_recordings IS 'Recordings of the month before.';
COMMENT ON COLUMN finance.monthly_changes.recordings IS 'Recordings of the month.';

CREATE VIEW finance.not_archived AS
SELECT r.recording_id,
       r.project_id,
       r.billing_month,
       r.state AS archive_state,
       r.error_kind,
       r.enqueued_at AS queued_at,
       r.cost_usd
  FROM archiver.recordings r
 WHERE r.state <> 'archived';
COMMENT ON VIEW finance.not_archived IS
    'Recordings that are not in the archive (yet), and what they have cost already.';
COMMENT ON COLUMN finance.not_archived.recording_id IS 'The provider''s ID of the recording.';
COMMENT ON COLUMN finance.not_archived.project_id IS 'SignalWire project; NULL until found.';
COMMENT ON COLUMN finance.not_archived.billing_month IS
    'First day of the UTC month of started_at, else of created_at; NULL while neither is known.';
COMMENT ON COLUMN finance.not_archived.archive_state IS 'pending, in_progress or failed.';
COMMENT ON COLUMN finance.not_archived.error_kind IS 'What went wrong last, if anything did.';
COMMENT ON COLUMN finance.not_archived.queued_at IS 'Since when it is known here.';
COMMENT ON COLUMN finance.not_archived.cost_usd IS 'Latest cost stated by the provider; NULL while unknown.';
