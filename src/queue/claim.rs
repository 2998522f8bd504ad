//! A claim: one recording under lease, and keeping the lease.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Answered, Queue, QueueError, interval};
use crate::error::ErrorKind;
use crate::recording::RecordingId;

mod cursor;
mod direct;
mod due;

pub use cursor::Cursor;
pub use direct::{ArchivedRow, Direct, Wish};
pub use due::Due;

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
    is_damaged: bool,
    /// Whether a former attempt left an upload.
    has_left_uploads: bool,
    /// Whether a former attempt died without a verdict.
    follows_a_loss: bool,
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

    /// Whether it was archived before, and its object was found damaged or gone.
    pub const fn is_damaged(&self) -> bool {
        self.is_damaged
    }

    /// Whether there is an upload of a former attempt's to go on with, or to abort.
    pub const fn has_left_uploads(&self) -> bool {
        self.has_left_uploads
    }

    /// Whether a former attempt ended without a word: it may have left an upload in the store that
    /// is not on record.
    pub const fn follows_a_loss(&self) -> bool {
        self.follows_a_loss
    }

    /// How long ago, at most, the database said that the lease is this claim's, and its time now.
    pub fn confirmed(&self) -> (Duration, DateTime<Utc>) {
        let confirmed = *self.lock();
        let since = confirmed.asked_at.elapsed();
        (since, confirmed.database_time + since)
    }

    /// The same claim, for a settlement that may have to be repeated.
    pub(crate) fn again(&self) -> Self {
        Self {
            confirmed: Mutex::new(*self.lock()),
            ..*self
        }
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

struct ClaimedRow {
    recording_id: Uuid,
    next_attempt_at: DateTime<Utc>,
    lease_token: Option<Uuid>,
    attempts: i32,
    not_ready_secs: Option<f64>,
    mismatched_size_bytes: Option<i64>,
    error_kind: Option<String>,
    is_damaged: bool,
    has_left_uploads: bool,
    follows_a_loss: bool,
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
            is_damaged: row.is_damaged,
            has_left_uploads: row.has_left_uploads,
            follows_a_loss: row.follows_a_loss,
            claimed_at,
            confirmed: Mutex::new(Confirmed {
                asked_at: claimed_at,
                database_time: row.database_time,
            }),
        }
    }
}

impl Queue {
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
        .answered("renew the lease")
        .await?
        .ok_or(QueueError::LeaseLost)?;
        *claim.lock() = Confirmed {
            asked_at,
            database_time,
        };
        Ok(database_time)
    }
}
