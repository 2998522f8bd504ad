//! The provider's list against the queue. The list comes in no order and may be longer than memory,
//! so Postgres keeps it meanwhile, and joins it in the order of IDs.

use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres, Row as _};
use uuid::Uuid;

use super::{Answered, QueueError};
use crate::recording::RecordingId;

/// Differences that are handed on at once.
const BATCH: i64 = 1000;

/// All that the provider lists, for as long as this lives.
#[derive(Debug)]
pub struct ListedIds {
    connection: PoolConnection<Postgres>,
}

/// What differs between the provider's list and the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// Listed, and no row.
    NotQueued,
    /// Listed, and its row has failed.
    Failed,
    /// Not listed and not archived, though this project had it once.
    NotListed,
}

/// A recording that differs, and what its row says of it.
#[derive(Debug, Clone)]
pub struct GapEntry {
    pub recording_id: RecordingId,
    pub state: Option<String>,
    pub error_kind: Option<String>,
    pub error_message: Option<String>,
}

impl ListedIds {
    /// Begins with an empty list, on a connection of its own; no transaction is open.
    pub async fn begin(pool: &PgPool) -> Result<Self, QueueError> {
        let mut connection = pool.acquire().answered("begin to compare").await?;
        for statement in [
            "-- queue::forget_listed\nDROP TABLE IF EXISTS pg_temp.listed",
            "-- queue::begin_listed\nCREATE TEMP TABLE listed (recording_id uuid PRIMARY KEY)",
        ] {
            sqlx::query(statement)
                .execute(&mut *connection)
                .answered("begin to compare")
                .await?;
        }
        Ok(Self { connection })
    }

    pub async fn add(&mut self, ids: &[RecordingId]) -> Result<(), QueueError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
        sqlx::query(
            "-- queue::add_listed
             INSERT INTO pg_temp.listed SELECT unnest($1::uuid[]) ON CONFLICT DO NOTHING",
        )
        .bind(ids)
        .execute(&mut *self.connection)
        .answered("keep what is listed")
        .await
        .map(drop)
    }

    /// The next differences of a kind, in the order of their IDs.
    pub async fn differing(
        &mut self,
        gap: Gap,
        project_id: &str,
        after: Option<RecordingId>,
    ) -> Result<Vec<GapEntry>, QueueError> {
        let statement = match gap {
            Gap::NotQueued => {
                "-- queue::not_queued
                 SELECT l.recording_id, NULL AS state, NULL AS error_kind, NULL AS error_message
                   FROM pg_temp.listed l LEFT JOIN archiver.recordings r USING (recording_id)
                  WHERE r.recording_id IS NULL AND l.recording_id > $1 AND $2 <> ''
                  ORDER BY l.recording_id LIMIT $3"
            }
            Gap::Failed => {
                "-- queue::failed_but_listed
                 SELECT l.recording_id, r.state, r.error_kind, r.error_message
                   FROM pg_temp.listed l JOIN archiver.recordings r USING (recording_id)
                  WHERE r.state = 'failed' AND l.recording_id > $1 AND $2 <> ''
                  ORDER BY l.recording_id LIMIT $3"
            }
            Gap::NotListed => {
                "-- queue::not_listed
                 SELECT r.recording_id, r.state, r.error_kind, r.error_message
                   FROM archiver.recordings r LEFT JOIN pg_temp.listed l USING (recording_id)
                  WHERE l.recording_id IS NULL AND r.recording_id > $1 AND r.project_id = $2
                    AND r.state <> 'archived' AND r.metadata IS NOT NULL
                  ORDER BY r.recording_id LIMIT $3"
            }
        };
        let rows = sqlx::query(statement)
            .bind(after.map_or(Uuid::nil(), RecordingId::uuid))
            .bind(project_id)
            .bind(BATCH)
            .fetch_all(&mut *self.connection)
            .answered("compare with what is listed")
            .await?;
        let read = |row: &sqlx::postgres::PgRow| -> sqlx::Result<GapEntry> {
            Ok(GapEntry {
                recording_id: row.try_get::<Uuid, _>("recording_id")?.into(),
                state: row.try_get("state")?,
                error_kind: row.try_get("error_kind")?,
                error_message: row.try_get("error_message")?,
            })
        };
        rows.iter()
            .map(read)
            .collect::<sqlx::Result<_>>()
            .map_err(|source| QueueError::database("compare with what is listed", source))
    }

    /// Forgets the list.
    pub async fn end(mut self) -> Result<(), QueueError> {
        sqlx::query("-- queue::forget_listed\nDROP TABLE IF EXISTS pg_temp.listed")
            .execute(&mut *self.connection)
            .answered("end the comparison")
            .await
            .map(drop)
    }
}
