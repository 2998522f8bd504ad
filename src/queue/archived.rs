//! Archived objects: which are to be read again, and what reading them has shown.
//!
//! What is written down names the object that was read: a row that was archived again meanwhile
//! is about another one, and stays as it is.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use super::{Answered, Chore, QueueError, interval};
use crate::database::storable;
use crate::digest::Sha256Digest;
use crate::error::ErrorKind;
use crate::recording::RecordingId;

mod unread;

pub use unread::{Ahead, Unread};

/// Rows that are held in memory at once.
const PAGE: i64 = 500;

/// What is on record of an archived object.
#[derive(Debug, Clone)]
pub struct ArchivedObject {
    pub recording_id: RecordingId,
    pub project_id: Option<String>,
    pub object_key: String,
    pub object_url: String,
    pub size_bytes: u64,
    pub sha256: Sha256Digest,
    pub archived_at: DateTime<Utc>,
    /// When it was last read and found equal.
    pub verified_at: Option<DateTime<Utc>>,
    /// When reading it was last tried and did not find it equal; `None` since it has.
    verify_failed_at: Option<DateTime<Utc>>,
}

struct ArchivedObjectRow {
    recording_id: Uuid,
    project_id: Option<String>,
    object_key: String,
    object_url: String,
    size_bytes: i64,
    sha256: Vec<u8>,
    archived_at: DateTime<Utc>,
    verified_at: Option<DateTime<Utc>>,
    verify_failed_at: Option<DateTime<Utc>>,
}

impl From<ArchivedObjectRow> for ArchivedObject {
    fn from(row: ArchivedObjectRow) -> Self {
        Self {
            recording_id: row.recording_id.into(),
            project_id: row.project_id,
            object_key: row.object_key,
            object_url: row.object_url,
            size_bytes: u64::try_from(row.size_bytes).unwrap_or_default(),
            // The table holds 32 bytes only.
            sha256: Sha256Digest::from_bytes(row.sha256.try_into().unwrap_or_default()),
            archived_at: row.archived_at,
            verified_at: row.verified_at,
            verify_failed_at: row.verify_failed_at,
        }
    }
}

/// Looks up those of these recordings that are archived.
pub async fn archived(
    pool: &PgPool,
    ids: &[RecordingId],
) -> Result<Vec<ArchivedObject>, QueueError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query_as!(
        ArchivedObjectRow,
        r#"-- queue::archived
        SELECT recording_id, project_id, object_key AS "object_key!", object_url AS "object_url!",
               size_bytes AS "size_bytes!", sha256 AS "sha256!", archived_at AS "archived_at!",
               CASE WHEN isfinite(verified_at) THEN verified_at END AS verified_at,
               CASE WHEN isfinite(verify_failed_at) THEN verify_failed_at END AS verify_failed_at
          FROM archiver.recordings
         WHERE recording_id = ANY ($1) AND state = 'archived'"#,
        &ids,
    )
    .fetch_all(pool)
    .answered("look up archived recordings")
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Looks up those of one store whose last reading did not find them equal and was tried longer ago
/// than `pause`, or in the future, the longest untried first.
pub async fn to_try_again(
    pool: &PgPool,
    url_root: &str,
    pause: Duration,
    most: u16,
) -> Result<Vec<ArchivedObject>, QueueError> {
    let rows = sqlx::query_as!(
        ArchivedObjectRow,
        r#"-- queue::to_try_again
        SELECT recording_id, project_id, object_key AS "object_key!", object_url AS "object_url!",
               size_bytes AS "size_bytes!", sha256 AS "sha256!", archived_at AS "archived_at!",
               CASE WHEN isfinite(verified_at) THEN verified_at END AS verified_at,
               CASE WHEN isfinite(verify_failed_at) THEN verify_failed_at END AS verify_failed_at
          FROM archiver.recordings
         WHERE state = 'archived'
           AND (verify_failed_at <= now() - $2::interval OR verify_failed_at > now())
           AND starts_with(object_url, $1)
         ORDER BY verify_failed_at
         LIMIT $3"#,
        url_root,
        interval(pause),
        i64::from(most),
    )
    .fetch_all(pool)
    .answered("look for what could not be read")
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Writes down that an object was read and found equal. Damage that was known is none any more.
pub async fn note_equal(pool: &PgPool, object: &ArchivedObject) -> Result<(), QueueError> {
    sqlx::query!(
        r#"-- queue::note_equal
        UPDATE archiver.recordings
           SET verified_at = now(), verify_failed_at = NULL, error_kind = NULL,
               error_message = NULL, damage_found_at = NULL
         WHERE recording_id = $1 AND state = 'archived' AND archived_at = $2"#,
        object.recording_id.uuid(),
        object.archived_at,
    )
    .execute(pool)
    .answered("note that an object was read again")
    .await
    .map(drop)
}

/// Writes down that an object is damaged or gone; `false` if the row speaks of another one by now.
pub async fn note_damage(
    pool: &PgPool,
    object: &ArchivedObject,
    kind: ErrorKind,
    message: &str,
) -> Result<bool, QueueError> {
    let noted = sqlx::query!(
        r#"-- queue::note_damage
        UPDATE archiver.recordings
           SET error_kind = $3, error_message = $4, verify_failed_at = now(),
               verified_at = CASE WHEN verified_at <= now() THEN verified_at END,
               damage_found_at = coalesce(damage_found_at, now())
         WHERE recording_id = $1 AND state = 'archived' AND archived_at = $2"#,
        object.recording_id.uuid(),
        object.archived_at,
        kind.as_str(),
        storable(message),
    )
    .execute(pool)
    .answered("note that an object is damaged")
    .await?;
    Ok(noted.rows_affected() == 1)
}

/// Writes down that an object could not be read, so that others have their turn.
pub async fn note_not_read(pool: &PgPool, object: &ArchivedObject) -> Result<(), QueueError> {
    sqlx::query!(
        r#"-- queue::note_not_read
        UPDATE archiver.recordings
           SET verify_failed_at = now(),
               verified_at = CASE WHEN verified_at <= now() THEN verified_at END
         WHERE recording_id = $1 AND state = 'archived' AND archived_at = $2"#,
        object.recording_id.uuid(),
        object.archived_at,
    )
    .execute(pool)
    .answered("note that an object could not be read")
    .await
    .map(drop)
}

/// Writes down where a damaged object is kept; `false` if the row speaks of another one by now.
pub async fn note_kept_aside(
    pool: &PgPool,
    object: &ArchivedObject,
    url: &str,
) -> Result<bool, QueueError> {
    let noted = sqlx::query!(
        r#"-- queue::note_kept_aside
        UPDATE archiver.recordings SET kept_aside_url = $3
         WHERE recording_id = $1 AND state = 'archived' AND archived_at = $2"#,
        object.recording_id.uuid(),
        object.archived_at,
        url,
    )
    .execute(pool)
    .answered("note where a damaged object is kept")
    .await?;
    Ok(noted.rows_affected() == 1)
}

/// Until when the slices of a store have kept pace; `None` before the first one.
pub async fn pace_kept_until(
    pool: &PgPool,
    chore: &Chore,
) -> Result<Option<DateTime<Utc>>, QueueError> {
    let kept = sqlx::query_scalar!(
        r#"-- queue::pace_kept_until
        SELECT kept_pace_until FROM archiver.chores WHERE chore = $1 AND scope = $2"#,
        chore.name,
        chore.scope,
    )
    .fetch_optional(pool)
    .answered("look when the last slice was read")
    .await?;
    Ok(kept.flatten())
}

/// Writes down that a slice was read to its end.
pub async fn keep_pace(
    pool: &PgPool,
    chore: &Chore,
    until: DateTime<Utc>,
) -> Result<(), QueueError> {
    sqlx::query!(
        r#"-- queue::keep_pace
        UPDATE archiver.chores SET kept_pace_until = $3 WHERE chore = $1 AND scope = $2"#,
        chore.name,
        chore.scope,
        until,
    )
    .execute(pool)
    .answered("note that a slice was read")
    .await
    .map(drop)
}
