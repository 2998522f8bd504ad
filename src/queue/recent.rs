//! What happened lately: archived day by day, archived last, failed last. By index, however much
//! there is.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// What was archived on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchivedOnDay {
    /// UTC.
    pub day: NaiveDate,
    pub recordings: i64,
    pub size_bytes: i64,
}

/// A recording that was archived a short while ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedLast {
    pub recording_id: Uuid,
    pub archived_at: DateTime<Utc>,
    pub size_bytes: i64,
    /// US dollars as a plain decimal, exact.
    pub cost_usd: Option<String>,
}

/// A recording that was given up a short while ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedLast {
    pub recording_id: Uuid,
    pub failed_at: DateTime<Utc>,
    pub error_kind: String,
    pub error_message: String,
}

/// The last `days` days up to today, oldest first, those on which nothing was archived included.
pub async fn archived_by_day(
    snapshot: &mut PgConnection,
    days: i32,
) -> sqlx::Result<Vec<ArchivedOnDay>> {
    sqlx::query_as!(
        ArchivedOnDay,
        r#"-- queue::recent::archived_by_day
        SELECT days.day AS "day!", coalesce(archived.recordings, 0) AS "recordings!",
               coalesce(archived.size_bytes, 0) AS "size_bytes!"
          FROM (SELECT (now() AT TIME ZONE 'UTC')::date - back AS day
                  FROM generate_series(0, $1::integer - 1) back) days
          LEFT JOIN (SELECT (archived_at AT TIME ZONE 'UTC')::date AS day,
                            count(*) AS recordings, sum(size_bytes)::bigint AS size_bytes
                       FROM archiver.recordings
                      WHERE state = 'archived'
                        AND archived_at >= date_trunc('day', now(), 'UTC')
                                           - make_interval(hours => 24 * ($1::integer - 1))
                      GROUP BY 1) archived USING (day)
         ORDER BY days.day"#,
        days,
    )
    .fetch_all(snapshot)
    .await
}

/// The `limit` recordings archived last, the last one first.
pub async fn archived_last(
    snapshot: &mut PgConnection,
    limit: i64,
) -> sqlx::Result<Vec<ArchivedLast>> {
    sqlx::query_as!(
        ArchivedLast,
        r#"-- queue::recent::archived_last
        SELECT recording_id, archived_at AS "archived_at!", size_bytes AS "size_bytes!",
               cost_usd::text
          FROM archiver.recordings
         WHERE state = 'archived'
         ORDER BY archived_at DESC, recording_id
         LIMIT $1"#,
        limit,
    )
    .fetch_all(snapshot)
    .await
}

/// The `limit` recordings that failed last, the last one first.
pub async fn failed_last(snapshot: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<FailedLast>> {
    sqlx::query_as!(
        FailedLast,
        r#"-- queue::recent::failed_last
        SELECT recording_id, finalized_at AS "failed_at!", error_kind AS "error_kind!",
               error_message AS "error_message!"
          FROM archiver.recordings
         WHERE state = 'failed'
         ORDER BY finalized_at DESC, recording_id
         LIMIT $1"#,
        limit,
    )
    .fetch_all(snapshot)
    .await
}
