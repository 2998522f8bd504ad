//! Rows that come back from what the archive says of itself.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::described::{declared_size, status_word};
use super::{Answered, JobState, QueueError, StoredObject};
use crate::database::storable;
use crate::digest::Sha256Digest;
use crate::recording::{FormatMismatch, Recording, RecordingId};

/// An archived recording that may have no row.
#[derive(Debug)]
pub struct ToRebuild {
    pub project_id: Option<String>,
    pub recording: Recording,
    pub object: StoredObject,
    /// When the provider said what is said of the recording.
    pub observed_at: DateTime<Utc>,
    /// Whether the object was read just now, and is what its manifest says.
    pub is_read: bool,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rebuilding {
    Rebuilt,
    /// A row says that this very object is archived.
    Known,
    /// A row waits, runs or has failed: `archive` finds the object.
    Unfinished,
    /// A row is archived, with another object or other bytes, or is another project's.
    Differs,
}

/// What a row has to say to an object that is found in the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowBefore {
    state: JobState,
    project_id: Option<String>,
    /// Failed because the provider has no such recording.
    is_not_found: bool,
    /// Archived by its manifest's word alone.
    is_unread: bool,
    object_url: Option<String>,
    sha256: Option<Vec<u8>>,
}

impl RowBefore {
    /// Whether the object would be taken: `None` if it would, else what becomes of it.
    pub fn verdict(
        &self,
        project_id: Option<&str>,
        object_url: &str,
        sha256: &Sha256Digest,
        is_read: bool,
    ) -> Option<Rebuilding> {
        let is_other_project = matches!(
            (self.project_id.as_deref(), project_id), (Some(row), Some(found)) if row != found
        );
        let has_other_bytes = self
            .sha256
            .as_ref()
            .is_some_and(|known| known[..] != sha256.as_bytes()[..]);
        match self.state {
            JobState::Archived if has_other_bytes => Some(Rebuilding::Differs),
            JobState::Archived if self.object_url.as_deref() != Some(object_url) => {
                Some(Rebuilding::Differs)
            }
            JobState::Archived => (!self.is_unread || !is_read).then_some(Rebuilding::Known),
            JobState::Failed if self.is_not_found => {
                (is_other_project || has_other_bytes).then_some(Rebuilding::Differs)
            }
            JobState::Pending | JobState::InProgress | JobState::Failed => {
                Some(Rebuilding::Unfinished)
            }
        }
    }
}

/// Looks up the rows of these recordings.
pub async fn rows_before(
    pool: &PgPool,
    ids: &[RecordingId],
) -> Result<HashMap<RecordingId, RowBefore>, QueueError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query!(
        r#"-- queue::rows_before
        SELECT recording_id, state, project_id, object_url, sha256,
               error_kind IS NOT DISTINCT FROM 'not_found' AS "is_not_found!",
               evidence IS NOT DISTINCT FROM 'manifest' AS "is_unread!"
          FROM archiver.recordings WHERE recording_id = ANY ($1)"#,
        &ids,
    )
    .fetch_all(pool)
    .answered("look up rows that are there")
    .await?;
    rows.into_iter()
        .map(|row| {
            let before = RowBefore {
                state: row.state.parse()?,
                project_id: row.project_id,
                is_not_found: row.is_not_found,
                is_unread: row.is_unread,
                object_url: row.object_url,
                sha256: row.sha256,
            };
            Ok((row.recording_id.into(), before))
        })
        .collect()
}

/// Writes the row of an archived recording if it has none, if it failed because the provider has no
/// such recording, or if it was archived by its manifest's word and the object is read now. Any
/// other row stays as it is, but a waiting one learns where its object is: should the provider have
/// the recording no more, it is looked for there. What only the queue knew (attempts, waits) begins
/// anew.
pub async fn rebuild(
    connection: &mut PgConnection,
    row: &ToRebuild,
) -> Result<Rebuilding, QueueError> {
    let ToRebuild {
        project_id,
        recording,
        object,
        observed_at,
        is_read,
    } = row;
    let fingerprint = &object.fingerprint;
    let size_bytes = i64::try_from(fingerprint.size_bytes).unwrap_or(i64::MAX);
    let project_id = project_id.as_deref().map(storable);
    let written = sqlx::query!(
        r#"-- queue::rebuild
        INSERT INTO archiver.recordings AS r
               (recording_id, state, project_id, room_session_id, recording_status, started_at,
                finished_at, created_at, updated_at, duration_secs, declared_size_bytes,
                media_format, metadata, cost_asked_at, object_key, object_url, size_bytes, sha256,
                crc64nvme, evidence, evidence_algorithm, evidence_value, etag, archived_at,
                enqueued_at, finalized_at, verified_at, format_mismatch)
        VALUES ($1, 'archived', $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::text::jsonb, $13,
                $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $23, $23,
                CASE WHEN $24 THEN now() END, $25)
            ON CONFLICT (recording_id) DO UPDATE
           SET state = 'archived',
               project_id = coalesce(r.project_id, excluded.project_id),
               room_session_id = coalesce(r.room_session_id, excluded.room_session_id),
               recording_status = coalesce(r.recording_status, excluded.recording_status),
               started_at = coalesce(r.started_at, excluded.started_at),
               finished_at = coalesce(r.finished_at, excluded.finished_at),
               created_at = coalesce(r.created_at, excluded.created_at),
               updated_at = coalesce(r.updated_at, excluded.updated_at),
               duration_secs = coalesce(r.duration_secs, excluded.duration_secs),
               declared_size_bytes = coalesce(r.declared_size_bytes, excluded.declared_size_bytes),
               media_format = coalesce(r.media_format, excluded.media_format),
               metadata = coalesce(r.metadata, excluded.metadata),
               cost_asked_at = greatest(r.cost_asked_at, excluded.cost_asked_at),
               object_key = excluded.object_key, object_url = excluded.object_url,
               size_bytes = excluded.size_bytes, sha256 = excluded.sha256,
               crc64nvme = excluded.crc64nvme, evidence = excluded.evidence,
               evidence_algorithm = excluded.evidence_algorithm,
               evidence_value = excluded.evidence_value, etag = excluded.etag,
               archived_at = excluded.archived_at,
               finalized_at = CASE r.state WHEN 'failed' THEN now() ELSE r.finalized_at END,
               verified_at = excluded.verified_at, verify_failed_at = NULL,
               damage_found_at = NULL, error_kind = NULL, error_message = NULL,
               mismatched_size_bytes = NULL, not_ready_since = NULL, not_found_in = '{}',
               format_mismatch = excluded.format_mismatch
         WHERE r.state = 'failed' AND r.error_kind = 'not_found'
               AND coalesce(r.project_id = excluded.project_id, true)
               AND coalesce(r.sha256 = excluded.sha256, true)
            OR r.state = 'archived' AND r.evidence = 'manifest' AND $24
               AND r.object_url = excluded.object_url AND r.sha256 = excluded.sha256"#,
        recording.id.uuid(),
        project_id,
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
        is_read,
        object.format_mismatch.map(FormatMismatch::as_str),
    )
    .execute(&mut *connection)
    .answered("bring a row back")
    .await?;
    if written.rows_affected() == 1 {
        return Ok(Rebuilding::Rebuilt);
    }
    leave_row(connection, row).await
}

/// Leaves the row as it is and returns what it has to say; a waiting one learns where its object is.
pub async fn leave_row(
    connection: &mut PgConnection,
    row: &ToRebuild,
) -> Result<Rebuilding, QueueError> {
    let object = &row.object;
    let there = sqlx::query!(
        r#"-- queue::standing_row
        WITH told AS (
            UPDATE archiver.recordings SET object_key = $3, object_url = $2
             WHERE recording_id = $1 AND state = 'pending' AND object_key IS NULL
        )
        SELECT state, project_id, object_url, sha256,
               error_kind IS NOT DISTINCT FROM 'not_found' AS "is_not_found!"
          FROM archiver.recordings WHERE recording_id = $1"#,
        row.recording.id.uuid(),
        object.object_url,
        object.object_key,
    )
    .fetch_optional(connection)
    .answered("look at a row that is there")
    .await?;
    let Some(there) = there else {
        return Ok(Rebuilding::Unfinished);
    };
    let before = RowBefore {
        state: there.state.parse()?,
        project_id: there.project_id,
        is_not_found: there.is_not_found,
        is_unread: false,
        object_url: there.object_url,
        sha256: there.sha256,
    };
    let (project_id, sha256) = (row.project_id.as_deref(), &object.fingerprint.sha256);
    let verdict = before.verdict(project_id, &object.object_url, sha256, row.is_read);
    Ok(verdict.unwrap_or(Rebuilding::Unfinished))
}
