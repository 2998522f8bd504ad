//! Answers for what the simulator remembers of its requests: counts and a bounded log, no secrets.

use axum::http::{HeaderMap, header, request::Parts};

/// So many requests are remembered; older ones are forgotten.
pub(super) const REMEMBERED_REQUESTS: usize = 10_000;

/// What has been asked for one recording since it was added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// GETs of this one recording, answered or refused; listings do not count.
    pub metadata_requests: u64,
    /// Those of them answered with a fresh link.
    pub links_issued: u64,
    /// Requests to the media host that name this recording, answered or refused.
    pub media_requests: u64,
    /// Those of them refused because of the link itself: dead, altered, or with credentials.
    pub media_refused: u64,
    /// Body bytes handed to the sockets, media only.
    pub media_bytes_sent: u64,
    /// The `Range` headers seen, in order of arrival; at most the first 10,000.
    pub ranges: Vec<String>,
    /// The most responses with media that were open at the same time. One ends when its last byte
    /// is handed to the socket, or when the host notices that the client has left.
    pub peak_media_responses: u64,
}

/// One request as it arrived, without the values that are secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRequest {
    pub method: String,
    /// Without the query.
    pub path: String,
    pub has_authorization: bool,
    pub has_referer: bool,
    pub has_cookie: bool,
    pub range: Option<String>,
    pub accept_encoding: Option<String>,
    pub user_agent: Option<String>,
}

impl SeenRequest {
    pub(super) fn of(parts: &Parts) -> Self {
        let value = |name| text(&parts.headers, name).map(str::to_owned);
        Self {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            has_authorization: parts.headers.contains_key(header::AUTHORIZATION),
            has_referer: parts.headers.contains_key(header::REFERER),
            has_cookie: parts.headers.contains_key(header::COOKIE),
            range: value(header::RANGE),
            accept_encoding: value(header::ACCEPT_ENCODING),
            user_agent: value(header::USER_AGENT),
        }
    }
}

/// A header's value, if there is one and it is text.
pub(super) fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
