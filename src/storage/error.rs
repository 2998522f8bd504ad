//! What a store can refuse, in this program's words.

use std::error::Error;
use std::io;

use object_store::client::HttpError;

use super::answer::{StoreAnswer, quoted};
use super::error_codes::AnswerClass;
use super::key::{KeyError, ObjectKey};
use crate::checkpoint::PartsDiffer;
use crate::digest::Fingerprint;
use crate::error::ErrorKind;

/// Longest part of a cause that is passed on.
const MAX_CAUSE_CHARS: usize = 300;
/// Longest part of an object's name: no key of ours is longer.
const MAX_OBJECT_CHARS: usize = 1100;

/// Why something could not be stored, read or proven.
///
/// Holds no error of the store's client: those carry whole answers, in which stores repeat access
/// keys and signed strings.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The store answered, and not with a success. What follows is the answer's class.
    #[error("{operation}: {answer}{}", fix(answer.fix()))]
    Answer {
        operation: Operation,
        answer: Box<StoreAnswer>,
    },
    /// An error of the operating system, in a store that is a directory.
    #[error("{operation}: {cause}")]
    FileSystem {
        operation: Operation,
        class: AnswerClass,
        cause: String,
    },
    /// There was no answer, or none that could be read.
    #[error("{operation}: {cause}")]
    Unavailable { operation: Operation, cause: String },
    /// The store does what S3 does not.
    #[error("{operation}: {cause}")]
    Unexpected { operation: Operation, cause: String },
    /// What the store has, compared by us, is not what was sent.
    #[error("{operation}: {cause}")]
    Damaged { operation: Operation, cause: String },
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
    /// The object is in a storage class that must be restored before it can be read.
    #[error("read {key}: it is in storage class {class}; restore it from there first")]
    Cold { key: ObjectKey, class: String },
    #[error(
        "storage.storage_class is {class}, whose objects cannot be read, but here only reading an object back proves it ({reason}); set a class that can be read at once, and let a lifecycle rule move the objects later"
    )]
    ColdClass { class: String, reason: &'static str },
    /// A refusal that the store does not give for another object.
    #[error("{0}; other objects are accepted")]
    OneObject(Box<Self>),
    /// A refusal that any other object meets as well.
    #[error("{0}; other objects are refused, too")]
    EveryRequest(Box<Self>),
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
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Answer { answer, .. } => kind_of(answer.class()),
            Self::FileSystem { class, .. } => kind_of(*class),
            Self::Unavailable { .. } => ErrorKind::StorageUnavailable,
            Self::Unexpected { .. } | Self::OneObject(_) => ErrorKind::StorageRefused,
            Self::Damaged { .. } | Self::PartsDiffer { .. } | Self::ReadBackDiffers { .. } => {
                ErrorKind::ChecksumMismatch
            }
            Self::Exists { .. } | Self::Conflict { .. } => ErrorKind::ObjectConflict,
            Self::Missing { .. } => ErrorKind::ObjectMissing,
            Self::Cold { .. } => ErrorKind::ObjectArchivedCold,
            Self::ColdClass { .. } => ErrorKind::StorageDenied,
            Self::EveryRequest(refusal) => refusal.kind(),
            Self::Key(_) => ErrorKind::BadMetadata,
        }
    }

    /// What the store's answer, or the operating system's, means; `None` if it is neither.
    pub fn class(&self) -> Option<AnswerClass> {
        match self {
            Self::Answer { answer, .. } => Some(answer.class()),
            Self::FileSystem { class, .. } => Some(*class),
            _ => None,
        }
    }

    /// Whether it is certain that every other recording would meet the same.
    pub const fn stops_everything(&self) -> bool {
        matches!(self, Self::EveryRequest(_))
    }

    /// Whether the same request may succeed in a moment.
    pub(super) fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. }) || self.class() == Some(AnswerClass::Busy)
    }

    /// Whether credentials, rights or settings are wrong.
    pub(super) fn is_denied(&self) -> bool {
        matches!(
            self.class(),
            Some(AnswerClass::Denied | AnswerClass::NoBucket)
        )
    }

    /// Whether it is about who asks or with which settings, and not about what was asked.
    pub(super) fn is_about_every_request(&self) -> bool {
        matches!(self, Self::Answer { answer, .. } if answer.is_about_every_request())
    }

    /// Whether the cause is the one object that was asked for: other objects may be readable.
    pub fn is_about_one_object(&self) -> bool {
        match self {
            Self::Answer { answer, .. } => {
                !answer.is_about_every_request() && concerns_an_object(answer.class())
            }
            Self::FileSystem { class, .. } => concerns_an_object(*class),
            Self::Unavailable { .. } | Self::ColdClass { .. } | Self::EveryRequest(_) => false,
            Self::Unexpected { .. }
            | Self::Damaged { .. }
            | Self::PartsDiffer { .. }
            | Self::Exists { .. }
            | Self::Conflict { .. }
            | Self::ReadBackDiffers { .. }
            | Self::Missing { .. }
            | Self::Cold { .. }
            | Self::OneObject(_)
            | Self::Key(_) => true,
        }
    }

    /// Whether a store may have refused a request for something that it does not know.
    pub(super) fn is_not_understood(&self) -> bool {
        match self {
            Self::Answer { answer, .. } => matches!(
                answer.class(),
                AnswerClass::Refused | AnswerClass::Unsupported
            ),
            Self::Unexpected { .. } => true,
            _ => false,
        }
    }

    /// Whether a store refuses one request for what it is: another one, without some header or of
    /// another operation, may be taken.
    pub(super) fn is_of_this_request(&self) -> bool {
        let is_denied = self.class() == Some(AnswerClass::Denied);
        self.is_not_understood() || is_denied && !self.is_about_every_request()
    }

    /// An answer that is not a success.
    pub(super) fn answered(operation: Operation, answer: StoreAnswer) -> Self {
        Self::Answer {
            operation,
            answer: Box::new(answer),
        }
    }

    /// A request that was not answered.
    pub(super) fn unanswered(operation: Operation, error: reqwest::Error) -> Self {
        Self::Unavailable {
            operation,
            cause: innermost_first(&error.without_url()),
        }
    }

    /// Translates an error of the store's client met while publishing an object.
    pub(super) fn publishing(key: &ObjectKey, error: &object_store::Error) -> Self {
        if is_taken(error) {
            return Self::Exists { key: key.clone() };
        }
        Self::of(Operation::new("publish", key), error)
    }

    /// Translates an error of the store's client met while doing `operation`.
    pub(super) fn of(operation: Operation, error: &object_store::Error) -> Self {
        if let Some(answer) = answer_in(error) {
            return Self::answered(operation, answer.clone());
        }
        if let Some(http) = caused_by::<HttpError>(error) {
            // The client's own words around it name the address.
            let cause = innermost_first(http.source().unwrap_or(http));
            return Self::Unavailable { operation, cause };
        }
        let class = caused_by::<io::Error>(error).and_then(class_of_io);
        // Within "Generic LocalFileSystem error".
        let cause = innermost_first(error.source().unwrap_or(error));
        match class {
            Some(class) => Self::FileSystem {
                operation,
                class,
                cause,
            },
            None => Self::Unavailable { operation, cause },
        }
    }
}

/// Whether a store gives this answer for single objects.
const fn concerns_an_object(class: AnswerClass) -> bool {
    match class {
        AnswerClass::Denied
        | AnswerClass::Refused
        | AnswerClass::Unsupported
        | AnswerClass::Cold
        | AnswerClass::Damaged
        | AnswerClass::Exists
        | AnswerClass::NotFound => true,
        AnswerClass::NoBucket | AnswerClass::Full | AnswerClass::Busy => false,
    }
}

const fn kind_of(class: AnswerClass) -> ErrorKind {
    match class {
        AnswerClass::Denied | AnswerClass::NoBucket => ErrorKind::StorageDenied,
        AnswerClass::Full => ErrorKind::StorageFull,
        AnswerClass::Cold => ErrorKind::ObjectArchivedCold,
        AnswerClass::Damaged => ErrorKind::ChecksumMismatch,
        AnswerClass::Exists => ErrorKind::ObjectConflict,
        AnswerClass::Refused | AnswerClass::Unsupported => ErrorKind::StorageRefused,
        // An upload that is gone is begun anew by the next attempt.
        AnswerClass::Busy | AnswerClass::NotFound => ErrorKind::StorageUnavailable,
    }
}

fn class_of_io(error: &io::Error) -> Option<AnswerClass> {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Some(AnswerClass::Denied)
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(AnswerClass::Full),
        _ => None,
    }
}

/// Whether nothing exists under the path of the request. A bucket that is missing is another thing.
pub(super) fn is_not_found(error: &object_store::Error) -> bool {
    match answer_in(error) {
        Some(answer) => answer.class() == AnswerClass::NotFound,
        None => matches!(error, object_store::Error::NotFound { .. }),
    }
}

/// Whether a create-only write found something under its path.
pub(super) fn is_taken(error: &object_store::Error) -> bool {
    match answer_in(error) {
        Some(answer) => answer.class() == AnswerClass::Exists,
        None => matches!(error, object_store::Error::AlreadyExists { .. }),
    }
}

/// The answer of the store that the client's error carries: see [`super::http`].
pub(super) fn answer_in<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a StoreAnswer> {
    caused_by(error)
}

fn caused_by<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    causes(error).find_map(|error| error.downcast_ref())
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// The innermost cause, which says most, and in parentheses what was being done; each once, safe to
/// print and bounded.
fn innermost_first(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = causes(error).map(ToString::to_string).collect();
    let innermost = texts.pop().unwrap_or_default();
    let mut within = innermost.clone();
    for text in texts.iter_mut().rev() {
        // Several crates repeat their cause in their own text.
        let whole = std::mem::replace(&mut within, text.clone());
        let own = text.strip_suffix(&whole).unwrap_or(text);
        *text = own.trim_end_matches([' ', ':']).to_owned();
    }
    texts.retain(|text| !text.is_empty());
    texts.dedup();
    let text = if texts.is_empty() {
        innermost
    } else {
        format!("{innermost} ({})", texts.join(": "))
    };
    quoted(&text, MAX_CAUSE_CHARS)
}

fn fix(text: Option<&str>) -> String {
    text.map_or_else(String::new, |text| format!("; {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(source: impl Error + Send + Sync + 'static) -> object_store::Error {
        object_store::Error::Generic {
            store: "S3",
            source: Box::new(source),
        }
    }

    fn operation() -> Operation {
        Operation::new("store", &"k")
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: String,
        #[source]
        source: Option<Box<Self>>,
    }

    fn layers(texts: &[&str]) -> Layer {
        let (first, rest) = texts.split_first().unwrap();
        Layer {
            text: (*first).to_owned(),
            source: (!rest.is_empty()).then(|| Box::new(layers(rest))),
        }
    }

    #[test]
    fn cause_begins_with_the_innermost() {
        let error = layers(&[
            "error sending request",
            "client error (Connect)",
            "tcp connect error",
            "Connection refused (os error 111)",
        ]);
        assert_eq!(
            innermost_first(&error),
            "Connection refused (os error 111) (error sending request: client error (Connect): tcp connect error)"
        );
        let repeated = layers(&["open /a: no space", "no space"]);
        assert_eq!(innermost_first(&repeated), "no space (open /a)");
    }

    #[test]
    fn cause_at_length_keeps_the_innermost() {
        let long = "x".repeat(1_000_000);
        let cause = innermost_first(&layers(&[&long, "no route to host\u{202e}"]));
        assert!(cause.starts_with("no route to host\\u{202e}"), "{cause}");
        assert!(cause.len() < 400, "{}", cause.len());
    }

    #[test]
    fn answer_carried_by_the_client_is_found_whole() {
        let answer = StoreAnswer::parse(
            reqwest::StatusCode::BAD_REQUEST,
            "<Error><Code>BadDigest</Code></Error>",
        );
        let http = HttpError::new(object_store::client::HttpErrorKind::Unknown, answer.clone());
        let error = StorageError::of(operation(), &generic(http));
        assert_eq!(error.class(), Some(AnswerClass::Damaged));
        assert_eq!(error.kind(), ErrorKind::ChecksumMismatch);
        assert_eq!(error.to_string(), "store k: 400 BadDigest");
    }

    #[test]
    fn directory_errors_have_their_kind() {
        for (kind, expected) in [
            (io::ErrorKind::PermissionDenied, ErrorKind::StorageDenied),
            (io::ErrorKind::ReadOnlyFilesystem, ErrorKind::StorageDenied),
            (io::ErrorKind::StorageFull, ErrorKind::StorageFull),
            (io::ErrorKind::QuotaExceeded, ErrorKind::StorageFull),
            (io::ErrorKind::TimedOut, ErrorKind::StorageUnavailable),
        ] {
            let error = StorageError::of(operation(), &generic(io::Error::from(kind)));
            assert_eq!(error.kind(), expected, "{error}");
        }
    }
}
