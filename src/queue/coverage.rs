//! How much of the archive was read again: of the whole database, all stores together.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
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

impl Coverage {
    /// What was read again of a thousand, by bytes, rounded down: only all is a thousand. By
    /// recordings where there are no bytes.
    pub fn permille(&self) -> i64 {
        let (part, whole) = match self.size_bytes {
            0 => (self.read_again, self.recordings),
            _ => (self.read_again_bytes, self.size_bytes),
        };
        let permille = i128::from(part) * 1000 / i128::from(whole.max(1));
        i64::try_from(permille).unwrap_or(i64::MAX)
    }

    /// The same as it is shown: `98.2 %`.
    pub fn percent(&self) -> String {
        let permille = self.permille();
        format!("{}.{} %", permille / 10, permille % 10)
    }

    /// The time within which it was to be read again.
    pub fn within(&self) -> TimeDelta {
        let secs = i64::try_from(self.within_secs).unwrap_or(i64::MAX);
        TimeDelta::try_seconds(secs).unwrap_or(TimeDelta::MAX)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_all_is_a_hundred_percent() {
        let of = |read_again_bytes, size_bytes| {
            Coverage {
                within_secs: 1,
                recordings: 4,
                size_bytes,
                read_again: 3,
                read_again_bytes,
                damaged: 0,
                longest_unread_since: None,
            }
            .percent()
        };
        assert_eq!(of(982, 1000), "98.2 %");
        assert_eq!(of(999_999, 1_000_000), "99.9 %");
        assert_eq!(of(7, 7), "100.0 %");
        assert_eq!(of(0, 7), "0.0 %");
        assert_eq!(of(0, 0), "75.0 %");
    }
}
