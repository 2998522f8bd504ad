//! How long a failed statement of an attempt is repeated: while the lease lasts. What is not written
//! by then is repeated by the next worker that claims the recording.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Archiver;
use crate::error::chain;
use crate::queue::{Claim, QueueError};
use crate::recording::RecordingId;

/// The wait between two tries.
const PAUSE: Duration = Duration::from_millis(500);
/// Maximum after a shutdown was requested.
const AFTER_STOP: Duration = Duration::from_secs(10);

/// Repeats what an outage of the database interrupts.
#[derive(Debug)]
pub(super) struct Patience<'a> {
    recording_id: RecordingId,
    began_at: Instant,
    give_up_at: Instant,
    stop: Option<&'a CancellationToken>,
    is_logged: bool,
}

impl Archiver {
    /// Repeats until the claim's lease may have ended. A lease that is nearly over still gets half
    /// its length: the claim's token fences what comes late.
    pub(super) fn patience(&self, claim: &Claim) -> Patience<'static> {
        let (since, _) = claim.confirmed();
        let lease = self.queue.lease();
        let now = Instant::now();
        Patience {
            recording_id: claim.recording_id(),
            began_at: now,
            give_up_at: now + lease.saturating_sub(since).max(lease / 2),
            stop: None,
            is_logged: false,
        }
    }

    /// Runs a statement that does no harm when it is run twice.
    pub(super) async fn repeated<T, F>(
        &self,
        claim: &Claim,
        statement: impl Fn() -> F,
    ) -> Result<T, QueueError>
    where
        F: Future<Output = Result<T, QueueError>>,
    {
        let mut patience = self.patience(claim);
        loop {
            match statement().await {
                Err(error) if patience.allows(&error).await => {}
                result => return result,
            }
        }
    }
}

impl<'a> Patience<'a> {
    /// Gives up soon after `stop`.
    pub(super) fn until_stopped(self, stop: &'a CancellationToken) -> Self {
        Self {
            stop: Some(stop),
            ..self
        }
    }

    /// Waits a moment and returns `true` if the statement that met `error` should be repeated. Logs
    /// the first time.
    pub(super) async fn allows(&mut self, error: &QueueError) -> bool {
        let is_stopped = self.stop.is_some_and(CancellationToken::is_cancelled);
        let give_up_at = if is_stopped {
            self.give_up_at.min(self.began_at + AFTER_STOP)
        } else {
            self.give_up_at
        };
        if !error.is_outage() || Instant::now() >= give_up_at {
            return false;
        }
        if !self.is_logged {
            let id = self.recording_id;
            tracing::warn!(
                recording.id = %id,
                "{id}: database unavailable, repeating while the lease lasts: {}", chain(error)
            );
            self.is_logged = true;
        }
        tokio::time::sleep(PAUSE).await;
        true
    }
}
