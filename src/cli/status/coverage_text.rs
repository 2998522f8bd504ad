//! How much of the archive was read again, and how much of it is damaged.

use std::io::{self, Write};

use chrono::TimeDelta;

use super::style::Style;
use crate::cli::human;
use crate::queue::Coverage;
use crate::queue::overview::Overview;

pub(super) fn write(overview: &Overview, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let coverage = &overview.coverage;
    if coverage.recordings == 0 {
        return Ok(());
    }
    let within = i64::try_from(coverage.within_secs).unwrap_or(i64::MAX);
    let within = TimeDelta::try_seconds(within).unwrap_or(TimeDelta::MAX);
    let since = coverage
        .longest_unread_since
        .map(|at| format!(", longest unread since {}", human::time(at)));
    writeln!(
        out,
        "{} read again within {}{}",
        percent(coverage),
        human::span(within),
        since.unwrap_or_default()
    )?;
    if coverage.damaged > 0 {
        let damaged = human::count(coverage.damaged, "archived recording");
        let line = format!("{damaged} damaged or missing");
        writeln!(out, "{}", style.trouble(&line))?;
    }
    Ok(())
}

/// By bytes, rounded down: only all is 100 %. By recordings where there are no bytes.
fn percent(coverage: &Coverage) -> String {
    let (part, whole) = match coverage.size_bytes {
        0 => (coverage.read_again, coverage.recordings),
        _ => (coverage.read_again_bytes, coverage.size_bytes),
    };
    let permille = i128::from(part) * 1000 / i128::from(whole.max(1));
    format!("{}.{} %", permille / 10, permille % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_all_is_a_hundred_percent() {
        let of = |read_again_bytes, size_bytes| {
            percent(&Coverage {
                within_secs: 1,
                recordings: 4,
                size_bytes,
                read_again: 3,
                read_again_bytes,
                damaged: 0,
                longest_unread_since: None,
            })
        };
        assert_eq!(of(982, 1000), "98.2 %");
        assert_eq!(of(999_999, 1_000_000), "99.9 %");
        assert_eq!(of(7, 7), "100.0 %");
        assert_eq!(of(0, 7), "0.0 %");
        assert_eq!(of(0, 0), "75.0 %");
    }
}
