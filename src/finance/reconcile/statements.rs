//! The statements that compare an invoice. All of them only read, and only schema `finance`.

/// Compares lines, and returns one row for each ID. `$ours` selects what the ledger has by ID,
/// `$held` the former values of one.
macro_rules! compare {
    ($name:literal, $ours:literal, $held:literal) => {
        concat!(
            "-- finance::",
            $name,
            "
    WITH theirs AS (
        SELECT id, min(line) AS line, count(*) AS lines, sum(amount) AS amount,
               sum(seconds) AS seconds,
               -- Half a unit of each line's last place. As text, because power() rounds to 16
               -- decimals.
               sum(least(('5e-' || scale(amount) + 1)::numeric, $7::numeric)) AS tolerance
          FROM (SELECT id, line, amount::numeric AS amount, seconds::numeric AS seconds
                  FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[])
                           AS l(id, line, amount, seconds)) lines
         GROUP BY id
    ), ours AS (",
            $ours,
            "
    )
    SELECT t.id, t.line, t.lines, o.id IS NOT NULL AS is_known, o.billing_month::text AS month,
           o.cost_usd::text AS cost, t.amount::text AS amount,
           (t.amount - CASE WHEN o.in_period THEN coalesce(o.cost_usd, 0) ELSE 0 END)::text
               AS difference,
           CASE
               WHEN o.id IS NULL THEN 'missing_in_ours'
               WHEN NOT o.in_project THEN 'other_project'
               WHEN NOT o.in_period THEN 'outside_period'
               WHEN o.cost_usd IS NULL THEN 'cost_unknown'
               WHEN o.cost_usd = t.amount THEN 'matched'
               WHEN t.lines > 1 AND abs(t.amount - o.cost_usd * t.lines) <= t.tolerance
                   THEN 'duplicate'
               WHEN abs(o.cost_usd - t.amount) <= t.tolerance THEN 'rounding'
               WHEN h.held_until IS NOT NULL THEN 'late_change'
               WHEN o.without_cost > 0 THEN 'cost_unknown'
               WHEN t.seconds IS NOT NULL AND t.seconds <> o.seconds THEN 'units_differ'
               WHEN t.seconds = o.seconds THEN 'rate_differs'
               ELSE 'amount_differs'
           END AS discrepancy,
           h.held_until
      FROM theirs t
      LEFT JOIN ours o ON o.id = t.id
      LEFT JOIN LATERAL (
               -- As text: a time may be infinite.
               SELECT CASE WHEN isfinite(observed_at)
                           THEN to_char(observed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')
                           ELSE observed_at::text END AS held_until
                 FROM (",
            $held,
            ") held
                WHERE o.cost_usd <> t.amount AND abs(value - t.amount) <= t.tolerance
                ORDER BY observed_at DESC LIMIT 1) h ON true"
        )
    };
}

pub(super) const COMPARE_RECORDINGS: &str = compare!(
    "compare_recordings",
    "
        SELECT recording_id AS id, billing_month, cost_usd, duration_secs AS seconds,
               0 AS without_cost,
               $6::text IS NULL OR project_id IS NOT DISTINCT FROM $6 AS in_project,
               (billing_month = $5 AND ($6::text IS NULL OR project_id = $6)) IS TRUE AS in_period
          FROM finance.recordings WHERE recording_id = ANY($1)",
    "SELECT observed_at, previous_cost_usd AS value FROM finance.cost_changes
                  WHERE recording_id = o.id
                  UNION ALL
                 SELECT observed_at, cost_usd FROM finance.cost_changes WHERE recording_id = o.id"
);

/// Sessions in other months are looked up only where the month has none: no index begins with the
/// session.
pub(super) const COMPARE_SESSIONS: &str = compare!(
    "compare_sessions",
    "
        SELECT room_session_id AS id, billing_month, sum(cost_usd) AS cost_usd,
               sum(duration_secs) AS seconds, count(*) - count(cost_usd) AS without_cost,
               bool_or($6::text IS NULL OR project_id IS NOT DISTINCT FROM $6) AS in_project,
               true AS in_period
          FROM finance.recordings
         WHERE billing_month = $5 AND room_session_id = ANY($1)
           AND ($6::text IS NULL OR project_id = $6)
         GROUP BY room_session_id, billing_month
        UNION ALL
        SELECT room_session_id, min(billing_month), sum(cost_usd), sum(duration_secs),
               count(*) - count(cost_usd),
               bool_or($6::text IS NULL OR project_id IS NOT DISTINCT FROM $6), false
          FROM finance.recordings
         WHERE room_session_id IN
               (SELECT id FROM unnest($1) AS l(id)
                EXCEPT SELECT room_session_id FROM finance.recordings
                        WHERE billing_month = $5 AND room_session_id = ANY($1)
                          AND ($6::text IS NULL OR project_id = $6))
         GROUP BY room_session_id",
    "SELECT c.observed_at,
                        o.cost_usd - sum(c.change_usd)
                            OVER (ORDER BY c.observed_at DESC, c.recording_id) AS value
                   FROM finance.recordings r
                  CROSS JOIN LATERAL (SELECT * FROM finance.cost_changes
                                       WHERE recording_id = r.recording_id OFFSET 0) c
                  WHERE r.billing_month = $5 AND r.room_session_id = o.id
                    AND ($6::text IS NULL OR r.project_id = $6)"
);

pub(super) const MONTHS_OF_RECORDINGS: &str = "-- finance::invoice_months
    SELECT billing_month, count(*), billing_month IS NOT NULL
           AND ($2::text IS NULL OR project_id = $2) IS TRUE AS counts
      FROM (SELECT recording_id, project_id,
                   CASE WHEN billing_month BETWEEN '0001-01-01' AND '9999-12-31'
                        THEN billing_month END AS billing_month
              FROM finance.recordings WHERE recording_id = ANY($1)) r
     GROUP BY billing_month, counts";

pub(super) const MONTHS_OF_SESSIONS: &str = "-- finance::invoice_months_of_sessions
    SELECT billing_month, count(DISTINCT room_session_id), billing_month IS NOT NULL
           AND ($2::text IS NULL OR project_id = $2) IS TRUE AS counts
      FROM (SELECT room_session_id, project_id,
                   CASE WHEN billing_month BETWEEN '0001-01-01' AND '9999-12-31'
                        THEN billing_month END AS billing_month
              FROM finance.session_costs WHERE room_session_id = ANY($1)) r
     GROUP BY billing_month, counts";

/// What the month has, in the order of the invoice's IDs.
pub(super) const MONTH_BY_RECORDING: &str = "-- finance::month_by_recording
    SELECT recording_id AS id, cost_usd::text AS cost, (-cost_usd)::text AS difference
      FROM finance.recordings
     WHERE billing_month = $1 AND ($2::text IS NULL OR project_id = $2)
       AND cost_usd IS NOT NULL
     ORDER BY recording_id";

/// The same by session; recordings without a session come last, together.
pub(super) const MONTH_BY_SESSION: &str = "-- finance::month_by_session
    SELECT room_session_id AS id, sum(cost_usd)::text AS cost, (-sum(cost_usd))::text AS difference
      FROM finance.recordings
     WHERE billing_month = $1 AND ($2::text IS NULL OR project_id = $2)
       AND cost_usd IS NOT NULL
     GROUP BY room_session_id
     ORDER BY room_session_id NULLS LAST";

pub(super) const PROJECTS_OF_MONTH: &str = "-- finance::projects_of_month
    SELECT project_id FROM finance.monthly_costs
     WHERE billing_month = $1 AND project_id IS NOT NULL
     ORDER BY project_id COLLATE \"C\"";
