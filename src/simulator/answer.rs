//! Answers for the shape of refusals: the API's two JSON forms and the XML of the media host.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};

use super::{ErrorShape, fault::RetryAfter, recording::quoted, world::now};

pub(super) const HTML_PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head>\
    <body><h1>Your session has ended</h1></body></html>\n";

/// A refusal on its way up through `?`; boxed, since a response is large.
#[derive(Debug)]
pub(super) struct Refusal(Box<Response>);

impl From<Response> for Refusal {
    fn from(response: Response) -> Self {
        Self(Box::new(response))
    }
}

impl Refusal {
    pub(super) fn into_response(self) -> Response {
        *self.0
    }
}

/// A whole answer with a body of known length.
pub(super) fn answer(status: StatusCode, content_type: &str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    set(&mut response, header::CONTENT_TYPE, content_type);
    response
}

/// Sets a header. Text that cannot stand in a header is left out.
pub(super) fn set(response: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

pub(super) fn json(status: StatusCode, body: String) -> Response {
    answer(status, "application/json; charset=utf-8", body)
}

pub(super) fn redirect(to: &str) -> Response {
    let mut response = answer(StatusCode::FOUND, "text/plain", "");
    set(&mut response, header::LOCATION, to);
    response
}

pub(super) fn throttled(mut response: Response, after: RetryAfter) -> Response {
    let value = match after {
        RetryAfter::Absent => return response,
        RetryAfter::Seconds(seconds) => seconds.to_string(),
        RetryAfter::DateInSeconds(seconds) => {
            httpdate::fmt_http_date(now() + Duration::from_secs(seconds))
        }
    };
    set(&mut response, header::RETRY_AFTER, &value);
    response
}

/// A refusal of the API, in its documented form for this status.
pub(super) fn api_error(shape: ErrorShape, status: StatusCode) -> Response {
    let reason = status.canonical_reason().unwrap_or("Error");
    match (shape, status) {
        (_, StatusCode::UNPROCESSABLE_ENTITY) => invalid(shape, "media_ttl", "is not acceptable"),
        (ErrorShape::Flat, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED) => {
            let code = reason.to_ascii_lowercase().replace(' ', "_");
            json(status, detail("client_error", &code, reason, None))
        }
        _ => json(status, format!("{{\"error\":{}}}", quoted(reason))),
    }
}

/// 422 for one parameter.
pub(super) fn invalid(shape: ErrorShape, attribute: &str, problem: &str) -> Response {
    let message = format!("{attribute} {problem}");
    let detail = detail(
        "validation_error",
        "invalid_parameter",
        &message,
        Some(attribute),
    );
    let body = match shape {
        ErrorShape::Documented => format!("{{\"errors\":[{detail}]}}"),
        ErrorShape::Flat => detail,
    };
    json(StatusCode::UNPROCESSABLE_ENTITY, body)
}

fn detail(kind: &str, code: &str, message: &str, attribute: Option<&str>) -> String {
    let url = format!("https://developer.signalwire.com/rest/overview/error-codes/#{code}");
    format!(
        "{{\"type\":{},\"code\":{},\"message\":{},\"attribute\":{},\"url\":{}}}",
        quoted(kind),
        quoted(code),
        quoted(message),
        attribute.map_or_else(|| "null".into(), quoted),
        quoted(&url),
    )
}

/// A refusal of the media host. `details` is XML that follows the message.
pub(super) fn xml_error(status: StatusCode, code: &str, message: &str, details: &str) -> Response {
    answer(
        status,
        "application/xml",
        xml_document(code, message, details),
    )
}

pub(super) fn xml_document(code: &str, message: &str, details: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
         <Message>{message}</Message>{details}<RequestId>SIMULATED0000000</RequestId>\
         <HostId>simulated</HostId></Error>"
    )
}

/// The S3 error that goes with a bare status.
pub(super) fn xml_status(status: StatusCode) -> Response {
    let (code, message) = match status.as_u16() {
        403 => ("AccessDenied", "Access Denied"),
        404 => ("NoSuchKey", "The specified key does not exist."),
        410 => ("Gone", "The object is gone."),
        429 | 503 => ("SlowDown", "Please reduce your request rate."),
        500 => (
            "InternalError",
            "We encountered an internal error. Please try again.",
        ),
        _ => ("UnexpectedError", "The request could not be served."),
    };
    xml_error(status, code, message, "")
}
