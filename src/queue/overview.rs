//! What stands in the queue: all of it at a glance, or one recording with its history.
//!
//! Each answer shows the database at one moment, by the database's clock. The keys of the JSON
//! are the names of the fields here; those of one recording are its columns, but that `attempts`
//! is the list and `attempts_burnt` the number.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;

use super::coverage::{self, Coverage};
use super::store_probes::{self, StoreProbe};
use crate::recording::RecordingId;

mod lists;
mod recording;

pub use recording::{Attempt, CostObservation, RecordingDetails, Retirement};

/// The whole queue at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Overview {
    /// The database's time of this answer.
    pub now: DateTime<Utc>,
    pub states: States,
    /// Pending and claimable now.
    pub due: i64,
    /// Since when the one that is overdue longest could have been claimed.
    pub oldest_due_at: Option<DateTime<Utc>>,
    /// Pending, but not before a later time.
    pub waiting: i64,
    /// When the first of the waiting is due.
    pub next_due_at: Option<DateTime<Utc>>,
    /// When the pending recording that waits longest was queued.
    pub oldest_pending_enqueued_at: Option<DateTime<Utc>>,
    /// What the workers hold, oldest claim first.
    pub claims: Vec<HeldRecording>,
    pub archived: Archived,
    /// Pending again after something went wrong, by reason, most frequent first.
    pub retrying: Vec<KindCount>,
    /// Those of them that were queued more than a day ago, oldest first, ten at most.
    pub stuck: Vec<StuckRecording>,
    /// Given up, by reason, most frequent first.
    pub failed: Vec<KindCount>,
    /// Archived, but found damaged or gone since, by reason.
    pub damaged: Vec<KindCount>,
    /// Archived files that are not of their declared format.
    pub format_mismatches: i64,
    /// How much of what is archived was read again.
    pub coverage: Coverage,
    /// What each bucket was last seen to do, by its URL.
    pub stores: Vec<StoreProbe>,
}

/// How many recordings are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct States {
    pub pending: i64,
    pub in_progress: i64,
    pub archived: i64,
    pub failed: i64,
}

impl States {
    pub const fn total(self) -> i64 {
        self.pending + self.in_progress + self.archived + self.failed
    }
}

/// A recording in a worker's hands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldRecording {
    pub recording_id: Uuid,
    pub leased_by: String,
    /// Unknown when its row of `attempts` is gone.
    pub claimed_at: Option<DateTime<Utc>>,
    /// In the past when the worker died: anybody may claim the recording then.
    pub lease_expires_at: DateTime<Utc>,
    /// A word of [`crate::progress::Stage`], as of `progress_at` like all that follows.
    pub stage: Option<String>,
    pub fetched_bytes: Option<i64>,
    /// What earlier attempts had left in the store.
    pub resumed_bytes: Option<i64>,
    /// Of the whole file, as far as known.
    pub size_bytes: Option<i64>,
    /// When the attempt last wrote down that it had got further.
    pub progress_at: Option<DateTime<Utc>>,
}

impl HeldRecording {
    /// Media bytes that are in by now, whoever fetched them.
    pub fn there_bytes(&self) -> i64 {
        self.fetched_bytes.unwrap_or(0) + self.resumed_bytes.unwrap_or(0)
    }

    /// The average since it was claimed; `None` while nothing has come.
    pub fn bytes_per_second(&self) -> Option<u64> {
        let millis = (self.progress_at? - self.claimed_at?).num_milliseconds();
        let bytes = i128::from(self.fetched_bytes?) * 1000;
        let rate = bytes.checked_div(millis.into())?;
        u64::try_from(rate).ok().filter(|rate| *rate > 0)
    }

    /// How many seconds the rest takes at that rate.
    pub fn secs_left(&self) -> Option<i64> {
        let left = self.size_bytes? - self.there_bytes();
        let rate = i64::try_from(self.bytes_per_second()?).ok()?;
        left.max(0).checked_div(rate)
    }
}

/// A recording that has been tried for long and is not archived yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StuckRecording {
    pub recording_id: Uuid,
    pub enqueued_at: DateTime<Utc>,
    pub attempts_burnt: i32,
    pub next_attempt_at: DateTime<Utc>,
    pub error_kind: String,
    pub error_message: Option<String>,
}

/// Recordings and bytes archived: ever, since midnight UTC, in the last 24 hours and in the last
/// hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Archived {
    pub recordings: i64,
    pub size_bytes: i64,
    pub recordings_today: i64,
    pub size_bytes_today: i64,
    pub recordings_last_24h: i64,
    pub size_bytes_last_24h: i64,
    pub recordings_last_hour: i64,
    pub size_bytes_last_hour: i64,
    /// The first one of the last hour: what came since then is a pace.
    pub first_last_hour_at: Option<DateTime<Utc>>,
}

/// How many recordings share an error kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KindCount {
    /// A word of [`crate::error::ErrorKind`], unless a newer version wrote it.
    pub error_kind: String,
    pub recordings: i64,
}

/// The queue could not be read.
#[derive(Debug, thiserror::Error)]
#[error("read the state of the queue from the database")]
pub struct OverviewError(#[from] pub sqlx::Error);

async fn snapshot(pool: &PgPool) -> sqlx::Result<Transaction<'static, Postgres>> {
    pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await
}

/// Looks at the whole queue, and at what was read again `within` some time. What was archived long
/// ago is not read: its sums are kept.
pub async fn overview(pool: &PgPool, within: Duration) -> Result<Overview, OverviewError> {
    let mut snapshot = snapshot(pool).await?;
    let overview = read(&mut snapshot, within).await?;
    snapshot.rollback().await?;
    Ok(overview)
}

/// The same as a part of a larger look: `snapshot` is a transaction that sees one moment.
pub async fn read(
    snapshot: &mut PgConnection,
    within: Duration,
) -> Result<Overview, OverviewError> {
    let counts = sqlx::query!(
        r#"-- queue::overview::overview
        SELECT now() AS "now!", queue.*, lately.*,
               (SELECT count(*) FROM archiver.recordings WHERE state = 'in_progress')
                   AS "in_progress!",
               (SELECT count(*) FROM archiver.recordings WHERE state = 'failed') AS "failed!"
          FROM (SELECT count(*) AS "pending!",
                       count(*) FILTER (WHERE next_attempt_at <= now()) AS "due!",
                       count(*) FILTER (WHERE next_attempt_at > now()) AS "waiting!",
                       min(next_attempt_at) FILTER (WHERE next_attempt_at > now()) AS next_due_at,
                       min(next_attempt_at) FILTER (WHERE next_attempt_at <= now())
                           AS oldest_due_at,
                       min(enqueued_at) AS oldest_pending_enqueued_at
                  FROM archiver.recordings WHERE state = 'pending') queue,
               (SELECT count(*) FILTER (WHERE is_today) AS "recordings_today!",
                       coalesce(sum(size_bytes) FILTER (WHERE is_today), 0)::bigint
                           AS "size_bytes_today!",
                       count(*) FILTER (WHERE is_last_24h) AS "recordings_last_24h!",
                       coalesce(sum(size_bytes) FILTER (WHERE is_last_24h), 0)::bigint
                           AS "size_bytes_last_24h!",
                       count(*) FILTER (WHERE is_last_hour) AS "recordings_last_hour!",
                       coalesce(sum(size_bytes) FILTER (WHERE is_last_hour), 0)::bigint
                           AS "size_bytes_last_hour!",
                       min(archived_at) FILTER (WHERE is_last_hour) AS first_last_hour_at
                  FROM archiver.recordings,
               LATERAL (SELECT archived_at >= date_trunc('day', now(), 'UTC') AS is_today,
                               archived_at > now() - interval '24 hours' AS is_last_24h,
                               archived_at > now() - interval '1 hour' AS is_last_hour) recent
                 WHERE state = 'archived' AND archived_at > now() - interval '25 hours') lately"#
    )
    .fetch_one(&mut *snapshot)
    .await?;
    let claims = lists::claims(&mut *snapshot).await?;
    let retrying = lists::retrying(&mut *snapshot).await?;
    let stuck = lists::stuck(&mut *snapshot).await?;
    let failed = lists::failed(&mut *snapshot).await?;
    let damaged = lists::damaged(&mut *snapshot).await?;
    let format_mismatches = lists::format_mismatches(&mut *snapshot).await?;
    let coverage = coverage::read(&mut *snapshot, within).await?;
    let stores = store_probes::read(&mut *snapshot, None).await?;
    Ok(Overview {
        now: counts.now,
        states: States {
            pending: counts.pending,
            in_progress: counts.in_progress,
            archived: coverage.recordings,
            failed: counts.failed,
        },
        due: counts.due,
        waiting: counts.waiting,
        oldest_due_at: counts.oldest_due_at,
        next_due_at: counts.next_due_at,
        oldest_pending_enqueued_at: counts.oldest_pending_enqueued_at,
        claims,
        archived: Archived {
            recordings: coverage.recordings,
            size_bytes: coverage.size_bytes,
            recordings_today: counts.recordings_today,
            size_bytes_today: counts.size_bytes_today,
            recordings_last_24h: counts.recordings_last_24h,
            size_bytes_last_24h: counts.size_bytes_last_24h,
            recordings_last_hour: counts.recordings_last_hour,
            size_bytes_last_hour: counts.size_bytes_last_hour,
            first_last_hour_at: counts.first_last_hour_at,
        },
        retrying,
        stuck,
        failed,
        damaged,
        format_mismatches,
        coverage,
        stores,
    })
}

/// Looks at one recording with its attempts and costs; `None` when the queue does not know it.
pub async fn recording(
    pool: &PgPool,
    id: RecordingId,
) -> Result<Option<RecordingDetails>, OverviewError> {
    let mut snapshot = snapshot(pool).await?;
    let found = read_recording(&mut snapshot, id).await?;
    snapshot.rollback().await?;
    Ok(found)
}

/// The same as a part of a larger look.
pub async fn read_recording(
    snapshot: &mut PgConnection,
    id: RecordingId,
) -> Result<Option<RecordingDetails>, OverviewError> {
    Ok(recording::read(snapshot, id).await?)
}
