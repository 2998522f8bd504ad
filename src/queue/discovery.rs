//! How far a walk through the provider's list is, so that another process can go on with it.

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Answered, QueueError};

/// After so many hours a walk is begun anew: who knows what has become of its next page.
const GOES_ON_FOR_HOURS: i32 = 24;

/// A walk through a project's list. Whoever goes on with it, or begins anew, takes it away.
#[derive(Debug)]
pub struct DiscoveryWalk {
    project_id: String,
    token: Uuid,
    /// Where to go on; `None`: at the first page.
    pub next_page: Option<String>,
    /// On the pages before.
    pub before: WalkedSoFar,
}

/// What the pages of a walk held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WalkedSoFar {
    pub pages: u64,
    pub listed: u64,
    pub queued: u64,
}

impl DiscoveryWalk {
    /// Goes on with the project's last walk if it did not reach the end and got further within a
    /// day; else, or if told to, begins anew.
    pub async fn begin(
        pool: &PgPool,
        project_id: &str,
        from_start: bool,
    ) -> Result<Self, QueueError> {
        let row = sqlx::query!(
            r#"-- queue::begin_walk
            INSERT INTO archiver.discoveries AS d (project_id, walk_token)
            VALUES ($1, gen_random_uuid())
                ON CONFLICT (project_id) DO UPDATE
               SET walk_token = excluded.walk_token, ended_at = NULL,
                   (next_page, pages, listed, queued, begun_at, walked_at) =
                   (SELECT d.next_page, d.pages, d.listed, d.queued, d.begun_at, d.walked_at
                     WHERE NOT $2 AND d.ended_at IS NULL AND d.next_page IS NOT NULL
                       AND d.walked_at > now() - make_interval(hours => $3)
                     UNION ALL
                    SELECT NULL, 0, 0, 0, now(), now()
                     LIMIT 1)
         RETURNING walk_token, next_page, pages, listed, queued"#,
            project_id,
            from_start,
            GOES_ON_FOR_HOURS,
        )
        .fetch_one(pool)
        .answered("begin a walk through the list")
        .await?;
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        Ok(Self {
            project_id: project_id.to_owned(),
            token: row.walk_token,
            next_page: row.next_page,
            before: WalkedSoFar {
                pages: count(row.pages),
                listed: count(row.listed),
                queued: count(row.queued),
            },
        })
    }

    /// Writes down, beside what a page held, how far the walk is now; without a next page it has
    /// reached the end.
    ///
    /// # Errors
    /// [`QueueError::WalkTaken`] if another process goes on with it.
    pub async fn note(
        &self,
        connection: &mut PgConnection,
        so_far: WalkedSoFar,
        next_page: Option<&str>,
    ) -> Result<(), QueueError> {
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let result = sqlx::query!(
            r#"-- queue::note_walk
            UPDATE archiver.discoveries
               SET next_page = $3, pages = $4, listed = $5, queued = $6, walked_at = now(),
                   ended_at = CASE WHEN $3::text IS NULL THEN now() END,
                   last_whole_walk_at = CASE WHEN $3::text IS NULL THEN begun_at
                                             ELSE last_whole_walk_at END
             WHERE project_id = $1 AND walk_token = $2"#,
            self.project_id,
            self.token,
            next_page,
            count(so_far.pages),
            count(so_far.listed),
            count(so_far.queued),
        )
        .execute(connection)
        .answered("write down how far the walk is")
        .await?;
        match result.rows_affected() {
            1 => Ok(()),
            _ => Err(QueueError::WalkTaken),
        }
    }
}
