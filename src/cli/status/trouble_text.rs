//! What did not go well: what is tried again, what is stuck, what failed, and what helps.

use std::io::{self, Write};

use chrono::TimeDelta;

use super::running_text;
use super::style::Style;
use crate::cli::human;
use crate::error::{ErrorKind, cure_of, cure_of_damage};
use crate::printable::printable;
use crate::queue::overview::{KindCount, Overview, StuckRecording};

/// What has been due for so long, while nobody works, is not claimed by anybody.
const UNCLAIMED_AFTER: TimeDelta = TimeDelta::minutes(5);
/// Room for the longest error kind.
const KIND: usize = 19;

pub(super) fn write(overview: &Overview, style: Style, out: &mut dyn Write) -> io::Result<()> {
    write_unclaimed(overview, style, out)?;
    write_kinds("To be tried again", &overview.retrying, cure_of, style, out)?;
    write_stuck(overview, style, out)?;
    write_kinds("Failed", &overview.failed, cure_of, style, out)?;
    write_retries(&overview.failed, out)?;
    let damaged = "Archived, but found damaged or missing since";
    write_kinds(damaged, &overview.damaged, cure_of_damage, style, out)
}

fn write_unclaimed(overview: &Overview, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let Some(overdue) = overview.oldest_due_at.map(|due| overview.now - due) else {
        return Ok(());
    };
    if overdue < UNCLAIMED_AFTER || running_text::live(overview).next().is_some() {
        return Ok(());
    }
    let overdue = human::span(overdue);
    let line = format!("Nobody has claimed what has been due for {overdue}.");
    writeln!(out, "\n{}", style.trouble(&line))?;
    writeln!(
        out,
        "Does a service of the recordings' project run? Its /readyz says what it waits for."
    )
}

fn write_kinds(
    heading: &str,
    kinds: &[KindCount],
    cure: impl Fn(&str) -> &'static str,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    if kinds.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{}", style.heading(heading))?;
    writeln!(out, "{:<KIND$}  recordings  what helps", "error_kind")?;
    for kind in kinds {
        let start = format!(
            "{:<KIND$}{:>12}  ",
            printable(&kind.error_kind),
            kind.recordings
        );
        let helps = cure(&kind.error_kind);
        writeln!(out, "{}", human::hanging(&start, helps))?;
    }
    Ok(())
}

/// The commands that put what failed back into the queue.
fn write_retries(failed: &[KindCount], out: &mut dyn Write) -> io::Result<()> {
    // `retry` takes only kinds that this version knows.
    let known = failed
        .iter()
        .filter_map(|kind| kind.error_kind.parse::<ErrorKind>().ok());
    for (place, kind) in known.enumerate() {
        let lead = if place == 0 { "then try again:" } else { "" };
        writeln!(
            out,
            "{lead:<17}recording-archiver retry --failed --kind {kind}"
        )?;
    }
    Ok(())
}

fn write_stuck(overview: &Overview, style: Style, out: &mut dyn Write) -> io::Result<()> {
    if overview.stuck.is_empty() {
        return Ok(());
    }
    let heading = "Queued more than a day ago and still tried, the oldest first";
    writeln!(out, "\n{}", style.heading(heading))?;
    for stuck in &overview.stuck {
        let StuckRecording {
            recording_id,
            enqueued_at,
            attempts_burnt,
            next_attempt_at,
            error_kind,
            error_message,
        } = stuck;
        let tried = human::count((*attempts_burnt).into(), "attempt");
        let (queued, next) = (
            human::age(*enqueued_at, overview.now),
            human::age(*next_attempt_at, overview.now),
        );
        writeln!(out, "{recording_id}  {queued}, {tried}, due {next}")?;
        let why = format!(
            "{error_kind}: {}",
            error_message.as_deref().unwrap_or("no message")
        );
        writeln!(out, "{}", human::hanging("  ", &printable(&why)))?;
    }
    Ok(())
}
