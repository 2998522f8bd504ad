//! Walking through all archived objects of a store, to read each of them.

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use super::{ArchivedObject, ArchivedObjectRow, PAGE};
use crate::queue::{Answered, QueueError, database_time};

// `archived_at` may be ahead of the database's clock by the time that a question takes, and so may
// be the first `verified_at`, which is the same.
/// A walk through the archived objects of one store, the longest untried first, those never tried
/// before all others: what cannot be read holds nobody up. A reading in the future counts as none:
/// some clock was wrong, and nobody has read the object since. Objects that are archived or tried
/// while it lasts are not among them, so it ends.
#[derive(Debug)]
pub struct Unread {
    pool: PgPool,
    url_root: String,
    begun_at: DateTime<Utc>,
    last: Last,
}

/// The row that a walk has come to.
#[derive(Debug)]
enum Last {
    /// Among those that are on record as read in the future.
    InTheFuture(Uuid),
    Tried(Option<(Option<DateTime<Utc>>, DateTime<Utc>, Uuid)>),
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
            begun_at: database_time(pool).await?,
            last: Last::InTheFuture(Uuid::nil()),
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
             WHERE state = 'archived' AND (finalized_at <= $2 OR finalized_at > now())
               AND ((verified_at IS NULL OR verified_at < $2 OR verified_at = archived_at)
                    AND (verify_failed_at IS NULL OR verify_failed_at < $2)
                    OR coalesce(greatest(verified_at, verify_failed_at), '-infinity') > now())"#,
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
        if let Last::InTheFuture(last) = self.last {
            let page = self.page_of_the_future(last).await?;
            self.last = match page.last() {
                Some(last) => Last::InTheFuture(last.recording_id.uuid()),
                None => Last::Tried(None),
            };
            if !page.is_empty() {
                return Ok(page);
            }
        }
        let (tried_at, archived_at, recording_id) = match self.last {
            Last::Tried(Some((tried_at, archived_at, id))) => (tried_at, Some(archived_at), id),
            Last::Tried(None) | Last::InTheFuture(_) => (None, None, Uuid::nil()),
        };
        let rows = sqlx::query_as!(
            ArchivedObjectRow,
            r#"-- queue::unread_page
            SELECT recording_id, project_id, object_key AS "object_key!",
                   object_url AS "object_url!", size_bytes AS "size_bytes!", sha256 AS "sha256!",
                   archived_at AS "archived_at!", verified_at, verify_failed_at
              FROM archiver.recordings
             WHERE state = 'archived' AND starts_with(object_url, $1)
               AND (finalized_at <= $2 OR finalized_at > now())
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
            self.last = Last::Tried(Some((tried_at, last.archived_at, last.recording_id.uuid())));
        }
        Ok(page)
    }

    /// The next of those that are on record as read in the future. There are hardly any, and the
    /// index of the walk ends with them.
    async fn page_of_the_future(&self, last: Uuid) -> Result<Vec<ArchivedObject>, QueueError> {
        let rows = sqlx::query_as!(
            ArchivedObjectRow,
            r#"-- queue::unread_page_of_the_future
            SELECT recording_id, project_id, object_key AS "object_key!",
                   object_url AS "object_url!", size_bytes AS "size_bytes!", sha256 AS "sha256!",
                   archived_at AS "archived_at!",
                   CASE WHEN verified_at <= now() THEN verified_at END AS verified_at,
                   CASE WHEN verify_failed_at <= now() THEN verify_failed_at END AS verify_failed_at
              FROM archiver.recordings
             WHERE state = 'archived' AND starts_with(object_url, $1)
               AND (finalized_at <= $2 OR finalized_at > now())
               AND coalesce(greatest(verified_at, verify_failed_at), '-infinity') > now()
               AND recording_id > $3
             ORDER BY recording_id
             LIMIT $4"#,
            self.url_root,
            self.begun_at,
            last,
            PAGE,
        )
        .fetch_all(&self.pool)
        .answered("look for what is to be read again")
        .await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }
}
