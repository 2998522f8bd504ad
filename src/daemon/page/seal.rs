//! The headers of every answer: nothing but this page's own style sheet is taken, nobody frames it,
//! nothing of it is kept or told on.

use std::sync::LazyLock;

use axum::http::header::{
    ALLOW as ALLOW_HEADER, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue,
    REFERRER_POLICY, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

use super::frame::STYLE;

/// Of a 405.
pub(super) const ALLOW: (HeaderName, HeaderValue) =
    (ALLOW_HEADER, HeaderValue::from_static("GET, HEAD"));
/// Of a 503: what it waits for takes some seconds at least.
pub(super) const RETRY: (HeaderName, HeaderValue) = (RETRY_AFTER, HeaderValue::from_static("10"));

/// The style sheet is named by its digest, so that no other one counts, not even one that got into
/// the page by mistake. Images: the icon in the page's head.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let digest = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{digest}'; img-src data:; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("base64 is visible ASCII")
});

pub(super) async fn seal(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    for (name, value) in [
        (X_FRAME_OPTIONS, "DENY"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    response
}
