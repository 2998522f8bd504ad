//! Taking recordings under lease, and keeping the lease.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use uuid::Uuid;

use super::{JobState, Queue, QueueError, interval};
use crate::digest::Sha256Digest;
use crate::error::ErrorKind;
use crate::recording::RecordingId;

/// The right and duty to archive one recording until the lease ends. Settling takes it by value:
/// it can be settled once.
#[must_use = "an unsettled claim blocks its recording until the lease ends"]
#[derive(Debug)]
pub struct Claim {
    recording_id: RecordingId,
    lease_token: Uuid,
    /// Number of this attempt, from 1.
    attempt: u32,
    /// How long the recording has been known not to be ready.
    not_ready_for: Duration,
    /// The real size the last attempt saw, when it differed from the declared one.
    mismatched_size_bytes: Option<u64>,
    last_error: Option<ErrorKind>,
    /// Whether a former attempt left an upload.
    has_left_uploads: bool,
    /// Just before the claim was sent: the lease ends no earlier than its length after this.
    claimed_at: Instant,
    confirmed: Mutex<Confirmed>,
}

/// The last time that the database said whose the lease is.
#[derive(Debug, Clone, Copy)]
struct Confirmed {
    /// Just before it was asked.
    asked_at: Instant,
    /// Its own time then.
    database_time: DateTime<Utc>,
}

impl Claim {
    pub const fn recording_id(&self) -> RecordingId {
        self.recording_id
    }

    pub const fn lease_token(&self) -> Uuid {
        self.lease_token
    }

    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    pub const fn not_ready_for(&self) -> Duration {
        self.not_ready_for
    }

    pub const fn mismatched_size_bytes(&self) -> Option<u64> {
        self.mismatched_size_bytes
    }

    /// A time from which the lease lasts at least its full length.
    pub const fn claimed_at(&self) -> Instant {
        self.claimed_at
    }

    /// Whether there is an upload of a former attempt's to go on with, or to abort.
    pub const fn has_left_uploads(&self) -> bool {
        self.has_left_uploads
    }

    /// How long ago, at most, the database said that the lease is this claim's, and its time now.
    pub fn confirmed(&self) -> (Duration, DateTime<Utc>) {
        let confirmed = *self.lock();
        let since = confirmed.asked_at.elapsed();
        (since, confirmed.database_time + since)
    }

    fn lock(&self) -> MutexGuard<'_, Confirmed> {
        self.confirmed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// What went wrong last time, if anything did.
    pub const fn last_error(&self) -> Option<ErrorKind> {
        self.last_error
    }
}

/// How far a direct claim may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Pending rows, due or not, and expired leases.
    Unfinished,
    /// Failed rows too.
    EvenFailed,
    /// Failed and archived rows too.
    EvenArchived,
}

/// What asking for one certain recording gave.
#[derive(Debug)]
pub enum Direct {
    Claimed(Claim),
    /// Another live lease, or a row locked at this moment.
    Elsewhere {
        leased_by: Option<String>,
    },
    Archived(Box<ArchivedRow>),
    Failed {
        error_kind: Option<ErrorKind>,
        error_message: Option<String>,
    },
    /// Known to belong to another project, whose archiver has to do it.
    OtherProject {
        project_id: String,
    },
    /// This project's API does not know it, and another project's has not been asked yet.
    OtherProjectFirst,
    Unknown,
}

/// What is on record of an archived recording.
#[derive(Debug, Clone)]
pub struct ArchivedRow {
    pub object_key: String,
    pub object_url: String,
    pub size_bytes: u64,
    pub sha256: Sha256Digest,
    pub evidence: String,
    /// Exact decimal text.
    pub cost_usd: Option<String>,
}

struct ClaimedRow {
    recording_id: Uuid,
    lease_token: Option<Uuid>,
    attempts: i32,
    not_ready_secs: Option<f64>,
    mismatched_size_bytes: Option<i64>,
    error_kind: Option<String>,
    has_left_uploads: bool,
    database_time: DateTime<Utc>,
}

impl ClaimedRow {
    fn into_claim(self, claimed_at: Instant) -> Claim {
        let row = self;
        Claim {
            recording_id: row.recording_id.into(),
            lease_token: row.lease_token.unwrap_or_default(),
            attempt: u32::try_from(row.attempts).unwrap_or(0),
            not_ready_for: Duration::try_from_secs_f64(row.not_ready_secs.unwrap_or(0.0))
                .unwrap_or_default(),
            mismatched_size_bytes: row
                .mismatched_size_bytes
                .and_then(|size| u64::try_from(size).ok()),
            last_error: row.error_kind.and_then(|kind| kind.parse().ok()),
            has_left_uploads: row.has_left_uploads,
            claimed_at,
            confirmed: Mutex::new(Confirmed {
                asked_at: claimed_at,
                database_time: row.database_time,
            }),
        }
    }
}

impl Queue {
    /// Claims up to `limit` recordings that are due: those of this project and those whose
    /// project nobody knows yet. Expired leases come first. Concurrent claimers never get the
    /// same recording.
    pub async fn claim_due(&self, limit: usize) -> Result<Vec<Claim>, QueueError> {
        let claimed_at = Instant::now();
        let rows = sqlx::query_as!(
            ClaimedRow,
            r#"-- queue::claim_due
            WITH expired AS (
                SELECT recording_id FROM archiver.recordings
                 WHERE state = 'in_progress' AND lease_expires_at <= now()
                   AND (project_id IS NULL OR project_id = $1)
                   AND ($1 <> ALL (not_found_in) OR NOT archiver.others_to_ask(not_found_in))
                 ORDER BY lease_expires_at
                 LIMIT $2
                   FOR UPDATE SKIP LOCKED
            ), due AS (
                SELECT recording_id FROM archiver.recordings
                 WHERE state = 'pending' AND next_attempt_at <= now()
                   AND (project_id IS NULL OR project_id = $1)
                   AND ($1 <> ALL (not_found_in) OR NOT archiver.others_to_ask(not_found_in))
                 ORDER BY next_attempt_at
                 LIMIT greatest($2 - (SELECT count(*) FROM expired), 0)
                   FOR UPDATE SKIP LOCKED
            ), lost AS (
                UPDATE archiver.attempts a
                   SET outcome = 'lost', finished_at = now(), error_kind = 'lease_lost',
                       error_message = 'the lease ran out; the worker died or was cut off'
                  FROM expired e
                 WHERE a.recording_id = e.recording_id AND a.outcome IS NULL
            ), claimed AS (
                UPDATE archiver.recordings r
                   SET state = 'in_progress', attempts = r.attempts + 1,
                       lease_token = gen_random_uuid(), lease_expires_at = now() + $3,
                       leased_by = $4
                  FROM (SELECT recording_id FROM expired UNION ALL SELECT recording_id FROM due) c
                 WHERE r.recording_id = c.recording_id
             RETURNING r.recording_id, r.lease_token, r.attempts, r.not_ready_since,
                       r.mismatched_size_bytes, r.error_kind
            ), begun AS (
                INSERT INTO archiver.attempts (recording_id, attempt, leased_by, lease_token)
                SELECT recording_id, attempts, $4, lease_token FROM claimed
            )
            SELECT recording_id AS "recording_id!", lease_token, attempts AS "attempts!",
                   extract(epoch FROM now() - not_ready_since)::float8 AS not_ready_secs,
                   mismatched_size_bytes, error_kind, now() AS "database_time!",
                   EXISTS (SELECT FROM archiver.uploads u
                            WHERE u.recording_id = claimed.recording_id) AS "has_left_uploads!"
              FROM claimed"#,
            self.project_id,
            i64::try_from(limit).unwrap_or(i64::MAX),
            interval(self.lease),
            self.holder,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(QueueError::database("claim what is due"))?;
        Ok(rows
            .into_iter()
            .map(|row| row.into_claim(claimed_at))
            .collect())
    }

    /// Claims one recording by name, due or not, as far as `wish` goes; otherwise says what
    /// stands in the way.
    pub async fn claim_direct(&self, id: RecordingId, wish: Wish) -> Result<Direct, QueueError> {
        let claimed_at = Instant::now();
        let row = sqlx::query_as!(
            ClaimedRow,
            r#"-- queue::claim_direct
            WITH wanted AS (
                SELECT recording_id, state FROM archiver.recordings
                 WHERE recording_id = $1
                   AND (project_id IS NULL OR project_id = $2)
                   AND ($2 <> ALL (not_found_in) OR $5 OR NOT archiver.others_to_ask(not_found_in))
                   AND (state = 'pending'
                        OR (state = 'in_progress' AND lease_expires_at <= now())
                        OR (state = 'failed' AND $5)
                        OR (state = 'archived' AND $6))
                   FOR UPDATE SKIP LOCKED
            ), lost AS (
                UPDATE archiver.attempts a
                   SET outcome = 'lost', finished_at = now(), error_kind = 'lease_lost',
                       error_message = 'the lease ran out; the worker died or was cut off'
                  FROM wanted w
                 WHERE a.recording_id = w.recording_id AND a.outcome IS NULL
            ), claimed AS (
                UPDATE archiver.recordings r
                   SET attempts = CASE WHEN w.state IN ('failed', 'archived') THEN 1
                                       ELSE r.attempts + 1 END,
                       not_ready_since = CASE WHEN w.state = 'failed' THEN NULL
                                              ELSE r.not_ready_since END,
                       mismatched_size_bytes = CASE WHEN w.state = 'failed' THEN NULL
                                                    ELSE r.mismatched_size_bytes END,
                       not_found_in = CASE WHEN w.state = 'failed' THEN '{}'
                                           ELSE r.not_found_in END,
                       state = 'in_progress', finalized_at = NULL,
                       lease_token = gen_random_uuid(), lease_expires_at = now() + $3,
                       leased_by = $4
                  FROM wanted w
                 WHERE r.recording_id = w.recording_id
             RETURNING r.recording_id, r.lease_token, r.attempts, r.not_ready_since,
                       r.mismatched_size_bytes, r.error_kind
            ), begun AS (
                INSERT INTO archiver.attempts (recording_id, attempt, leased_by, lease_token)
                SELECT recording_id, attempts, $4, lease_token FROM claimed
            )
            SELECT recording_id AS "recording_id!", lease_token, attempts AS "attempts!",
                   extract(epoch FROM now() - not_ready_since)::float8 AS not_ready_secs,
                   mismatched_size_bytes, error_kind, now() AS "database_time!",
                   EXISTS (SELECT FROM archiver.uploads u
                            WHERE u.recording_id = claimed.recording_id) AS "has_left_uploads!"
              FROM claimed"#,
            id.uuid(),
            self.project_id,
            interval(self.lease),
            self.holder,
            wish != Wish::Unfinished,
            wish == Wish::EvenArchived,
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(QueueError::database("claim one recording"))?;
        match row {
            Some(row) => Ok(Direct::Claimed(row.into_claim(claimed_at))),
            None => self.obstacle(id).await,
        }
    }

    /// Why a recording could not be claimed directly.
    async fn obstacle(&self, id: RecordingId) -> Result<Direct, QueueError> {
        let row = sqlx::query!(
            r#"-- queue::obstacle
            SELECT state, project_id, leased_by, error_kind, error_message, object_key, object_url,
                   size_bytes, sha256, evidence, cost_usd::text AS cost_usd,
                   $2 = ANY (not_found_in) AS "asked_here!"
              FROM archiver.recordings WHERE recording_id = $1"#,
            id.uuid(),
            self.project_id,
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(QueueError::database("look at one recording"))?;
        let Some(row) = row else {
            return Ok(Direct::Unknown);
        };
        let state: JobState = row.state.parse()?;
        Ok(match (state, row.project_id) {
            (JobState::Archived, _) => Direct::Archived(Box::new(ArchivedRow {
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
            })),
            (JobState::Failed, _) => Direct::Failed {
                error_kind: row.error_kind.and_then(|kind| kind.parse().ok()),
                error_message: row.error_message,
            },
            (_, Some(project_id)) if project_id != self.project_id => {
                Direct::OtherProject { project_id }
            }
            (JobState::Pending, None) if row.asked_here => Direct::OtherProjectFirst,
            (JobState::Pending | JobState::InProgress, _) => Direct::Elsewhere {
                leased_by: row.leased_by,
            },
        })
    }

    /// Makes the lease last its full length from now on, and returns the database's time.
    pub async fn renew(&self, claim: &Claim) -> Result<DateTime<Utc>, QueueError> {
        let asked_at = Instant::now();
        let database_time = sqlx::query_scalar!(
            r#"-- queue::renew
            UPDATE archiver.recordings SET lease_expires_at = now() + $3
             WHERE recording_id = $1 AND lease_token = $2 AND state = 'in_progress'
         RETURNING now() AS "now!""#,
            claim.recording_id.uuid(),
            claim.lease_token,
            interval(self.lease),
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(QueueError::database("renew the lease"))?
        .ok_or(QueueError::LeaseLost)?;
        *claim.lock() = Confirmed {
            asked_at,
            database_time,
        };
        Ok(database_time)
    }
}
