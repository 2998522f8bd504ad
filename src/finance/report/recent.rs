//! The costs of the last months, all projects together, and the sessions of one of them that cost
//! most: what the page shows.

use chrono::NaiveDate;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Month;

/// What a month has cost so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonthlyCost {
    pub month: Month,
    pub recordings: i64,
    /// US dollars as a plain decimal, exact; `None` while no cost of the month is known.
    pub cost_usd: Option<String>,
    /// Recordings whose cost may still change.
    pub provisional: i64,
    /// What of the sum is theirs; `None` if there are none.
    pub provisional_usd: Option<String>,
    /// Recordings whose cost is unknown, and so no part of the sum.
    pub missing_cost: i64,
}

/// What a room session has cost in one month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionCost {
    pub room_session_id: Uuid,
    pub project_id: Option<String>,
    pub recordings: i64,
    pub duration_secs: Option<i64>,
    /// US dollars as a plain decimal, exact.
    pub cost_usd: String,
}

/// The last `months` months up to the present one, oldest first, those without a recording
/// included.
pub async fn monthly_costs(
    snapshot: &mut PgConnection,
    months: i32,
) -> sqlx::Result<Vec<MonthlyCost>> {
    let rows = sqlx::query!(
        r#"-- finance::report::recent::monthly_costs
        WITH shown AS (
            SELECT (date_trunc('month', now() AT TIME ZONE 'UTC')
                    - make_interval(months => back))::date AS billing_month
              FROM generate_series(0, $1::integer - 1) back
        ), costs AS (
            SELECT billing_month, sum(recordings)::bigint AS recordings,
                   sum(cost_usd) AS cost_usd, sum(provisional)::bigint AS provisional,
                   sum(missing_cost)::bigint AS missing_cost
              FROM finance.monthly_costs
             WHERE billing_month >= (date_trunc('month', now() AT TIME ZONE 'UTC')
                                     - make_interval(months => $1::integer - 1))::date
             GROUP BY billing_month
        ), open_costs AS (
            SELECT billing_month, sum(cost_usd) AS provisional_usd
              FROM finance.provisional_costs
             GROUP BY billing_month
        )
        SELECT billing_month AS "month!", coalesce(recordings, 0) AS "recordings!",
               cost_usd::text, coalesce(provisional, 0) AS "provisional!", provisional_usd::text,
               coalesce(missing_cost, 0) AS "missing_cost!"
          FROM shown
          LEFT JOIN costs USING (billing_month)
          LEFT JOIN open_costs USING (billing_month)
         ORDER BY billing_month"#,
        months,
    )
    .fetch_all(snapshot)
    .await?;
    let costs = rows.into_iter().map(|row| MonthlyCost {
        month: NaiveDate::into(row.month),
        recordings: row.recordings,
        cost_usd: row.cost_usd,
        provisional: row.provisional,
        provisional_usd: row.provisional_usd,
        missing_cost: row.missing_cost,
    });
    Ok(costs.collect())
}

/// The `limit` sessions of a month that cost most, of those whose cost is known.
pub async fn costliest_sessions(
    snapshot: &mut PgConnection,
    month: Month,
    limit: i64,
) -> sqlx::Result<Vec<SessionCost>> {
    sqlx::query_as!(
        SessionCost,
        r#"-- finance::report::recent::costliest_sessions
        SELECT room_session_id AS "room_session_id!", project_id,
               recordings AS "recordings!", duration_secs, costs.cost_usd::text AS "cost_usd!"
          FROM finance.session_costs costs
         WHERE billing_month = $1 AND costs.cost_usd IS NOT NULL
         ORDER BY costs.cost_usd DESC, room_session_id, project_id COLLATE "C" NULLS LAST
         LIMIT $2"#,
        month.first_day(),
        limit,
    )
    .fetch_all(snapshot)
    .await
}
