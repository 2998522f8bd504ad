//! How much of the archive was read again: of the whole database, all stores together.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{PgExecutor, PgPool};

use super::{Answered, QueueError, interval};

/// What was read again within a certain time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Coverage {
    pub within_secs: u64,
    /// Recordings archived, and their bytes.
    pub recordings: i64,
    pub size_bytes: i64,
    /// Of these, read again within that time and found equal.
    pub read_again: i64,
    pub read_again_bytes: i64,
    /// Known to be damaged or gone.
    pub damaged: i64,
    /// Since when the one that waits longest has not been read.
    pub longest_unread_since: Option<DateTime<Utc>>,
}

/// Adds up the days' sums; of rows, reads only those of the day on which that time begins.
pub async fn coverage(pool: &PgPool, within: Duration) -> Result<Coverage, QueueError> {
    read(pool, within).answered("measure the coverage").await
}

/// The same as a part of a larger look.
pub(super) async fn read(
    executor: impl PgExecutor<'_>,
    within: Duration,
) -> sqlx::Result<Coverage> {
    let row = sqlx::query!(
        r#"-- queue::coverage
        SELECT archived AS "archived!", archived_bytes::bigint AS "archived_bytes!",
               read_again AS "read_again!", read_again_bytes::bigint AS "read_again_bytes!",
               damaged AS "damaged!", longest_unread_since
          FROM archiver.coverage($1)"#,
        interval(within),
    )
    .fetch_one(executor)
    .await?;
    Ok(Coverage {
        within_secs: within.as_secs(),
        recordings: row.archived,
        size_bytes: row.archived_bytes,
        read_again: row.read_again,
        read_again_bytes: row.read_again_bytes,
        damaged: row.damaged,
        longest_unread_since: row.longest_unread_since,
    })
}
