//! The statements behind the reports, one per grouping.
//!
//! Amounts come as text: exact at any size, with the scale they were stored in. So do times, which
//! may be infinite, as JSON spells them whatever the session's `DateStyle`. Project IDs sort
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
        SELECT to_json(billing_month) #>> '{}' AS billing_month, project_id, recordings, archived, duration_secs, size_bytes,
               cost_usd::text AS cost_usd, provisional, missing_cost
          FROM finance.monthly_costs m
         WHERE ($1::date IS NULL OR billing_month >= $1)
           AND ($2::date IS NULL OR billing_month <= $2)
           AND ($3::text IS NULL OR project_id = $3)
         ORDER BY m.billing_month NULLS LAST, project_id COLLATE "C" NULLS LAST"#,
        scope.period.first_day_of_from(),
        scope.period.first_day_of_to(),
        scope.project_id.as_deref(),
    )
    .fetch(connection)
    .map_ok(|row| {
        vec![
            Cell::day(row.billing_month),
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
        SELECT room_session_id, project_id, to_json(billing_month) #>> '{}' AS billing_month,
               recordings, duration_secs, size_bytes, cost_usd::text AS cost_usd
          FROM finance.session_costs s
         WHERE ($1::date IS NULL OR billing_month >= $1)
           AND ($2::date IS NULL OR billing_month <= $2)
           AND ($3::text IS NULL OR project_id = $3)
         ORDER BY s.billing_month NULLS LAST, room_session_id,
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
            Cell::day(row.billing_month),
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
        SELECT recording_id, project_id, room_session_id,
               to_json(billing_month) #>> '{}' AS billing_month,
               to_json(started_at) #>> '{}' AS started_at,
               to_json(finished_at) #>> '{}' AS finished_at,
               duration_secs, size_bytes, cost_usd::text AS cost_usd, cost_state,
               to_json(cost_observed_at) #>> '{}' AS cost_observed_at,
               archive_state, to_json(archived_at) #>> '{}' AS archived_at, object_url
          FROM finance.recordings r
         WHERE ($1::date IS NULL OR billing_month >= $1)
           AND ($2::date IS NULL OR billing_month <= $2)
           AND ($3::text IS NULL OR project_id = $3)
         ORDER BY r.billing_month NULLS LAST, r.started_at NULLS LAST, recording_id"#,
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
            Cell::day(row.billing_month),
            Cell::time(row.started_at),
            Cell::time(row.finished_at),
            row.duration_secs.into(),
            row.size_bytes.into(),
            Cell::usd(row.cost_usd),
            row.cost_state.into(),
            Cell::time(row.cost_observed_at),
            row.archive_state.into(),
            Cell::time(row.archived_at),
            row.object_url.into(),
        ]
    })
}
