//! Recordings that the provider says it does not have.

use std::time::Duration;

use sqlx::PgPool;

use super::{Answered, QueueError, interval};
use crate::recording::RecordingId;

/// So long the provider must have said so, each time that it was asked: one answer may be a
/// mistake, and whoever is marked is asked for no more.
const GONE_AFTER: Duration = Duration::from_hours(3 * 24);

/// Writes down that the provider was asked for a recording and knows no such one. After three days
/// of that it is taken for gone; whatever it says of the recording later revokes that.
pub async fn note_missing_at_source(pool: &PgPool, id: RecordingId) -> Result<(), QueueError> {
    sqlx::query!(
        r#"-- queue::note_missing_at_source
        UPDATE archiver.recordings
           SET cost_asked_at = now(),
               source_missing_since = coalesce(source_missing_since, now()),
               source_deleted_at = CASE WHEN source_missing_since <= now() - $2::interval
                                        THEN coalesce(source_deleted_at, source_missing_since)
                                        ELSE source_deleted_at END
         WHERE recording_id = $1"#,
        id.uuid(),
        interval(GONE_AFTER),
    )
    .execute(pool)
    .answered("note that the provider has no such recording")
    .await
    .map(drop)
}
