//! The lock on the cluster. Its holder runs the server and has not decided to end it: the lock is
//! released before the server is told to shut down, so that nobody joins a server that is ending.

use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::process::ChildStdin;
use tokio_util::sync::CancellationToken;

use super::error::EmbeddedError;
use super::places::Places;

/// The part of this process in the cluster. Dropping it releases it.
#[derive(Debug)]
pub(super) struct Claim {
    file: File,
    path: PathBuf,
    released: CancellationToken,
    /// The lifeline of the server, if this process runs one. Locked also while `file` is locked or
    /// unlocked, so that nothing is acquired after the release.
    lifeline: Mutex<Option<ChildStdin>>,
}

impl Claim {
    pub(super) fn open(places: &Places) -> Result<Self, EmbeddedError> {
        Ok(Self {
            file: places.open_lock()?,
            path: places.lock.clone(),
            released: CancellationToken::new(),
            lifeline: Mutex::default(),
        })
    }

    /// Takes the lock if it is free; `true` also if it is already ours, `false` after the release.
    pub(super) fn try_acquire(&self) -> Result<bool, EmbeddedError> {
        let _exclusive = self.lifeline();
        if self.released.is_cancelled() {
            return Ok(false);
        }
        match self.file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(EmbeddedError::place("lock", &self.path)(error)),
        }
    }

    /// Holds a server's lifeline until the release; afterwards closes it at once.
    pub(super) fn hold(&self, lifeline: ChildStdin) {
        let mut held = self.lifeline();
        if !self.released.is_cancelled() {
            *held = Some(lifeline);
        }
    }

    /// Releases the lock, then tells the server to shut down. Returns without waiting for that.
    pub(super) fn release(&self) {
        let mut lifeline = self.lifeline();
        self.released.cancel();
        // Closing the file would not do: a child between fork and exec may still have it.
        if let Err(error) = self.file.unlock() {
            tracing::warn!(lock = %self.path.display(), %error, "unlocking failed");
        }
        *lifeline = None;
    }

    /// Waits for the release.
    pub(super) async fn released(&self) {
        self.released.cancelled().await;
    }

    fn lifeline(&self) -> MutexGuard<'_, Option<ChildStdin>> {
        self.lifeline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.release();
    }
}
