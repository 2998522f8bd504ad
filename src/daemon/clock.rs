//! The monotonic clock beside the wall clock, which steps when an operator or NTP sets it and when the
//! host was suspended.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

/// How often the two clocks are compared.
const COMPARE_EVERY: Duration = Duration::from_secs(15);
/// NTP corrects smaller differences gradually, and schedules absorb them.
const SMALLEST_STEP: TimeDelta = TimeDelta::seconds(5);
/// The longest time for which due work stays unnoticed, whatever the wall clock does.
const TICK: Duration = Duration::from_mins(1);

/// The wall clock, and where it stood at the last comparison with the monotonic clock.
#[derive(Debug)]
pub struct WallClock {
    now: fn() -> SystemTime,
    wall: DateTime<Utc>,
    monotonic: Instant,
}

impl WallClock {
    pub fn system() -> Self {
        Self::read_by(SystemTime::now)
    }

    fn read_by(now: fn() -> SystemTime) -> Self {
        Self {
            now,
            wall: now().into(),
            monotonic: Instant::now(),
        }
    }

    /// Waits until the wall clock has stepped; returns by how much, negative if it was set back.
    /// Cancel-safe: a step is reported by the next call.
    pub async fn next_step(&mut self) -> TimeDelta {
        loop {
            sleep(COMPARE_EVERY).await;
            let (wall, monotonic) = (DateTime::from((self.now)()), Instant::now());
            let passed = TimeDelta::from_std(monotonic - self.monotonic).unwrap_or(TimeDelta::MAX);
            let step = (wall - self.wall) - passed;
            (self.wall, self.monotonic) = (wall, monotonic);
            if step.abs() >= SMALLEST_STEP {
                return step;
            }
        }
    }
}

/// Notifies once a minute by the monotonic clock.
pub async fn tick(bell: &Notify) {
    loop {
        sleep(TICK).await;
        bell.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::timeout;

    use super::*;

    const START: u64 = 1_800_000_000;

    thread_local! {
        /// Each test has a thread, and so a wall clock, of its own.
        static SECONDS: Cell<u64> = const { Cell::new(START) };
    }

    fn clock() -> WallClock {
        WallClock::read_by(|| SystemTime::UNIX_EPOCH + Duration::from_secs(SECONDS.get()))
    }

    #[tokio::test(start_paused = true)]
    async fn wall_clock_set_back_reports_a_negative_step() {
        let mut clock = clock();
        SECONDS.set(START + 15 - 3600);
        assert_eq!(clock.next_step().await, TimeDelta::hours(-1));
    }

    #[tokio::test(start_paused = true)]
    async fn wall_clock_after_suspend_reports_a_positive_step_once() {
        let mut clock = clock();
        SECONDS.set(START + 15 + 7200);
        assert_eq!(clock.next_step().await, TimeDelta::hours(2));
        SECONDS.set(START + 30 + 7200);
        let again = timeout(COMPARE_EVERY + Duration::from_secs(1), clock.next_step());
        assert!(again.await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn leap_second_is_no_step() {
        let mut clock = clock();
        SECONDS.set(START + 14);
        let step = timeout(COMPARE_EVERY + Duration::from_secs(1), clock.next_step());
        assert!(step.await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn tick_notifies_within_a_minute() {
        let bell = Notify::new();
        let heard = timeout(TICK + Duration::from_secs(1), bell.notified());
        tokio::select! {
            () = tick(&bell) => unreachable!(),
            heard = heard => heard.unwrap(),
        }
    }
}
