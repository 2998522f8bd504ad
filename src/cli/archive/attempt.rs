//! One try at one recording, and what it says about another one.

use std::time::Duration;

use super::{Backfill, deferred};
use crate::archive::Report;
use crate::cli::human;
use crate::cli::lines::{Line, LineOutcome};
use crate::digest::Fingerprint;
use crate::error::{ErrorKind, chain};
use crate::queue::{self, ArchivedRow, Direct, Outcome, Wish};
use crate::recording::RecordingId;
use crate::storage::{Evidence, ObjectKey, found_in_words};

/// No recording is tried again sooner.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// Whether another try could help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    Never,
    After(Duration),
    /// When another process is done with it, and nobody knows when that is.
    AfterOthers,
}

impl Backfill {
    /// One try, and whether another one could help.
    pub(super) async fn attempt(&self, id: RecordingId) -> (Line, Again) {
        self.step(id).await.unwrap_or_else(|error| {
            let line = deferred(id, error.kind(), &chain(&error));
            (line, Again::Never)
        })
    }

    async fn step(&self, id: RecordingId) -> Result<(Line, Again), queue::QueueError> {
        let wish = if self.force {
            Wish::EvenFailed
        } else {
            Wish::Unfinished
        };
        let mut direct = self.archiver.queue.claim_direct(id, wish).await?;
        if let Direct::Failed { error_kind, .. } = &direct
            && self.archiver.policy.accept_size
            && *error_kind == Some(ErrorKind::SizeMismatch)
        {
            // The operator's word is what it failed for want of.
            let queue = &self.archiver.queue;
            direct = queue.claim_direct(id, Wish::EvenFailed).await?;
        }
        Ok(match direct {
            Direct::Archived(row) if self.force => self.archived_by_force(id, *row).await?,
            Direct::Archived(row) => (Line::already_archived(id, *row), Again::Never),
            direct => self.unarchived(id, direct).await,
        })
    }

    async fn unarchived(&self, id: RecordingId, direct: Direct) -> (Line, Again) {
        match direct {
            Direct::Claimed(claim) => {
                let place = self.board.enter(id);
                let report = self
                    .archiver
                    .attempt(claim, place.progress(), &self.stop)
                    .await;
                drop(place);
                let again = self.again(&report);
                (report.into(), again)
            }
            Direct::Failed {
                error_kind,
                error_message,
            } => (failed_before(id, error_kind, error_message), Again::Never),
            Direct::Elsewhere { leased_by } => {
                let message = leased_by.map(|holder| format!("held by {holder}"));
                let line = Line::bare(id, LineOutcome::InProgressElsewhere, None, message);
                (line, Again::AfterOthers)
            }
            Direct::OtherProject { project_id } => {
                let message =
                    format!("it belongs to project {project_id}, whose archiver has to do it");
                (
                    deferred(id, ErrorKind::NotFound, &message),
                    Again::AfterOthers,
                )
            }
            Direct::OtherProjectFirst => {
                let message =
                    "this project does not know it; another project's archiver is to be asked";
                (
                    deferred(id, ErrorKind::NotFound, message),
                    Again::AfterOthers,
                )
            }
            Direct::Archived(row) => (Line::already_archived(id, *row), Again::Never),
            Direct::Unknown => {
                let message = "its row vanished from the queue".to_owned();
                let kind = Some(ErrorKind::Internal);
                (
                    Line::bare(id, LineOutcome::Failed, kind, Some(message)),
                    Again::Never,
                )
            }
        }
    }

    /// Whether an attempt is worth repeating; notes a halt.
    fn again(&self, report: &Report) -> Again {
        if let (true, Some(failure)) = (report.halt, &report.failure) {
            // The first refusal is the one that is told.
            drop(self.halted.set((failure.kind, failure.message.clone())));
            return Again::Never;
        }
        match report.outcome {
            Outcome::Archived | Outcome::AlreadyArchived | Outcome::Failed => Again::Never,
            Outcome::Deferred | Outcome::Retrying => {
                Again::After(report.delay.unwrap_or_default().max(SHORTEST_PAUSE))
            }
            Outcome::Released => Again::After(SHORTEST_PAUSE),
        }
    }

    /// `--force` on an archived recording: read back, and archived again only if it is gone. One that
    /// was found in the bucket is compared with its source.
    async fn archived_by_force(
        &self,
        id: RecordingId,
        row: ArchivedRow,
    ) -> Result<(Line, Again), queue::QueueError> {
        let is_of_the_source = row.evidence.parse().is_ok_and(Evidence::is_of_the_source);
        let found = match ObjectKey::from_stored(row.object_key.clone()) {
            Ok(key) if !self.archiver.storage.is_at(&key, &row.object_url) => {
                let message = format!(
                    "it is archived at {}, which is not in the store that is configured",
                    row.object_url
                );
                let kind = Some(ErrorKind::ObjectConflict);
                let line = Line::bare(id, LineOutcome::Failed, kind, Some(message));
                return Ok((line, Again::Never));
            }
            Ok(_) if !is_of_the_source && row.source_deleted_at.is_none() => {
                let queue = &self.archiver.queue;
                let direct = queue.claim_direct(id, Wish::EvenArchived).await?;
                return Ok(self.unarchived(id, direct).await);
            }
            Ok(key) => self.archiver.storage.read_back(&key, row.size_bytes).await,
            Err(error) => Err(error.into()),
        };
        let problem = match found {
            Ok(Some(Fingerprint {
                size_bytes, sha256, ..
            })) if size_bytes == row.size_bytes && sha256 == row.sha256 => {
                return Ok((Line::already_archived(id, row), Again::Never));
            }
            Ok(None) if row.source_deleted_at.is_some() => Line::bare(
                id,
                LineOutcome::Failed,
                Some(ErrorKind::ObjectMissing),
                Some(lost_for_good(&row)),
            ),
            Ok(None) => {
                let direct = self
                    .archiver
                    .queue
                    .claim_direct(id, Wish::EvenArchived)
                    .await?;
                return Ok(self.unarchived(id, direct).await);
            }
            Ok(Some(found)) => Line::bare(
                id,
                LineOutcome::Failed,
                Some(ErrorKind::ObjectConflict),
                Some(format!(
                    "the archived object has changed: {}, recorded are {} and {}",
                    found_in_words(found.size_bytes, &found.sha256.to_string(), row.size_bytes),
                    row.size_bytes,
                    row.sha256
                )),
            ),
            Err(error) => deferred(id, error.kind(), &chain(&error)),
        };
        Ok((problem, Again::Never))
    }
}

/// Neither the store has it nor the provider.
fn lost_for_good(row: &ArchivedRow) -> String {
    let since = row.source_deleted_at.map(human::time).unwrap_or_default();
    format!(
        "{} is gone, and `retire` had the provider delete its source ({since}): it is not there \
         to be fetched again; bring the object back from a version or a copy of the store",
        row.object_url
    )
}

/// It failed in an earlier run.
pub(super) fn failed_before(
    id: RecordingId,
    kind: Option<ErrorKind>,
    message: Option<String>,
) -> Line {
    let message = message.map(|message| format!("{message} (failed before; --force tries again)"));
    Line::bare(id, LineOutcome::Failed, kind, message)
}
