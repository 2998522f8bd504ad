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
               verified_at, verify_failed_at
          FROM archiver.recordings
         WHERE recording_id = ANY ($1) AND state = 'archived'"#,
        &ids,
    )
    .fetch_all(pool)
    .answered("look up archived recordings")
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

// `archived_at` may be ahead of the database's clock by the time that a question takes, and so may
// be the first `verified_at`, which is the same.
/// A walk through the archived objects of one store, the longest untried first, those never tried
/// before all others: what cannot be read holds nobody up. Objects that are archived or tried while
/// it lasts are not among them, so it ends.
#[derive(Debug)]
pub struct Unread {
    pool: PgPool,
    url_root: String,
    begun_at: DateTime<Utc>,
    last: Option<(Option<DateTime<Utc>>, DateTime<Utc>, Uuid)>,
}

/// What a walk has before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ahead {
    pub recordings: u64,
    pub bytes: u64,
    /// Recordings that are archived in another store, and so left out.
    pub elsewhere: u64,
}

impl Unread {
    /// Begins a walk; `url_root` is what all object URLs of the store begin with.
    pub async fn begin(pool: &PgPool, url_root: String) -> Result<Self, QueueError> {
        Ok(Self {
            pool: pool.clone(),
            url_root,
            begun_at: super::database_time(pool).await?,
            last: None,
        })
    }

    /// When it began, by the database's clock.
    pub const fn begun_at(&self) -> DateTime<Utc> {
        self.begun_at
    }

    /// Counts all that the walk has before it when it begins.
    pub async fn ahead(&self) -> Result<Ahead, QueueError> {
        let row = sqlx::query!(
            r#"-- queue::unread_ahead
            SELECT count(*) FILTER (WHERE here) AS "recordings!",
                   coalesce(sum(size_bytes) FILTER (WHERE here), 0)::bigint AS "bytes!",
                   count(*) FILTER (WHERE NOT here) AS "elsewhere!"
              FROM archiver.recordings,
           LATERAL (SELECT starts_with(object_url, $1) AS here) place
             WHERE state = 'archived' AND finalized_at <= $2
               AND (verified_at IS NULL OR verified_at < $2 OR verified_at = archived_at)
               AND (verify_failed_at IS NULL OR verify_failed_at < $2)"#,
            self.url_root,
            self.begun_at,
        )
        .fetch_one(&self.pool)
        .answered("count the archived recordings")
        .await?;
        let number = |number: i64| u64::try_from(number).unwrap_or_default();
        Ok(Ahead {
            recordings: number(row.recordings),
            bytes: number(row.bytes),
            elsewhere: number(row.elsewhere),
        })
    }

    /// The next objects; none at the end.
    pub async fn page(&mut self) -> Result<Vec<ArchivedObject>, QueueError> {
        let (tried_at, archived_at, recording_id) = match self.last {
            Some((tried_at, archived_at, id)) => (tried_at, Some(archived_at), id),
            None => (None, None, Uuid::nil()),
        };
        let rows = sqlx::query_as!(
            ArchivedObjectRow,
            r#"-- queue::unread_page
            SELECT recording_id, project_id, object_key AS "object_key!",
                   object_url AS "object_url!", size_bytes AS "size_bytes!", sha256 AS "sha256!",
                   archived_at AS "archived_at!", verified_at, verify_failed_at
              FROM archiver.recordings
             WHERE state = 'archived' AND starts_with(object_url, $1) AND finalized_at <= $2
               AND (verified_at IS NULL OR verified_at < $2 OR verified_at = archived_at)
               AND (verify_failed_at IS NULL OR verify_failed_at < $2)
               AND (coalesce(greatest(verified_at, verify_failed_at), '-infinity'), archived_at,
                    recording_id)
                   > (coalesce($3::timestamptz, '-infinity'),
                      coalesce($4::timestamptz, '-infinity'), $5)
             ORDER BY coalesce(greatest(verified_at, verify_failed_at), '-infinity'), archived_at,
                      recording_id
             LIMIT $6"#,
            self.url_root,
            self.begun_at,
            tried_at,
            archived_at,
            recording_id,
            PAGE,
        )
        .fetch_all(&self.pool)
        .answered("look for what is to be read again")
        .await?;
        let page: Vec<ArchivedObject> = rows.into_iter().map(Into::into).collect();
        if let Some(last) = page.last() {
            let tried_at = last.verified_at.max(last.verify_failed_at);
            self.last = Some((tried_at, last.archived_at, last.recording_id.uuid()));
        }
        Ok(page)
    }
}

/// Looks up those of one store whose last reading did not find them equal and was tried longer ago
/// than `pause`, the longest untried first.
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
               verified_at, verify_failed_at
          FROM archiver.recordings
         WHERE state = 'archived' AND verify_failed_at <= now() - $2::interval
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
        UPDATE archiver.recordings SET verify_failed_at = now()
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
