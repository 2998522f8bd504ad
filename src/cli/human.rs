//! How values are shown to people: times, durations, sizes, and tables without boxes.

use std::time::Duration;

use bytesize::ByteSize;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// `3:25:07`: hours, minutes, seconds.
pub(super) fn duration(secs: i128) -> String {
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
pub(super) fn size(bytes: i128) -> String {
    let bytes = u64::try_from(bytes.max(0)).unwrap_or(u64::MAX);
    ByteSize(bytes).display().iec().to_string()
}

/// `1.5 GiB/s`: binary units.
pub(super) fn rate(bytes_per_second: u64) -> String {
    format!("{}/s", size(bytes_per_second.into()))
}

/// `2026-01-31T23:59:59Z`: UTC, whole seconds.
pub(super) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// `2026-01-31T23:59:59Z (3 min ago)`, as seen at `now`.
pub(super) fn time_and_age(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    format!("{} ({})", time(at), age(at, now))
}

/// `3 min ago` or `in 3 min`, as seen at `now`.
pub(super) fn age(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
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
pub(super) fn span(length: TimeDelta) -> String {
    let secs = length.num_seconds();
    match secs {
        ..60 => format!("{secs} s"),
        60..3600 => format!("{} min", secs / 60),
        3600..172_800 => format!("{} h", secs / 3600),
        _ => format!("{} days", secs / 86_400),
    }
}

/// `2d 3h`, `3h 5m`, `1m 5s`, `7s`: as exact as an estimate is.
pub(super) fn estimate(length: Duration) -> String {
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
pub(super) fn count(number: i64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// Texts for people end here; what is longer than a line goes on below.
const WIDTH: usize = 79;

/// `start` and then the words of `text`, with further lines as far in as the text begins. A word
/// that is longer than a line stays whole: it may be copied.
pub(super) fn hanging(start: &str, text: &str) -> String {
    let indent = start.chars().count();
    let mut lines = start.to_owned();
    let mut column = indent;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > indent {
            if column + 1 + length > WIDTH {
                lines.push('\n');
                lines.extend(std::iter::repeat_n(' ', indent));
                column = indent;
            } else {
                lines.push(' ');
                column += 1;
            }
        }
        lines.push_str(word);
        column += length;
    }
    lines
}

/// Two texts on one line, or the second one below and further in, if they are too long for that.
pub(super) fn beside_or_below(first: &str, second: &str) -> String {
    let fits = first.chars().count() + 1 + second.chars().count() <= WIDTH;
    let between = if fits { " " } else { "\n  " };
    format!("{first}{between}{second}")
}

/// Lines up rows under a header; the columns named in `right` are numbers.
///
/// Nothing is wrapped or cut: the lines may be piped into other tools.
pub(super) fn table(header: &[&str], right: &[usize], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .force_no_tty()
        .set_header(header.to_vec())
        .add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
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
    fn a_long_text_goes_on_below_where_it_began() {
        let words = ["word"; 30].join(" ");
        let text = hanging("start     ", &words);
        assert!(text.lines().count() > 1);
        for (number, line) in text.lines().enumerate() {
            assert!(line.chars().count() <= WIDTH, "{line}");
            let start = if number == 0 {
                "start     w"
            } else {
                "          w"
            };
            assert!(line.starts_with(start), "{line}");
        }
        let whole = "x".repeat(200);
        assert_eq!(hanging("", &whole), whole);
        assert_eq!(hanging("key  ", ""), "key  ");
    }

    #[test]
    fn what_does_not_fit_beside_comes_below() {
        assert_eq!(beside_or_below("one", "two"), "one two");
        let long = "x".repeat(WIDTH - 4);
        assert_eq!(beside_or_below("one", &long), format!("one {long}"));
        assert_eq!(beside_or_below("four", &long), format!("four\n  {long}"));
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

    #[test]
    fn a_table_lines_up_without_boxes() {
        let rows = vec![
            vec!["a".to_owned(), "7".to_owned()],
            vec!["long name".to_owned(), "1000".to_owned()],
        ];
        assert_eq!(
            table(&["name", "size"], &[1], rows),
            "name       size\na             7\nlong name  1000"
        );
    }
}
