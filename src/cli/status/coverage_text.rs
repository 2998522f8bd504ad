//! How much of the archive was read again, and how much of it is damaged.

use std::io::{self, Write};

use super::style::Style;
use crate::cli::human;
use crate::queue::overview::Overview;

pub(super) fn write(overview: &Overview, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let coverage = &overview.coverage;
    if coverage.recordings == 0 {
        return Ok(());
    }
    let since = coverage
        .longest_unread_since
        .map(|at| format!(", longest unread since {}", human::time(at)));
    writeln!(
        out,
        "{} read again within {}{}",
        coverage.percent(),
        human::span(coverage.within()),
        since.unwrap_or_default()
    )?;
    if coverage.damaged > 0 {
        let damaged = human::count(coverage.damaged, "archived recording");
        let line = format!("{damaged} damaged or missing");
        writeln!(out, "{}", style.trouble(&line))?;
    }
    if overview.format_mismatches > 0 {
        let files = human::count(overview.format_mismatches, "archived file");
        writeln!(out, "{files} not of the declared format")?;
    }
    Ok(())
}
