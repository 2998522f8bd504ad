//! What the workers hold: how far each is, how fast it goes, how long it will take.

use std::io::{self, Write};

use chrono::TimeDelta;

use super::style::Style;
use crate::cli::human;
use crate::printable::printable;
use crate::queue::overview::{HeldRecording, Overview};

/// A person reads no more; JSON has them all.
const SHOWN: usize = 20;
/// An attempt that has not got further for so long may hang. It says so every 10 s if it has.
const QUIET_AFTER: TimeDelta = TimeDelta::minutes(1);

/// All running transfers together: `3.1 MiB/s`; empty while nobody can tell.
pub(super) fn together(overview: &Overview) -> String {
    let rates = live(overview).filter_map(HeldRecording::bytes_per_second);
    match rates.sum() {
        0 => String::new(),
        rate => human::rate(rate),
    }
}

/// Those whose workers are alive.
pub(super) fn live(overview: &Overview) -> impl Iterator<Item = &HeldRecording> {
    let now = overview.now;
    let claims = overview.claims.iter();
    claims.filter(move |claim| claim.lease_expires_at > now)
}

pub(super) fn write(overview: &Overview, style: Style, out: &mut dyn Write) -> io::Result<()> {
    if overview.claims.is_empty() {
        return Ok(());
    }
    let now = overview.now;
    writeln!(out, "\n{}", style.heading("In progress"))?;
    for claim in overview.claims.iter().take(SHOWN) {
        let since = claim
            .claimed_at
            .map(|at| format!("  for {}", human::span(now - at)))
            .unwrap_or_default();
        let held = format!("{}{since}", claim.recording_id);
        let holder = format!("by {}", printable(&claim.leased_by));
        writeln!(out, "{}", human::beside_or_below(&held, &holder))?;
        if claim.lease_expires_at <= now {
            let ended = human::age(claim.lease_expires_at, now);
            let line = format!("  its lease ended {ended}, anybody may claim it");
            writeln!(out, "{}", style.trouble(&line))?;
        } else {
            writeln!(out, "  {}", how_far(claim, overview))?;
        }
    }
    match overview.claims.len().checked_sub(SHOWN) {
        None | Some(0) => Ok(()),
        Some(more) => writeln!(out, "and {more} more; --output json has them all"),
    }
}

/// `transfer, 61 % of 1.2 GiB, 34.1 MiB/s, 2 min left`.
fn how_far(claim: &HeldRecording, overview: &Overview) -> String {
    let (Some(stage), Some(progress_at)) = (&claim.stage, claim.progress_at) else {
        return "just begun".to_owned();
    };
    let mut parts = vec![printable(stage).into_owned()];
    let there = claim.there_bytes();
    match claim.size_bytes.filter(|size| *size > 0) {
        Some(size) => {
            let percent = (i128::from(there) * 100 / i128::from(size)).min(100);
            parts.push(format!("{percent} % of {}", human::size(size.into())));
        }
        None if there > 0 => parts.push(format!("{} so far", human::size(there.into()))),
        None => {}
    }
    if let Some(rate) = claim.bytes_per_second() {
        parts.push(human::rate(rate));
    }
    if let Some(left) = claim.secs_left() {
        parts.push(format!("{} left", human::span(TimeDelta::seconds(left))));
    }
    let quiet = overview.now - progress_at;
    if quiet > QUIET_AFTER {
        parts.push(format!("no further for {}", human::span(quiet)));
    }
    parts.join(", ")
}
