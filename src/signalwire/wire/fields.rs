//! Reads the fields of the provider's object that decide nothing by themselves: one that cannot be
//! read is left out, and its name noted.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use uuid::Uuid;

use super::short;
use crate::money::Usd;
use crate::recording::{MAX_DURATION_SECS, Metadata, RecordingId, string_of};

/// Reads fields by name and remembers those that it could not read.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    object: &'a Metadata,
    unread: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    pub(super) const fn of(object: &'a Metadata) -> Self {
        Self {
            object,
            unread: Vec::new(),
        }
    }

    /// Names of the fields that were sent but could not be read.
    pub(super) fn into_unread(self) -> Vec<&'static str> {
        self.unread
    }

    /// Returns the field's value; `None` if it is absent, null, empty or unreadable.
    fn read<T>(&mut self, name: &'static str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let token = super::token(self.object, name)?;
        let value = read(token);
        if value.is_none() {
            self.unread.push(name);
        }
        value
    }

    pub(super) fn word(&mut self, name: &'static str) -> Option<String> {
        self.read(name, |token| Some(short(&string_of(token)?)))
    }

    pub(super) fn uuid(&mut self, name: &'static str) -> Option<Uuid> {
        self.read(name, |token| Uuid::try_parse(string_of(token)?.trim()).ok())
    }

    pub(super) fn time(&mut self, name: &'static str) -> Option<DateTime<Utc>> {
        self.read(name, time)
    }

    /// 64 bits: the specification says 32, which ends at 2 GiB.
    pub(super) fn size_bytes(&mut self, name: &'static str) -> Option<u64> {
        self.read(name, |token| {
            let size = number(token).filter(Decimal::is_integer)?.to_i64()?;
            u64::try_from(size).ok()
        })
    }

    /// Whole seconds.
    pub(super) fn duration_secs(&mut self, name: &'static str) -> Option<i64> {
        self.read(name, |token| {
            let seconds = number(token)?.round().to_i64()?;
            (0..=MAX_DURATION_SECS)
                .contains(&seconds)
                .then_some(seconds)
        })
    }

    /// The cost by its exact token. One that cannot be held exactly stays unknown, which is logged
    /// whenever it is seen: it is money.
    pub(super) fn cost(&self, id: RecordingId, name: &str) -> Option<Usd> {
        Usd::from_json_token(super::token(self.object, name)?)
            .inspect_err(|error| tracing::warn!(recording.id = %id, "cost left unknown: {error}"))
            .ok()
            .flatten()
    }
}

/// A number, or a string that holds one.
fn number(token: &str) -> Option<Decimal> {
    Usd::from_json_token(token).ok().flatten().map(Usd::decimal)
}

/// A time in any common notation: ISO 8601 with variations, RFC 2822, or a Unix time.
fn time(token: &str) -> Option<DateTime<Utc>> {
    let text = string_of(token);
    let text = text.as_deref().unwrap_or(token).trim();
    DateTime::parse_from_rfc3339(text)
        .map(|at| at.with_timezone(&Utc))
        .ok()
        .or_else(|| without_zone(text))
        .or_else(|| with_offset(text))
        .or_else(|| unix_time(text))
        // A recording's date: others are placeholders such as 0001-01-01, or mistakes.
        .filter(|at| (1970..=2999).contains(&at.year()))
}

/// The provider's times are UTC, so one without a zone is too.
fn without_zone(text: &str) -> Option<DateTime<Utc>> {
    let local = ["UTC", "GMT", "Z", "z"]
        .iter()
        .find_map(|zone| text.strip_suffix(zone))
        .map_or(text, str::trim_end);
    [
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M",
        "%Y-%m-%d %H:%M",
        "%Y%m%dT%H%M%S",
        "%Y/%m/%d %H:%M:%S",
    ]
    .iter()
    .find_map(|format| NaiveDateTime::parse_from_str(local, format).ok())
    .or_else(|| {
        let date = NaiveDate::parse_from_str(local, "%Y-%m-%d").ok()?;
        Some(date.and_time(NaiveTime::MIN))
    })
    .map(|at| at.and_utc())
}

fn with_offset(text: &str) -> Option<DateTime<Utc>> {
    [
        "%Y-%m-%dT%H:%M:%S%.f%#z",
        "%Y-%m-%d %H:%M:%S%.f %#z",
        "%Y-%m-%dT%H:%M%#z",
        "%Y-%m-%d %H:%M %#z",
        "%Y%m%dT%H%M%S%#z",
    ]
    .iter()
    .find_map(|format| DateTime::parse_from_str(text, format).ok())
    .or_else(|| DateTime::parse_from_rfc2822(text).ok())
    .map(|at| at.with_timezone(&Utc))
}

/// Seconds since 1970, or thousandths, millionths or billionths of them, told apart by their size.
/// Small numbers are no times: they would all be of the first days of 1970.
fn unix_time(text: &str) -> Option<DateTime<Utc>> {
    let mut seconds: Decimal = text.parse::<Usd>().ok()?.decimal();
    let (least, most) = (
        Decimal::from(100_000_000),
        Decimal::from(100_000_000_000_i64),
    );
    while seconds >= most {
        seconds /= Decimal::ONE_THOUSAND;
    }
    if seconds < least {
        return None;
    }
    let micros = (seconds * Decimal::from(1_000_000)).trunc().to_i64()?;
    DateTime::from_timestamp_micros(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_reads_common_notations_of_one_moment() {
        for token in [
            "\"2022-01-01T10:00:00Z\"",
            "\"2022-01-01t10:00:00z\"",
            "\"2022-01-01T10:00:00\"",
            "\"2022-01-01T10:00Z\"",
            "\"2022-01-01T10:00\"",
            "\"2022-01-01T10:00:00.000000000Z\"",
            "\"2022-01-01 10:00:00 UTC\"",
            "\"2022-01-01 10:00:00.000 GMT\"",
            "\"2022-01-01 10:00:00\"",
            "\" 2022-01-01 10:00 \"",
            "\"2022-01-01T10:00:00+0000\"",
            "\"2022-01-01T12:00:00.0+0200\"",
            "\"2022-01-01 10:00:00 +0000\"",
            "\"2022-01-01 05:00:00-05\"",
            "\"2022-01-01T10:00+00:00\"",
            "\"20220101T100000Z\"",
            "\"2022/01/01 10:00:00\"",
            "\"Sat, 01 Jan 2022 10:00:00 GMT\"",
            "\"Sat, 1 Jan 2022 12:00:00 +0200\"",
            "1641031200",
            "1641031200.0",
            "1.6410312e9",
            "\"1641031200\"",
            "1641031200000",
            "1641031200000000",
            "1641031200000000000",
        ] {
            let read = time(token).map(|at| at.to_rfc3339());
            assert_eq!(
                read.as_deref(),
                Some("2022-01-01T10:00:00+00:00"),
                "{token}"
            );
        }
        let day = time("\"2022-01-01\"").unwrap();
        assert_eq!(day.to_rfc3339(), "2022-01-01T00:00:00+00:00");
    }

    #[test]
    fn time_refuses_what_is_no_date_of_a_recording() {
        for token in [
            "\"yesterday\"",
            "\"0001-01-01T00:00:00Z\"",
            "\"9999-12-31T23:59:59Z\"",
            "\"-10000-01-01T00:00:00\"",
            "\"2022-13-01T00:00:00Z\"",
            "0",
            "1",
            "-1641031200",
            "20220101",
            "1e400",
            "true",
            "[]",
            "{\"at\":1641031200}",
        ] {
            assert_eq!(time(token), None, "{token}");
        }
    }
}
