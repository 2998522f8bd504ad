//! The queue at a glance, for people: what waits, who works, what is done, what to do.

use std::io::{self, Write};

use chrono::TimeDelta;

use super::style::Style;
use super::{coverage_text, running_text, stores_text, trouble_text};
use crate::cli::human;
use crate::queue::overview::Overview;

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
    let (states, done) = (overview.states, &overview.archived);
    let size = |bytes: i64| human::size(bytes.into());
    let archived = |number: i64, bytes: i64| match number {
        0 => String::new(),
        _ => size(bytes),
    };
    let oldest = overview
        .oldest_pending_enqueued_at
        .map(|at| format!("oldest queued {}", human::age(at, now)));
    let next = overview
        .next_due_at
        .map(|at| format!("the next {}", human::age(at, now)));
    let lines = [
        ("pending", states.pending, oldest.unwrap_or_default()),
        ("  due now", overview.due, String::new()),
        ("  later", overview.waiting, next.unwrap_or_default()),
        (
            "in_progress",
            states.in_progress,
            running_text::together(overview),
        ),
        (
            "archived",
            states.archived,
            archived(states.archived, done.size_bytes),
        ),
        (
            "  last 24 h",
            done.recordings_last_24h,
            archived(done.recordings_last_24h, done.size_bytes_last_24h),
        ),
        (
            "  last hour",
            done.recordings_last_hour,
            archived(done.recordings_last_hour, done.size_bytes_last_hour),
        ),
        ("failed", states.failed, String::new()),
    ];
    for (name, number, detail) in lines {
        let line = format!("{name:<12}{number:>8}  {detail}");
        let line = line.trim_end();
        if name == "failed" && number > 0 {
            writeln!(out, "{}", style.trouble(line))?;
        } else {
            writeln!(out, "{line}")?;
        }
    }
    if let Some(pace) = pace(overview) {
        writeln!(out, "{pace}")?;
    }
    coverage_text::write(overview, style, out)?;
    stores_text::write(overview, out)?;
    running_text::write(overview, style, out)?;
    trouble_text::write(overview, style, out)
}

/// How long the queue takes at the pace of the last hour. `None` while two recordings have not
/// shown one, or nothing is to be done.
fn pace(overview: &Overview) -> Option<String> {
    let (pending, done) = (overview.states.pending, &overview.archived);
    // The first one only says since when they are counted.
    let counted = done.recordings_last_hour - 1;
    let millis = (overview.now - done.first_last_hour_at?).num_milliseconds();
    if pending == 0 || counted < 1 || millis < 1000 {
        return None;
    }
    let left = i128::from(millis) * i128::from(pending) / i128::from(counted);
    let left = TimeDelta::try_milliseconds(i64::try_from(left).ok()?)?;
    let an_hour = i128::from(counted) * 3_600_000 / i128::from(millis);
    Some(format!(
        "At the pace of the last hour, {an_hour} an hour, what is pending takes {}.",
        human::span(left)
    ))
}
