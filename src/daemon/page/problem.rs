//! What cannot be shown, why, and what helps.

use axum::http::StatusCode;
use maud::html;

use super::frame::{Html, frame};
use super::hosts::Refusal;
use super::value::safe;
use crate::error::chain;
use crate::recording::RecordingId;

/// Postgres' code for a statement that took longer than it may.
const CANCELED: &str = "57014";

#[derive(Debug)]
pub(super) enum Problem {
    /// No month, or what is no month.
    NoMonth,
    /// The text is no recording ID.
    NoId(String),
    UnclearHost,
    ForeignHost(String),
    ReadOnly,
    NothingHere,
    Unknown(RecordingId),
    /// The database has not been reached since the start.
    NotYet,
    Slow,
    /// The database answered with an error, or not at all.
    Database(String),
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unclear => Self::UnclearHost,
            Refusal::Foreign(name) => Self::ForeignHost(name),
        }
    }
}

impl From<&sqlx::Error> for Problem {
    fn from(error: &sqlx::Error) -> Self {
        let code = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code);
        match code.as_deref() {
            Some(CANCELED) => Self::Slow,
            _ => Self::Database(chain(error)),
        }
    }
}

impl Problem {
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::NoMonth | Self::NoId(_) | Self::UnclearHost => StatusCode::BAD_REQUEST,
            Self::ForeignHost(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::ReadOnly => StatusCode::METHOD_NOT_ALLOWED,
            Self::NothingHere | Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::NotYet | Self::Slow | Self::Database(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(super) fn render(&self) -> Html {
        let (title, what) = self.told();
        frame(
            title,
            None,
            &html! {
                h2 { (title) }
                (what)
            },
        )
    }

    /// In a few words, then in sentences with the cure.
    fn told(&self) -> (&'static str, maud::Markup) {
        match self {
            Self::NoMonth => (
                "That is no month",
                html! { p { "Write it as " code { "/?month=2026-01" } ", or choose one on the " a href="/" { "overview" } "." } },
            ),
            Self::NoId(text) => (
                "That is no recording ID",
                html! {
                    @if text.is_empty() {
                        p { "No ID was given." }
                    } @else {
                        p { code { (safe(&text.chars().take(80).collect::<String>())) } " cannot be one." }
                    }
                    p { "An ID looks like " code { "c22d24f6-5a47-4597-9a23-c7d01e696b92" } "." }
                },
            ),
            Self::UnclearHost => (
                "The request names no host",
                html! { p { "Send one " code { "Host" } " header, with the name or address of this server." } },
            ),
            Self::ForeignHost(name) => (
                "This server is not known by that name",
                html! {
                    p { "The page answers to addresses, to " code { "localhost" } " and to the names in "
                        code { "http.hosts" } "; " code { (safe(name)) } " is none of them. Otherwise a web site whose name was made to point here could read it." }
                    p { "If you reach it by this name, add it to the configuration and restart: "
                        code { "http.hosts = \"" (safe(name)) "\"" } }
                },
            ),
            Self::ReadOnly => (
                "This page is only read",
                html! { p { "It takes GET and HEAD. What is to be done is done by the commands: "
                code { "recording-archiver --help" } "." } },
            ),
            Self::NothingHere => (
                "Nothing is here",
                html! { p { "There is the " a href="/" { "overview" } ", and each recording at " code { "/recordings/ID" } "." } },
            ),
            Self::Unknown(id) => (
                "That recording is not in the queue",
                html! {
                    p { "Nobody has queued " code { (id) } " here." }
                    p { "This adds it: " code { "recording-archiver enqueue --id " (id) } }
                },
            ),
            Self::NotYet => (
                "The database is not reached yet",
                html! { p { "The service has started and waits for it. The log says why; "
                code { "recording-archiver doctor" } " checks " code { "database.url" } "." } },
            ),
            Self::Slow => (
                "The database takes too long",
                html! { p { "It has not answered within " (super::ANSWER_WITHIN.as_secs()) " s. Something large may hold it up, or a lock: "
                code { "SELECT * FROM pg_stat_activity WHERE state <> 'idle'" } " tells. Try again." } },
            ),
            Self::Database(error) => (
                "The database does not answer",
                html! {
                    p { code { (safe(error)) } }
                    p { "The service goes on trying by itself; " a href="/readyz" { "/readyz" } " says how it is." }
                },
            ),
        }
    }
}
