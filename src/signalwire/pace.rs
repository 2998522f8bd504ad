//! How often the API is asked: one request after the other, evenly.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// Turns to ask, so many a second, first come first served.
#[derive(Debug)]
pub(super) struct Pace {
    per_second: AtomicU32,
    beat: Mutex<Beat>,
}

#[derive(Debug)]
struct Beat {
    per_second: u32,
    interval: Interval,
}

impl Pace {
    pub(super) fn new(per_second: NonZeroU32) -> Self {
        let per_second = per_second.get();
        Self {
            per_second: AtomicU32::new(per_second),
            beat: Mutex::new(Beat::starting_at(Instant::now(), per_second)),
        }
    }

    /// Gives so many turns a second from now on. Whoever is next has its turn by the former pace,
    /// a second from now at the latest.
    pub(super) fn set(&self, per_second: NonZeroU32) {
        self.per_second.store(per_second.get(), Ordering::Relaxed);
    }

    /// Waits for one's turn.
    pub(super) async fn turn(&self) {
        let mut beat = self.beat.lock().await;
        let per_second = self.per_second.load(Ordering::Relaxed);
        if beat.per_second != per_second {
            // The last turn may have been just now.
            *beat = Beat::starting_at(Instant::now() + pause(per_second), per_second);
        }
        beat.interval.tick().await;
    }
}

impl Beat {
    fn starting_at(start: Instant, per_second: u32) -> Self {
        let mut interval = interval_at(start, pause(per_second));
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            per_second,
            interval,
        }
    }
}

/// Between two turns.
fn pause(per_second: u32) -> Duration {
    (Duration::from_secs(1) / per_second.max(1)).max(Duration::from_nanos(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn another_pace_holds_for_those_who_wait_already() {
        let pace = Pace::new(NonZeroU32::MIN);
        let began = Instant::now();
        let waiting = async {
            for _ in 0..100 {
                pace.turn().await;
            }
        };
        let quicker = async {
            tokio::time::sleep(Duration::from_millis(2500)).await;
            pace.set(NonZeroU32::new(100).unwrap());
        };
        tokio::join!(waiting, quicker);
        // Three turns by the first pace, one more at 3 s, and 96 within a second.
        let elapsed = began.elapsed().as_secs_f64();
        assert!((3.9..4.1).contains(&elapsed), "{elapsed}");
    }
}
