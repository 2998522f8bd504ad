//! From the story's end to the row: attempt, row and ledger change in one transaction, which is
//! repeated as a whole when the database interrupts it.

use std::time::Duration;

use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use super::verdict::{History, Verdict};
use super::{ArchiveError, Archiver, Notes, Report};
use crate::crash::CrashPoint;
use crate::error::{ErrorKind, chain};
use crate::finance::ledger::{self, Observation, ObservedBy};
use crate::queue::{self, Claim, Failure, Heard, Outcome, QueueError, StatedCost, StoredObject};
use crate::recording::{Recording, RecordingStatus};

/// How a claim ends. Decided once, however often its transaction is repeated: a verdict draws its
/// delay at random and counts for the breaker.
#[derive(Debug)]
enum Ending {
    Stored(StoredObject, Outcome),
    NotStored(Failure, Verdict),
}

impl Archiver {
    /// Settles a claim by how its story ended, and writes down what the provider said meanwhile.
    ///
    /// # Errors
    /// When nothing was written: the lease runs out then, and the recording is claimed again.
    pub(super) async fn settle(
        &self,
        claim: Claim,
        result: Result<(StoredObject, Outcome), ArchiveError>,
        notes: &Notes,
        bytes_fetched: u64,
        stop: &CancellationToken,
    ) -> Result<Report, QueueError> {
        CrashPoint::BeforeSettle.pass();
        let ending = self.ending(&claim, result);
        let mut patience = self.patience(&claim).until_stopped(stop);
        let mut in_doubt = false;
        let outcome = loop {
            let written = self
                .write(&claim, &ending, notes, bytes_fetched, &mut in_doubt)
                .await;
            let settled = match written {
                // The answer to an earlier commit was lost, not the lease.
                Err(QueueError::LeaseLost) if in_doubt => {
                    let settled = self.queue.settled_as(&claim).await;
                    settled.and_then(|outcome| outcome.ok_or(QueueError::LeaseLost))
                }
                written => written,
            };
            match settled {
                Err(error) if patience.allows(&error).await => {}
                settled => break settled?,
            }
        };
        CrashPoint::AfterSettle.pass();
        let mut report = Report::new(claim.recording_id(), claim.attempt());
        report.bytes_fetched = bytes_fetched;
        report.outcome = outcome;
        match ending {
            Ending::Stored(object, _) => {
                self.breaker.note_success();
                report.object = Some(object);
            }
            Ending::NotStored(failure, verdict) => {
                report.failure = Some(failure);
                report.halt = verdict == Verdict::Release { halt: true };
                report.delay = match verdict {
                    Verdict::RetryLater { delay } | Verdict::Defer { delay } => Some(delay),
                    Verdict::HandOn if outcome == Outcome::Deferred => Some(Duration::ZERO),
                    Verdict::HandOn | Verdict::Fail | Verdict::Release { .. } => None,
                };
            }
        }
        Ok(report)
    }

    fn ending(
        &self,
        claim: &Claim,
        result: Result<(StoredObject, Outcome), ArchiveError>,
    ) -> Ending {
        let error = match result {
            Ok((object, outcome)) => return Ending::Stored(object, outcome),
            Err(error) => error,
        };
        let mut failure = Failure {
            kind: error.kind(),
            message: chain(&error),
            mismatched_size_bytes: error.mismatched_size_bytes(),
        };
        let history = History::from(claim);
        let stops_everything = error.stops_everything();
        if stops_everything {
            self.breaker.open(failure.kind);
        }
        let is_open = self.breaker.note_failure(failure.kind);
        let verdict = if is_open || stops_everything {
            Verdict::Release { halt: true }
        } else {
            let retry_after = error.retry_after();
            self.policy
                .verdict(&failure, history, retry_after, rand::random())
        };
        if verdict == Verdict::Fail {
            self.policy.last_word(&mut failure, history);
        }
        Ending::NotStored(failure, verdict)
    }

    /// Writes everything, or nothing. `in_doubt` tells afterwards whether an error may hide a commit.
    async fn write(
        &self,
        claim: &Claim,
        ending: &Ending,
        notes: &Notes,
        bytes_fetched: u64,
        in_doubt: &mut bool,
    ) -> Result<Outcome, QueueError> {
        let mut tx = self.queue.begin().await?;
        let lost =
            matches!(ending, Ending::NotStored(failure, _) if failure.kind == ErrorKind::LeaseLost);
        let recording = notes.recording.as_ref().filter(|_| !lost);
        let heard = match recording {
            Some(recording) => Some(self.heard(&mut tx, recording, notes).await?),
            None => None,
        };
        let outcome = match ending {
            Ending::Stored(object, outcome) => {
                let (claim, heard) = (claim.again(), heard.as_ref());
                self.queue
                    .complete(&mut tx, claim, heard, object, *outcome, bytes_fetched)
                    .await?;
                *outcome
            }
            Ending::NotStored(failure, verdict) => {
                if let Some(heard) = &heard {
                    self.queue.describe(&mut tx, claim, heard).await?;
                }
                self.write_failure(&mut tx, claim.again(), failure, *verdict, bytes_fetched)
                    .await?
            }
        };
        *in_doubt = true;
        queue::commit(tx, "settle").await?;
        Ok(outcome)
    }

    /// What the provider said, its cost as the ledger has it from now on.
    async fn heard<'a>(
        &self,
        connection: &mut PgConnection,
        recording: &'a Recording,
        notes: &Notes,
    ) -> Result<Heard<'a>, QueueError> {
        let asked_at = notes.asked_at;
        let mut heard = Heard {
            recording,
            asked_at,
            cost: None,
        };
        let Some(cost) = recording.cost else {
            return Ok(heard);
        };
        let observation = Observation {
            recording_id: recording.id,
            cost,
            recording_status: recording.status.as_ref().map(RecordingStatus::as_str),
            observed_at: asked_at,
        };
        let project_id = Some(self.queue.project_id());
        let observed_by = if notes.is_from_manifest {
            ObservedBy::Rebuild
        } else {
            ObservedBy::Archive
        };
        let recorded = ledger::record_one(connection, project_id, &observation, observed_by);
        heard.cost = queue::written(recorded).await?.map(|standing| StatedCost {
            cost: standing.cost,
            observed_at: standing.observed_at,
            changed_at: standing.changed_at,
        });
        Ok(heard)
    }

    async fn write_failure(
        &self,
        connection: &mut PgConnection,
        claim: Claim,
        failure: &Failure,
        verdict: Verdict,
        bytes_fetched: u64,
    ) -> Result<Outcome, QueueError> {
        let queue = &self.queue;
        match verdict {
            Verdict::RetryLater { delay } => {
                queue
                    .retry_later(connection, claim, failure, delay, bytes_fetched)
                    .await?;
                Ok(Outcome::Retrying)
            }
            Verdict::Defer { delay } => {
                queue
                    .defer(connection, claim, failure, delay, bytes_fetched)
                    .await?;
                Ok(Outcome::Deferred)
            }
            Verdict::HandOn => match queue.hand_on(connection, claim, failure).await? {
                None => Ok(Outcome::Deferred),
                Some(claim) => {
                    queue
                        .fail(connection, claim, failure, bytes_fetched)
                        .await?;
                    Ok(Outcome::Failed)
                }
            },
            Verdict::Fail => {
                queue
                    .fail(connection, claim, failure, bytes_fetched)
                    .await?;
                Ok(Outcome::Failed)
            }
            Verdict::Release { halt } => {
                queue
                    .release(connection, claim, failure, halt, bytes_fetched)
                    .await?;
                Ok(Outcome::Released)
            }
        }
    }
}
