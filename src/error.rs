//! What can go wrong with a recording, in bounded words, and what follows from each.
//!
//! The rules:
//! - Each station has one error enum of its own (`ApiError`, `TransferError`, `StorageError`,
//!   `QueueError`, …) that says the operation and the cure, and maps every variant to an
//!   [`ErrorKind`] in one exhaustive match.
//! - The verdict hangs on the kind alone: [`ErrorKind::disposition`], exhaustive as well. A new
//!   kind does not compile until somebody has decided what follows from it.
//! - Errors are returned, and logged once: where the claim is settled.
//! - No message holds a signed link, a token, a key or a password.
#![deny(clippy::wildcard_enum_match_arm)]

use std::fmt;

use crate::printable::printable;

/// Why a recording is not archived: the bounded vocabulary of rows, logs, metrics and JSON lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorKind {
    /// The provider has no such recording, or it belongs to another project.
    NotFound,
    /// It is still being recorded or processed.
    NotReady,
    /// It is completed, but the provider offers no file.
    NoMedia,
    /// The provider refuses the credentials.
    Unauthorized,
    /// The provider asks for fewer requests.
    Throttled,
    /// The provider's API cannot be reached or answers with a server error.
    ApiUnavailable,
    /// The provider's API refuses a request for another reason, such as its parameters or the balance.
    ApiRefused,
    /// The provider's answer cannot be understood.
    BadMetadata,
    /// The media link leads where this process must not go.
    LinkRefused,
    /// The media host does not accept the link, or no longer.
    LinkExpired,
    /// The media host cannot be reached or answers with an error.
    MediaUnavailable,
    /// A document came instead of media: HTML, XML or JSON.
    NotMedia,
    /// The declared size and the real one differ.
    SizeMismatch,
    /// Fewer bytes came than were announced.
    Truncated,
    /// The file changed while it was being fetched.
    SourceChanged,
    /// No byte moved for the idle time-out.
    Stalled,
    /// The store cannot be reached or answers with a server error.
    StorageUnavailable,
    /// The store refuses the credentials or the operation.
    StorageDenied,
    /// The store has no space left, or a quota is used up.
    StorageFull,
    /// The store refuses a request for a reason that this program does not know.
    StorageRefused,
    /// What the store holds is not what was sent.
    ChecksumMismatch,
    /// Another object stands under the recording's key.
    ObjectConflict,
    /// An archived recording's object is gone.
    ObjectMissing,
    /// The object is in a storage class that must be restored before it can be read.
    ObjectArchivedCold,
    /// Another worker owns the recording now.
    LeaseLost,
    /// The process was told to stop.
    Cancelled,
    /// A defect in this program, or the database failed in the middle.
    Internal,
}

/// What follows from an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Try again with backoff; an attempt is burnt, and the last one fails for good.
    Retry,
    /// Not yet: try again later, no attempt burnt, until `worker.not_ready_deadline` has passed.
    Defer,
    /// Too fast: try again when the provider says so, no attempt burnt.
    Throttle,
    /// For good: nothing will change by itself.
    Fail,
    /// Credentials or configuration are wrong, or the store is full: stop claiming and tell the
    /// operator once.
    Halt,
    /// Nobody's fault: give the claim back, no attempt burnt.
    Release,
}

impl ErrorKind {
    /// Every kind, in the order in which a recording may meet them.
    pub const ALL: [Self; 27] = [
        Self::NotFound,
        Self::NotReady,
        Self::NoMedia,
        Self::Unauthorized,
        Self::Throttled,
        Self::ApiUnavailable,
        Self::ApiRefused,
        Self::BadMetadata,
        Self::LinkRefused,
        Self::LinkExpired,
        Self::MediaUnavailable,
        Self::NotMedia,
        Self::SizeMismatch,
        Self::Truncated,
        Self::SourceChanged,
        Self::Stalled,
        Self::StorageUnavailable,
        Self::StorageDenied,
        Self::StorageFull,
        Self::StorageRefused,
        Self::ChecksumMismatch,
        Self::ObjectConflict,
        Self::ObjectMissing,
        Self::ObjectArchivedCold,
        Self::LeaseLost,
        Self::Cancelled,
        Self::Internal,
    ];

    /// The word stored in rows and printed in JSON lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::NotReady => "not_ready",
            Self::NoMedia => "no_media",
            Self::Unauthorized => "unauthorized",
            Self::Throttled => "throttled",
            Self::ApiUnavailable => "api_unavailable",
            Self::ApiRefused => "api_refused",
            Self::BadMetadata => "bad_metadata",
            Self::LinkRefused => "link_refused",
            Self::LinkExpired => "link_expired",
            Self::MediaUnavailable => "media_unavailable",
            Self::NotMedia => "not_media",
            Self::SizeMismatch => "size_mismatch",
            Self::Truncated => "truncated",
            Self::SourceChanged => "source_changed",
            Self::Stalled => "stalled",
            Self::StorageUnavailable => "storage_unavailable",
            Self::StorageDenied => "storage_denied",
            Self::StorageFull => "storage_full",
            Self::StorageRefused => "storage_refused",
            Self::ChecksumMismatch => "checksum_mismatch",
            Self::ObjectConflict => "object_conflict",
            Self::ObjectMissing => "object_missing",
            Self::ObjectArchivedCold => "object_archived_cold",
            Self::LeaseLost => "lease_lost",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }

    /// What follows. A `size_mismatch` seen twice in a row with the same sizes fails instead; the
    /// queue decides that, because only the row remembers the attempt before.
    pub const fn disposition(self) -> Disposition {
        match self {
            Self::NotFound
            | Self::LinkRefused
            | Self::ObjectConflict
            | Self::ObjectArchivedCold => Disposition::Fail,
            Self::NotReady | Self::NoMedia => Disposition::Defer,
            Self::Throttled => Disposition::Throttle,
            Self::Unauthorized | Self::StorageDenied | Self::StorageFull => Disposition::Halt,
            Self::LeaseLost | Self::Cancelled => Disposition::Release,
            Self::ApiUnavailable
            | Self::ApiRefused
            | Self::BadMetadata
            | Self::LinkExpired
            | Self::MediaUnavailable
            | Self::NotMedia
            | Self::SizeMismatch
            | Self::Truncated
            | Self::SourceChanged
            | Self::Stalled
            | Self::StorageUnavailable
            | Self::StorageRefused
            | Self::ChecksumMismatch
            | Self::ObjectMissing
            | Self::Internal => Disposition::Retry,
        }
    }

    /// What the operator can do about it, in one sentence.
    pub const fn cure(self) -> &'static str {
        match self {
            Self::NotFound => {
                "check the ID and that the API token belongs to the recording's project"
            }
            Self::NotReady => "wait: it is tried again by itself until worker.not_ready_deadline",
            Self::NoMedia => "look at the recording in the SignalWire dashboard: it has no file",
            Self::Unauthorized => {
                "check signalwire.project_id and api_token; the token needs the Video scope"
            }
            Self::Throttled => "nothing, or lower signalwire.requests_per_second",
            Self::ApiUnavailable => "check the network and signalwire.space; it is tried again",
            Self::ApiRefused => {
                "check signalwire.space, signalwire.media_ttl and the account's balance; the message has the API's reason"
            }
            Self::BadMetadata => "report it with the message: the API answered unexpectedly",
            Self::LinkRefused => {
                "the link leads to a private address or is not https: see signalwire.allow_private_media"
            }
            Self::LinkExpired => {
                "nothing if the link expired: the next attempt requests a fresh one; for another code in the message, see the provider's status"
            }
            Self::MediaUnavailable => "check the network to the media host; it is tried again",
            Self::NotMedia => {
                "open the recording in the dashboard: the media host sends a document in its place"
            }
            Self::SizeMismatch => {
                "compare the recording in the dashboard with the sizes reported; `archive --id … --accept-size` takes it as it is"
            }
            Self::Truncated => {
                "nothing: it is fetched again, from where it broke if the source allows"
            }
            Self::SourceChanged => "nothing: it is fetched again from the start",
            Self::Stalled => {
                "check the network; lower transfer.min_rate or raise transfer.idle_timeout on slow lines"
            }
            Self::StorageUnavailable => "check the store and storage.endpoint; it is tried again",
            Self::StorageDenied => {
                "check the storage credentials and their rights on the bucket, or who owns the directory"
            }
            Self::StorageFull => {
                "free space in the store, or raise its quota; claiming resumes automatically"
            }
            Self::StorageRefused => {
                "look up the store's code and message in its documentation; check this host's clock and storage.*"
            }
            Self::ChecksumMismatch => "suspect the store or the line to it; it is sent again",
            Self::ObjectConflict => {
                "another object stands under the key: move it away, then run `retry`"
            }
            Self::ObjectMissing => {
                "run `verify --repair`, or `archive --force`, while the provider still has it"
            }
            Self::ObjectArchivedCold => {
                "restore the object from its cold storage class (aws s3api restore-object), then run `retry`"
            }
            Self::LeaseLost => "nothing: another worker has it",
            Self::Cancelled => "nothing: it is queued again",
            Self::Internal => "report it with the message; it is tried again",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is none of the [`ErrorKind`]s.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{0}` is not an error kind")]
pub struct UnknownErrorKind(String);

impl std::str::FromStr for ErrorKind {
    type Err = UnknownErrorKind;

    fn from_str(text: &str) -> Result<Self, UnknownErrorKind> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownErrorKind(text.to_owned()))
    }
}

/// What helps against an error kind as a row spells it.
pub fn cure_of(error_kind: &str) -> &'static str {
    error_kind.parse().map_or(
        "written by another version of this program: look there",
        ErrorKind::cure,
    )
}

/// What helps an archived recording whose object is damaged or gone, whichever it is.
pub const fn cure_of_damage(_: &str) -> &'static str {
    "run `verify --repair` while the provider still has it"
}

/// An error and all its causes on one line, as logs and rows show it. Words of other parties in it
/// can neither begin a line nor steer a terminal.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    printable(&causes(error)).into_owned()
}

/// The same with the line breaks that the errors have themselves, for the end of a command.
pub fn chain_of_lines(error: &(dyn std::error::Error + 'static)) -> String {
    let text = causes(error);
    let lines: Vec<_> = text.split('\n').map(printable).collect();
    lines.join("\n")
}

fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Several crates repeat their cause in their own text.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed_once_and_reads_back() {
        for kind in ErrorKind::ALL {
            assert_eq!(kind.as_str().parse::<ErrorKind>().unwrap(), kind);
        }
        let mut words: Vec<_> = ErrorKind::ALL.iter().map(|kind| kind.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), ErrorKind::ALL.len());
        assert!("nonsense".parse::<ErrorKind>().is_err());
    }

    #[test]
    fn a_chain_names_each_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("read the answer")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("connection reset"));
        assert_eq!(chain(&error), "read the answer: connection reset");
        let hostile = Outer(std::io::Error::other("a\nb\u{1b}[2J"));
        assert_eq!(chain(&hostile), r"read the answer: a\nb\u{1b}[2J");
        assert_eq!(chain_of_lines(&hostile), "read the answer: a\nb\\u{1b}[2J");
    }
}
