//! How fast it goes and how long it will take, from what the board shows: pure arithmetic.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Rates are averaged over this time.
const RATE_OVER: Duration = Duration::from_secs(5);

/// Bytes per second over the last seconds.
#[derive(Debug, Default)]
pub(super) struct Rate {
    seen: VecDeque<(Instant, u64)>,
}

/// What is still to come, as far as anybody knows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ahead {
    /// Of the running transfers.
    pub(super) running_bytes: u64,
    /// Recordings that have not begun.
    pub(super) waiting: u64,
    /// Sizes of those that have, and how many they are.
    pub(super) known_bytes: u64,
    pub(super) known: u64,
}

impl Rate {
    pub(super) fn at(&mut self, now: Instant, received_bytes: u64) -> u64 {
        self.seen.push_back((now, received_bytes));
        while self.seen.len() > 2 && now - self.seen[0].0 > RATE_OVER {
            self.seen.pop_front();
        }
        let (since, before) = self.seen[0];
        let millis = u64::try_from((now - since).as_millis()).unwrap_or(u64::MAX);
        received_bytes
            .saturating_sub(before)
            .saturating_mul(1000)
            .checked_div(millis)
            .unwrap_or(0)
    }
}

impl Ahead {
    /// How long the rest takes at this rate, those not begun taken to be as large as the others;
    /// `None` while nobody can tell.
    pub(super) fn time_left(self, bytes_per_second: u64) -> Option<Duration> {
        let each = self.known_bytes.checked_div(self.known)?;
        let bytes = self
            .running_bytes
            .saturating_add(each.saturating_mul(self.waiting));
        bytes.checked_div(bytes_per_second).map(Duration::from_secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        let after = |secs| start + Duration::from_secs(secs);
        assert_eq!(rate.at(start, 0), 0);
        assert_eq!(rate.at(after(1), 1000), 1000);
        assert_eq!(rate.at(after(2), 4000), 2000);
        for secs in 3..20 {
            rate.at(after(secs), 4000);
        }
        assert_eq!(rate.at(after(20), 4000), 0);
    }

    #[test]
    fn those_that_wait_are_taken_to_be_as_large_as_those_that_are_known() {
        let ahead = Ahead {
            running_bytes: 500,
            waiting: 2,
            known_bytes: 3000,
            known: 3,
        };
        assert_eq!(ahead.time_left(100), Some(Duration::from_secs(25)));
        assert_eq!(ahead.time_left(0), None);
        assert_eq!(Ahead::default().time_left(100), None);
    }
}
