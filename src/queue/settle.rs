//! Ending a claim. Each function takes the claim by value and is fenced by its lease token; all of
//! them run in the caller's transaction, beside the ledger.

use std::time::Duration;

use sqlx::PgConnection;

use super::claim::Claim;
use super::{Answered, Queue, QueueError, exactly_one, interval};
use crate::database::storable;
use crate::error::ErrorKind;

mod complete;

pub use complete::StoredObject;

/// What went wrong, as the row and the attempt keep it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub kind: ErrorKind,
    pub message: String,
    /// The real size, when that differed from the declared one.
    pub mismatched_size_bytes: Option<u64>,
}

/// How an attempt ended; the word in `attempts.outcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    Archived,
    /// An equal object was there; nothing was stored.
    AlreadyArchived,
    /// Not ready, or throttled: later, no attempt burnt.
    Deferred,
    /// Later, an attempt burnt.
    Retrying,
    Failed,
    /// Given back, no attempt burnt.
    Released,
}

impl Outcome {
    const ALL: [Self; 6] = [
        Self::Archived,
        Self::AlreadyArchived,
        Self::Deferred,
        Self::Retrying,
        Self::Failed,
        Self::Released,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Archived => "archived",
            Self::AlreadyArchived => "already_archived",
            Self::Deferred => "deferred",
            Self::Retrying => "retrying",
            Self::Failed => "failed",
            Self::Released => "released",
        }
    }
}

impl Queue {
    /// Due again after `delay`; the attempt counts.
    pub async fn retry_later(
        &self,
        connection: &mut PgConnection,
        claim: Claim,
        failure: &Failure,
        delay: Duration,
        bytes_fetched: u64,
    ) -> Result<(), QueueError> {
        let result = sqlx::query!(
            r#"-- queue::retry_later
            UPDATE archiver.recordings
               SET state = 'pending', next_attempt_at = now() + $3, error_kind = $4,
                   error_message = $5, mismatched_size_bytes = $6,
                   lease_token = NULL, lease_expires_at = NULL, leased_by = NULL
             WHERE recording_id = $1 AND lease_token = $2 AND state = 'in_progress'"#,
            claim.recording_id().uuid(),
            claim.lease_token(),
            interval(delay),
            failure.kind.as_str(),
            storable(&failure.message),
            failure
                .mismatched_size_bytes
                .and_then(|size| i64::try_from(size).ok()),
        )
        .execute(&mut *connection)
        .answered("put the recording off")
        .await?;
        exactly_one(&result)?;
        let failure = Some(failure);
        finish_attempt(
            connection,
            &claim,
            Outcome::Retrying,
            failure,
            bytes_fetched,
        )
        .await
    }

    /// Due again after `delay`; the attempt does not count. A recording that is not ready starts
    /// (or goes on with) its wait for `worker.not_ready_deadline`.
    pub async fn defer(
        &self,
        connection: &mut PgConnection,
        claim: Claim,
        failure: &Failure,
        delay: Duration,
        bytes_fetched: u64,
    ) -> Result<(), QueueError> {
        let waits = matches!(failure.kind, ErrorKind::NotReady | ErrorKind::NoMedia);
        let result = sqlx::query!(
            r#"-- queue::defer
            UPDATE archiver.recordings
               SET state = 'pending', next_attempt_at = now() + $3,
                   attempts = greatest(attempts - 1, 0), error_kind = $4, error_message = $5,
                   not_ready_since = CASE WHEN $6 THEN coalesce(not_ready_since, now())
                                          ELSE not_ready_since END,
                   lease_token = NULL, lease_expires_at = NULL, leased_by = NULL
             WHERE recording_id = $1 AND lease_token = $2 AND state = 'in_progress'"#,
            claim.recording_id().uuid(),
            claim.lease_token(),
            interval(delay),
            failure.kind.as_str(),
            storable(&failure.message),
            waits,
        )
        .execute(&mut *connection)
        .answered("defer the recording")
        .await?;
        exactly_one(&result)?;
        let failure = Some(failure);
        finish_attempt(
            connection,
            &claim,
            Outcome::Deferred,
            failure,
            bytes_fetched,
        )
        .await
    }

    /// Given up for good, with its reason.
    pub async fn fail(
        &self,
        connection: &mut PgConnection,
        claim: Claim,
        failure: &Failure,
        bytes_fetched: u64,
    ) -> Result<(), QueueError> {
        let result = sqlx::query!(
            r#"-- queue::fail
            UPDATE archiver.recordings
               SET state = 'failed', finalized_at = now(), error_kind = $3, error_message = $4,
                   mismatched_size_bytes = $5,
                   lease_token = NULL, lease_expires_at = NULL, leased_by = NULL
             WHERE recording_id = $1 AND lease_token = $2 AND state = 'in_progress'"#,
            claim.recording_id().uuid(),
            claim.lease_token(),
            failure.kind.as_str(),
            storable(&failure.message),
            failure
                .mismatched_size_bytes
                .and_then(|size| i64::try_from(size).ok()),
        )
        .execute(&mut *connection)
        .answered("fail the recording")
        .await?;
        exactly_one(&result)?;
        let failure = Some(failure);
        finish_attempt(connection, &claim, Outcome::Failed, failure, bytes_fetched).await
    }

    /// Archived as before, with what is wrong with its object: a repair that did not begin.
    pub async fn keep_archived(&self, claim: Claim, failure: &Failure) -> Result<(), QueueError> {
        let mut tx = self.begin().await?;
        let result = sqlx::query!(
            r#"-- queue::keep_archived
            UPDATE archiver.recordings
               SET state = 'archived', finalized_at = now(), error_kind = $3, error_message = $4,
                   lease_token = NULL, lease_expires_at = NULL, leased_by = NULL
             WHERE recording_id = $1 AND lease_token = $2 AND state = 'in_progress'"#,
            claim.recording_id().uuid(),
            claim.lease_token(),
            failure.kind.as_str(),
            storable(&failure.message),
        )
        .execute(&mut *tx)
        .answered("leave the recording archived")
        .await?;
        exactly_one(&result)?;
        finish_attempt(&mut tx, &claim, Outcome::Released, Some(failure), 0).await?;
        tx.commit().answered("leave the recording archived").await
    }

    /// Given back, as if never claimed: at once, or behind the others if it met what `halts` the
    /// claiming. The row keeps what it said before. A lease that is lost already is fine: there
    /// is nothing to give back.
    pub async fn release(
        &self,
        connection: &mut PgConnection,
        claim: Claim,
        failure: &Failure,
        halts: bool,
        bytes_fetched: u64,
    ) -> Result<(), QueueError> {
        let result = sqlx::query!(
            r#"-- queue::release
            UPDATE archiver.recordings
               SET state = 'pending',
                   next_attempt_at = CASE WHEN $3 THEN now()
                                          ELSE least(next_attempt_at, now()) END,
                   attempts = greatest(attempts - 1, 0),
                   lease_token = NULL, lease_expires_at = NULL, leased_by = NULL
             WHERE recording_id = $1 AND lease_token = $2 AND state = 'in_progress'"#,
            claim.recording_id().uuid(),
            claim.lease_token(),
            halts,
        )
        .execute(&mut *connection)
        .answered("release the recording")
        .await?;
        if result.rows_affected() == 0 {
            return Ok(());
        }
        let failure = Some(failure);
        finish_attempt(
            connection,
            &claim,
            Outcome::Released,
            failure,
            bytes_fetched,
        )
        .await
    }

    /// This project's API does not know the recording: leaves it to the other projects that share
    /// the database, as long as one of them has not been asked. `None` when the recording was
    /// handed on; the claim comes back when nobody is left to ask.
    pub async fn hand_on(
        &self,
        connection: &mut PgConnection,
        claim: Claim,
        failure: &Failure,
    ) -> Result<Option<Claim>, QueueError> {
        let result = sqlx::query!(
            r#"-- queue::hand_on
            UPDATE archiver.recordings r
               SET state = 'pending', next_attempt_at = now(),
                   attempts = greatest(attempts - 1, 0), error_kind = $4, error_message = $5,
                   not_found_in = array_append(not_found_in, $3),
                   lease_token = NULL, lease_expires_at = NULL, leased_by = NULL
             WHERE recording_id = $1 AND lease_token = $2 AND state = 'in_progress'
               AND project_id IS NULL
               AND archiver.others_to_ask(array_append(not_found_in, $3))"#,
            claim.recording_id().uuid(),
            claim.lease_token(),
            self.project_id,
            failure.kind.as_str(),
            storable(&failure.message),
        )
        .execute(&mut *connection)
        .answered("hand the recording on")
        .await?;
        if result.rows_affected() == 0 {
            return Ok(Some(claim));
        }
        finish_attempt(connection, &claim, Outcome::Deferred, Some(failure), 0).await?;
        Ok(None)
    }

    /// Returns how a claim was settled; `None` if it was not. Only the holder of a lease writes these
    /// outcomes: an attempt that another worker closes is `lost`.
    pub async fn settled_as(&self, claim: &Claim) -> Result<Option<Outcome>, QueueError> {
        let outcome: Option<String> = sqlx::query_scalar!(
            r#"-- queue::settled_as
            SELECT outcome AS "outcome!" FROM archiver.attempts
             WHERE recording_id = $1 AND lease_token = $2 AND outcome IS NOT NULL"#,
            claim.recording_id().uuid(),
            claim.lease_token(),
        )
        .fetch_optional(&self.pool)
        .answered("look up how the attempt ended")
        .await?;
        let known = |outcome: &String| Outcome::ALL.into_iter().find(|it| it.as_str() == outcome);
        Ok(outcome.as_ref().and_then(known))
    }
}

/// Closes the attempt's row.
async fn finish_attempt(
    connection: &mut PgConnection,
    claim: &Claim,
    outcome: Outcome,
    failure: Option<&Failure>,
    bytes_fetched: u64,
) -> Result<(), QueueError> {
    sqlx::query!(
        r#"-- queue::finish_attempt
        UPDATE archiver.attempts
           SET outcome = $3, finished_at = now(), error_kind = $4, error_message = $5,
               bytes_fetched = $6
         WHERE recording_id = $1 AND lease_token = $2 AND outcome IS NULL"#,
        claim.recording_id().uuid(),
        claim.lease_token(),
        outcome.as_str(),
        failure.map(|failure| failure.kind.as_str()),
        failure.map(|failure| storable(&failure.message)),
        i64::try_from(bytes_fetched).unwrap_or(i64::MAX),
    )
    .execute(connection)
    .answered("close the attempt")
    .await?;
    Ok(())
}
