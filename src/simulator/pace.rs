//! Answers for the pace of a connection: even, however many responses share it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::media::CHUNK_BYTES;

/// So much lateness is made up for, since timers are only roughly exact; time that nobody used
/// beyond that is lost.
const SLACK: Duration = Duration::from_millis(50);

/// How far the time of a connection is taken by what was sent on it.
#[derive(Debug, Default)]
pub(super) struct Pace {
    taken_until: Mutex<Option<Instant>>,
}

/// The most bytes to be sent at once at this rate: twenty steps a second are smooth enough.
pub(super) fn slice_bytes(bytes_per_second: u64) -> u64 {
    (bytes_per_second / 20).clamp(1, CHUNK_BYTES)
}

impl Pace {
    /// When so many bytes may begin to go out; the time they need is taken.
    pub(super) fn take(&self, now: Instant, bytes: u64, bytes_per_second: u64) -> Instant {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(bytes_per_second.max(1));
        let needed = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut taken_until = self
            .taken_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(SLACK).unwrap_or(now);
        let start = taken_until.map_or(now, |until| until.max(earliest));
        *taken_until = Some(start + needed);
        start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When ten slices may begin that are asked for at these times, all in milliseconds. One takes
    /// 10 ms.
    fn begun(asked: [u64; 10]) -> Vec<u64> {
        let (pace, began) = (Pace::default(), Instant::now() + SLACK);
        let at = |millis| began + Duration::from_millis(millis);
        let start = |millis| pace.take(at(millis), 1000, 100_000);
        let since = |instant: Instant| instant - began;
        let millis = |length: Duration| u64::try_from(length.as_millis()).unwrap();
        asked.map(|asked| millis(since(start(asked)))).into()
    }

    #[test]
    fn slices_follow_each_other_at_the_rate() {
        let asked_early = begun([0; 10]);
        assert_eq!(asked_early, [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
    }

    #[test]
    fn a_little_lateness_is_made_up_for_and_no_more() {
        let late = begun([0, 45, 45, 45, 45, 45, 500, 500, 500, 500]);
        assert_eq!(late, [0, 10, 20, 30, 40, 50, 450, 460, 470, 480]);
    }

    #[test]
    fn slices_are_small_and_never_empty() {
        for (rate, bytes) in [
            (0, 1),
            (19, 1),
            (100_000, 5000),
            (1 << 20, 52_428),
            (1 << 30, CHUNK_BYTES),
        ] {
            assert_eq!(slice_bytes(rate), bytes, "{rate}");
        }
        let (pace, now) = (Pace::default(), Instant::now());
        pace.take(now, 1, 0);
        assert_eq!(pace.take(now, 1, 0), now + Duration::from_secs(1));
    }
}
