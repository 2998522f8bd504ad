//! A store's answer that is not a success: status, code and message, parsed once, at the border.

use std::error::Error;
use std::fmt;

use reqwest::StatusCode;

use super::error_codes::{self, AnswerClass};
use crate::printable::printable;

/// Longest part of a store's message that is passed on.
const MAX_MESSAGE_CHARS: usize = 300;
/// The longest code in use has 35 characters.
const MAX_CODE_CHARS: usize = 64;

/// What a store answered instead of a success.
///
/// Holds no more than this of the answer, in which stores repeat access keys and signed strings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreAnswer {
    status: StatusCode,
    /// `None` where the answer has no body, or a proxy's.
    code: Option<String>,
    message: Option<String>,
}

impl StoreAnswer {
    /// Reads an answer. Only S3's XML has a code and a message: a proxy's page has neither.
    pub(super) fn parse(status: StatusCode, body: &str) -> Self {
        let of = |name, most| element(body, name).map(|text| quoted(&unescaped(text), most));
        let code = of("Code", MAX_CODE_CHARS);
        Self {
            status,
            message: of("Message", MAX_MESSAGE_CHARS).filter(|_| code.is_some()),
            code,
        }
    }

    /// The error that a store may send after it has said 200, where the result would be.
    pub(super) fn in_success(status: StatusCode, body: &str) -> Option<Self> {
        let is_error = status.is_success() && body.contains("<Error>");
        is_error.then(|| Self::parse(status, body))
    }

    pub const fn status(&self) -> StatusCode {
        self.status
    }

    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// What follows from the answer: by its code, else by its status.
    pub fn class(&self) -> AnswerClass {
        let by_code = self.code().and_then(error_codes::of_code);
        by_code.unwrap_or_else(|| error_codes::of_status(self.status))
    }

    /// Whether any other request would be refused for the same reason: wrong credentials, a wrong
    /// clock or wrong settings.
    pub fn is_about_every_request(&self) -> bool {
        error_codes::fix(self.status, self.code()).is_some()
    }

    /// What fixes it, if that can be told.
    pub fn fix(&self) -> Option<&'static str> {
        let by_message = || error_codes::hint(self.message.as_deref()?);
        error_codes::fix(self.status, self.code()).or_else(by_message)
    }
}

impl fmt::Display for StoreAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.code, &self.message) {
            (Some(code), Some(message)) => {
                write!(f, "{} {code}: {message}", self.status.as_u16())
            }
            (Some(code), None) => write!(f, "{} {code}", self.status.as_u16()),
            // With its reason phrase.
            (None, _) => write!(f, "{}", self.status),
        }
    }
}

/// So that the store's client can carry it to us unread.
impl Error for StoreAnswer {}

/// The beginning of somebody else's words, safe to print.
pub(super) fn quoted(text: &str, most_chars: usize) -> String {
    let beginning: String = text.chars().take(most_chars).collect();
    printable(&beginning).into_owned()
}

fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (content, _) = rest.split_once(&format!("</{name}>"))?;
    Some(content)
}

fn unescaped(text: &str) -> std::borrow::Cow<'_, str> {
    quick_xml::escape::unescape(text).unwrap_or(std::borrow::Cow::Borrowed(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_keeps_code_and_message_only() {
        let answer = StoreAnswer::parse(
            StatusCode::FORBIDDEN,
            "<?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code><Message>it &quot;differs&quot;</Message><AWSAccessKeyId>AKIASECRET</AWSAccessKeyId></Error>",
        );
        assert_eq!(
            answer.to_string(),
            "403 SignatureDoesNotMatch: it \"differs\""
        );
        assert_eq!(answer.code(), Some("SignatureDoesNotMatch"));
        assert_eq!(answer.fix(), Some("correct the secret access key"));
    }

    #[test]
    fn parse_of_a_proxy_page_keeps_the_status() {
        let page = "<html><head><title>502 Bad Gateway</title></head></html>";
        let answer = StoreAnswer::parse(StatusCode::BAD_GATEWAY, page);
        assert_eq!(answer.to_string(), "502 Bad Gateway");
        assert_eq!(answer.code(), None);
    }

    #[test]
    fn parse_of_a_long_answer_is_bounded_and_printable() {
        let long = "\u{202e}x".repeat(1_000_000);
        for body in [
            format!("<Code>{long}</Code><Message>{long}</Message>"),
            format!("<Code>{long}</Code>"),
            long.clone(),
        ] {
            let text = StoreAnswer::parse(StatusCode::BAD_REQUEST, &body).to_string();
            assert!(text.len() < 5000, "{}", text.len());
            assert!(!text.contains('\u{202e}'));
        }
    }
}
