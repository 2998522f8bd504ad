//! How many bytes may pass a second, of all that share the limit.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use leaky_bucket::RateLimiter;
use tokio::sync::watch;

/// The limit is dealt out in slices of this length, so that the flow is smooth.
const SLICE: Duration = Duration::from_millis(10);
/// So many unused slices may be made up for.
const BURST_SLICES: usize = 5;

/// A limit that can be changed while others wait for their share.
#[derive(Debug)]
pub struct Bandwidth {
    limit: watch::Sender<Option<Arc<RateLimiter>>>,
}

impl Bandwidth {
    /// `None` means no limit.
    pub fn new(bytes_per_second: Option<NonZeroU64>) -> Self {
        Self {
            limit: watch::Sender::new(bytes_per_second.map(limiter)),
        }
    }

    /// Lets so many bytes pass a second from now on, also for those who wait at this moment.
    pub fn limit(&self, bytes_per_second: Option<NonZeroU64>) {
        self.limit.send_replace(bytes_per_second.map(limiter));
    }

    /// Waits until so many bytes may pass.
    ///
    /// # Panics
    /// Never: the limit lives as long as `self`.
    pub async fn pass(&self, bytes: usize) {
        if self.limit.borrow().is_none() {
            return;
        }
        let mut changes = self.limit.subscribe();
        loop {
            let Some(limit) = changes.borrow_and_update().clone() else {
                return;
            };
            tokio::select! {
                () = limit.acquire(bytes) => return,
                another = changes.changed() => another.expect("the limit lives as long as self"),
            }
        }
    }
}

fn limiter(bytes_per_second: NonZeroU64) -> Arc<RateLimiter> {
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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bandwidth_is_shared_and_smooth() {
        let bandwidth = Bandwidth::new(NonZeroU64::new(1_000_000));
        let began = Instant::now();
        for _ in 0..100 {
            bandwidth.pass(20_000).await;
            let allowed = began.elapsed().as_secs_f64() * 1_000_000.0;
            assert!(allowed > 0.0);
        }
        let elapsed = began.elapsed().as_secs_f64();
        assert!((1.9..2.1).contains(&elapsed), "{elapsed}");
    }

    #[tokio::test(start_paused = true)]
    async fn another_limit_holds_at_once_for_who_waits_already() {
        let bandwidth = Bandwidth::new(NonZeroU64::new(1024));
        let began = Instant::now();
        let mut waiting = Box::pin(bandwidth.pass(1_000_000));
        assert!((&mut waiting).now_or_never().is_none());
        bandwidth.limit(NonZeroU64::new(1_000_000));
        waiting.await;
        let elapsed = began.elapsed().as_secs_f64();
        assert!((0.9..1.1).contains(&elapsed), "{elapsed}");

        bandwidth.limit(NonZeroU64::new(1024));
        let mut waiting = Box::pin(bandwidth.pass(1_000_000));
        assert!((&mut waiting).now_or_never().is_none());
        bandwidth.limit(None);
        assert!(waiting.now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_a_burst_at_once_takes_its_time_too() {
        let bandwidth = Bandwidth::new(NonZeroU64::new(1_000_000));
        let began = Instant::now();
        bandwidth.pass(1_000_000).await;
        let elapsed = began.elapsed().as_secs_f64();
        assert!((0.9..1.1).contains(&elapsed), "{elapsed}");
    }
}
