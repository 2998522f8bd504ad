//! One recording for people: its facts in groups, then its costs and attempts as tables.

use std::io::{self, Write};

use chrono::{DateTime, Utc};

use super::style::Style;
use crate::cli::human;
use crate::error::{cure_of, cure_of_damage};
use crate::printable::printable;
use crate::queue::overview::RecordingDetails;

/// A fact's name and its value, if known.
type Fact<'a> = (&'a str, Option<String>);

pub(super) fn write(
    details: &RecordingDetails,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let heading = format!("Recording {}", details.recording_id);
    writeln!(out, "{}", style.heading(&heading))?;
    write_facts(&queue_facts(details), out)?;
    for (heading, facts) in [
        ("Lease", lease_facts(details)),
        ("Provider", provider_facts(details)),
        ("Storage", storage_facts(details)),
        ("Evidence", evidence_facts(details)),
        ("Cost", cost_facts(details)),
    ] {
        if facts.iter().any(|(_, value)| value.is_some()) {
            writeln!(out, "\n{}", style.heading(heading))?;
            write_facts(&facts, out)?;
        }
    }
    write_observations(details, out)?;
    write_retirements(details, style, out)?;
    write_attempts(details, style, out)
}

fn write_facts(facts: &[Fact<'_>], out: &mut dyn Write) -> io::Result<()> {
    for (name, value) in facts {
        if let Some(value) = value {
            let (start, value) = (format!("{name:<20}"), printable(value));
            match *name {
                // Sentences; all else may be copied.
                "error" | "what helps" => writeln!(out, "{}", human::hanging(&start, &value))?,
                _ => writeln!(out, "{start}{value}")?,
            }
        }
    }
    Ok(())
}

fn queue_facts(details: &RecordingDetails) -> Vec<Fact<'_>> {
    let time = |at: DateTime<Utc>| human::time_and_age(at, details.now);
    let retry = details.state == "failed";
    vec![
        ("state", Some(details.state.clone())),
        (
            "due",
            (details.state == "pending").then(|| time(details.next_attempt_at)),
        ),
        ("queued", Some(time(details.enqueued_at))),
        ("not ready since", details.not_ready_since.map(time)),
        ("finished", details.finalized_at.map(time)),
        ("attempts burnt", Some(details.attempts_burnt.to_string())),
        ("damaged since", details.damage_found_at.map(time)),
        ("error_kind", details.error_kind.clone()),
        ("error", details.error_message.clone()),
        (
            "what helps",
            details
                .error_kind
                .as_deref()
                .map(|kind| match details.state.as_str() {
                    "archived" => cure_of_damage(kind).to_owned(),
                    _ => cure_of(kind).to_owned(),
                }),
        ),
        (
            "then",
            retry.then(|| format!("recording-archiver retry --id {}", details.recording_id)),
        ),
    ]
}

fn lease_facts(details: &RecordingDetails) -> Vec<Fact<'_>> {
    let now = details.now;
    vec![
        ("held by", details.leased_by.clone()),
        (
            "lease ends",
            details
                .lease_expires_at
                .map(|at| human::time_and_age(at, now)),
        ),
    ]
}

fn provider_facts(details: &RecordingDetails) -> Vec<Fact<'_>> {
    let time = |at: DateTime<Utc>| human::time_and_age(at, details.now);
    let not_found_in = details.not_found_in.join(", ");
    vec![
        ("project", details.project_id.clone()),
        (
            "not found in",
            (!not_found_in.is_empty()).then_some(not_found_in),
        ),
        (
            "room session",
            details.room_session_id.map(|id| id.to_string()),
        ),
        ("status", details.recording_status.clone()),
        ("created", details.created_at.map(time)),
        ("started", details.started_at.map(time)),
        ("ended", details.finished_at.map(time)),
        ("changed", details.updated_at.map(time)),
        (
            "duration (h:mm:ss)",
            details
                .duration_secs
                .map(|secs| human::duration(secs.into())),
        ),
        ("declared size", details.declared_size_bytes.map(size)),
        ("format", details.media_format.clone()),
        ("but the file is", details.format_mismatch.clone()),
        (
            "not found there since",
            details.source_missing_since.map(time),
        ),
        ("deleted there", details.source_deleted_at.map(time)),
    ]
}

fn storage_facts(details: &RecordingDetails) -> Vec<Fact<'_>> {
    vec![
        ("object", details.object_url.clone()),
        ("key", details.object_key.clone()),
        ("size", details.size_bytes.map(size)),
        ("etag", details.etag.clone()),
        ("bad one kept at", details.kept_aside_url.clone()),
        (
            "archived",
            details
                .archived_at
                .map(|at| human::time_and_age(at, details.now)),
        ),
    ]
}

fn evidence_facts(details: &RecordingDetails) -> Vec<Fact<'_>> {
    let time = |at: DateTime<Utc>| human::time_and_age(at, details.now);
    vec![
        ("evidence", details.evidence.clone()),
        ("sha256", details.sha256.clone()),
        ("sha256 before", details.previous_sha256.clone()),
        ("crc64nvme", details.crc64nvme.clone()),
        ("last read back", details.verified_at.map(time)),
        ("not read since", details.verify_failed_at.map(time)),
    ]
}

fn cost_facts(details: &RecordingDetails) -> Vec<Fact<'_>> {
    let time = |at: DateTime<Utc>| human::time_and_age(at, details.now);
    vec![
        ("cost (USD)", details.cost_usd.clone()),
        (
            "cost is",
            // Before the provider was asked, "missing" would only be noise.
            (details.recording_status.is_some() || details.cost_usd.is_some())
                .then(|| details.cost_state.clone()),
        ),
        ("last stated", details.cost_observed_at.map(time)),
        ("the same since", details.cost_changed_at.map(time)),
    ]
}

fn size(bytes: i64) -> String {
    format!("{bytes} bytes ({})", human::size(bytes.into()))
}

fn write_observations(details: &RecordingDetails, out: &mut dyn Write) -> io::Result<()> {
    if details.cost_observations.is_empty() {
        return Ok(());
    }
    let rows = details
        .cost_observations
        .iter()
        .map(|seen| {
            vec![
                human::time_and_age(seen.observed_at, details.now),
                seen.cost_usd.clone(),
                known(seen.recording_status.as_deref()),
                seen.observed_by.clone(),
            ]
        })
        .collect();
    let header = ["cost seen (UTC)", "USD", "status then", "by"];
    writeln!(out, "\n{}", human::table(&header, &[1], rows))
}

fn write_retirements(
    details: &RecordingDetails,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    if details.retirements.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{}", style.heading("Deletion at the provider"))?;
    for retirement in &details.retirements {
        let outcome = retirement.outcome.as_deref().unwrap_or("not known yet");
        let reason = retirement.reason.as_deref().map(|why| format!(": {why}"));
        let facts = format!(
            "{}, {outcome}{}, by {}",
            human::time_and_age(retirement.begun_at, details.now),
            reason.unwrap_or_default(),
            retirement.retired_by,
        );
        writeln!(out, "{}", human::hanging("     ", &printable(&facts)))?;
    }
    Ok(())
}

fn write_attempts(details: &RecordingDetails, style: Style, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n{}", style.heading("Attempts"))?;
    if details.attempts.is_empty() {
        return writeln!(out, "none yet");
    }
    for attempt in &details.attempts {
        let took = attempt.finished_at.unwrap_or(details.now) - attempt.started_at;
        let took = human::span(took);
        let outcome = match &attempt.outcome {
            Some(outcome) => format!("{outcome} after {took}"),
            None => format!("running for {took}"),
        };
        let facts = format!(
            "{}, {outcome}, {} fetched, by {}",
            human::time_and_age(attempt.started_at, details.now),
            human::size(attempt.bytes_fetched.into()),
            printable(&attempt.leased_by),
        );
        let start = format!("{:>3}  ", attempt.attempt);
        writeln!(out, "{}", human::hanging(&start, &facts))?;
        if let Some(kind) = &attempt.error_kind {
            let message = attempt.error_message.as_deref().unwrap_or("no message");
            let why = format!("{kind}: {message}");
            writeln!(out, "{}", human::hanging("     ", &printable(&why)))?;
        }
    }
    Ok(())
}

fn known(text: Option<&str>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| printable(text).into_owned())
}
