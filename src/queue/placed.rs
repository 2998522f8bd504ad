//! Where archived recordings are, for those who look after them.

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use super::{Answered, QueueError};
use crate::digest::{Crc64Nvme, Fingerprint, Sha256Digest};
use crate::money::Usd;
use crate::recording::{FormatMismatch, RecordingId};

/// Rows that are looked at together.
const BATCH: i64 = 1000;

/// The object of an archived recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedObject {
    pub recording_id: RecordingId,
    pub object_key: String,
    /// Names the store: several may share one database.
    pub object_url: String,
    pub size_bytes: i64,
}

/// All that a manifest says, as the row has it.
#[derive(Debug, Clone)]
pub struct ArchivedFacts {
    pub project_id: Option<String>,
    pub fingerprint: Fingerprint,
    pub evidence: String,
    pub evidence_algorithm: Option<String>,
    pub evidence_value: Option<String>,
    pub archived_at: DateTime<Utc>,
    pub format_mismatch: Option<FormatMismatch>,
    /// The provider's object, as jsonb keeps it.
    pub metadata: Option<String>,
}

/// The keys of the newest archived objects whose URLs begin with this, a few of them.
pub async fn newest_in(pool: &PgPool, url_root: &str) -> Result<Vec<String>, QueueError> {
    sqlx::query_scalar!(
        r#"-- queue::newest_in
        SELECT object_key AS "object_key!" FROM archiver.recordings
         WHERE state = 'archived' AND starts_with(object_url, $1)
         ORDER BY archived_at DESC LIMIT 20"#,
        url_root,
    )
    .fetch_all(pool)
    .answered("look up the newest objects")
    .await
}

/// Which of these are archived, and have another cost on record than this, of which nothing later
/// is known.
pub async fn archived_with_other_cost(
    pool: &PgPool,
    costs: impl IntoIterator<Item = (RecordingId, Usd)>,
    asked_at: DateTime<Utc>,
) -> Result<Vec<PlacedObject>, QueueError> {
    let costs = costs.into_iter();
    let (ids, costs): (Vec<Uuid>, Vec<String>) = costs
        .map(|(id, cost)| (id.uuid(), cost.to_string()))
        .unzip();
    sqlx::query_as!(
        PlacedObject,
        r#"-- queue::archived_with_other_cost
        SELECT r.recording_id AS "recording_id: RecordingId", r.object_key AS "object_key!",
               r.object_url AS "object_url!", r.size_bytes AS "size_bytes!"
          FROM unnest($1::uuid[], $2::text[]) AS s(recording_id, cost)
          JOIN archiver.recordings r USING (recording_id)
         WHERE r.state = 'archived' AND r.cost_usd IS DISTINCT FROM s.cost::numeric
           AND (r.cost_observed_at IS NULL OR r.cost_observed_at <= $3)"#,
        &ids,
        &costs,
        asked_at,
    )
    .fetch_all(pool)
    .answered("look for changed costs")
    .await
}

/// The next archived recordings in the bytewise order of their keys, as stores list them.
pub async fn archived_after(
    pool: &PgPool,
    object_key: &str,
) -> Result<Vec<PlacedObject>, QueueError> {
    sqlx::query_as!(
        PlacedObject,
        r#"-- queue::archived_after
        SELECT recording_id AS "recording_id: RecordingId", object_key AS "object_key!",
               object_url AS "object_url!", size_bytes AS "size_bytes!"
          FROM archiver.recordings
         WHERE state = 'archived' AND object_key COLLATE "C" > $1
         ORDER BY object_key COLLATE "C" LIMIT $2"#,
        object_key,
        BATCH,
    )
    .fetch_all(pool)
    .answered("read what is archived")
    .await
}

/// Whether a row answers for the object under this key: one that is archived there, or one that is
/// to be archived yet, whose ID the key names.
pub async fn is_accounted_for(
    pool: &PgPool,
    object_key: &str,
    named: Option<Uuid>,
) -> Result<bool, QueueError> {
    sqlx::query_scalar!(
        r#"-- queue::is_accounted_for
        SELECT EXISTS (SELECT FROM archiver.recordings
                        WHERE state = 'archived' AND object_key COLLATE "C" = $1)
            OR EXISTS (SELECT FROM archiver.recordings
                        WHERE recording_id = $2 AND state IN ('pending', 'in_progress')) AS "accounted!""#,
        object_key,
        named,
    )
    .fetch_one(pool)
    .answered("look whose object it is")
    .await
}

/// What is on record of one archived recording; `None` if it is not archived (any more).
pub async fn archived_facts(
    pool: &PgPool,
    id: RecordingId,
) -> Result<Option<ArchivedFacts>, QueueError> {
    let row = sqlx::query!(
        r#"-- queue::archived_facts
        SELECT project_id, size_bytes AS "size_bytes!", sha256 AS "sha256!",
               crc64nvme AS "crc64nvme!", evidence AS "evidence!", evidence_algorithm,
               evidence_value, archived_at AS "archived_at!", format_mismatch,
               metadata::text AS metadata
          FROM archiver.recordings WHERE recording_id = $1 AND state = 'archived'"#,
        id.uuid(),
    )
    .fetch_optional(pool)
    .answered("look at an archived recording")
    .await?;
    Ok(row.and_then(|row| {
        Some(ArchivedFacts {
            project_id: row.project_id,
            fingerprint: Fingerprint {
                size_bytes: u64::try_from(row.size_bytes).ok()?,
                sha256: Sha256Digest::from_bytes(row.sha256.try_into().ok()?),
                crc64nvme: Crc64Nvme::from_base64(&row.crc64nvme)?,
            },
            evidence: row.evidence,
            evidence_algorithm: row.evidence_algorithm,
            evidence_value: row.evidence_value,
            archived_at: row.archived_at,
            format_mismatch: row
                .format_mismatch
                .as_deref()
                .map(FormatMismatch::from_stored),
            metadata: row.metadata,
        })
    }))
}
