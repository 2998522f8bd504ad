//! Recordings to be deleted at the provider: which may be, who is at it, and how it ended.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::{Stream, TryStreamExt};
use sqlx::PgPool;
use uuid::Uuid;

use super::{Answered, QueueError, interval};
use crate::database::storable;
use crate::digest::Sha256Digest;
use crate::money::Usd;
use crate::recording::RecordingId;

/// Whoever is at it for longer than this is taken for dead.
const GIVEN_UP_AFTER: Duration = Duration::from_mins(10);

/// What is on record of a recording that might be deleted at the provider.
#[derive(Debug, Clone)]
pub struct RetireRow {
    pub recording_id: RecordingId,
    pub state: String,
    pub project_id: Option<String>,
    pub declared_size_bytes: Option<u64>,
    /// The provider's.
    pub updated_at: Option<DateTime<Utc>>,
    pub object_key: Option<String>,
    pub object_url: Option<String>,
    pub size_bytes: Option<u64>,
    pub sha256: Option<Sha256Digest>,
    pub crc64nvme: Option<String>,
    pub evidence: Option<String>,
    /// Found damaged or gone in the store.
    pub is_damaged: bool,
    /// `None` also for an amount of more digits than [`Usd`] holds.
    pub cost: Option<Usd>,
    /// missing, provisional or final.
    pub cost_state: String,
    /// Whether it was archived that long ago.
    pub is_old_enough: bool,
    pub source_deleted_at: Option<DateTime<Utc>>,
    /// What the archived file is, if it is not of its declared format.
    pub format_mismatch: Option<String>,
}

/// Which rows are looked at.
#[derive(Debug, Clone)]
pub struct RetireWish {
    pub project_id: String,
    /// Archived at least this long ago, by the database's clock.
    pub older_than: Duration,
    /// Just these; `None` means all of the project that are archived, old enough and not deleted.
    pub ids: Option<Vec<RecordingId>>,
}

/// The audit's open row of one deletion. Its start is the fence: whoever takes it over sets it
/// anew.
#[derive(Debug, Clone)]
pub struct OpenRetirement {
    pub recording_id: RecordingId,
    retirement_id: i64,
    begun_at: DateTime<Utc>,
}

/// How a deletion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceGone {
    /// The provider confirmed it.
    Deleted,
    /// The provider had it no more.
    Gone,
}

impl SourceGone {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Gone => "gone",
        }
    }
}

/// Looks at the rows that are wished for: those never refused before come first, then those whose
/// last refusal is longest ago, so that a limit keeps nobody out for good.
pub fn retire_rows<'a>(
    pool: &'a PgPool,
    wish: &RetireWish,
) -> impl Stream<Item = Result<RetireRow, QueueError>> + 'a {
    let ids: Option<Vec<Uuid>> = wish
        .ids
        .as_ref()
        .map(|ids| ids.iter().map(|id| id.uuid()).collect());
    sqlx::query!(
        r#"-- queue::retire_rows
        SELECT r.recording_id, r.state, r.project_id, r.declared_size_bytes,
               r.updated_at, r.object_key, r.object_url, r.size_bytes, r.sha256, r.crc64nvme,
               r.evidence, r.cost_usd::text AS cost, f.cost_state AS "cost_state!",
               r.error_kind IS NOT NULL OR r.damage_found_at IS NOT NULL AS "is_damaged!",
               coalesce(r.archived_at <= now() - $2::interval, false) AS "is_old_enough!",
               r.source_deleted_at, r.format_mismatch
          FROM archiver.recordings r
          JOIN finance.recordings f USING (recording_id)
          LEFT JOIN (SELECT recording_id, max(ended_at) AS refused_at
                       FROM archiver.retirements WHERE outcome = 'refused'
                      GROUP BY recording_id) refusals USING (recording_id)
         WHERE r.recording_id = ANY ($3)
            OR ($3::uuid[] IS NULL AND r.state = 'archived' AND r.project_id = $1
                AND r.source_deleted_at IS NULL AND r.archived_at <= now() - $2::interval)
         ORDER BY refusals.refused_at NULLS FIRST, r.archived_at, r.recording_id"#,
        wish.project_id,
        interval(wish.older_than),
        ids as Option<Vec<Uuid>>,
    )
    .map(|row| RetireRow {
        recording_id: row.recording_id.into(),
        state: row.state,
        project_id: row.project_id,
        declared_size_bytes: row.declared_size_bytes.and_then(unsigned),
        updated_at: row.updated_at,
        object_key: row.object_key,
        object_url: row.object_url,
        size_bytes: row.size_bytes.and_then(unsigned),
        sha256: row
            .sha256
            .and_then(|bytes| bytes.try_into().ok())
            .map(Sha256Digest::from_bytes),
        crc64nvme: row.crc64nvme,
        evidence: row.evidence,
        is_damaged: row.is_damaged,
        cost: row.cost.and_then(|cost| cost.parse().ok()),
        cost_state: row.cost_state,
        is_old_enough: row.is_old_enough,
        source_deleted_at: row.source_deleted_at,
        format_mismatch: row.format_mismatch,
    })
    .fetch(pool)
    .map_err(|source| QueueError::database("look for recordings to delete at the provider", source))
}

/// Writes into the audit that this recording is about to be deleted, before anything is. Takes
/// over what a dead process left open; `None` if a living one is at it, or the row has changed.
pub async fn begin_retirement(
    pool: &PgPool,
    row: &RetireRow,
    retired_by: &str,
) -> Result<Option<OpenRetirement>, QueueError> {
    let open = sqlx::query!(
        r#"-- queue::begin_retirement
        INSERT INTO archiver.retirements AS t
               (recording_id, retired_by, object_url, size_bytes, sha256, evidence, cost_usd)
        SELECT recording_id, $2, object_url, size_bytes, sha256, evidence, cost_usd
          FROM archiver.recordings
         WHERE recording_id = $1 AND state = 'archived' AND sha256 = $3
           AND cost_usd IS NOT NULL AND source_deleted_at IS NULL
            ON CONFLICT (recording_id) WHERE outcome IS NULL DO UPDATE
               SET begun_at = now(), retired_by = excluded.retired_by,
                   object_url = excluded.object_url, size_bytes = excluded.size_bytes,
                   sha256 = excluded.sha256, evidence = excluded.evidence,
                   cost_usd = excluded.cost_usd
             WHERE t.begun_at <= now() - $4::interval
         RETURNING retirement_id, begun_at"#,
        row.recording_id.uuid(),
        retired_by,
        row.sha256.as_ref().map(|sha256| &sha256.as_bytes()[..]),
        interval(GIVEN_UP_AFTER),
    )
    .fetch_optional(pool)
    .answered("write the audit of a deletion")
    .await?;
    Ok(open.map(|open| OpenRetirement {
        recording_id: row.recording_id,
        retirement_id: open.retirement_id,
        begun_at: open.begun_at,
    }))
}

/// Writes down that the object was read again and is equal, if all that the deletion rests on is
/// still so. `false`: the row has changed, or another process has taken over.
///
/// Reading may have taken so long that others take this process for dead: from here on they do not.
pub async fn confirm_retirement(
    pool: &PgPool,
    open: &mut OpenRetirement,
) -> Result<bool, QueueError> {
    let begun_at = sqlx::query_scalar!(
        r#"-- queue::confirm_retirement
        WITH renewed AS (
            UPDATE archiver.retirements t SET begun_at = now()
              FROM archiver.recordings r
             WHERE t.retirement_id = $1 AND t.begun_at = $2 AND t.outcome IS NULL
               AND r.recording_id = t.recording_id AND r.state = 'archived'
               AND r.sha256 = t.sha256 AND r.size_bytes = t.size_bytes
               AND r.object_url = t.object_url AND r.evidence = t.evidence
               AND r.cost_usd = t.cost_usd AND r.error_kind IS NULL AND r.damage_found_at IS NULL
               AND r.source_deleted_at IS NULL
         RETURNING t.recording_id, t.begun_at, t.sha256
        )
        UPDATE archiver.recordings r SET verified_at = now(), verify_failed_at = NULL
          FROM renewed
         WHERE r.recording_id = renewed.recording_id AND r.state = 'archived'
           AND r.sha256 = renewed.sha256
     RETURNING renewed.begun_at"#,
        open.retirement_id,
        open.begun_at,
    )
    .fetch_optional(pool)
    .answered("look once more before a deletion")
    .await?;
    if let Some(begun_at) = begun_at {
        open.begun_at = begun_at;
    }
    Ok(begun_at.is_some())
}

/// Nothing was deleted, and why.
pub async fn refuse_retirement(
    pool: &PgPool,
    open: &OpenRetirement,
    reason: &str,
) -> Result<(), QueueError> {
    sqlx::query!(
        r#"-- queue::refuse_retirement
        UPDATE archiver.retirements SET outcome = 'refused', reason = $3, ended_at = now()
         WHERE retirement_id = $1 AND begun_at = $2 AND outcome IS NULL"#,
        open.retirement_id,
        open.begun_at,
        storable(reason),
    )
    .execute(pool)
    .answered("write the audit of a deletion")
    .await
    .map(drop)
}

/// The provider has it no more. True whoever settles the audit: the recording is marked in any
/// case.
pub async fn settle_retirement(
    pool: &PgPool,
    open: &OpenRetirement,
    outcome: SourceGone,
) -> Result<(), QueueError> {
    sqlx::query!(
        r#"-- queue::settle_retirement
        WITH settled AS (
            UPDATE archiver.retirements SET outcome = $4, ended_at = now()
             WHERE retirement_id = $1 AND begun_at = $2 AND outcome IS NULL)
        UPDATE archiver.recordings SET source_deleted_at = coalesce(source_deleted_at, now())
         WHERE recording_id = $3"#,
        open.retirement_id,
        open.begun_at,
        open.recording_id.uuid(),
        outcome.as_str(),
    )
    .execute(pool)
    .answered("write down a deletion")
    .await
    .map(drop)
}

fn unsigned(bytes: i64) -> Option<u64> {
    u64::try_from(bytes).ok()
}
