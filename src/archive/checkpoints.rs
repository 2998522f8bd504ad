//! Writing down how far a transfer is, so that a kill at any moment costs little.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::hashing::Hashed;
use crate::error::chain;
use crate::queue::{Claim, Queue, QueueError};
use crate::storage::Upload;

/// So many checkpoints per file, whatever its size.
const CHECKPOINTS_PER_FILE: u64 = 64;
/// At the end a database that takes longer than this is not waited for.
const LAST_WRITTEN_WITHIN: Duration = Duration::from_secs(1);

/// The checkpoints of one upload, written while its bytes move on. One whose bytes cannot be joined
/// with later ones has none.
pub(super) struct Checkpoints<'a> {
    queue: &'a Queue,
    claim: &'a Claim,
    upload_id: Option<String>,
    /// Parts from one checkpoint to the next.
    every: u32,
    saved: u32,
    /// The state after each of the last parts that were hashed.
    states: VecDeque<Hashed>,
    writing: Option<Writing<'a>>,
}

/// A checkpoint on its way into the database.
struct Writing<'a> {
    /// Its last part.
    number: u32,
    written: Pin<Box<dyn Future<Output = Result<(), QueueError>> + Send + 'a>>,
}

impl<'a> Checkpoints<'a> {
    /// Of an upload that has `saved` parts on record; `resumable` if its bytes can be joined with
    /// what another process fetches.
    pub(super) fn new(
        (queue, claim): (&'a Queue, &'a Claim),
        upload: &Upload,
        resumable: bool,
        size_bytes: Option<u64>,
        part_bytes: u64,
        saved: u32,
    ) -> Self {
        let parts = size_bytes.unwrap_or(0).div_ceil(part_bytes.max(1));
        let upload_id = upload.resumable().map(|upload| upload.upload_id);
        Self {
            queue,
            claim,
            upload_id: upload_id.filter(|_| resumable),
            every: u32::try_from(parts / CHECKPOINTS_PER_FILE)
                .unwrap_or(u32::MAX)
                .max(1),
            saved,
            states: VecDeque::new(),
            writing: None,
        }
    }

    /// Whether another process could go on with what is on record.
    pub(super) const fn any(&self) -> bool {
        self.upload_id.is_some() && self.saved > 0
    }

    /// A part was hashed.
    pub(super) fn note(&mut self, hashed: Hashed) {
        if self.upload_id.is_some() {
            self.states.push_back(hashed);
        }
    }

    /// Begins to write the next one, if one is due and none is on its way: a slow database gets
    /// fewer of them, and holds nothing up.
    pub(super) fn write_if_due(&mut self, upload: &Upload) {
        self.write_after(self.every, upload);
    }

    /// Waits until what is on its way is written; for ever if nothing is. May be called again after
    /// it was cut off. What goes wrong is no reason to stop: the transfer goes on, and so does
    /// whoever comes after it, from the checkpoint before.
    pub(super) async fn written(&mut self) {
        let Some(writing) = &mut self.writing else {
            return std::future::pending().await;
        };
        let (number, result) = (writing.number, writing.written.as_mut().await);
        self.writing = None;
        match result {
            Ok(()) => self.saved = number,
            Err(error) => tracing::debug!(
                recording.id = %self.claim.recording_id(), "no checkpoint: {}", chain(&error)
            ),
        }
    }

    /// The transfer ends here, one way or another: writes down every part that the store has. An
    /// upload cannot be shared between threads, so it is taken for its own.
    pub(super) async fn write_last(&mut self, upload: &mut Upload) {
        let until = Instant::now() + LAST_WRITTEN_WITHIN;
        self.written_until(until).await;
        self.write_after(1, upload);
        self.written_until(until).await;
    }

    async fn written_until(&mut self, until: Instant) {
        if self.writing.is_some() && timeout_at(until, self.written()).await.is_err() {
            tracing::debug!(
                recording.id = %self.claim.recording_id(),
                "no checkpoint: the database does not answer"
            );
        }
    }

    /// Begins to write the latest state whose parts are all stored, if it is so many parts from the
    /// last one.
    fn write_after(&mut self, parts: u32, upload: &Upload) {
        while let Some((next, _)) = self.states.get(1)
            && *next <= upload.gapless()
        {
            self.states.pop_front();
        }
        let Some(upload_id) = &self.upload_id else {
            return;
        };
        if self.writing.is_none()
            && let Some((number, state)) = self.states.front()
            && *number <= upload.gapless()
            && *number >= self.saved.saturating_add(parts)
        {
            let (queue, claim, upload_id) = (self.queue, self.claim, upload_id.clone());
            let (parts, state) = (upload.stored(self.saved + 1..=*number), state.clone());
            self.writing = Some(Writing {
                number: *number,
                written: Box::pin(async move {
                    queue
                        .save_checkpoint(claim, &upload_id, &parts, &state)
                        .await
                }),
            });
        }
    }
}

impl fmt::Debug for Checkpoints<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoints")
            .field("upload_id", &self.upload_id)
            .field("saved", &self.saved)
            .finish_non_exhaustive()
    }
}
