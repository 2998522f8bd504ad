//! The statements behind the reports, one per grouping.
//!
//! Amounts come as text: exact at any size, with the scale they were stored in. Project IDs sort
//! by their bytes, so that the order does not hang on the database's locale.

use futures_util::{Stream, TryStreamExt as _};
use sqlx::PgConnection;

use super::{Cell, Row, Scope};

pub(super) fn by_month<'a>(
    connection: &'a mut PgConnection,
    scope: &'a Scope,
) -> impl Stream<Item = sqlx::Result<Row>> + Send + 'a {
    sqlx::query!(
        r#"-- finance::report::by_month
        SELECT billing_month, project_id, recordings, archived, duration_secs, size_bytes,
               cost_usd::text AS cost_usd, provisional, missing_cost
          FROM finance.monthly_costs
         WHERE ($1::date IS NULL OR billing_month >= $1)
           AND ($2::date IS NULL OR billing_month <= $2)
           AND ($3::text IS NULL OR project_id = $3)
         ORDER BY billing_month NULLS LAST, project_id COLLATE "C" NULLS LAST"#,
        scope.period.first_day_of_from(),
        scope.period.first_day_of_to(),
        scope.project_id.as_deref(),
    )
    .fetch(connection)
    .map_ok(|row| {
        vec![
            row.billing_month.into(),
            row.project_id.into(),
            row.recordings.into(),
            row.archived.into(),
            row.duration_secs.into(),
            row.size_bytes.into(),
            Cell::usd(row.cost_usd),
            row.provisional.into(),
            row.missing_cost.into(),
        ]
    })
}

pub(super) fn by_session<'a>(
    connection: &'a mut PgConnection,
    scope: &'a Scope,
) -> impl Stream<Item = sqlx::Result<Row>> + Send + 'a {
    sqlx::query!(
        r#"-- finance::report::by_session
        SELECT room_session_id, project_id, billing_month, recordings, duration_secs,
               size_bytes, cost_usd::text AS cost_usd
          FROM finance.session_costs
         WHERE ($1::date IS NULL OR billing_month >= $1)
           AND ($2::date IS NULL OR billing_month <= $2)
           AND ($3::text IS NULL OR project_id = $3)
         ORDER BY billing_month NULLS LAST, room_session_id,
                  project_id COLLATE "C" NULLS LAST"#,
        scope.period.first_day_of_from(),
        scope.period.first_day_of_to(),
        scope.project_id.as_deref(),
    )
    .fetch(connection)
    .map_ok(|row| {
        vec![
            row.room_session_id.into(),
            row.project_id.into(),
            row.billing_month.into(),
            row.recordings.into(),
            row.duration_secs.into(),
            row.size_bytes.into(),
            Cell::usd(row.cost_usd),
        ]
    })
}

pub(super) fn by_project<'a>(
    connection: &'a mut PgConnection,
    scope: &'a Scope,
) -> impl Stream<Item = sqlx::Result<Row>> + Send + 'a {
    sqlx::query!(
        r#"-- finance::report::by_project
        SELECT project_id,
               sum(recordings)::bigint AS recordings,
               sum(archived)::bigint AS archived,
               sum(duration_secs)::bigint AS duration_secs,
               sum(size_bytes)::bigint AS size_bytes,
               sum(cost_usd)::text AS cost_usd,
               sum(provisional)::bigint AS provisional,
               sum(missing_cost)::bigint AS missing_cost
          FROM finance.monthly_costs
         WHERE ($1::date IS NULL OR billing_month >= $1)
           AND ($2::date IS NULL OR billing_month <= $2)
           AND ($3::text IS NULL OR project_id = $3)
         GROUP BY project_id
         ORDER BY project_id COLLATE "C" NULLS LAST"#,
        scope.period.first_day_of_from(),
        scope.period.first_day_of_to(),
        scope.project_id.as_deref(),
    )
    .fetch(connection)
    .map_ok(|row| {
        vec![
            row.project_id.into(),
            row.recordings.into(),
            row.archived.into(),
            row.duration_secs.into(),
            row.size_bytes.into(),
            Cell::usd(row.cost_usd),
            row.provisional.into(),
            row.missing_cost.into(),
        ]
    })
}

pub(super) fn by_recording<'a>(
    connection: &'a mut PgConnection,
    scope: &'a Scope,
) -> impl Stream<Item = sqlx::Result<Row>> + Send + 'a {
    sqlx::query!(
        r#"-- finance::report::by_recording
        SELECT recording_id, project_id, room_session_id, billing_month, started_at,
               finished_at, duration_secs, size_bytes, cost_usd::text AS cost_usd, cost_state,
               cost_observed_at, archive_state, archived_at, object_url
          FROM finance.recordings
         WHERE ($1::date IS NULL OR billing_month >= $1)
           AND ($2::date IS NULL OR billing_month <= $2)
           AND ($3::text IS NULL OR project_id = $3)
         ORDER BY billing_month NULLS LAST, started_at NULLS LAST, recording_id"#,
        scope.period.first_day_of_from(),
        scope.period.first_day_of_to(),
        scope.project_id.as_deref(),
    )
    .fetch(connection)
    .map_ok(|row| {
        vec![
            row.recording_id.into(),
            row.project_id.into(),
            row.room_session_id.into(),
            row.billing_month.into(),
            row.started_at.into(),
            row.finished_at.into(),
            row.duration_secs.into(),
            row.size_bytes.into(),
            Cell::usd(row.cost_usd),
            row.cost_state.into(),
            row.cost_observed_at.into(),
            row.archive_state.into(),
            row.archived_at.into(),
            row.object_url.into(),
        ]
    })
}
