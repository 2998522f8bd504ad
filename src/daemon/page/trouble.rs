//! What did not go well, by kind, and what helps.

use maud::{Markup, html};

use super::figures::Figures;
use super::table::{numbers, table, text};
use super::value::{age, number, recording, safe, told};
use crate::error::{ErrorKind, cure_of, cure_of_damage};
use crate::queue::overview::KindCount;

pub(super) fn section(figures: &Figures) -> Markup {
    let overview = &figures.overview;
    let is_well = overview.failed.is_empty()
        && overview.retrying.is_empty()
        && overview.damaged.is_empty()
        && overview.stuck.is_empty();
    html! {
        section aria-labelledby="trouble" {
            h2 #trouble { "Trouble" }
            @if is_well {
                p { "None: nothing has failed, is tried again or was found damaged." }
            }
            @if !overview.failed.is_empty() {
                h3 { "Failed" }
                (kinds("failed-kinds", "Given up, by reason", &overview.failed, cure_of))
                (retries(&overview.failed))
                (failed_last(figures))
            }
            @if !overview.retrying.is_empty() {
                h3 { "To be tried again" }
                (kinds("retrying-kinds", "Pending again after something went wrong, by reason", &overview.retrying, cure_of))
            }
            @if !overview.stuck.is_empty() { (stuck(figures)) }
            @if !overview.damaged.is_empty() {
                h3 { "Damaged" }
                (kinds("damaged-kinds", "Archived, but found damaged or missing since", &overview.damaged, cure_of_damage))
            }
        }
    }
}

fn kinds(
    id: &str,
    caption: &str,
    kinds: &[KindCount],
    cure: impl Fn(&str) -> &'static str,
) -> Markup {
    let columns = [text("Reason"), numbers("Recordings"), text("What helps")];
    let rows = kinds.iter().map(|kind| {
        vec![
            html! { code { (safe(&kind.error_kind)) } },
            html! { (number(kind.recordings)) },
            told(cure(&kind.error_kind)),
        ]
    });
    table(id, &html! { (caption) }, &columns, rows)
}

/// The commands that put what failed back into the queue.
fn retries(failed: &[KindCount]) -> Markup {
    // `retry` takes only kinds that this version knows.
    let known = failed
        .iter()
        .filter_map(|kind| kind.error_kind.parse::<ErrorKind>().ok());
    html! {
        p { "When that is done, try again:" }
        ul.commands {
            @for kind in known { li { code { "recording-archiver retry --failed --kind " (kind) } } }
        }
    }
}

fn failed_last(figures: &Figures) -> Markup {
    let now = figures.overview.now;
    let columns = [
        text("Recording"),
        text("Failed"),
        text("Reason"),
        text("Message"),
    ];
    let rows = figures.failed_last.iter().map(|failed| {
        vec![
            recording(failed.recording_id),
            age(failed.failed_at, now),
            html! { code { (safe(&failed.error_kind)) } },
            html! { span.message { (safe(&failed.error_message)) } },
        ]
    });
    let caption = html! { "The last that failed" };
    table("failed-last", &caption, &columns, rows)
}

fn stuck(figures: &Figures) -> Markup {
    let now = figures.overview.now;
    let columns = [
        text("Recording"),
        text("Queued"),
        numbers("Attempts"),
        text("Due"),
        text("Last error"),
    ];
    let rows = figures.overview.stuck.iter().map(|stuck| {
        vec![
            recording(stuck.recording_id),
            age(stuck.enqueued_at, now),
            html! { (number(stuck.attempts_burnt.into())) },
            age(stuck.next_attempt_at, now),
            html! {
                code { (safe(&stuck.error_kind)) }
                " " span.message { (safe(stuck.error_message.as_deref().unwrap_or("no message"))) }
            },
        ]
    });
    html! {
        h3 { "Stuck" }
        (table("stuck-table", &html! { "Queued more than a day ago and still tried, the oldest first" }, &columns, rows))
    }
}
