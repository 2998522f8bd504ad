//! When to try again: pure arithmetic, no clock and no queue.

use std::time::{Duration, SystemTime};

/// The first delay after a burnt attempt, before jitter.
const FIRST_DELAY: Duration = Duration::from_secs(10);
/// No delay grows beyond this, so that a repaired source is noticed within the half hour.
const LONGEST_DELAY: Duration = Duration::from_mins(30);
/// A `Retry-After` beyond this is taken as this: a mistake there must not park a row for days.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);
/// A provider that throttles without a `Retry-After` is left alone this long.
const UNNAMED_RETRY_AFTER: Duration = Duration::from_secs(30);

/// How long to wait after the `attempt`-th burnt attempt (counted from 1): exponential from 10 s
/// to 30 min with full jitter, `jitter` being uniform in `0.0..1.0`.
///
/// Full jitter spreads recordings that failed together; a floor of a tenth keeps the wait real.
pub fn backoff(attempt: u32, jitter: f64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(16);
    let ceiling = FIRST_DELAY
        .saturating_mul(1 << doublings)
        .min(LONGEST_DELAY);
    ceiling.mul_f64(0.1 + 0.9 * jitter.clamp(0.0, 1.0))
}

/// How long to wait for a recording that is not ready, having waited `waited` already: often at
/// first (a short meeting is processed within minutes), then ever more rarely.
pub fn not_ready_delay(waited: Duration) -> Duration {
    (waited / 4).clamp(Duration::from_secs(30), Duration::from_mins(15))
}

/// How long a throttling provider wants to be left alone: `Retry-After` as it said it, within
/// reason, or a default when it named none.
pub fn throttle_delay(retry_after: Option<Duration>) -> Duration {
    retry_after.map_or(UNNAMED_RETRY_AFTER, |wanted| {
        wanted.clamp(Duration::from_secs(1), LONGEST_RETRY_AFTER)
    })
}

/// Reads a `Retry-After` header in both its forms, seconds or an HTTP date, against `now`.
pub fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_from_ten_seconds_to_half_an_hour() {
        let ceilings: Vec<u64> = (1..=10)
            .map(|attempt| backoff(attempt, 1.0).as_secs())
            .collect();
        assert_eq!(ceilings, [10, 20, 40, 80, 160, 320, 640, 1280, 1800, 1800]);
        assert_eq!(backoff(u32::MAX, 1.0), LONGEST_DELAY);
    }

    #[test]
    fn jitter_spreads_the_delay_but_never_to_nothing() {
        assert_eq!(backoff(1, 0.0), Duration::from_secs(1));
        assert!(backoff(4, 0.5) < backoff(4, 1.0));
    }

    #[test]
    fn waiting_for_a_recording_grows_with_the_wait() {
        let minutes = Duration::from_mins;
        assert_eq!(not_ready_delay(Duration::ZERO), Duration::from_secs(30));
        assert_eq!(not_ready_delay(minutes(20)), minutes(5));
        assert_eq!(not_ready_delay(minutes(600)), minutes(15));
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(
            parse_retry_after(" 120 ", now),
            Some(Duration::from_mins(2))
        );
        assert_eq!(
            parse_retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now),
            Some(Duration::from_mins(1))
        );
        assert_eq!(
            parse_retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now),
            Some(Duration::ZERO)
        );
        assert_eq!(parse_retry_after("soon", now), None);
    }

    #[test]
    fn an_absurd_retry_after_is_bounded() {
        assert_eq!(
            throttle_delay(Some(Duration::from_secs(u64::MAX))),
            LONGEST_RETRY_AFTER
        );
        assert_eq!(throttle_delay(None), UNNAMED_RETRY_AFTER);
        assert_eq!(throttle_delay(Some(Duration::ZERO)), Duration::from_secs(1));
    }
}
