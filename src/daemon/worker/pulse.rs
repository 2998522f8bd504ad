//! The pulse of the worker's loop, for the watchdog and `/livez`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::daemon::lifecycle::notify_alive;

/// When the worker's loop was last seen alive; clones read the same.
#[derive(Debug, Clone)]
pub struct Pulse {
    since: Instant,
    last_beat_ms: Arc<AtomicU64>,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            since: Instant::now(),
            last_beat_ms: Arc::default(),
        }
    }

    pub(super) fn beat(&self) {
        let now_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_beat_ms.store(now_ms, Ordering::Relaxed);
        notify_alive();
    }

    /// How long ago the last beat was.
    pub fn age(&self) -> Duration {
        let last_beat = Duration::from_millis(self.last_beat_ms.load(Ordering::Relaxed));
        self.since.elapsed().saturating_sub(last_beat)
    }
}
