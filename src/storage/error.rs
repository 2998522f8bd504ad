//! What a store can refuse, in this program's words.

use std::error::Error;
use std::io;

use reqwest::StatusCode;

use super::codes;
use super::key::{KeyError, ObjectKey};
use crate::checkpoint::PartsDiffer;
use crate::digest::Fingerprint;
use crate::error::{ErrorKind, chain};
use crate::printable::printable;

/// Longest part of a store's words that is passed on.
const MAX_QUOTED_CHARS: usize = 300;
/// Longest part of an object's name: no key of ours is longer.
const MAX_OBJECT_CHARS: usize = 1100;

/// Why something could not be stored, read or proven.
///
/// Holds no error of the store's client: those carry whole answers, in which stores repeat access
/// keys and signed strings. Only the store's code and message are kept.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("{operation}: the store denies it ({said}){}", helps(said))]
    Denied { operation: Operation, said: String },
    #[error("{operation}: there is no such bucket; create it, or correct storage.url")]
    NoBucket { operation: Operation },
    #[error("{operation}: {said}")]
    Unavailable { operation: Operation, said: String },
    #[error("{operation}: the store refuses it ({said})")]
    Refused { operation: Operation, said: String },
    #[error("{operation}: the store received other bytes than were sent ({said})")]
    Damaged { operation: Operation, said: String },
    #[error("refuse to publish {key}: its parts are not what was read")]
    PartsDiffer {
        key: ObjectKey,
        #[source]
        source: PartsDiffer,
    },
    #[error("an object stands under {key} already")]
    Exists { key: ObjectKey },
    #[error(
        "another object stands under {key}: it has {found_bytes} bytes{}, the recording {expected_bytes}", 
        if found_bytes == expected_bytes { " with another SHA-256" } else { "" }
    )]
    Conflict {
        key: ObjectKey,
        found_bytes: u64,
        expected_bytes: u64,
    },
    #[error("{key} was read back as {found:?}, sent was {sent:?}")]
    ReadBackDiffers {
        key: ObjectKey,
        found: Box<Fingerprint>,
        sent: Box<Fingerprint>,
    },
    #[error("{key} is gone right after it was stored")]
    Missing { key: ObjectKey },
    #[error("name the object")]
    Key(#[from] KeyError),
}

/// What was being done, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    verb: &'static str,
    object: String,
}

impl Operation {
    pub(super) fn new(verb: &'static str, object: &impl ToString) -> Self {
        Self {
            verb,
            object: quoted(&object.to_string(), MAX_OBJECT_CHARS),
        }
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.object)
    }
}

impl StorageError {
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Denied { .. } | Self::NoBucket { .. } => ErrorKind::StorageDenied,
            Self::Unavailable { .. } => ErrorKind::StorageUnavailable,
            // Asking again would meet the same: what it has is not what was meant to be there.
            Self::Refused { .. }
            | Self::Damaged { .. }
            | Self::PartsDiffer { .. }
            | Self::ReadBackDiffers { .. } => ErrorKind::ChecksumMismatch,
            Self::Exists { .. } | Self::Conflict { .. } => ErrorKind::ObjectConflict,
            Self::Missing { .. } => ErrorKind::ObjectMissing,
            Self::Key(_) => ErrorKind::BadMetadata,
        }
    }

    /// Whether it is about who asks or with which settings, and not about what was asked.
    pub(super) fn is_about_every_request(&self) -> bool {
        matches!(self, Self::Denied { said, .. } if codes::cure(said).is_some())
    }

    /// A store may refuse a part for what became of its upload, which another one may not meet.
    pub(super) fn worth_another_upload(self) -> Self {
        match self {
            Self::Refused { operation, said } => Self::Unavailable { operation, said },
            error => error,
        }
    }

    /// Whether a store may have refused a request for something that it does not know.
    pub(super) fn is_not_understood(&self) -> bool {
        match self {
            // What is gone says nothing of what is known.
            Self::Refused { said, .. } => !said.contains("NoSuch"),
            Self::Unavailable { said, .. } => {
                said.contains("501 Not Implemented") || said.contains("NotImplemented")
            }
            _ => false,
        }
    }

    /// Translates an answer that is none of success.
    pub(super) fn said(operation: Operation, status: StatusCode, body: &str) -> Self {
        let said = match words(body) {
            words if words.is_empty() => format!("the store answers {status}"),
            words => words,
        };
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Denied { operation, said },
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                Self::Unavailable { operation, said }
            }
            _ if codes::is_trouble(&said) => Self::Unavailable { operation, said },
            _ if said.contains("NoSuchBucket") => Self::NoBucket { operation },
            _ if codes::is_refusal(&said) => Self::Denied { operation, said },
            _ if codes::is_damage(&said) => Self::Damaged { operation, said },
            _ if status.is_client_error() => Self::Refused { operation, said },
            _ => Self::Unavailable { operation, said },
        }
    }

    /// Translates an error of the store's client met while publishing an object.
    pub(super) fn publishing(key: &ObjectKey, error: &object_store::Error) -> Self {
        match error {
            object_store::Error::AlreadyExists { .. }
            | object_store::Error::Precondition { .. } => Self::Exists { key: key.clone() },
            error => Self::of(Operation::new("publish", key), error),
        }
    }

    /// Translates an error of the store's client met while doing `operation`.
    pub(super) fn of(operation: Operation, error: &object_store::Error) -> Self {
        let said = words(&chain(error));
        match error {
            object_store::Error::PermissionDenied { .. }
            | object_store::Error::Unauthenticated { .. } => Self::Denied { operation, said },
            object_store::Error::NotFound { .. } if said.contains("NoSuchBucket") => {
                Self::NoBucket { operation }
            }
            _ if codes::is_trouble(&said) => Self::Unavailable { operation, said },
            _ if codes::is_refusal(&said) => Self::Denied { operation, said },
            _ if codes::is_damage(&said) => Self::Damaged { operation, said },
            _ if is_denied_by_the_filesystem(error) => Self::Denied { operation, said },
            _ => Self::Unavailable { operation, said },
        }
    }
}

fn helps(said: &str) -> String {
    codes::cure(said).map_or_else(String::new, |cure| format!("; {cure}"))
}

fn is_denied_by_the_filesystem(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return matches!(
                io.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            );
        }
        cause = error.source();
    }
    false
}

/// The store's code and message out of an XML answer, or the client's own words up to it.
fn words(text: &str) -> String {
    let quote = |text| quoted(text, MAX_QUOTED_CHARS);
    match (element(text, "Code"), element(text, "Message")) {
        (Some(code), Some(message)) => format!("{}: {}", quote(code), quote(message)),
        (Some(code), None) => quote(code),
        // A proxy's error page is nobody's message.
        _ => quote(
            text.split('<')
                .next()
                .unwrap_or_default()
                .trim_end_matches([' ', ':']),
        ),
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic {
            store: "S3",
            source: text.to_owned().into(),
        }
    }

    fn operation() -> Operation {
        Operation::new("store", &"k")
    }

    #[test]
    fn a_stores_answer_is_cut_to_code_and_message() {
        let error = generic(
            "Client error with status 403: <?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code><Message>no match</Message><AWSAccessKeyId>AKIASECRET</AWSAccessKeyId></Error>",
        );
        assert_eq!(
            StorageError::of(operation(), &error).to_string(),
            "store k: the store denies it (SignatureDoesNotMatch: no match); correct the secret access key"
        );
    }

    #[test]
    fn what_a_store_says_at_length_is_cut_and_safe_to_print() {
        let long = "\u{202e}x".repeat(1_000_000);
        for text in [
            format!("<Code>{long}</Code><Message>{long}</Message>"),
            format!("<Code>{long}</Code>"),
            long.clone(),
        ] {
            let operation = Operation::new("store", &long);
            let said = StorageError::of(operation, &generic(&text)).to_string();
            assert!(said.len() < 20_000, "{}", said.len());
            assert!(!said.contains('\u{202e}'));
        }
    }

    #[test]
    fn damage_is_told_from_trouble() {
        let damaged = StorageError::of(operation(), &generic("<Code>BadDigest</Code>"));
        assert_eq!(damaged.kind(), ErrorKind::ChecksumMismatch);
        let trouble = StorageError::of(operation(), &generic("connection refused"));
        assert_eq!(trouble.kind(), ErrorKind::StorageUnavailable);
    }

    #[test]
    fn what_is_gone_is_not_taken_for_what_is_not_known() {
        for (status, code, is_not_understood) in [
            (StatusCode::BAD_REQUEST, "InvalidRequest", true),
            (StatusCode::NOT_IMPLEMENTED, "NotImplemented", true),
            (StatusCode::NOT_FOUND, "NoSuchUpload", false),
            (StatusCode::SERVICE_UNAVAILABLE, "SlowDown", false),
        ] {
            let body = format!("<Error><Code>{code}</Code></Error>");
            let error = StorageError::said(operation(), status, &body);
            assert_eq!(error.is_not_understood(), is_not_understood, "{error}");
        }
    }

    #[test]
    fn a_directory_without_write_permission_is_denied() {
        let error = object_store::Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(io::Error::from(io::ErrorKind::PermissionDenied)),
        };
        assert_eq!(
            StorageError::of(operation(), &error).kind(),
            ErrorKind::StorageDenied
        );
    }
}
