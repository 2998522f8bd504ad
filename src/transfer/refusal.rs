//! What a media host says when it refuses a link: that it has expired, or another reason by its code.

use hyper::StatusCode;

use super::error::TransferError;

/// Longest code that is passed on in a message.
const MAX_CODE_CHARS: usize = 64;
/// Codes of S3 for a link that has died, whatever the message beside them says.
const DEAD_LINK: [&str; 2] = ["AccessDenied", "ExpiredToken"];

/// Returns what the refusal is. S3 answers 403 to a dead link; others answer 400 or 404 and explain in the
/// body.
pub(super) fn refusal(status: StatusCode, body: &[u8]) -> TransferError {
    let body = String::from_utf8_lossy(body);
    if body.to_ascii_lowercase().contains("expired") {
        return TransferError::Expired { status };
    }
    let denies_link = matches!(
        status,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::GONE
    );
    match code(&body).filter(|code| !DEAD_LINK.contains(&code.as_str())) {
        Some(code) if denies_link => TransferError::LinkDenied { status, code },
        _ if denies_link => TransferError::Expired { status },
        _ => TransferError::Status { status },
    }
}

/// Returns the code of an error document in XML or JSON, made of the characters that codes have.
fn code(body: &str) -> Option<String> {
    let json = || {
        let value: serde_json::Value = serde_json::from_str(body).ok()?;
        let mut fields = ["code", "error", "message"].into_iter();
        let text = fields.find_map(|field| value[field].as_str())?;
        Some(text.to_owned())
    };
    let xml = || {
        let (_, rest) = body.split_once("<Code>")?;
        let (code, _) = rest.split_once("</Code>")?;
        Some(code.to_owned())
    };
    let code: String = xml()
        .or_else(json)?
        .chars()
        .filter(|it| it.is_ascii_alphanumeric() || matches!(it, '.' | '_' | '-' | ' '))
        .take(MAX_CODE_CHARS)
        .collect();
    Some(code).filter(|code| !code.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ErrorKind, chain};

    #[test]
    fn refusal_is_expired_or_named_by_its_code() {
        use ErrorKind::{LinkExpired, MediaUnavailable};

        for (status, body, kind, says) in [
            (
                403,
                "<Error><Code>AccessDenied</Code></Error>",
                LinkExpired,
                "403",
            ),
            (
                403,
                "<Code>AccessDenied</Code>Request has expired",
                LinkExpired,
                "403",
            ),
            (403, "", LinkExpired, "403"),
            (410, "gone", LinkExpired, "410"),
            (400, "<Code>ExpiredToken</Code>", LinkExpired, "400"),
            (404, "this link has Expired", LinkExpired, "404"),
            (
                403,
                "<Code>InvalidAccessKeyId</Code>",
                LinkExpired,
                "InvalidAccessKeyId",
            ),
            (
                403,
                "<Code>SignatureDoesNotMatch</Code>",
                LinkExpired,
                "SignatureDoesNotMatch",
            ),
            (
                401,
                r#"{"error":"Unauthorized"}"#,
                LinkExpired,
                "Unauthorized",
            ),
            (
                403,
                r#"{"code":"ip_not_allowed","message":"x"}"#,
                LinkExpired,
                "ip_not_allowed",
            ),
            (
                403,
                "{\"error\":\"a\\u001b\\u202eb\"}",
                LinkExpired,
                ", ab)",
            ),
            (404, "<Code>NoSuchKey</Code>", MediaUnavailable, "404"),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let error = refusal(status, body.as_bytes());
            assert_eq!(error.kind(), kind, "{body}");
            assert!(chain(&error).contains(says), "{body}: {error}");
        }
    }
}
