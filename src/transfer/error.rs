//! Why the bytes did not come, or not whole.

use std::error::Error;
use std::time::Duration;

use hyper::StatusCode;

use super::guard::LinkRefused;
use super::host::StepReason;
use super::http::HttpError;
use crate::error::ErrorKind;

#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("the media link is refused")]
    Refused(#[from] LinkRefused),
    #[error("the media link is dead ({status})")]
    Expired { status: StatusCode },
    #[error("the media host denies the link ({status}, {code})")]
    LinkDenied { status: StatusCode, code: String },
    #[error("the media host asks for fewer requests (429)")]
    Throttled { retry_after: Option<Duration> },
    #[error("the media host answers {status}")]
    Status { status: StatusCode },
    #[error("fetch the media")]
    Unreachable(#[source] HttpError),
    #[error("the media host answers with another range than was asked for")]
    WrongRange,
    #[error("what came is a document ({content_type}), not media")]
    Document { content_type: String },
    #[error("fetch the media: the body is {language}, not media")]
    DocumentBody { language: &'static str },
    #[error("the provider declares {declared} bytes, the file has {actual}")]
    SizeMismatch { declared: u64, actual: u64 },
    #[error("the provider declares {declared} bytes, the file has more")]
    TooLong { declared: u64 },
    #[error("{received} of {announced} bytes came, then the connection ended")]
    Truncated {
        received: u64,
        announced: u64,
        #[source]
        cause: Option<HttpError>,
    },
    #[error("the file changed at its source while it was fetched")]
    Changed,
    #[error("the media host's answers cannot be joined: {}", reason.as_str())]
    Unjoinable { reason: StepReason },
    #[error("nothing tells how long the file is, so a cut would look like its end")]
    Endless,
    #[error("the file is empty, and the provider does not say that it should be")]
    Empty,
    #[error(
        "transfer stalled: less than transfer.min_rate for {} after {received} bytes",
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
            Self::Expired { .. } | Self::LinkDenied { .. } => ErrorKind::LinkExpired,
            Self::Throttled { .. } => ErrorKind::Throttled,
            Self::Status { .. } | Self::Unreachable(_) | Self::WrongRange | Self::Endless => {
                ErrorKind::MediaUnavailable
            }
            Self::Document { .. } | Self::DocumentBody { .. } => ErrorKind::NotMedia,
            Self::SizeMismatch { .. } | Self::TooLong { .. } => ErrorKind::SizeMismatch,
            Self::Truncated { .. } | Self::Empty => ErrorKind::Truncated,
            Self::Changed | Self::Unjoinable { .. } => ErrorKind::SourceChanged,
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

    /// The real size, when that is what was wrong; the least that it can be where the rest of the
    /// body was not read.
    pub const fn mismatched_size_bytes(&self) -> Option<u64> {
        match self {
            Self::SizeMismatch { actual, .. } => Some(*actual),
            Self::TooLong { declared } => Some(declared.saturating_add(1)),
            _ => None,
        }
    }

    /// Whether a fresh link may help in the middle of a transfer: the old one is refused, or
    /// answers with somebody's page.
    pub(super) const fn is_dead_link(&self) -> bool {
        matches!(
            self,
            Self::Expired { .. } | Self::LinkDenied { .. } | Self::Document { .. }
        )
    }

    /// Whether the host may serve this request when it serves fewer at the same time: the
    /// connection was refused, or nothing came on it.
    pub(super) const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Throttled { .. }
                | Self::Unreachable(_)
                | Self::Status {
                    status: StatusCode::SERVICE_UNAVAILABLE
                }
                | Self::Stalled { received: 0, .. }
                | Self::Truncated { received: 0, .. }
        )
    }

    /// Why a range cannot be had from this host, if that is what the error says: a plain GET may
    /// be served all the same.
    pub(super) fn refuses_ranges(&self) -> Option<StepReason> {
        match self {
            Self::WrongRange => Some(StepReason::Ranges),
            Self::Status { status } if refuses_range_header(*status) => {
                Some(StepReason::RangeStatus)
            }
            _ => None,
        }
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
            | Self::LinkDenied { .. }
            | Self::Document { .. }
            | Self::DocumentBody { .. }
            | Self::SizeMismatch { .. }
            | Self::TooLong { .. }
            | Self::Changed
            | Self::Unjoinable { .. }
            | Self::Endless
            | Self::Empty
            | Self::Task(_)
            | Self::Lost => false,
        }
    }
}

/// Statuses of a host that does not accept `Range` or `If-Range`; not those that say something of
/// the link, the file or the host's load.
const fn refuses_range_header(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        400 | 405 | 406 | 409 | 411..=413 | 416..=418 | 422 | 428 | 431 | 501 | 505
    )
}

/// A refusal by the guard arrives wrapped in the client's error.
impl From<HttpError> for TransferError {
    fn from(error: HttpError) -> Self {
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(refused) = cause.downcast_ref::<LinkRefused>() {
                return Self::Refused(refused.clone());
            }
            source = cause.source();
        }
        Self::Unreachable(error)
    }
}
