//! Provider, queue and bucket held against each other: every difference by name.
//!
//! Each side may change meanwhile, so a difference is looked at once more, by itself, before it
//! is called one.

use std::num::NonZeroU16;

use sqlx::PgPool;
use uuid::Uuid;

use super::walk::{Walk, WalkError};
use crate::queue::{self, Gap, GapEntry, ListedIds, QueueError};
use crate::recording::RecordingId;
use crate::signalwire::{ApiError, Catalogue, SignalWire};
use crate::storage::{Storage, StorageError};

mod bucket;
mod difference;
mod fix;

pub use difference::{Difference, DifferenceKind};

/// What a reconciliation needs.
#[derive(Debug, Clone, Copy)]
pub struct Reconciliation<'a> {
    pub pool: &'a PgPool,
    pub signalwire: &'a SignalWire,
    pub storage: &'a Storage,
    pub page_size: NonZeroU16,
    /// Whether to mend what can be mended without a risk.
    pub fix: bool,
}

/// What was compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Recordings that the provider lists.
    pub listed: u64,
    /// Objects and manifests in the bucket.
    pub stored: u64,
    /// Archived rows of this store.
    pub archived: u64,
    pub differences: u64,
    pub fixed: u64,
    /// Could not be looked at once more, so nothing is said of them.
    pub unsure: u64,
}

/// Why the sides could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error("{0}")]
    Walk(#[from] WalkError),
    #[error("{0}")]
    Queue(#[from] QueueError),
    #[error("{0}")]
    Storage(#[from] StorageError),
    #[error("ask for one recording")]
    Api(#[source] ApiError),
    #[error("write a difference")]
    Write(#[from] std::io::Error),
}

/// Hears how a reconciliation goes.
pub trait Listener {
    /// A difference, as soon as it is found.
    ///
    /// # Errors
    /// When it cannot be passed on: the reconciliation ends with that.
    fn difference(&mut self, difference: &Difference) -> std::io::Result<()>;

    /// How much has been compared, every now and then.
    fn so_far(&mut self, _compared: &Reconciled) {}
}

impl Reconciliation<'_> {
    /// The provider's list against the queue: what is not queued, what has failed though it is
    /// there, and what is lost.
    pub async fn provider(
        &self,
        so_far: &mut Reconciled,
        told: &mut impl Listener,
    ) -> Result<(), ReconcileError> {
        let mut listed = ListedIds::begin(self.pool).await?;
        let mut pages = Walk::new(self.signalwire, Catalogue::All, self.page_size, None);
        while let Some(page) = pages.next().await? {
            let readable = page.recordings.iter().map(|it| it.id);
            let others = page.unreadable.iter().filter_map(|it| it.id);
            let ids: Vec<RecordingId> = readable.chain(others.map(RecordingId::from)).collect();
            so_far.listed += ids.len() as u64;
            listed.add(&ids).await?;
            told.so_far(so_far);
        }
        for gap in [Gap::NotQueued, Gap::Failed, Gap::NotListed] {
            let mut after = None;
            loop {
                let project_id = self.signalwire.project_id();
                let entries = listed.differing(gap, project_id, after).await?;
                let Some(last) = entries.last() else {
                    break;
                };
                after = Some(last.recording_id);
                for entry in entries {
                    if let Some(difference) = self.of_gap(gap, entry, so_far).await? {
                        self.tell(difference, so_far, told).await?;
                    }
                }
            }
        }
        listed.end().await?;
        Ok(())
    }

    async fn of_gap(
        &self,
        gap: Gap,
        entry: GapEntry,
        so_far: &mut Reconciled,
    ) -> Result<Option<Difference>, ReconcileError> {
        let id = entry.recording_id;
        let (kind, detail) = match gap {
            Gap::NotQueued => (DifferenceKind::NotQueued, String::new()),
            Gap::Failed => {
                let reason = [entry.error_kind, entry.error_message];
                let reason: Vec<String> = reason.into_iter().flatten().collect();
                (DifferenceKind::FailedButThere, reason.join(": "))
            }
            Gap::NotListed => match self.signalwire.recording(id).await {
                Err(ApiError::NotFound) => {
                    let state = entry.state.unwrap_or_default();
                    (DifferenceKind::Lost, format!("its row is {state}"))
                }
                // The list moved while it was walked.
                Ok(_) | Err(ApiError::BadMetadata { .. }) => return Ok(None),
                Err(error @ ApiError::Outage(_)) => {
                    return Err(ReconcileError::Api(error));
                }
                Err(error) => {
                    so_far.unsure += 1;
                    tracing::warn!(recording.id = %id, "{}", crate::error::chain(&error));
                    return Ok(None);
                }
            },
        };
        Ok(Some(Difference::of_recording(kind, id, detail)))
    }

    /// Mends a difference if that is wanted and safe, and passes it on.
    async fn tell(
        &self,
        mut difference: Difference,
        so_far: &mut Reconciled,
        told: &mut impl Listener,
    ) -> Result<(), ReconcileError> {
        if self.fix {
            difference.fixed = self.fix(&difference).await?;
        }
        so_far.differences += 1;
        so_far.fixed += u64::from(difference.fixed);
        told.difference(&difference)?;
        Ok(())
    }

    /// Whether somebody answers for an object that no archived row was found for.
    async fn is_accounted_for(
        &self,
        key: &str,
        named: Option<Uuid>,
    ) -> Result<bool, ReconcileError> {
        Ok(queue::is_accounted_for(self.pool, key, named).await?)
    }
}
