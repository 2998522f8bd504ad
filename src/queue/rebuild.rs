//! Rows that come back from what the archive says of itself.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::described::{declared_size, status_word};
use super::{Answered, JobState, QueueError, StoredObject};
use crate::database::storable;
use crate::recording::{FormatMismatch, Recording, RecordingId};

/// An archived recording that may have no row.
#[derive(Debug)]
pub struct ToRebuild {
    pub project_id: Option<String>,
    pub recording: Recording,
    pub object: StoredObject,
    /// When the provider said what is said of the recording.
    pub observed_at: DateTime<Utc>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rebuilding {
    Rebuilt,
    /// A row says that this very object is archived.
    Known,
    /// A row waits, runs or has failed: `archive` finds the object.
    Unfinished,
    /// A row is archived, with another object or other bytes.
    Differs,
}

/// Writes the row of an archived recording if it has none; one that is there stays as it is. What
/// only the queue knew (attempts, waits) begins anew.
pub async fn rebuild(
    connection: &mut PgConnection,
    row: &ToRebuild,
) -> Result<Rebuilding, QueueError> {
    let ToRebuild {
        project_id,
        recording,
        object,
        observed_at,
    } = row;
    let fingerprint = &object.fingerprint;
    let size_bytes = i64::try_from(fingerprint.size_bytes).unwrap_or(i64::MAX);
    let inserted = sqlx::query!(
        r#"-- queue::rebuild
        INSERT INTO archiver.recordings
               (recording_id, state, project_id, room_session_id, recording_status, started_at,
                finished_at, created_at, updated_at, duration_secs, declared_size_bytes,
                media_format, metadata, cost_asked_at, object_key, object_url, size_bytes, sha256,
                crc64nvme, evidence, evidence_algorithm, evidence_value, etag, archived_at,
                enqueued_at, finalized_at, verified_at, format_mismatch)
        VALUES ($1, 'archived', $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::text::jsonb, $13,
                $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $23, $23,
                CASE WHEN $19 = 'read_back' THEN $23::timestamptz END, $24)
            ON CONFLICT (recording_id) DO NOTHING"#,
        recording.id.uuid(),
        project_id.as_deref().map(storable),
        recording.room_session_id,
        status_word(recording),
        recording.started_at,
        recording.finished_at,
        recording.created_at,
        recording.updated_at,
        recording.duration_secs,
        declared_size(recording),
        recording.media_format.as_deref().map(storable),
        recording.metadata.to_jsonb_text(),
        observed_at,
        object.object_key,
        object.object_url,
        size_bytes,
        &fingerprint.sha256.as_bytes()[..],
        fingerprint.crc64nvme.to_string(),
        object.evidence,
        object.evidence_algorithm,
        object.evidence_value.as_deref().map(storable),
        object.etag,
        object.archived_at,
        object.format_mismatch.map(FormatMismatch::as_str),
    )
    .execute(&mut *connection)
    .answered("bring a row back")
    .await?;
    if inserted.rows_affected() == 1 {
        return Ok(Rebuilding::Rebuilt);
    }
    standing(connection, recording.id, object).await
}

async fn standing(
    connection: &mut PgConnection,
    id: RecordingId,
    object: &StoredObject,
) -> Result<Rebuilding, QueueError> {
    let row = sqlx::query!(
        r#"-- queue::standing_row
        SELECT state, object_url IS NOT DISTINCT FROM $2
                      AND sha256 IS NOT DISTINCT FROM $3 AS "is_same!"
          FROM archiver.recordings WHERE recording_id = $1"#,
        id.uuid(),
        object.object_url,
        &object.fingerprint.sha256.as_bytes()[..],
    )
    .fetch_one(connection)
    .answered("look at a row that is there")
    .await?;
    Ok(match row.state.parse()? {
        JobState::Archived if row.is_same => Rebuilding::Known,
        JobState::Archived => Rebuilding::Differs,
        JobState::Pending | JobState::InProgress | JobState::Failed => Rebuilding::Unfinished,
    })
}
