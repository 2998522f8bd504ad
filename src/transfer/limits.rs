//! What the process allows its media connections, all recordings together, and what they did.

use std::collections::HashMap;
use std::num::{NonZeroU16, NonZeroU64};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::bandwidth::Bandwidth;

/// Limits of all media connections of this process.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) bandwidth: Bandwidth,
    per_host: NonZeroU16,
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
    pub(super) traffic: Traffic,
}

/// What the media connections of this process did since it started; clones show the same.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    open: AtomicU64,
    received_bytes: AtomicU64,
    breaks: AtomicU64,
    dead_links: AtomicU64,
}

/// Leave to use one connection to a host; given back when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    traffic: Traffic,
    _permit: OwnedSemaphorePermit,
}

impl Limits {
    pub(super) fn new(bytes_per_second: Option<NonZeroU64>, per_host: NonZeroU16) -> Self {
        Self {
            bandwidth: Bandwidth::new(bytes_per_second),
            per_host,
            hosts: Mutex::default(),
            traffic: Traffic::default(),
        }
    }

    /// Waits for a free connection to a host, first come first served.
    ///
    /// # Panics
    /// Never: the semaphores are not closed.
    pub(super) async fn slot(&self, host: &str) -> Slot {
        let slots = {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            let known = hosts.entry(host.to_owned());
            let all = usize::from(self.per_host.get());
            Arc::clone(known.or_insert_with(|| Arc::new(Semaphore::new(all))))
        };
        let permit = slots.acquire_owned().await;
        let traffic = self.traffic.clone();
        traffic.counters.open.fetch_add(1, Ordering::Relaxed);
        Slot {
            traffic,
            _permit: permit.expect("a host's semaphore is never closed"),
        }
    }
}

impl Traffic {
    /// Connections that are transferring now.
    pub fn open_connections(&self) -> u64 {
        self.counters.open.load(Ordering::Relaxed)
    }

    /// Bytes received, repeated ones included.
    pub fn received_bytes(&self) -> u64 {
        self.counters.received_bytes.load(Ordering::Relaxed)
    }

    /// Answers that broke off or did not come, and were asked for again.
    pub fn breaks(&self) -> u64 {
        self.counters.breaks.load(Ordering::Relaxed)
    }

    /// Links that died in the middle of a transfer and were renewed.
    pub fn dead_links(&self) -> u64 {
        self.counters.dead_links.load(Ordering::Relaxed)
    }

    pub(super) fn received(&self, bytes: usize) {
        let counter = &self.counters.received_bytes;
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn broke(&self) {
        self.counters.breaks.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn link_died(&self) {
        self.counters.dead_links.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.traffic.counters.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const ONE: NonZeroU16 = NonZeroU16::MIN;

    #[tokio::test]
    async fn a_host_has_no_more_connections_than_allowed() {
        let limits = Limits::new(None, ONE);
        let slot = limits.slot("a").await;
        assert!(limits.slot("a").now_or_never().is_none());
        let other = limits.slot("b").now_or_never();
        assert_eq!(limits.traffic.open_connections(), 2);
        drop((slot, other));
        assert_eq!(limits.traffic.open_connections(), 0);
        assert!(limits.slot("a").now_or_never().is_some());
    }
}
