//! Late costs: the provider does not say when a cost is final, so it is asked again until it has
//! stayed the same for `finance.final_after`.

use std::time::Duration;

use sqlx::PgPool;

use super::observe::{observe, renew_manifests};
use crate::error::{Disposition, chain};
use crate::finance::ledger::{self, ObservedBy};
use crate::queue::{self, QueueError};
use crate::signalwire::{ApiError, SignalWire};
use crate::storage::Storage;

/// What a round of asking gave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repriced {
    pub asked: u64,
    /// Not at the provider any more: their last cost stays as it is.
    pub gone: u64,
    /// Could not be asked or written down now; the next round tries again.
    pub left: u64,
}

/// Why a round could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RepriceError {
    #[error("{0}")]
    Refused(#[source] ApiError),
    #[error("read or write costs")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// Asks again for every cost of this project that is not final and was not asked for within
/// `pause`; the manifest of an archived recording follows a changed one. Stops at the first refusal that all others would meet as well.
pub async fn reprice(
    pool: &PgPool,
    signalwire: &SignalWire,
    storage: &Storage,
    pause: Duration,
) -> Result<Repriced, RepriceError> {
    let mut done = Repriced::default();
    let open = ledger::not_final(pool, signalwire.project_id(), pause).await?;
    for id in open {
        let asked_at = queue::database_time(pool).await?;
        match signalwire.recording(id).await {
            Ok(recording) => {
                let recording = std::slice::from_ref(&recording);
                if !renew_manifests(pool, storage, recording, asked_at)
                    .await?
                    .is_empty()
                {
                    done.left += 1;
                    continue;
                }
                done.asked += 1;
                let mut tx = pool.begin().await?;
                let project_id = signalwire.project_id();
                observe(
                    &mut tx,
                    project_id,
                    recording,
                    asked_at,
                    ObservedBy::Reprice,
                )
                .await?;
                ledger::note_asked(&mut tx, id).await?;
                tx.commit().await?;
            }
            Err(error) if error.is_outage() => return Err(RepriceError::Refused(error)),
            Err(ApiError::NotFound) => {
                done.gone += 1;
                queue::note_missing_at_source(pool, id).await?;
            }
            Err(error) => match error.kind().disposition() {
                Disposition::Halt | Disposition::Throttle => {
                    return Err(RepriceError::Refused(error));
                }
                Disposition::Retry
                | Disposition::Defer
                | Disposition::Fail
                | Disposition::Release => {
                    done.left += 1;
                    tracing::warn!(recording.id = %id, error.kind = error.kind().as_str(), "{}", chain(&error));
                }
            },
        }
    }
    Ok(done)
}
