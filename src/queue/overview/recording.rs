//! One recording: its row, its attempts, its costs.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::recording::RecordingId;

/// One row of the queue with its history. The lease token stays in the database: whoever has it
/// could settle the claim.
#[derive(Debug, Clone, Serialize)]
pub struct RecordingDetails {
    /// The database's time of this answer.
    pub now: DateTime<Utc>,
    pub recording_id: Uuid,
    pub state: String,
    pub attempts_burnt: i32,
    pub next_attempt_at: DateTime<Utc>,
    pub leased_by: Option<String>,
    pub lease_expires_at: Option<DateTime<Utc>>,
    pub error_kind: Option<String>,
    pub error_message: Option<String>,
    pub not_ready_since: Option<DateTime<Utc>>,
    pub enqueued_at: DateTime<Utc>,
    pub finalized_at: Option<DateTime<Utc>>,

    pub project_id: Option<String>,
    pub not_found_in: Vec<String>,
    pub room_session_id: Option<Uuid>,
    pub recording_status: Option<String>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub created_at: Option<DateTime<Utc>>,
    pub updated_at: Option<DateTime<Utc>>,
    pub duration_secs: Option<i64>,
    pub declared_size_bytes: Option<i64>,
    pub media_format: Option<String>,
    /// What the archived file is instead, if it is not of that format.
    pub format_mismatch: Option<String>,

    pub object_url: Option<String>,
    pub object_key: Option<String>,
    pub size_bytes: Option<i64>,
    pub etag: Option<String>,
    pub archived_at: Option<DateTime<Utc>>,
    pub damage_found_at: Option<DateTime<Utc>>,
    pub kept_aside_url: Option<String>,

    pub evidence: Option<String>,
    /// Lower-case hex.
    pub sha256: Option<String>,
    pub crc64nvme: Option<String>,
    pub verified_at: Option<DateTime<Utc>>,
    /// When reading it again was last tried and did not find it equal; `None` since it has.
    pub verify_failed_at: Option<DateTime<Utc>>,
    /// Of what was archived before in other bytes; lower-case hex.
    pub previous_sha256: Option<String>,

    /// Since when the provider says that it has no such recording.
    pub source_missing_since: Option<DateTime<Utc>>,
    /// Since when the provider has it no more.
    pub source_deleted_at: Option<DateTime<Utc>>,
    /// Each time it was about to be deleted at the provider, oldest first.
    pub retirements: Vec<Retirement>,

    /// US dollars as a plain decimal, exact.
    pub cost_usd: Option<String>,
    pub cost_state: String,
    pub cost_observed_at: Option<DateTime<Utc>>,
    pub cost_changed_at: Option<DateTime<Utc>>,
    /// Oldest first.
    pub cost_observations: Vec<CostObservation>,
    /// Oldest first, the running one included.
    pub attempts: Vec<Attempt>,
}

/// A cost as it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CostObservation {
    pub observed_at: DateTime<Utc>,
    /// US dollars as a plain decimal, exact.
    pub cost_usd: String,
    pub recording_status: Option<String>,
    pub observed_by: String,
}

/// Once that the recording was about to be deleted at the provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Retirement {
    pub begun_at: DateTime<Utc>,
    /// `None` while its outcome is not known.
    pub ended_at: Option<DateTime<Utc>>,
    pub retired_by: String,
    pub outcome: Option<String>,
    pub reason: Option<String>,
}

/// One claim of the recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attempt {
    pub attempt: i32,
    pub started_at: DateTime<Utc>,
    /// `None` while it runs.
    pub finished_at: Option<DateTime<Utc>>,
    pub leased_by: String,
    pub outcome: Option<String>,
    pub error_kind: Option<String>,
    pub error_message: Option<String>,
    pub bytes_fetched: i64,
}

pub(super) async fn read(
    snapshot: &mut PgConnection,
    id: RecordingId,
) -> sqlx::Result<Option<RecordingDetails>> {
    let row = sqlx::query!(
        r#"-- queue::overview::recording
        SELECT now() AS "now!", r.recording_id, r.state, r.attempts, r.next_attempt_at,
               r.leased_by, r.lease_expires_at, r.error_kind, r.error_message,
               r.not_ready_since, r.enqueued_at, r.finalized_at,
               r.project_id, r.not_found_in, r.room_session_id, r.recording_status,
               r.started_at, r.finished_at, r.created_at, r.updated_at, r.duration_secs,
               r.declared_size_bytes, r.media_format, r.format_mismatch,
               r.object_url, r.object_key, r.size_bytes, r.etag, r.archived_at,
               r.damage_found_at, r.kept_aside_url,
               r.evidence, encode(r.sha256, 'hex') AS sha256_hex, r.crc64nvme,
               CASE WHEN isfinite(r.verified_at) THEN r.verified_at END AS verified_at,
               r.verify_failed_at, encode(r.previous_sha256, 'hex') AS previous_sha256_hex,
               r.source_missing_since, r.source_deleted_at,
               r.cost_usd::text AS cost, f.cost_state AS "cost_state!",
               r.cost_observed_at, r.cost_changed_at
          FROM archiver.recordings r
          JOIN finance.recordings f USING (recording_id)
         WHERE r.recording_id = $1"#,
        id.uuid(),
    )
    .fetch_optional(&mut *snapshot)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let cost_observations = sqlx::query_as!(
        CostObservation,
        r#"-- queue::overview::recording
        SELECT observed_at, cost_usd::text AS "cost_usd!", recording_status, observed_by
          FROM archiver.cost_observations
         WHERE recording_id = $1
         ORDER BY observation_id"#,
        id.uuid(),
    )
    .fetch_all(&mut *snapshot)
    .await?;
    let retirements = read_retirements(snapshot, id).await?;
    let attempts = sqlx::query_as!(
        Attempt,
        r#"-- queue::overview::recording
        SELECT attempt, started_at, finished_at, leased_by, outcome, error_kind, error_message,
               bytes_fetched
          FROM archiver.attempts
         WHERE recording_id = $1
         ORDER BY attempt_id"#,
        id.uuid(),
    )
    .fetch_all(&mut *snapshot)
    .await?;
    Ok(Some(RecordingDetails {
        now: row.now,
        recording_id: row.recording_id,
        state: row.state,
        attempts_burnt: row.attempts,
        next_attempt_at: row.next_attempt_at,
        leased_by: row.leased_by,
        lease_expires_at: row.lease_expires_at,
        error_kind: row.error_kind,
        error_message: row.error_message,
        not_ready_since: row.not_ready_since,
        enqueued_at: row.enqueued_at,
        finalized_at: row.finalized_at,
        project_id: row.project_id,
        not_found_in: row.not_found_in,
        room_session_id: row.room_session_id,
        recording_status: row.recording_status,
        started_at: row.started_at,
        finished_at: row.finished_at,
        created_at: row.created_at,
        updated_at: row.updated_at,
        duration_secs: row.duration_secs,
        declared_size_bytes: row.declared_size_bytes,
        media_format: row.media_format,
        format_mismatch: row.format_mismatch,
        object_url: row.object_url,
        object_key: row.object_key,
        size_bytes: row.size_bytes,
        etag: row.etag,
        archived_at: row.archived_at,
        damage_found_at: row.damage_found_at,
        kept_aside_url: row.kept_aside_url,
        evidence: row.evidence,
        sha256: row.sha256_hex,
        crc64nvme: row.crc64nvme,
        verified_at: row.verified_at,
        verify_failed_at: row.verify_failed_at,
        previous_sha256: row.previous_sha256_hex,
        source_missing_since: row.source_missing_since,
        source_deleted_at: row.source_deleted_at,
        retirements,
        cost_usd: row.cost,
        cost_state: row.cost_state,
        cost_observed_at: row.cost_observed_at,
        cost_changed_at: row.cost_changed_at,
        cost_observations,
        attempts,
    }))
}

async fn read_retirements(
    snapshot: &mut PgConnection,
    id: RecordingId,
) -> sqlx::Result<Vec<Retirement>> {
    sqlx::query_as!(
        Retirement,
        r#"-- queue::overview::recording
        SELECT begun_at, ended_at, retired_by, outcome, reason
          FROM archiver.retirements
         WHERE recording_id = $1
         ORDER BY retirement_id"#,
        id.uuid(),
    )
    .fetch_all(snapshot)
    .await
}
