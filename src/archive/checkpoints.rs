//! Writing down how far a transfer is, so that a kill at any moment costs little.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::hashing::Hashed;
use crate::checkpoint::StoredPart;
use crate::digest::Fingerprinting;
use crate::error::chain;
use crate::queue::{Claim, Queue};
use crate::storage::Upload;

/// So many checkpoints per file, whatever its size.
const CHECKPOINTS_PER_FILE: u64 = 64;
/// A database that takes longer than this is not waited for: the next checkpoint says it, too.
const WRITTEN_WITHIN: Duration = Duration::from_secs(1);

/// So long it is left alone then: every part would wait for it otherwise.
const QUIET_FOR: Duration = Duration::from_secs(10);

/// The checkpoints of one upload. One whose bytes cannot be joined with later ones has none.
#[derive(Debug)]
pub(super) struct Checkpoints {
    upload_id: Option<String>,
    /// Parts from one checkpoint to the next.
    every: u32,
    saved: u32,
    /// The state after each of the last parts that were hashed.
    states: VecDeque<Hashed>,
    due: Option<Due>,
    /// A database that did not answer is left alone until then.
    quiet_until: Option<Instant>,
}

/// What is to be written.
#[derive(Debug)]
struct Due {
    number: u32,
    parts: Vec<StoredPart>,
    state: Fingerprinting,
}

impl Checkpoints {
    /// Of an upload that has `saved` parts on record; `resumable` if its bytes can be joined with
    /// what another process fetches.
    pub(super) fn new(
        upload: &Upload,
        resumable: bool,
        size_bytes: Option<u64>,
        part_bytes: u64,
        saved: u32,
    ) -> Self {
        let parts = size_bytes.unwrap_or(0).div_ceil(part_bytes.max(1));
        let upload_id = upload.resumable().map(|upload| upload.upload_id);
        Self {
            upload_id: upload_id.filter(|_| resumable),
            every: u32::try_from(parts / CHECKPOINTS_PER_FILE)
                .unwrap_or(u32::MAX)
                .max(1),
            saved,
            states: VecDeque::new(),
            due: None,
            quiet_until: None,
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

    /// Parts may have reached the store meanwhile.
    pub(super) fn look_at(&mut self, upload: &Upload) {
        self.look_from(upload, self.every);
    }

    /// Writes what is due. What goes wrong is no reason to stop: the transfer goes on, and so does
    /// whoever comes after it, from the checkpoint before.
    pub(super) async fn save_if_due(&mut self, queue: &Queue, claim: &Claim) {
        if self.quiet_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        let (Some(upload_id), Some(due)) = (&self.upload_id, self.due.take()) else {
            return;
        };
        let saving = queue.save_checkpoint(claim, upload_id, &due.parts, &due.state);
        match tokio::time::timeout(WRITTEN_WITHIN, saving).await {
            Ok(Ok(())) => self.saved = due.number,
            Ok(Err(error)) => tracing::debug!(
                recording.id = %claim.recording_id(), "no checkpoint: {}", chain(&error)
            ),
            Err(_) => {
                tracing::debug!(
                    recording.id = %claim.recording_id(),
                    "no checkpoint: the database does not answer"
                );
                self.quiet_until = Some(Instant::now() + QUIET_FOR);
            }
        }
    }

    /// The transfer ends here, one way or another: every part that the store has is due.
    pub(super) fn note_all(&mut self, upload: &Upload) {
        self.look_from(upload, 1);
    }

    /// The latest state whose parts are all stored is due, if it is far enough from the last one.
    fn look_from(&mut self, upload: &Upload, every: u32) {
        while let Some((next, _)) = self.states.get(1)
            && *next <= upload.gapless()
        {
            self.states.pop_front();
        }
        if let Some((number, state)) = self.states.front()
            && *number <= upload.gapless()
            && *number >= self.saved.saturating_add(every)
        {
            self.due = Some(Due {
                number: *number,
                parts: upload.stored(self.saved + 1..=*number),
                state: state.clone(),
            });
        }
    }
}
