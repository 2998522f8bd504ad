//! The lists of the overview: what is held, what is tried again, what is given up.

use sqlx::PgConnection;

use super::{HeldRecording, KindCount, StuckRecording};

/// What the workers hold, oldest claim first.
pub(super) async fn claims(snapshot: &mut PgConnection) -> sqlx::Result<Vec<HeldRecording>> {
    sqlx::query_as!(
        HeldRecording,
        r#"-- queue::overview::overview
        SELECT r.recording_id, r.leased_by AS "leased_by!", a.started_at AS "claimed_at?",
               r.lease_expires_at AS "lease_expires_at!", a.stage,
               a.bytes_fetched AS "fetched_bytes?", a.bytes_resumed AS "resumed_bytes?",
               a.size_bytes, a.progress_at
          FROM archiver.recordings r
          LEFT JOIN archiver.attempts a USING (recording_id, lease_token)
         WHERE r.state = 'in_progress'
         ORDER BY a.started_at NULLS FIRST, r.recording_id"#
    )
    .fetch_all(snapshot)
    .await
}

/// Pending again after something went wrong, by reason.
pub(super) async fn retrying(snapshot: &mut PgConnection) -> sqlx::Result<Vec<KindCount>> {
    sqlx::query_as!(
        KindCount,
        r#"-- queue::overview::overview
        SELECT error_kind AS "error_kind!", count(*) AS "recordings!"
          FROM archiver.recordings
         WHERE state = 'pending' AND error_kind IS NOT NULL
         GROUP BY error_kind
         ORDER BY count(*) DESC, error_kind"#
    )
    .fetch_all(snapshot)
    .await
}

/// Those of them that were queued more than a day ago, oldest first.
pub(super) async fn stuck(snapshot: &mut PgConnection) -> sqlx::Result<Vec<StuckRecording>> {
    sqlx::query_as!(
        StuckRecording,
        r#"-- queue::overview::overview
        SELECT recording_id, enqueued_at, attempts AS attempts_burnt, next_attempt_at,
               error_kind AS "error_kind!", error_message
          FROM archiver.recordings
         WHERE state = 'pending' AND error_kind IS NOT NULL
           AND enqueued_at < now() - interval '1 day'
         ORDER BY enqueued_at, recording_id
         LIMIT 10"#
    )
    .fetch_all(snapshot)
    .await
}

/// Given up, by reason.
pub(super) async fn failed(snapshot: &mut PgConnection) -> sqlx::Result<Vec<KindCount>> {
    sqlx::query_as!(
        KindCount,
        r#"-- queue::overview::overview
        SELECT error_kind AS "error_kind!", count(*) AS "recordings!"
          FROM archiver.recordings
         WHERE state = 'failed'
         GROUP BY error_kind
         ORDER BY count(*) DESC, error_kind"#
    )
    .fetch_all(snapshot)
    .await
}

/// Archived, but found damaged or gone since, by reason.
pub(super) async fn damaged(snapshot: &mut PgConnection) -> sqlx::Result<Vec<KindCount>> {
    sqlx::query_as!(
        KindCount,
        r#"-- queue::overview::overview
        SELECT error_kind AS "error_kind!", count(*) AS "recordings!"
          FROM archiver.recordings
         WHERE state = 'archived' AND error_kind IS NOT NULL
           AND error_kind IN ('checksum_mismatch', 'object_missing')
         GROUP BY error_kind
         ORDER BY count(*) DESC, error_kind"#
    )
    .fetch_all(snapshot)
    .await
}

/// Archived files that are not of their declared format.
pub(super) async fn format_mismatches(snapshot: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"-- queue::overview::overview
        SELECT count(*) AS "recordings!"
          FROM archiver.recordings
         WHERE state = 'archived' AND format_mismatch IS NOT NULL"#
    )
    .fetch_one(snapshot)
    .await
}
