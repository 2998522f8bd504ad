//! What is on record of recordings that need no more work, many at once.

use std::collections::HashMap;

use sqlx::PgPool;
use uuid::Uuid;

use super::{Answered, ArchivedRow, JobState, QueueError};
use crate::digest::Sha256Digest;
use crate::error::ErrorKind;
use crate::recording::RecordingId;

/// A recording in a final state.
#[derive(Debug)]
pub enum Finished {
    Archived(Box<ArchivedRow>),
    Failed {
        error_kind: Option<ErrorKind>,
        error_message: Option<String>,
    },
}

/// Looks up, in one statement, which of these are archived or have failed. Others are left out.
pub async fn finished(
    pool: &PgPool,
    ids: &[RecordingId],
) -> Result<HashMap<RecordingId, Finished>, QueueError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query!(
        r#"-- queue::finished
        SELECT recording_id, state, error_kind, error_message, object_key, object_url, size_bytes,
               sha256, evidence, cost_usd::text AS cost_usd, source_deleted_at
          FROM archiver.recordings
         WHERE recording_id = ANY ($1) AND state IN ('archived', 'failed')"#,
        &ids,
    )
    .fetch_all(pool)
    .answered("look up recordings")
    .await?;
    let mut finished = HashMap::with_capacity(rows.len());
    for row in rows {
        let how = match row.state.parse()? {
            JobState::Archived => Finished::Archived(Box::new(ArchivedRow {
                object_key: row.object_key.unwrap_or_default(),
                object_url: row.object_url.unwrap_or_default(),
                size_bytes: row
                    .size_bytes
                    .and_then(|size| u64::try_from(size).ok())
                    .unwrap_or_default(),
                sha256: Sha256Digest::from_bytes(
                    row.sha256
                        .and_then(|bytes| bytes.try_into().ok())
                        .unwrap_or_default(),
                ),
                evidence: row.evidence.unwrap_or_default(),
                cost_usd: row.cost_usd,
                source_deleted_at: row.source_deleted_at,
            })),
            JobState::Failed => Finished::Failed {
                error_kind: row.error_kind.and_then(|kind| kind.parse().ok()),
                error_message: row.error_message,
            },
            JobState::Pending | JobState::InProgress => continue,
        };
        finished.insert(row.recording_id.into(), how);
    }
    Ok(finished)
}
