//! What the process allows its media connections, all recordings together, and what they did.

use std::collections::HashMap;
use std::num::{NonZeroU16, NonZeroU64};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use leaky_bucket::RateLimiter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// The bandwidth limit is dealt out in slices of this length, so that the flow is smooth.
const SLICE: Duration = Duration::from_millis(10);
/// So many unused slices may be made up for.
const BURST_SLICES: usize = 5;

/// Limits of all media connections of this process.
#[derive(Debug)]
pub(super) struct Limits {
    bandwidth: watch::Sender<Option<Arc<RateLimiter>>>,
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
            bandwidth: watch::Sender::new(bytes_per_second.map(bandwidth)),
            per_host,
            hosts: Mutex::default(),
            traffic: Traffic::default(),
        }
    }

    /// Lets so many bytes pass a second from now on, also for those who wait at this moment.
    pub(super) fn limit_bandwidth(&self, bytes_per_second: Option<NonZeroU64>) {
        self.bandwidth.send_replace(bytes_per_second.map(bandwidth));
    }

    /// Waits until so many bytes may have come.
    ///
    /// # Panics
    /// Never: the limit lives as long as `self`.
    pub(super) async fn pass(&self, bytes: usize) {
        if self.bandwidth.borrow().is_none() {
            return;
        }
        let mut changes = self.bandwidth.subscribe();
        loop {
            let Some(bandwidth) = changes.borrow_and_update().clone() else {
                return;
            };
            tokio::select! {
                () = bandwidth.acquire(bytes) => return,
                another = changes.changed() => another.expect("the limit lives as long as self"),
            }
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

fn bandwidth(bytes_per_second: NonZeroU64) -> Arc<RateLimiter> {
    let slices_per_second = 1000 / u64::try_from(SLICE.as_millis()).unwrap_or(1);
    let slice = usize::try_from(bytes_per_second.get() / slices_per_second).unwrap_or(usize::MAX);
    let limiter = RateLimiter::builder()
        .interval(SLICE)
        .refill(slice.max(1))
        .max(slice.max(1).saturating_mul(BURST_SLICES))
        .initial(0)
        .build();
    Arc::new(limiter)
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
    use tokio::time::Instant;

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

    #[tokio::test(start_paused = true)]
    async fn bandwidth_is_shared_and_smooth() {
        let limits = Limits::new(NonZeroU64::new(1_000_000), ONE);
        let began = Instant::now();
        for _ in 0..100 {
            limits.pass(20_000).await;
            let allowed = began.elapsed().as_secs_f64() * 1_000_000.0;
            assert!(allowed > 0.0);
        }
        let elapsed = began.elapsed().as_secs_f64();
        assert!((1.9..2.1).contains(&elapsed), "{elapsed}");
    }

    #[tokio::test(start_paused = true)]
    async fn another_limit_holds_at_once_for_who_waits_already() {
        let limits = Limits::new(NonZeroU64::new(1024), ONE);
        let began = Instant::now();
        let mut waiting = Box::pin(limits.pass(1_000_000));
        assert!((&mut waiting).now_or_never().is_none());
        limits.limit_bandwidth(NonZeroU64::new(1_000_000));
        waiting.await;
        let elapsed = began.elapsed().as_secs_f64();
        assert!((0.9..1.1).contains(&elapsed), "{elapsed}");

        limits.limit_bandwidth(NonZeroU64::new(1024));
        let mut waiting = Box::pin(limits.pass(1_000_000));
        assert!((&mut waiting).now_or_never().is_none());
        limits.limit_bandwidth(None);
        assert!(waiting.now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_a_burst_at_once_takes_its_time_too() {
        let limits = Limits::new(NonZeroU64::new(1_000_000), ONE);
        let began = Instant::now();
        limits.pass(1_000_000).await;
        let elapsed = began.elapsed().as_secs_f64();
        assert!((0.9..1.1).contains(&elapsed), "{elapsed}");
    }
}
