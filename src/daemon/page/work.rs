//! What waits, who works, how far they are.

use chrono::TimeDelta;
use maud::{Markup, html};

use super::table::{numbers, table, text};
use super::value::{age, number, recording, safe, size, unknown};
use crate::daemon::readiness::Standing;
use crate::human;
use crate::queue::overview::{HeldRecording, Overview};

/// A person reads no more; `status --output json` has them all.
const SHOWN: usize = 20;
/// What has been due for so long, while nobody works, is not claimed by anybody.
const UNCLAIMED_AFTER: TimeDelta = TimeDelta::minutes(5);
/// An attempt that has not got further for so long may hang.
const QUIET_AFTER: TimeDelta = TimeDelta::minutes(1);

/// Whether this process claims, and what helps if it does not.
pub(super) fn standing(standing: &Standing) -> Markup {
    let text = standing.to_string();
    let mut lines = text.lines();
    match standing {
        Standing::Claiming => html! { p.standing.good { "Recordings are being claimed." } },
        Standing::Halted { .. }
        | Standing::Silenced { .. }
        | Standing::NoDatabase { .. }
        | Standing::Stopping => html! {
            div.standing.bad role="status" {
                p { strong { (safe(lines.next().unwrap_or_default())) } }
                @for line in lines { p { (safe(line)) } }
            }
        },
    }
}

pub(super) fn queue(overview: &Overview) -> Markup {
    let (states, done, now) = (overview.states, &overview.archived, overview.now);
    html! {
        section aria-labelledby="queue" {
            h2 #queue { "Queue" }
            @if states.total() == 0 {
                p { "No recordings yet. " code { "recording-archiver enqueue --id UUID" } " adds one." }
            } @else {
                dl.tiles {
                    div { dt { "Pending" } dd { (number(states.pending)) }
                        dd.more { (number(overview.due)) " due now, " (number(overview.waiting)) " later"
                            @if let Some(at) = overview.next_due_at { ", the next " (age(at, now)) } } }
                    div { dt { "In progress" } dd { (number(states.in_progress)) }
                        dd.more { @if let Some(rate) = together(overview) { (rate) } @else { "nothing moves" } } }
                    div { dt { "Archived" } dd { (number(states.archived)) }
                        dd.more { (size(done.size_bytes)) "; "
                            (number(done.recordings_last_24h)) " in the last 24 h" } }
                    div.bad[states.failed > 0] { dt { "Failed" } dd { (number(states.failed)) }
                        dd.more { @if states.failed > 0 { a href="#trouble" { "what helps" } } @else { "none given up" } } }
                }
                @if let Some(at) = overview.oldest_pending_enqueued_at {
                    p { "The pending recording that waits longest was queued " (age(at, now)) "." }
                }
                (unclaimed(overview))
            }
        }
    }
}

fn unclaimed(overview: &Overview) -> Markup {
    let overdue = overview.oldest_due_at.map(|due| overview.now - due);
    let overdue = overdue.filter(|overdue| *overdue >= UNCLAIMED_AFTER);
    html! {
        @if let Some(overdue) = overdue && live(overview).next().is_none() {
            p.warning { "Nobody has claimed what has been due for " (human::span(overdue))
                ". Does a service of the recordings' project run? Its " code { "/readyz" } " says what it waits for." }
        }
    }
}

/// Those whose workers are alive.
fn live(overview: &Overview) -> impl Iterator<Item = &HeldRecording> {
    let now = overview.now;
    let claims = overview.claims.iter();
    claims.filter(move |claim| claim.lease_expires_at > now)
}

/// All running transfers together; `None` while nobody can tell.
fn together(overview: &Overview) -> Option<String> {
    let rate: u64 = live(overview)
        .filter_map(HeldRecording::bytes_per_second)
        .sum();
    (rate > 0).then(|| human::rate(rate))
}

pub(super) fn moving(overview: &Overview) -> Markup {
    let claims = &overview.claims;
    let columns = [
        text("Recording"),
        text("Stage"),
        text("How far"),
        numbers("Rate"),
        numbers("Left"),
        text("Held by"),
    ];
    let shown = claims.iter().take(SHOWN);
    let rows = shown.map(|claim| row(claim, overview));
    html! {
        section aria-labelledby="moving" {
            h2 #moving { "Moving" }
            @if claims.is_empty() {
                p { "No recording is in a worker's hands." }
            } @else {
                (table("moving-table", &html! { "Recordings in progress, the longest held first" }, &columns, rows))
                @if let Some(more @ 1..) = claims.len().checked_sub(SHOWN) {
                    p { "And " (more) " more: " code { "recording-archiver status --output json" } }
                }
            }
        }
    }
}

fn row(claim: &HeldRecording, overview: &Overview) -> Vec<Markup> {
    let now = overview.now;
    let quiet = claim.progress_at.map(|at| now - at);
    let stage = html! {
        @if claim.lease_expires_at <= now {
            span.bad { "lease ended " (age(claim.lease_expires_at, now)) ", anybody may claim it" }
        } @else if let Some(stage) = &claim.stage {
            (safe(stage))
            @if let Some(quiet) = quiet && quiet > QUIET_AFTER {
                span.warn { ", no further for " (human::span(quiet)) }
            }
        } @else {
            "just begun"
        }
    };
    let left = claim.secs_left();
    vec![
        recording(claim.recording_id),
        stage,
        how_far(claim),
        html! { @if let Some(rate) = claim.bytes_per_second() { (human::rate(rate)) } @else { (unknown()) } },
        html! { @if let Some(secs) = left { (human::span(TimeDelta::seconds(secs))) } @else { (unknown()) } },
        html! { (safe(&claim.leased_by)) @if let Some(at) = claim.claimed_at { ", claimed " (age(at, now)) } },
    ]
}

fn how_far(claim: &HeldRecording) -> Markup {
    let there = claim.there_bytes();
    html! {
        @if let Some(whole) = claim.size_bytes.filter(|whole| *whole > 0) {
            @let percent = (i128::from(there) * 100 / i128::from(whole)).clamp(0, 100);
            progress max="100" value=(percent) aria-label={ "of " (size(whole)) } {}
            " " (percent) " % of " (size(whole))
        } @else if there > 0 {
            (size(there)) " so far"
        } @else {
            (unknown())
        }
    }
}
