//! What every page has: head, style sheet, landmarks, the form to look up a recording.

use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::human;

pub(super) const STYLE: &str = include_str!("style.css");

const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='7' fill='%232563eb'/%3E%3Ccircle cx='8' cy='8' r='3' fill='%23fff'/%3E%3C/svg%3E";

/// A whole page.
#[derive(Debug)]
pub(super) struct Html(Markup);

impl IntoResponse for Html {
    fn into_response(self) -> Response {
        axum::response::Html(self.0.into_string()).into_response()
    }
}

/// Puts the content of `main` into a page. `seen_at` is the database's time of what is shown.
pub(super) fn frame(title: &str, seen_at: Option<DateTime<Utc>>, main: &Markup) -> Html {
    Html(html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " – recording-archiver" }
                link rel="icon" href=(ICON);
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header {
                    h1 { a href="/" { "recording-archiver" } }
                    form role="search" action="/recordings" method="get" {
                        label for="id" { "Recording ID" }
                        input #id name="id" type="text" required maxlength="80" autocomplete="off"
                            autocapitalize="none" spellcheck="false" placeholder="c22d24f6-5a47-…";
                        button type="submit" { "Look up" }
                    }
                }
                main #main tabindex="-1" { (main) }
                footer {
                    @if let Some(at) = seen_at {
                        @let exact = human::time(at);
                        p { "As of " time datetime=(exact) { (exact) } ", by the database's clock. Days and months are UTC. Load the page again for newer figures." }
                    }
                    p { "recording-archiver " (env!("CARGO_PKG_VERSION")) " · "
                        a href="/readyz" { "readiness" } " · " a href="/metrics" { "metrics" } }
                }
            }
        }
    })
}
