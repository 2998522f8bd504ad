//! One recording: its facts in groups, then its attempts, costs and deletions as tables.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::frame::{Html, frame};
use super::table::{numbers, table, text};
use super::value::{number, safe, size, time, told, unknown};
use crate::error::{cure_of, cure_of_damage};
use crate::human;
use crate::queue::overview::RecordingDetails;

/// A fact's name and its value, if known.
type Fact = (&'static str, Option<Markup>);

pub(super) fn render(details: &RecordingDetails) -> Html {
    let groups = [
        ("Lease", lease(details)),
        ("Provider", provider(details)),
        ("Storage", storage(details)),
        ("Evidence", evidence(details)),
        ("Cost", cost(details)),
    ];
    let known = groups
        .iter()
        .filter(|(_, facts)| facts.iter().any(|(_, value)| value.is_some()));
    let main = html! {
        nav aria-label="Where this is" { a href="/" { "Overview" } }
        h2 { "Recording " span.id { (details.recording_id) } }
        p { span.state.bad[details.state == "failed"].good[details.state == "archived"] { (safe(&details.state)) } }
        (trouble(details))
        div.groups {
            section aria-labelledby="in-queue" { h3 #in-queue { "Queue" } (list(&queue(details))) }
            @for (heading, facts) in known {
                @let id = format!("group-{}", heading.to_lowercase());
                section aria-labelledby=(id) { h3 id=(id) { (heading) } (list(facts)) }
            }
        }
        (attempts(details))
        (observations(details))
        (retirements(details))
    };
    frame(
        &format!("Recording {}", details.recording_id),
        Some(details.now),
        &main,
    )
}

fn list(facts: &[Fact]) -> Markup {
    html! {
        dl.facts {
            @for (name, value) in facts {
                @if let Some(value) = value { div { dt { (name) } dd { (value) } } }
            }
        }
    }
}

/// What went wrong last, and what helps.
fn trouble(details: &RecordingDetails) -> Markup {
    let Some(kind) = &details.error_kind else {
        return html! {};
    };
    let helps = match details.state.as_str() {
        "archived" => cure_of_damage(kind),
        _ => cure_of(kind),
    };
    html! {
        div.standing.bad[details.state == "failed" || details.state == "archived"] {
            p { code { (safe(kind)) } " "
                span.message { (safe(details.error_message.as_deref().unwrap_or("no message"))) } }
            p { "What helps: " (told(helps)) "." }
            @if details.state == "failed" {
                p { "Then: " code { "recording-archiver retry --id " (details.recording_id) } }
            }
        }
    }
}

fn queue(details: &RecordingDetails) -> Vec<Fact> {
    let at = |at: DateTime<Utc>| time(at, details.now);
    vec![
        (
            "Due",
            (details.state == "pending").then(|| at(details.next_attempt_at)),
        ),
        ("Queued", Some(at(details.enqueued_at))),
        ("Not ready since", details.not_ready_since.map(at)),
        ("Finished", details.finalized_at.map(at)),
        (
            "Attempts burnt",
            Some(html! { (number(details.attempts_burnt.into())) }),
        ),
        ("Damaged since", details.damage_found_at.map(at)),
    ]
}

fn lease(details: &RecordingDetails) -> Vec<Fact> {
    vec![
        ("Held by", details.leased_by.as_deref().map(safe)),
        (
            "Lease ends",
            details.lease_expires_at.map(|at| time(at, details.now)),
        ),
    ]
}

fn provider(details: &RecordingDetails) -> Vec<Fact> {
    let at = |at: DateTime<Utc>| time(at, details.now);
    let not_found_in = details.not_found_in.join(", ");
    vec![
        ("Project", details.project_id.as_deref().map(mono)),
        (
            "Not found in",
            (!not_found_in.is_empty()).then(|| mono(&not_found_in)),
        ),
        (
            "Room session",
            details.room_session_id.map(|id| mono(&id.to_string())),
        ),
        ("Status", details.recording_status.as_deref().map(safe)),
        ("Created", details.created_at.map(at)),
        ("Started", details.started_at.map(at)),
        ("Ended", details.finished_at.map(at)),
        ("Changed", details.updated_at.map(at)),
        (
            "Duration (h:mm:ss)",
            details
                .duration_secs
                .map(|secs| html! { (human::duration(secs.into())) }),
        ),
        ("Declared size", details.declared_size_bytes.map(exact_size)),
        ("Format", details.media_format.as_deref().map(safe)),
        ("Deleted there", details.source_deleted_at.map(at)),
    ]
}

fn storage(details: &RecordingDetails) -> Vec<Fact> {
    vec![
        ("Object", details.object_url.as_deref().map(mono)),
        ("Key", details.object_key.as_deref().map(mono)),
        ("Size", details.size_bytes.map(exact_size)),
        ("ETag", details.etag.as_deref().map(mono)),
        (
            "Bad one kept at",
            details.kept_aside_url.as_deref().map(mono),
        ),
        (
            "Archived",
            details.archived_at.map(|at| time(at, details.now)),
        ),
    ]
}

fn evidence(details: &RecordingDetails) -> Vec<Fact> {
    vec![
        ("Evidence", details.evidence.as_deref().map(mono)),
        ("SHA-256", details.sha256.as_deref().map(mono)),
        ("CRC64NVME", details.crc64nvme.as_deref().map(mono)),
        (
            "Last read back",
            details.verified_at.map(|at| time(at, details.now)),
        ),
    ]
}

fn cost(details: &RecordingDetails) -> Vec<Fact> {
    let at = |at: DateTime<Utc>| time(at, details.now);
    // Before the provider was asked, "missing" would only be noise.
    let is_asked = details.recording_status.is_some() || details.cost_usd.is_some();
    vec![
        ("Cost (USD)", details.cost_usd.as_deref().map(mono)),
        ("Cost is", is_asked.then(|| safe(&details.cost_state))),
        ("Last stated", details.cost_observed_at.map(at)),
        ("The same since", details.cost_changed_at.map(at)),
    ]
}

fn attempts(details: &RecordingDetails) -> Markup {
    let now = details.now;
    let columns = [
        numbers("Attempt"),
        text("Started"),
        text("Outcome"),
        numbers("Fetched"),
        text("Error"),
        text("By"),
    ];
    let rows = details.attempts.iter().map(|attempt| {
        let took = human::span(attempt.finished_at.unwrap_or(now) - attempt.started_at);
        vec![
            html! { (attempt.attempt) },
            time(attempt.started_at, now),
            html! {
                @if let Some(outcome) = &attempt.outcome { (safe(outcome)) " after " (took) }
                @else { "running for " (took) }
            },
            html! { data value=(attempt.bytes_fetched) { (size(attempt.bytes_fetched)) } },
            html! {
                @if let Some(kind) = &attempt.error_kind {
                    code { (safe(kind)) }
                    " " span.message { (safe(attempt.error_message.as_deref().unwrap_or("no message"))) }
                } @else { (unknown()) }
            },
            safe(&attempt.leased_by),
        ]
    });
    html! {
        section aria-labelledby="attempts" {
            h3 #attempts { "Attempts" }
            @if details.attempts.is_empty() {
                p { "None yet." }
            } @else {
                (table("attempts-table", &html! { "Each claim of the recording, the first one first" }, &columns, rows))
            }
        }
    }
}

fn observations(details: &RecordingDetails) -> Markup {
    let columns = [
        text("Seen"),
        numbers("Cost (USD)"),
        text("Status then"),
        text("By"),
    ];
    let rows = details.cost_observations.iter().map(|seen| {
        vec![
            time(seen.observed_at, details.now),
            html! { (safe(&seen.cost_usd)) },
            html! { @if let Some(status) = &seen.recording_status { (safe(status)) } @else { (unknown()) } },
            safe(&seen.observed_by),
        ]
    });
    html! {
        section aria-labelledby="cost-history" {
            h3 #cost-history { "Cost history" }
            @if details.cost_observations.is_empty() {
                p { "No cost was stated yet." }
            } @else {
                (table("cost-table", &html! { "Each cost that the provider was seen to state, exact" }, &columns, rows))
            }
        }
    }
}

fn retirements(details: &RecordingDetails) -> Markup {
    let columns = [
        text("Taken up"),
        text("Outcome"),
        text("Reason"),
        text("By"),
    ];
    let rows = details.retirements.iter().map(|it| {
        vec![
            time(it.begun_at, details.now),
            safe(it.outcome.as_deref().unwrap_or("not known yet")),
            html! { @if let Some(reason) = &it.reason { (safe(reason)) } @else { (unknown()) } },
            safe(&it.retired_by),
        ]
    });
    html! {
        @if !details.retirements.is_empty() {
            section aria-labelledby="deletions" {
                h3 #deletions { "Deletion at the provider" }
                (table("deletions-table", &html! { "Each time it was about to be deleted there, the first one first" }, &columns, rows))
            }
        }
    }
}

fn exact_size(bytes: i64) -> Markup {
    html! { (number(bytes)) " bytes (" (size(bytes)) ")" }
}

/// What may be copied.
fn mono(text: &str) -> Markup {
    html! { span.id { (safe(text)) } }
}
