//! One attempt around the story: keeps the lease while it runs, has it settled, reports it.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{ArchiveError, Archiver, Notes, oddities};
use crate::crash::CrashPoint;
use crate::error::{Disposition, ErrorKind, chain};
use crate::money::Usd;
use crate::progress::{Progress, Stage, StageTimes};
use crate::queue::{Claim, Failure, Outcome, QueueError, StoredObject};
use crate::recording::RecordingId;
use crate::transfer::TransferError;

/// How far a transfer is is written down this often, and with a short lease as often as that is
/// renewed.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// How one attempt ended, as everybody hears of it: logs, JSON lines, counters, progress.
#[derive(Debug)]
pub struct Report {
    pub recording_id: RecordingId,
    pub attempt: u32,
    pub outcome: Outcome,
    pub object: Option<StoredObject>,
    pub cost: Option<Usd>,
    pub failure: Option<Failure>,
    /// When a pending row is due again.
    pub delay: Option<Duration>,
    /// Claiming more would meet the same: the credentials or the configuration are wrong.
    pub halt: bool,
    pub bytes_fetched: u64,
    pub elapsed: Duration,
    pub stages: StageTimes,
}

impl Archiver {
    /// Archives a claimed recording, keeps its lease meanwhile, and settles the claim whatever
    /// happens. `stop` ends it early: the recording is released then.
    pub async fn attempt(
        &self,
        claim: Claim,
        progress: &Arc<Progress>,
        stop: &CancellationToken,
    ) -> Report {
        CrashPoint::AfterClaim.pass();
        let started = Instant::now();
        let mut notes = Notes::default();
        let result = if claim.attempt() > self.policy.max_attempts {
            // Its workers died without a verdict: not again. An older wait, for a throttling
            // provider for instance, is no reason and would put the row off for ever.
            let last = claim.last_error();
            Err(ArchiveError::Exhausted {
                attempts: claim.attempt() - 1,
                last: last
                    .filter(|kind| kind.disposition() == Disposition::Retry)
                    .unwrap_or(ErrorKind::Internal),
            })
        } else {
            // On the heap: who waits for an attempt need not hold its whole state.
            Box::pin(self.under_lease(&claim, &mut notes, progress, stop)).await
        };
        let bytes_fetched = progress.received_bytes();
        let (recording_id, attempt) = (claim.recording_id(), claim.attempt());
        progress.enter(Stage::Settle);
        let settled = self
            .settle(claim, result, &notes, bytes_fetched, stop)
            .await;
        let mut report = settled.unwrap_or_else(|error| Report {
            // Nothing was written: the lease runs out and the recording is claimed again.
            failure: Some(Failure {
                kind: error.kind(),
                message: chain(&error),
                mismatched_size_bytes: None,
            }),
            ..Report::new(recording_id, attempt)
        });
        if let (Some(recording), Some(object)) = (&notes.recording, &report.object) {
            oddities::log(recording, object);
        }
        report.cost = notes.recording.and_then(|recording| recording.cost);
        report.bytes_fetched = bytes_fetched;
        report.elapsed = started.elapsed();
        report.stages = progress.end_stages();
        report.log();
        report
    }

    /// Runs the story while the lease is kept; stops it when the lease is lost.
    async fn under_lease(
        &self,
        claim: &Claim,
        notes: &mut Notes,
        progress: &Arc<Progress>,
        stop: &CancellationToken,
    ) -> Result<(StoredObject, Outcome), ArchiveError> {
        let stop = stop.child_token();
        let mut story = pin!(self.archive(claim, notes, progress, &stop));
        tokio::select! {
            result = &mut story => result,
            never = self.tell_progress(claim, progress) => match never {},
            lost = self.keep_lease(claim, progress) => {
                stop.cancel();
                // The story ends at its next step and cleans up on the way out.
                match story.await {
                    Ok(archived) => Ok(archived),
                    Err(_) => Err(lost),
                }
            }
        }
    }

    /// Renews the lease now, and returns the database's time. Repeated during an outage: a transfer
    /// that is done is worth the wait.
    pub(super) async fn confirm_lease(&self, claim: &Claim) -> Result<DateTime<Utc>, QueueError> {
        self.repeated(claim, || self.queue.renew(claim)).await
    }

    /// The database's time while the lease is ours for certain: it is asked again only if its last
    /// word is so old that the lease may be another's by now.
    pub(super) async fn time_under_lease(
        &self,
        claim: &Claim,
    ) -> Result<DateTime<Utc>, QueueError> {
        let (since, now) = claim.confirmed();
        if since < self.queue.lease() / 4 {
            return Ok(now);
        }
        self.confirm_lease(claim).await
    }

    /// Writes down how far it is whenever that has changed, for `status`. A database that cannot
    /// take it now takes the next one: nothing hangs on it.
    async fn tell_progress(&self, claim: &Claim, progress: &Progress) -> Infallible {
        let mut told = None;
        loop {
            tokio::time::sleep(TOLD_EVERY.min(self.queue.lease() / 3)).await;
            let how_far = progress.how_far();
            if told == Some(how_far) {
                continue;
            }
            match self.queue.note_progress(claim, &how_far).await {
                Ok(()) => told = Some(how_far),
                Err(error) => tracing::debug!(
                    recording.id = %claim.recording_id(),
                    "{}", chain(&error)
                ),
            }
        }
    }

    /// Renews the lease at a third of its length while bytes move. Returns when it is lost, or when
    /// it would end before the next renewal could be tried: a worker stops before others may start.
    async fn keep_lease(&self, claim: &Claim, progress: &Progress) -> ArchiveError {
        let lease = self.queue.lease();
        let mut renewed_at = claim.claimed_at();
        loop {
            tokio::time::sleep(lease / 3).await;
            let idle = progress.standing_still_for();
            if idle > self.media.idle_timeout() {
                // No byte is no sign of life: others may have the recording.
                if renewed_at.elapsed() > lease * 2 / 3 {
                    let received = progress.received_bytes();
                    return TransferError::Stalled { received, idle }.into();
                }
                continue;
            }
            let asked_at = Instant::now();
            let left = lease.saturating_sub(renewed_at.elapsed());
            match tokio::time::timeout(left / 2, self.queue.renew(claim)).await {
                Ok(Ok(_)) => renewed_at = asked_at,
                Ok(Err(lost @ QueueError::LeaseLost)) => return lost.into(),
                Ok(Err(error)) => tracing::debug!(
                    recording.id = %claim.recording_id(),
                    "{}", chain(&error)
                ),
                Err(_) => {}
            }
            if renewed_at.elapsed() > lease * 2 / 3 {
                return QueueError::LeaseLost.into();
            }
        }
    }
}

impl Report {
    /// A report of nothing so far: released, as if it had not been tried.
    pub(super) const fn new(recording_id: RecordingId, attempt: u32) -> Self {
        Self {
            recording_id,
            attempt,
            outcome: Outcome::Released,
            object: None,
            cost: None,
            failure: None,
            delay: None,
            halt: false,
            bytes_fetched: 0,
            elapsed: Duration::ZERO,
            stages: StageTimes::NONE,
        }
    }

    /// The one log line of an attempt: `info` when archived, `warn` when it will be tried again,
    /// `error` when it failed for good. A halt is told once by the worker, not here.
    fn log(&self) {
        let id = self.recording_id;
        // Milliseconds are enough to read.
        let seconds = (self.elapsed.as_secs_f64() * 1000.0).round() / 1000.0;
        let number = self.attempt;
        let kind = self.failure.as_ref().map(|failure| failure.kind.as_str());
        let message = self
            .failure
            .as_ref()
            .map_or("", |failure| failure.message.as_str());
        match self.outcome {
            Outcome::Archived | Outcome::AlreadyArchived => {
                let object = self.object.as_ref();
                tracing::info!(
                    recording.id = %id, attempt.number = number,
                    attempt.outcome = self.outcome.as_str(), attempt.seconds = seconds,
                    attempt.fetched_bytes = self.bytes_fetched,
                    object.url = object.map(|object| object.object_url.as_str()),
                    object.size_bytes = object.map(|object| object.fingerprint.size_bytes),
                    object.evidence = object.map(|object| object.evidence),
                    "archived {id}"
                );
            }
            Outcome::Deferred | Outcome::Retrying => tracing::warn!(
                recording.id = %id, attempt.number = number,
                attempt.outcome = self.outcome.as_str(), attempt.seconds = seconds,
                attempt.fetched_bytes = self.bytes_fetched, error.kind = kind,
                next_attempt.secs = self.delay.map(|delay| delay.as_secs()),
                "{id} later: {message}"
            ),
            Outcome::Failed => tracing::error!(
                recording.id = %id, attempt.number = number,
                attempt.outcome = self.outcome.as_str(), attempt.seconds = seconds,
                attempt.fetched_bytes = self.bytes_fetched, error.kind = kind,
                "{id} failed: {message}"
            ),
            Outcome::Released => tracing::debug!(
                recording.id = %id, attempt.number = number,
                attempt.outcome = self.outcome.as_str(), attempt.seconds = seconds,
                attempt.fetched_bytes = self.bytes_fetched, error.kind = kind,
                "released {id}: {message}"
            ),
        }
    }
}
