//! How far running transfers are: written by the story, read by whoever shows it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::recording::RecordingId;

mod stage;

use stage::StageClock;
pub use stage::{Stage, StageTimes};

/// Before this an average says little.
const SLOW_AFTER: Duration = Duration::from_mins(5);
/// A transfer below this takes more than four hours for a GiB.
const SLOW_BYTES_PER_SECOND: u64 = 64 * 1024;

/// One transfer's counters.
#[derive(Debug)]
pub struct Progress {
    received_bytes: AtomicU64,
    /// Was there before this attempt.
    resumed_bytes: AtomicU64,
    /// 0 while unknown.
    total_bytes: AtomicU64,
    fetching: AtomicUsize,
    begun_at: Instant,
    /// When the last byte came, in milliseconds since `begun_at`.
    moved_at_millis: AtomicU64,
    stages: Mutex<StageClock>,
}

/// How far a transfer is at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HowFar {
    pub stage: Option<Stage>,
    pub received_bytes: u64,
    pub resumed_bytes: u64,
    pub total_bytes: Option<u64>,
}

/// Somebody is fetching; ends when dropped.
#[derive(Debug)]
pub struct Fetching(Arc<Progress>);

impl Progress {
    /// Announces how many bytes there are in all, and how many of them an earlier attempt got.
    pub fn start(&self, total_bytes: Option<u64>, resumed_bytes: u64) {
        self.total_bytes
            .store(total_bytes.unwrap_or(0), Ordering::Relaxed);
        self.resumed_bytes.store(resumed_bytes, Ordering::Relaxed);
        self.touch();
    }

    pub fn add(&self, bytes: u64) {
        self.received_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.touch();
    }

    /// Announces that bytes are being fetched until what it returns is dropped.
    pub fn fetching(self: &Arc<Self>) -> Fetching {
        if self.fetching.fetch_add(1, Ordering::Relaxed) == 0 {
            self.touch();
        }
        Fetching(Arc::clone(self))
    }

    /// For how long no byte has come although somebody is fetching; zero if nobody is.
    pub fn standing_still_for(&self) -> Duration {
        if self.fetching.load(Ordering::Relaxed) == 0 {
            return Duration::ZERO;
        }
        let moved_at = Duration::from_millis(self.moved_at_millis.load(Ordering::Relaxed));
        self.begun_at.elapsed().saturating_sub(moved_at)
    }

    /// Media bytes taken in by this attempt.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    /// Media bytes that an earlier attempt left in the store.
    pub fn resumed_bytes(&self) -> u64 {
        self.resumed_bytes.load(Ordering::Relaxed)
    }

    /// Size of the whole recording, as far as known.
    pub fn total_bytes(&self) -> Option<u64> {
        Some(self.total_bytes.load(Ordering::Relaxed)).filter(|total| *total > 0)
    }

    /// Whether media have been fetched for five minutes or longer at less than 64 KiB/s on
    /// average.
    pub fn is_slow(&self) -> bool {
        let elapsed = self.begun_at.elapsed();
        let average = self.received_bytes() / elapsed.as_secs().max(1);
        self.how_far().stage == Some(Stage::Transfer)
            && elapsed >= SLOW_AFTER
            && average < SLOW_BYTES_PER_SECOND
    }

    /// The story has come to this stage.
    pub fn enter(&self, stage: Stage) {
        self.clock().enter(stage);
    }

    /// Ends the current stage, and says how long each took.
    pub fn end_stages(&self) -> StageTimes {
        self.clock().stop()
    }

    pub fn how_far(&self) -> HowFar {
        HowFar {
            stage: self.clock().stage(),
            received_bytes: self.received_bytes(),
            resumed_bytes: self.resumed_bytes(),
            total_bytes: self.total_bytes(),
        }
    }

    fn clock(&self) -> MutexGuard<'_, StageClock> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something moved, though no byte is counted yet.
    pub fn touch(&self) {
        let millis = u64::try_from(self.begun_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved_at_millis.store(millis, Ordering::Relaxed);
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            received_bytes: AtomicU64::default(),
            resumed_bytes: AtomicU64::default(),
            total_bytes: AtomicU64::default(),
            fetching: AtomicUsize::default(),
            begun_at: Instant::now(),
            moved_at_millis: AtomicU64::default(),
            stages: Mutex::default(),
        }
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.0.fetching.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All transfers running in this process; clones show the same.
#[derive(Debug, Clone, Default)]
pub struct Board {
    running: Arc<Mutex<BTreeMap<RecordingId, Arc<Progress>>>>,
    ended: Arc<Ended>,
}

/// What the transfers that have ended did.
#[derive(Debug, Default)]
struct Ended {
    received_bytes: AtomicU64,
    /// Those of a known size, and their sizes.
    sized: AtomicU64,
    size_bytes: AtomicU64,
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

    /// How many are running now.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Number of slow transfers ([`Progress::is_slow`]).
    pub fn slow(&self) -> usize {
        self.lock().values().filter(|it| it.is_slow()).count()
    }

    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Media bytes received by all transfers so far, ended ones included.
    pub fn received_bytes(&self) -> u64 {
        let running = self.lock();
        let now: u64 = running.values().map(|it| it.received_bytes()).sum();
        now + self.ended.received_bytes.load(Ordering::Relaxed)
    }

    /// How many transfers of a known size have ended, and their sizes in all.
    pub fn ended(&self) -> (u64, u64) {
        let ended = &self.ended;
        (
            ended.sized.load(Ordering::Relaxed),
            ended.size_bytes.load(Ordering::Relaxed),
        )
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RecordingId, Arc<Progress>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut running = self.board.lock();
        // A later attempt at the same recording has a place of its own.
        if running
            .get(&self.recording_id)
            .is_some_and(|it| Arc::ptr_eq(it, &self.progress))
        {
            running.remove(&self.recording_id);
        }
        let ended = &self.board.ended;
        let received = self.progress.received_bytes();
        ended.received_bytes.fetch_add(received, Ordering::Relaxed);
        if let Some(size) = self.progress.total_bytes() {
            ended.sized.fetch_add(1, Ordering::Relaxed);
            ended.size_bytes.fetch_add(size, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn transfer_is_slow_by_its_average_after_five_minutes() {
        let board = Board::default();
        let place = board.enter(RecordingId::from(uuid::Uuid::nil()));
        let progress = place.progress();
        progress.enter(Stage::Transfer);
        tokio::time::advance(SLOW_AFTER.saturating_sub(Duration::from_millis(1))).await;
        assert_eq!(board.slow(), 0);
        tokio::time::advance(Duration::from_millis(1)).await;
        progress.add(SLOW_BYTES_PER_SECOND * 300 - 1);
        assert_eq!(board.slow(), 1);
        progress.add(1);
        assert_eq!(board.slow(), 0);
        tokio::time::advance(SLOW_AFTER).await;
        assert_eq!(board.slow(), 1);
        progress.enter(Stage::Publish);
        assert_eq!(board.slow(), 0);
    }
}
