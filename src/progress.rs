//! How far running transfers are: written by the story, read by whoever shows it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::recording::RecordingId;

/// One transfer's counters.
#[derive(Debug, Default)]
pub struct Progress {
    received_bytes: AtomicU64,
    /// 0 while unknown.
    total_bytes: AtomicU64,
}

impl Progress {
    /// Announces how many bytes are to come.
    pub fn start(&self, total_bytes: Option<u64>) {
        self.total_bytes
            .store(total_bytes.unwrap_or(0), Ordering::Relaxed);
    }

    pub fn add(&self, bytes: u64) {
        self.received_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Media bytes received in this attempt.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    /// Media bytes expected, as far as known.
    pub fn total_bytes(&self) -> Option<u64> {
        Some(self.total_bytes.load(Ordering::Relaxed)).filter(|total| *total > 0)
    }
}

/// All transfers running in this process; clones show the same.
#[derive(Debug, Clone, Default)]
pub struct Board {
    running: Arc<Mutex<BTreeMap<RecordingId, Arc<Progress>>>>,
}

/// A transfer's place on the board; leaves it when dropped.
#[derive(Debug)]
pub struct Place {
    board: Board,
    recording_id: RecordingId,
    progress: Arc<Progress>,
}

impl Board {
    pub fn enter(&self, recording_id: RecordingId) -> Place {
        let progress = Arc::new(Progress::default());
        self.lock().insert(recording_id, Arc::clone(&progress));
        Place {
            board: self.clone(),
            recording_id,
            progress,
        }
    }

    /// What is running now, by recording.
    pub fn running(&self) -> Vec<(RecordingId, Arc<Progress>)> {
        self.lock()
            .iter()
            .map(|(id, progress)| (*id, Arc::clone(progress)))
            .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<RecordingId, Arc<Progress>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub fn progress(&self) -> &Progress {
        &self.progress
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.board.lock().remove(&self.recording_id);
    }
}
