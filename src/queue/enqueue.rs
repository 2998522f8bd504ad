//! Putting recordings into the queue, and failed ones back.

use std::collections::HashMap;

use sqlx::{PgExecutor, PgPool};
use uuid::Uuid;

use super::{Answered, QueueError};
use crate::error::ErrorKind;
use crate::recording::RecordingId;

/// Rows sent to Postgres in one statement.
const BATCH: usize = 10_000;

/// Queues these recordings; those known already, in whatever state, stay as they are. Returns how
/// many are new.
pub async fn enqueue(pool: &PgPool, ids: &[RecordingId]) -> Result<u64, QueueError> {
    let mut new = 0;
    for batch in ids.chunks(BATCH) {
        new += enqueue_in(pool, batch).await?;
    }
    Ok(new)
}

/// The same in one statement, in the caller's transaction.
pub async fn enqueue_in(
    executor: impl PgExecutor<'_>,
    ids: &[RecordingId],
) -> Result<u64, QueueError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    sqlx::query!(
        r#"-- queue::enqueue
        INSERT INTO archiver.recordings (recording_id)
        SELECT DISTINCT id FROM unnest($1::uuid[]) AS id ORDER BY id
        ON CONFLICT DO NOTHING"#,
        &ids,
    )
    .execute(executor)
    .answered("enqueue")
    .await
    .map(|result| result.rows_affected())
}

/// Which failed recordings an operator wants tried again.
#[derive(Debug, Clone)]
pub enum Chosen {
    Ids(Vec<RecordingId>),
    Failed { kind: Option<ErrorKind> },
}

/// Makes failed recordings pending again, with all their attempts and waits to come. Returns
/// their IDs; recordings that have not failed stay as they are.
pub async fn retry(pool: &PgPool, chosen: &Chosen) -> Result<Vec<RecordingId>, QueueError> {
    let (ids, kind) = match chosen {
        Chosen::Ids(ids) => (
            Some(ids.iter().map(|id| id.uuid()).collect::<Vec<_>>()),
            None,
        ),
        Chosen::Failed { kind } => (None, kind.map(ErrorKind::as_str)),
    };
    let retried = sqlx::query_scalar!(
        r#"-- queue::retry
        WITH chosen AS (
            -- In order: whoever locks several rows at once does so.
            SELECT recording_id FROM archiver.recordings
             WHERE state = 'failed'
               AND ($1::uuid[] IS NULL OR recording_id = ANY ($1))
               AND ($2::text IS NULL OR error_kind = $2)
             ORDER BY recording_id
               FOR UPDATE
        ), retried AS (
            UPDATE archiver.recordings r
               SET state = 'pending', attempts = 0, next_attempt_at = now(), finalized_at = NULL,
                   error_kind = NULL, error_message = NULL, mismatched_size_bytes = NULL,
                   not_ready_since = NULL, not_found_in = '{}'
              FROM chosen c
             WHERE r.recording_id = c.recording_id
         RETURNING r.recording_id
        ), bell AS (SELECT pg_notify('recording_archiver', ''))
        SELECT recording_id AS "recording_id!" FROM retried, bell"#,
        ids as Option<Vec<Uuid>>,
        kind,
    )
    .fetch_all(pool)
    .answered("retry")
    .await?;
    Ok(retried.into_iter().map(RecordingId::from).collect())
}

/// The states of those recordings that are queued; none if the schema does not exist yet.
pub async fn states(
    pool: &PgPool,
    ids: &[RecordingId],
) -> Result<HashMap<RecordingId, String>, QueueError> {
    let exists = sqlx::query_scalar!(
        r#"-- queue::states
        SELECT to_regclass('archiver.recordings') IS NOT NULL AS "exists!""#
    )
    .fetch_one(pool)
    .answered("look for the schema")
    .await?;
    if !exists {
        return Ok(HashMap::new());
    }
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query!(
        r#"-- queue::states
        SELECT recording_id, state FROM archiver.recordings WHERE recording_id = ANY ($1)"#,
        &ids,
    )
    .fetch_all(pool)
    .answered("look at recordings")
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.recording_id.into(), row.state))
        .collect())
}

/// Whether the queue holds anything of this project, or of a project nobody knows yet, that is
/// not settled.
pub async fn has_unsettled(pool: &PgPool, project_id: &str) -> Result<bool, QueueError> {
    sqlx::query_scalar!(
        r#"-- queue::has_unsettled
        SELECT EXISTS (SELECT FROM archiver.recordings
                        WHERE state IN ('pending', 'in_progress')
                          AND (project_id IS NULL OR project_id = $1)) AS "unsettled!""#,
        project_id,
    )
    .fetch_one(pool)
    .answered("look for what is not settled")
    .await
}
