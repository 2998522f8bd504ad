//! What can be changed of a worker while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// What can be changed of a worker that runs; clones change the same.
#[derive(Debug, Clone)]
pub struct Controls {
    concurrency: Arc<AtomicUsize>,
    pub(super) changed: Arc<Notify>,
}

impl Controls {
    pub(super) fn new(concurrency: usize) -> Self {
        Self {
            concurrency: Arc::new(AtomicUsize::new(concurrency)),
            changed: Arc::default(),
        }
    }

    pub(super) fn concurrency(&self) -> usize {
        self.concurrency.load(Ordering::Relaxed)
    }

    /// Lets so many recordings be archived at the same time. Those that run go on if they are more.
    pub fn set_concurrency(&self, concurrency: usize) {
        self.concurrency.store(concurrency, Ordering::Relaxed);
    }

    /// Has the queue looked at now, and a halt checked for its cure.
    pub fn look_again(&self) {
        self.changed.notify_one();
    }
}
