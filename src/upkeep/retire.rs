//! Retention at the source: recordings that are archived beyond doubt are deleted at the provider.
//!
//! A deletion cannot be undone. So all that it rests on is looked at afresh, in this order: the
//! row, the provider's word, the manifest, every byte of the object, and the row once more.
//! Whatever is uncertain keeps the recording where it is.

mod refusal;

use std::collections::{BTreeMap, HashSet};
use std::pin::pin;

use futures_util::TryStreamExt;
use sqlx::PgPool;

use crate::error::{Disposition, chain};
use crate::money::Usd;
use crate::queue::{
    OpenRetirement, QueueError, RetireRow, RetireWish, SourceGone, begin_retirement,
    confirm_retirement, refuse_retirement, retire_rows, settle_retirement,
};
use crate::recording::RecordingId;
use crate::signalwire::{ApiError, SignalWire};
use crate::storage::{Storage, StorageError};

pub use refusal::{Candidate, Refusal};

/// What it takes to delete recordings at the provider.
#[derive(Debug)]
pub struct Retirer<'a> {
    pub pool: &'a PgPool,
    pub signalwire: &'a SignalWire,
    pub storage: &'a Storage,
    /// Names this process in the audit.
    pub retired_by: String,
    /// Looks and asks, and changes nothing anywhere.
    pub dry_run: bool,
}

/// Which recordings are to be taken up.
#[derive(Debug, Default)]
pub struct Chosen {
    pub candidates: Vec<Candidate>,
    /// Asked for by name, and not to be deleted by their rows.
    pub refused: Vec<(RecordingId, Refusal)>,
    /// Old enough, but not to be deleted by their rows: how many, by reason.
    pub kept: BTreeMap<String, u64>,
    /// Beyond the limit.
    pub left: u64,
}

/// What became of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retired {
    Deleted,
    /// The provider had it no more.
    Gone,
    /// Nothing was deleted.
    Refused(Refusal),
    /// A dry run found nothing against it.
    WouldDelete,
    /// A dry run found that the provider has it no more.
    WouldBeGone,
}

/// Why the run cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RetireError {
    /// All others would meet the same.
    #[error(transparent)]
    Refused(ApiError),
    #[error(transparent)]
    Denied(StorageError),
    #[error(
        "DELETE of {0} was sent, and it is not known whether it is gone; the audit stays open, and \
         a run in 10 minutes or later finds out"
    )]
    Uncertain(RecordingId, #[source] ApiError),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// What the provider and the store have to say of a candidate.
enum Found {
    Sound,
    Gone,
    Against(Refusal),
}

impl Candidate {
    pub const fn row(&self) -> &RetireRow {
        &self.row
    }

    pub const fn recording_id(&self) -> RecordingId {
        self.row.recording_id
    }

    pub const fn size_bytes(&self) -> u64 {
        self.archived.size_bytes
    }

    pub const fn cost(&self) -> Usd {
        self.cost
    }
}

impl Retirer<'_> {
    /// Chooses, by their rows, at most `limit` recordings.
    pub async fn choose(&self, wish: &RetireWish, limit: usize) -> Result<Chosen, QueueError> {
        let mut chosen = Chosen::default();
        let mut unseen: HashSet<_> = wish.ids.iter().flatten().copied().collect();
        let mut rows = pin!(retire_rows(self.pool, wish));
        while let Some(row) = rows.try_next().await? {
            let id = row.recording_id;
            unseen.remove(&id);
            match Candidate::from_row(row, &wish.project_id, self.storage) {
                Ok(candidate) if chosen.candidates.len() < limit => {
                    chosen.candidates.push(candidate);
                }
                Ok(_) => chosen.left += 1,
                Err(refusal) if wish.ids.is_some() => chosen.refused.push((id, refusal)),
                Err(refusal) => *chosen.kept.entry(refusal.to_string()).or_default() += 1,
            }
        }
        let unknown = unseen.into_iter().map(|id| (id, Refusal::Unknown));
        chosen.refused.extend(unknown);
        Ok(chosen)
    }

    /// Deletes one recording at the provider, if nothing at all speaks against it. The audit has
    /// its row before anything is deleted.
    ///
    /// # Errors
    /// When no other recording should be tried now. Nothing was deleted then, but for
    /// [`RetireError::Uncertain`], and for a database that went away after the deletion: the audit
    /// is open then, and the next run finds the recording gone.
    pub async fn retire(&self, candidate: &Candidate) -> Result<Retired, RetireError> {
        if self.dry_run {
            return Ok(match self.examine(candidate).await? {
                Found::Sound => Retired::WouldDelete,
                Found::Gone => Retired::WouldBeGone,
                Found::Against(refusal) => Retired::Refused(refusal),
            });
        }
        let row = &candidate.row;
        let Some(mut open) = begin_retirement(self.pool, row, &self.retired_by).await? else {
            return Ok(Retired::Refused(Refusal::Overtaken));
        };
        let examined = self.examine(candidate).await;
        if let Err(error) = &examined {
            refuse_retirement(self.pool, &open, &chain(error)).await?;
        }
        match examined? {
            Found::Gone => self.gone(&open, SourceGone::Gone).await,
            Found::Against(refusal) => self.refused(&open, refusal).await,
            Found::Sound if confirm_retirement(self.pool, &mut open).await? => {
                self.delete(&open).await
            }
            Found::Sound => self.refused(&open, Refusal::Overtaken).await,
        }
    }

    /// Asks the provider, and reads manifest and object. Changes nothing.
    async fn examine(&self, candidate: &Candidate) -> Result<Found, RetireError> {
        let mut said = self.signalwire.recording(candidate.recording_id()).await;
        if let Err(ApiError::NotFound) = said {
            // A mark for good is not made on one word.
            said = self.signalwire.recording(candidate.recording_id()).await;
        }
        let said = match said {
            Ok(said) => said,
            Err(ApiError::NotFound) => return Ok(Found::Gone),
            Err(error) if stops_all(&error) => return Err(RetireError::Refused(error)),
            Err(error) => return Ok(Found::Against(Refusal::NotAsked(chain(&error)))),
        };
        if let Err(refusal) = candidate.agrees_with(&said) {
            return Ok(Found::Against(refusal));
        }
        match self.read(candidate).await {
            Ok(Ok(())) => Ok(Found::Sound),
            Ok(Err(refusal)) => Ok(Found::Against(refusal)),
            Err(error) if error.kind().disposition() == Disposition::Halt => {
                Err(RetireError::Denied(error))
            }
            Err(error) => Ok(Found::Against(Refusal::NotRead(chain(&error)))),
        }
    }

    async fn read(&self, candidate: &Candidate) -> Result<Result<(), Refusal>, StorageError> {
        let key = &candidate.key;
        let manifest = self.storage.manifest(key).await?;
        if let Err(refusal) = candidate.is_described_by(manifest.as_ref()) {
            return Ok(Err(refusal));
        }
        let archived_bytes = candidate.archived.size_bytes;
        let found = self.storage.read_back(key, archived_bytes).await?;
        Ok(candidate.is_equal_to(found.as_ref()))
    }

    async fn delete(&self, open: &OpenRetirement) -> Result<Retired, RetireError> {
        let id = open.recording_id;
        let error = match self.signalwire.delete(id).await {
            Ok(()) => return self.gone(open, SourceGone::Deleted).await,
            Err(ApiError::NotFound) => return self.gone(open, SourceGone::Gone).await,
            Err(error) => error,
        };
        match &error {
            ApiError::NotFound | ApiError::Rejected { .. } => {
                let refusal = Refusal::NotDeleted(chain(&error));
                self.refused(open, refusal).await
            }
            ApiError::Unauthorized { .. } | ApiError::Throttled { .. } | ApiError::Outage(_) => {
                refuse_retirement(self.pool, open, &chain(&error)).await?;
                Err(RetireError::Refused(error))
            }
            // Done or not: only asking tells.
            ApiError::ServerError { .. }
            | ApiError::NotTheApi { .. }
            | ApiError::Silent
            | ApiError::Unreachable(_)
            | ApiError::BadMetadata { .. } => {
                match (self.signalwire.recording(id).await, &error) {
                    (Err(ApiError::NotFound), _) => self.gone(open, SourceGone::Gone).await,
                    // A gateway that gave up waiting says nothing of what came of it.
                    (Ok(_), ApiError::ServerError { status }) if !is_of_a_gateway(*status) => {
                        let refusal = Refusal::NotDeleted(chain(&error));
                        self.refused(open, refusal).await
                    }
                    // What is still on its way may yet arrive.
                    (Ok(_) | Err(_), _) => Err(RetireError::Uncertain(id, error)),
                }
            }
        }
    }

    async fn gone(
        &self,
        open: &OpenRetirement,
        outcome: SourceGone,
    ) -> Result<Retired, RetireError> {
        settle_retirement(self.pool, open, outcome).await?;
        Ok(match outcome {
            SourceGone::Deleted => Retired::Deleted,
            SourceGone::Gone => Retired::Gone,
        })
    }

    async fn refused(
        &self,
        open: &OpenRetirement,
        refusal: Refusal,
    ) -> Result<Retired, RetireError> {
        refuse_retirement(self.pool, open, &refusal.to_string()).await?;
        Ok(Retired::Refused(refusal))
    }
}

fn is_of_a_gateway(status: reqwest::StatusCode) -> bool {
    matches!(
        status,
        reqwest::StatusCode::BAD_GATEWAY | reqwest::StatusCode::GATEWAY_TIMEOUT
    )
}

/// Whether every other request would be answered the same.
fn stops_all(error: &ApiError) -> bool {
    error.is_outage()
        || matches!(
            error.kind().disposition(),
            Disposition::Halt | Disposition::Throttle
        )
}
