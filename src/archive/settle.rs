//! From the story's end to the row: attempt, row and ledger change in one transaction.

use std::time::Duration;

use sqlx::{PgConnection, Postgres, Transaction};
use tokio::time::Instant;

use super::attempt::DATABASE_PAUSE;
use super::verdict::{History, Verdict};
use super::{ArchiveError, Archiver, Notes, Report};
use crate::crash::CrashPoint;
use crate::error::{ErrorKind, chain};
use crate::finance::ledger::{self, Observation, ObservedBy};
use crate::queue::{self, Claim, Failure, Heard, Outcome, QueueError, StatedCost, StoredObject};
use crate::recording::{Recording, RecordingStatus};

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
    ) -> Result<Report, QueueError> {
        CrashPoint::BeforeSettle.pass();
        let mut report = Report::new(claim.recording_id(), claim.attempt());
        report.bytes_fetched = bytes_fetched;
        let mut tx = self.begin_while_leased().await?;
        let lost = matches!(&result, Err(error) if error.kind() == ErrorKind::LeaseLost);
        let recording = notes.recording.as_ref().filter(|_| !lost);
        let heard = match recording {
            Some(recording) => Some(self.heard(&mut tx, recording, notes).await?),
            None => None,
        };
        match result {
            Ok((object, outcome)) => {
                let heard = heard.as_ref();
                self.queue
                    .complete(&mut tx, claim, heard, &object, outcome, bytes_fetched)
                    .await?;
                self.breaker.note_success();
                report.outcome = outcome;
                report.object = Some(object);
            }
            Err(error) => {
                if let Some(heard) = &heard {
                    self.queue.describe(&mut tx, &claim, heard).await?;
                }
                self.settle_failure(&mut tx, claim, &error, &mut report)
                    .await?;
            }
        }
        queue::commit(tx, "settle").await?;
        CrashPoint::AfterSettle.pass();
        Ok(report)
    }

    /// Opens the settling transaction. A database that is away for a moment is asked again while
    /// the lease lasts, because what is not settled is done again.
    async fn begin_while_leased(&self) -> Result<Transaction<'static, Postgres>, QueueError> {
        let give_up_at = Instant::now() + self.queue.lease() / 2;
        loop {
            match self.queue.begin().await {
                Err(QueueError::Database { .. }) if Instant::now() < give_up_at => {
                    tokio::time::sleep(DATABASE_PAUSE).await;
                }
                result => return result,
            }
        }
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

    async fn settle_failure(
        &self,
        connection: &mut PgConnection,
        claim: Claim,
        error: &ArchiveError,
        report: &mut Report,
    ) -> Result<(), QueueError> {
        let mut failure = Failure {
            kind: error.kind(),
            message: chain(error),
            mismatched_size_bytes: error.mismatched_size_bytes(),
        };
        let history = History::from(&claim);
        let is_open = self.breaker.note_failure(failure.kind);
        let verdict = if is_open || error.stops_everything() {
            Verdict::Release { halt: true }
        } else {
            let retry_after = error.retry_after();
            self.policy
                .verdict(&failure, history, retry_after, rand::random())
        };
        if verdict == Verdict::Fail {
            self.policy.last_word(&mut failure, history);
        }
        let (queue, bytes_fetched) = (&self.queue, report.bytes_fetched);
        (report.outcome, report.delay) = match verdict {
            Verdict::RetryLater { delay } => {
                queue
                    .retry_later(connection, claim, &failure, delay, bytes_fetched)
                    .await?;
                (Outcome::Retrying, Some(delay))
            }
            Verdict::Defer { delay } => {
                queue
                    .defer(connection, claim, &failure, delay, bytes_fetched)
                    .await?;
                (Outcome::Deferred, Some(delay))
            }
            Verdict::HandOn => match queue.hand_on(connection, claim, &failure).await? {
                None => (Outcome::Deferred, Some(Duration::ZERO)),
                Some(claim) => {
                    queue
                        .fail(connection, claim, &failure, bytes_fetched)
                        .await?;
                    (Outcome::Failed, None)
                }
            },
            Verdict::Fail => {
                queue
                    .fail(connection, claim, &failure, bytes_fetched)
                    .await?;
                (Outcome::Failed, None)
            }
            Verdict::Release { halt } => {
                queue
                    .release(connection, claim, &failure, halt, bytes_fetched)
                    .await?;
                report.halt = halt;
                (Outcome::Released, None)
            }
        };
        report.failure = Some(failure);
        Ok(())
    }
}
