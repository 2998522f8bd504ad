//! The queue at a glance, for people: what waits, who works, what is done, what to do.

use std::io::{self, Write};

use super::style::Style;
use crate::cli::human;
use crate::error::ErrorKind;
use crate::printable::printable;
use crate::queue::overview::{KindCount, Overview};

pub(super) fn write(overview: &Overview, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let now = overview.now;
    writeln!(
        out,
        "{}",
        style.heading(&format!("Queue at {}", human::time(now)))
    )?;
    if overview.states.total() == 0 {
        return writeln!(
            out,
            "No recordings yet. `recording-archiver enqueue --id UUID` adds one."
        );
    }
    let lines = [
        ("pending", overview.states.pending, pending(overview)),
        ("in_progress", overview.states.in_progress, String::new()),
        ("archived", overview.states.archived, archived(overview)),
        ("failed", overview.states.failed, String::new()),
    ];
    for (state, number, detail) in lines {
        let line = format!("{state:<12}{number:>8}  {detail}");
        let line = line.trim_end();
        if state == "failed" && number > 0 {
            writeln!(out, "{}", style.trouble(line))?;
        } else {
            writeln!(out, "{line}")?;
        }
    }
    write_claims(overview, style, out)?;
    write_failed(&overview.failed, style, out)?;
    write_damaged(&overview.damaged, style, out)
}

fn pending(overview: &Overview) -> String {
    let now = overview.now;
    let mut parts = Vec::new();
    if overview.due > 0 {
        parts.push(format!("{} due now", overview.due));
    }
    if let Some(next) = overview.next_due_at {
        parts.push(format!(
            "{} waiting, the next until {}",
            overview.waiting,
            human::time_and_age(next, now)
        ));
    }
    if let Some(oldest) = overview.oldest_pending_enqueued_at {
        parts.push(format!(
            "the oldest queued {}",
            human::time_and_age(oldest, now)
        ));
    }
    parts.join("; ")
}

fn archived(overview: &Overview) -> String {
    let archived = &overview.archived;
    let size = |bytes: i64| human::size(bytes.into());
    if archived.recordings == 0 {
        return String::new();
    }
    format!(
        "{}; today (UTC) {} with {}; last 24 h {} with {}",
        size(archived.size_bytes),
        archived.recordings_today,
        size(archived.size_bytes_today),
        archived.recordings_last_24h,
        size(archived.size_bytes_last_24h),
    )
}

fn write_claims(overview: &Overview, style: Style, out: &mut dyn Write) -> io::Result<()> {
    if overview.claims.is_empty() {
        return Ok(());
    }
    let now = overview.now;
    let rows = overview
        .claims
        .iter()
        .map(|claim| {
            vec![
                claim.recording_id.to_string(),
                printable(&claim.leased_by).into_owned(),
                claim
                    .claimed_at
                    .map_or_else(|| "-".to_owned(), |at| human::time_and_age(at, now)),
                if claim.lease_expires_at > now {
                    format!("{} left", human::span(claim.lease_expires_at - now))
                } else {
                    format!(
                        "ended {}, anybody may claim it",
                        human::age(claim.lease_expires_at, now)
                    )
                },
            ]
        })
        .collect();
    let header = ["recording", "held by", "since (UTC)", "lease"];
    writeln!(out, "\n{}", style.heading("In progress"))?;
    writeln!(out, "{}", human::table(&header, &[], rows))
}

fn write_failed(failed: &[KindCount], style: Style, out: &mut dyn Write) -> io::Result<()> {
    if failed.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{}", style.heading("Failed"))?;
    write_kinds(failed, out)?;
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

fn write_damaged(damaged: &[KindCount], style: Style, out: &mut dyn Write) -> io::Result<()> {
    if damaged.is_empty() {
        return Ok(());
    }
    let heading = style.heading("Archived, but found damaged or missing since");
    writeln!(out, "\n{heading}")?;
    write_kinds(damaged, out)
}

fn write_kinds(kinds: &[KindCount], out: &mut dyn Write) -> io::Result<()> {
    let rows = kinds
        .iter()
        .map(|kind| {
            vec![
                printable(&kind.error_kind).into_owned(),
                kind.recordings.to_string(),
                cure(&kind.error_kind).to_owned(),
            ]
        })
        .collect();
    let header = ["error_kind", "recordings", "what helps"];
    writeln!(out, "{}", human::table(&header, &[1], rows))
}

/// What helps against an error kind as stored in a row.
pub(super) fn cure(error_kind: &str) -> &'static str {
    error_kind.parse().map_or(
        "written by another version of this program: look there",
        ErrorKind::cure,
    )
}
