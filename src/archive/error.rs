//! What can end the story of one recording, over all stations.

use std::time::Duration;

use crate::error::ErrorKind;
use crate::queue::QueueError;
use crate::signalwire::ApiError;
use crate::storage::StorageError;
use crate::transfer::TransferError;

/// Why a recording was not archived in this attempt.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("the recording is not ready yet (status: {status})")]
    NotReady { status: String },
    #[error("the recording is completed, but the API offers no file")]
    NoMedia,
    #[error(transparent)]
    Transfer(#[from] TransferError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(
        "a file of {size_bytes} bytes takes parts of {part_bytes}, and transfer.memory_limit leaves {buffer_bytes} bytes for them"
    )]
    TooLarge {
        size_bytes: u64,
        part_bytes: u64,
        buffer_bytes: u64,
    },
    #[error("the process was told to stop")]
    Cancelled,
    #[error("gave up before trying: {attempts} attempts ended without a result")]
    Exhausted { attempts: u32, last: ErrorKind },
}

impl ArchiveError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Api(error) => error.kind(),
            Self::NotReady { .. } => ErrorKind::NotReady,
            Self::NoMedia => ErrorKind::NoMedia,
            // Nobody has recorded for years: most likely the size is a lie.
            Self::TooLarge { .. } => ErrorKind::BadMetadata,
            Self::Transfer(error) => error.kind(),
            Self::Storage(error) => error.kind(),
            Self::Queue(error) => error.kind(),
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Exhausted { last, .. } => *last,
        }
    }

    /// Whether it is certain that every other recording would meet the same.
    pub const fn stops_everything(&self) -> bool {
        match self {
            Self::Api(error) => error.is_outage(),
            Self::Storage(error) => error.stops_everything(),
            Self::NotReady { .. }
            | Self::NoMedia
            | Self::TooLarge { .. }
            | Self::Transfer(_)
            | Self::Queue(_)
            | Self::Cancelled
            | Self::Exhausted { .. } => false,
        }
    }

    /// How long the other side wants to be left alone, if it said so.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Api(error) => error.retry_after(),
            Self::Transfer(error) => error.retry_after(),
            Self::NotReady { .. }
            | Self::NoMedia
            | Self::TooLarge { .. }
            | Self::Storage(_)
            | Self::Queue(_)
            | Self::Cancelled
            | Self::Exhausted { .. } => None,
        }
    }

    /// The real size, when that was what differed from the declared one.
    pub const fn mismatched_size_bytes(&self) -> Option<u64> {
        match self {
            Self::Transfer(error) => error.mismatched_size_bytes(),
            Self::Api(_)
            | Self::NotReady { .. }
            | Self::NoMedia
            | Self::TooLarge { .. }
            | Self::Storage(_)
            | Self::Queue(_)
            | Self::Cancelled
            | Self::Exhausted { .. } => None,
        }
    }
}
