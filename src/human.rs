//! How values are shown to people, on a terminal and on the page: times, durations, sizes.

use std::time::Duration;

use bytesize::ByteSize;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

/// `3:25:07`: hours, minutes, seconds.
pub fn duration(secs: i128) -> String {
    let sign = if secs < 0 { "-" } else { "" };
    let secs = secs.unsigned_abs();
    format!(
        "{sign}{}:{:02}:{:02}",
        secs / 3600,
        secs / 60 % 60,
        secs % 60
    )
}

/// `1.5 GiB`: binary units.
pub fn size(bytes: i128) -> String {
    let bytes = u64::try_from(bytes.max(0)).unwrap_or(u64::MAX);
    ByteSize(bytes).display().iec().to_string()
}

/// `1.5 GiB/s`: binary units.
pub fn rate(bytes_per_second: u64) -> String {
    format!("{}/s", size(bytes_per_second.into()))
}

/// `2026-01-31T23:59:59Z`: UTC, whole seconds.
pub fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// `2026-01-31T23:59:59Z (3 min ago)`, as seen at `now`.
pub fn time_and_age(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    format!("{} ({})", time(at), age(at, now))
}

/// `3 min ago` or `in 3 min`, as seen at `now`.
pub fn age(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let since = now - at;
    if since.abs() < TimeDelta::seconds(1) {
        "just now".to_owned()
    } else if since < TimeDelta::zero() {
        format!("in {}", span(-since))
    } else {
        format!("{} ago", span(since))
    }
}

/// A length of time in its largest fitting unit, rounded down.
pub fn span(length: TimeDelta) -> String {
    let secs = length.num_seconds();
    match secs {
        ..60 => format!("{secs} s"),
        60..3600 => format!("{} min", secs / 60),
        3600..172_800 => format!("{} h", secs / 3600),
        _ => format!("{} days", secs / 86_400),
    }
}

/// `2d 3h`, `3h 5m`, `1m 5s`, `7s`: as exact as an estimate is.
pub fn estimate(length: Duration) -> String {
    let secs = length.as_secs();
    let (days, hours, minutes) = (secs / 86_400, secs / 3600 % 24, secs / 60 % 60);
    match secs {
        ..60 => format!("{secs}s"),
        60..3600 => format!("{minutes}m {}s", secs % 60),
        3600..86_400 => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// `1 recording`, `2 recordings`.
pub fn count(number: i64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_carry_their_units() {
        assert_eq!(duration(0), "0:00:00");
        assert_eq!(duration(3_661), "1:01:01");
        assert_eq!(duration(360_000), "100:00:00");
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1_572_864), "1.5 MiB");
    }

    #[test]
    fn ages_look_back_and_ahead() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let at = |secs| age(now + TimeDelta::seconds(secs), now);
        assert_eq!(at(0), "just now");
        assert_eq!(at(-59), "59 s ago");
        assert_eq!(at(-180), "3 min ago");
        assert_eq!(at(-7_200), "2 h ago");
        assert_eq!(at(-172_800), "2 days ago");
        assert_eq!(at(240), "in 4 min");
    }

    #[test]
    fn an_estimate_has_two_units_at_most() {
        let of = |secs| estimate(Duration::from_secs(secs));
        assert_eq!(of(0), "0s");
        assert_eq!(of(59), "59s");
        assert_eq!(of(65), "1m 5s");
        assert_eq!(of(11_105), "3h 5m");
        assert_eq!(of(2 * 86_400 + 3 * 3600 + 59), "2d 3h");
    }
}
