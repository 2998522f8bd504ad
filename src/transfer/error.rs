//! Why the bytes did not come, or not whole.

use std::error::Error;
use std::time::Duration;

use reqwest::StatusCode;

use super::guard::LinkRefused;
use crate::error::ErrorKind;

#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("the media link is refused")]
    Refused(#[from] LinkRefused),
    #[error("the media link is dead ({status})")]
    Expired { status: StatusCode },
    #[error("the media host asks for fewer requests (429)")]
    Throttled { retry_after: Option<Duration> },
    #[error("the media host answers {status}")]
    Status { status: StatusCode },
    #[error("fetch the media")]
    Unreachable(#[source] reqwest::Error),
    #[error("the media host answers with another range than was asked for")]
    WrongRange,
    #[error("what came is a document ({content_type}), not media")]
    Document { content_type: String },
    #[error("fetch the media: the body is {language}, not media")]
    DocumentBody { language: &'static str },
    #[error("the provider declares {declared} bytes, the file has {actual}")]
    SizeMismatch { declared: u64, actual: u64 },
    #[error("{received} of {announced} bytes came, then the connection ended")]
    Truncated {
        received: u64,
        announced: u64,
        #[source]
        cause: Option<reqwest::Error>,
    },
    #[error("the file changed at its source while it was fetched")]
    Changed,
    #[error("nothing tells how long the file is, so a cut would look like its end")]
    Endless,
    #[error("the file is empty, and the provider does not say that it should be")]
    Empty,
    #[error(
        "next to no byte came for {} after {received} bytes",
        humantime::format_duration(*idle)
    )]
    Stalled { received: u64, idle: Duration },
    #[error("a task of the transfer ended: {0}")]
    Task(#[from] tokio::task::JoinError),
    #[error("all connections ended, and a part is missing")]
    Lost,
}

impl TransferError {
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused(_) => ErrorKind::LinkRefused,
            Self::Expired { .. } => ErrorKind::LinkExpired,
            Self::Throttled { .. } => ErrorKind::Throttled,
            Self::Status { .. } | Self::Unreachable(_) | Self::WrongRange | Self::Endless => {
                ErrorKind::MediaUnavailable
            }
            Self::Document { .. } | Self::DocumentBody { .. } => ErrorKind::NotMedia,
            Self::SizeMismatch { .. } => ErrorKind::SizeMismatch,
            Self::Truncated { .. } | Self::Empty => ErrorKind::Truncated,
            Self::Changed => ErrorKind::SourceChanged,
            Self::Stalled { .. } => ErrorKind::Stalled,
            Self::Task(_) | Self::Lost => ErrorKind::Internal,
        }
    }

    /// How long the media host wants to be left alone, if it said so.
    pub const fn retry_after(&self) -> Option<Duration> {
        if let Self::Throttled { retry_after } = self {
            *retry_after
        } else {
            None
        }
    }

    /// The real size, when that is what was wrong.
    pub const fn mismatched_size_bytes(&self) -> Option<u64> {
        if let Self::SizeMismatch { actual, .. } = self {
            Some(*actual)
        } else {
            None
        }
    }

    /// Whether a fresh link may help in the middle of a transfer: the old one is refused, or
    /// answers with somebody's page.
    pub(super) const fn is_dead_link(&self) -> bool {
        matches!(self, Self::Expired { .. } | Self::Document { .. })
    }

    /// Whether asking for the rest again may help.
    pub(super) const fn is_break(&self) -> bool {
        match self {
            Self::Throttled { .. }
            | Self::Status { .. }
            | Self::Unreachable(_)
            | Self::WrongRange
            | Self::Truncated { .. }
            | Self::Stalled { .. } => true,
            Self::Refused(_)
            | Self::Expired { .. }
            | Self::Document { .. }
            | Self::DocumentBody { .. }
            | Self::SizeMismatch { .. }
            | Self::Changed
            | Self::Endless
            | Self::Empty
            | Self::Task(_)
            | Self::Lost => false,
        }
    }
}

/// A refusal by the guard arrives wrapped in the client's error; the link must not.
pub(super) fn unreachable(error: reqwest::Error) -> TransferError {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(refused) = cause.downcast_ref::<LinkRefused>() {
            return TransferError::Refused(refused.clone());
        }
        source = cause.source();
    }
    TransferError::Unreachable(error.without_url())
}
