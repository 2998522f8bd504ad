//! Exit codes, and the words that go with them.

use std::io;
use std::process::ExitCode;

use super::report::CostsError;
use crate::config::ConfigError;
use crate::database::embedded::EmbeddedError;
use crate::database::{DatabaseError, GrantError, is_outage};
use crate::error::{Disposition, ErrorKind};
use crate::queue::QueueError;
use crate::signalwire::ApiError;
use crate::storage::StorageError;
use crate::upkeep::{RetireError, WalkError};

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// 0: all done.
    Done,
    /// 1: something failed for good.
    Failed,
    /// 2: wrong usage or configuration; credentials included.
    Usage,
    /// 75 (`EX_TEMPFAIL`): not all done yet, it will be tried again.
    Later,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Later => 75,
        })
    }
}

/// The command was used wrongly, in a way that the argument parser cannot see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct UsageError(pub(super) String);

impl Exit {
    /// The code for a run that stopped because every recording would meet the same.
    pub(super) fn of_halt(kind: ErrorKind) -> Self {
        match kind.disposition() {
            // Space comes back without another configuration.
            Disposition::Halt if kind == ErrorKind::StorageFull => Self::Later,
            Disposition::Halt => Self::Usage,
            // An open breaker: the other side is down, not the configuration wrong.
            Disposition::Retry
            | Disposition::Defer
            | Disposition::Throttle
            | Disposition::Fail
            | Disposition::Release => Self::Later,
        }
    }

    /// The code for an error that ended a command.
    pub(super) fn of(error: &anyhow::Error) -> Self {
        for cause in error.chain() {
            if cause.is::<ConfigError>() || cause.is::<UsageError>() {
                return Self::Usage;
            }
            if let Some(CostsError::Period(_)) = cause.downcast_ref() {
                return Self::Usage;
            }
            if let Some(error) = cause.downcast_ref::<ApiError>() {
                return match error.kind().disposition() {
                    // Refused credentials are wrong configuration.
                    Disposition::Halt => Self::Usage,
                    Disposition::Fail => Self::Failed,
                    Disposition::Retry
                    | Disposition::Defer
                    | Disposition::Throttle
                    | Disposition::Release => Self::Later,
                };
            }
            if let Some(error) = cause.downcast_ref::<StorageError>() {
                return match error.kind() {
                    ErrorKind::StorageDenied => Self::Usage,
                    ErrorKind::StorageUnavailable | ErrorKind::StorageFull => Self::Later,
                    _ => Self::Failed,
                };
            }
            if cause.is::<WalkError>() && cause.source().is_none() || is_taken_over(cause) {
                return Self::Later;
            }
            match cause.downcast_ref() {
                Some(RetireError::Refused(error)) => return Self::of_halt(error.kind()),
                Some(RetireError::Denied(_)) => return Self::Usage,
                Some(RetireError::Uncertain(..)) => return Self::Later,
                Some(RetireError::Queue(_)) | None => {}
            }
            if let Some(error) = cause.downcast_ref::<DatabaseError>() {
                if error.is_configuration() {
                    return Self::Usage;
                }
                if error.is_outage() {
                    return Self::Later;
                }
            }
            if let Some(GrantError::NoSuchRole { .. }) = cause.downcast_ref() {
                return Self::Usage;
            }
            if cause.is::<EmbeddedError>() {
                return Self::Usage;
            }
            if let Some(error) = cause.downcast_ref() {
                return if is_outage(error) {
                    Self::Later
                } else {
                    Self::Failed
                };
            }
        }
        Self::Failed
    }
}

/// Whether another process does the rest.
fn is_taken_over(cause: &(dyn std::error::Error + 'static)) -> bool {
    matches!(cause.downcast_ref(), Some(QueueError::WalkTaken))
}

/// An error with all its causes, each said once.
pub(super) fn explain(error: &anyhow::Error) -> String {
    crate::error::chain_of_lines(error.as_ref())
}

/// Whoever read our output has enough (`| head`): no error.
pub(super) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}
