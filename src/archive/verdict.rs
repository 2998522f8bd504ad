//! From an error to what becomes of the row: pure, and decided in one place.

use std::time::Duration;

use crate::error::{Disposition, ErrorKind};
use crate::queue::{Claim, Failure};
use crate::retry::{backoff, not_ready_delay, throttle_delay};

/// The rules of giving up.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Attempts that may be burnt.
    pub max_attempts: u32,
    /// How long a recording may stay not ready.
    pub not_ready_deadline: Duration,
    /// The operator takes the file in whatever size it has.
    pub accept_size: bool,
}

/// What becomes of a claim that did not end well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    RetryLater {
        delay: Duration,
    },
    Defer {
        delay: Duration,
    },
    /// To another project that shares the database; failed if there is none.
    HandOn,
    Fail,
    /// Given back; `halt` says that claiming more would be pointless.
    Release {
        halt: bool,
    },
}

/// What the row remembers that bears on the verdict.
#[derive(Debug, Clone, Copy)]
pub(super) struct History {
    pub(super) attempt: u32,
    pub(super) not_ready_for: Duration,
    pub(super) mismatched_size_bytes: Option<u64>,
}

impl From<&Claim> for History {
    fn from(claim: &Claim) -> Self {
        Self {
            attempt: claim.attempt(),
            not_ready_for: claim.not_ready_for(),
            mismatched_size_bytes: claim.mismatched_size_bytes(),
        }
    }
}

impl Policy {
    /// Decides. `retry_after` is what the other side asked for, `jitter` is uniform in `0.0..1.0`.
    pub(super) fn verdict(
        &self,
        failure: &Failure,
        history: History,
        retry_after: Option<Duration>,
        jitter: f64,
    ) -> Verdict {
        let same_size_again = failure.mismatched_size_bytes.is_some()
            && failure.mismatched_size_bytes == history.mismatched_size_bytes;
        match failure.kind.disposition() {
            Disposition::Fail if failure.kind == ErrorKind::NotFound => Verdict::HandOn,
            Disposition::Fail => Verdict::Fail,
            Disposition::Retry if same_size_again || history.attempt >= self.max_attempts => {
                Verdict::Fail
            }
            Disposition::Retry => Verdict::RetryLater {
                delay: backoff(history.attempt, jitter),
            },
            Disposition::Defer if history.not_ready_for >= self.not_ready_deadline => Verdict::Fail,
            Disposition::Defer => Verdict::Defer {
                delay: not_ready_delay(history.not_ready_for),
            },
            Disposition::Throttle => Verdict::Defer {
                delay: throttle_delay(retry_after),
            },
            Disposition::Halt => Verdict::Release { halt: true },
            Disposition::Release => Verdict::Release { halt: false },
        }
    }

    /// Adds to a failure's message why it is the last word, where the kind alone does not say.
    pub(super) fn last_word(&self, failure: &mut Failure, history: History) {
        use std::fmt::Write as _;

        let added = match failure.kind.disposition() {
            // One attempt more was never made, and its message says so.
            Disposition::Retry if history.attempt > self.max_attempts => Ok(()),
            Disposition::Retry if history.attempt == self.max_attempts => write!(
                failure.message,
                " (given up after {} attempts)",
                history.attempt
            ),
            Disposition::Retry => write!(failure.message, " (the same twice in a row)"),
            Disposition::Defer => write!(
                failure.message,
                " (given up: not ready for {})",
                humantime::format_duration(self.not_ready_deadline)
            ),
            Disposition::Fail
            | Disposition::Throttle
            | Disposition::Halt
            | Disposition::Release => Ok(()),
        };
        debug_assert!(added.is_ok(), "writing to a String does not fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy {
        max_attempts: 3,
        not_ready_deadline: Duration::from_hours(1),
        accept_size: false,
    };
    const FRESH: History = History {
        attempt: 1,
        not_ready_for: Duration::ZERO,
        mismatched_size_bytes: None,
    };

    fn failure(kind: ErrorKind) -> Failure {
        Failure {
            kind,
            message: String::new(),
            mismatched_size_bytes: None,
        }
    }

    fn verdict(kind: ErrorKind, history: History) -> Verdict {
        POLICY.verdict(&failure(kind), history, None, 1.0)
    }

    #[test]
    fn retries_burn_attempts_and_end() {
        assert_eq!(
            verdict(ErrorKind::Truncated, FRESH),
            Verdict::RetryLater {
                delay: Duration::from_secs(10)
            }
        );
        let last = History {
            attempt: 3,
            ..FRESH
        };
        assert_eq!(verdict(ErrorKind::Truncated, last), Verdict::Fail);
    }

    #[test]
    fn what_is_not_ready_waits_until_the_deadline() {
        assert!(matches!(
            verdict(ErrorKind::NotReady, FRESH),
            Verdict::Defer { .. }
        ));
        let late = History {
            not_ready_for: Duration::from_hours(1),
            attempt: 99,
            ..FRESH
        };
        assert_eq!(verdict(ErrorKind::NoMedia, late), Verdict::Fail);
    }

    #[test]
    fn the_same_wrong_size_twice_fails_another_one_is_tried_again() {
        let seen = |size| Failure {
            mismatched_size_bytes: Some(size),
            ..failure(ErrorKind::SizeMismatch)
        };
        let history = History {
            mismatched_size_bytes: Some(10),
            ..FRESH
        };
        let verdict = |size, history| POLICY.verdict(&seen(size), history, None, 0.5);
        assert_eq!(verdict(10, history), Verdict::Fail);
        assert!(matches!(verdict(11, history), Verdict::RetryLater { .. }));
        assert!(matches!(verdict(10, FRESH), Verdict::RetryLater { .. }));
    }

    #[test]
    fn throttling_follows_retry_after_and_never_ends() {
        let exhausted = History {
            attempt: 99,
            ..FRESH
        };
        let delay = Duration::from_secs(7);
        assert_eq!(
            POLICY.verdict(&failure(ErrorKind::Throttled), exhausted, Some(delay), 0.0),
            Verdict::Defer { delay }
        );
    }

    #[test]
    fn the_rest_follows_from_the_kind() {
        for (kind, expected) in [
            (ErrorKind::NotFound, Verdict::HandOn),
            (ErrorKind::LinkRefused, Verdict::Fail),
            (ErrorKind::ObjectConflict, Verdict::Fail),
            (ErrorKind::Unauthorized, Verdict::Release { halt: true }),
            (ErrorKind::StorageDenied, Verdict::Release { halt: true }),
            (ErrorKind::LeaseLost, Verdict::Release { halt: false }),
            (ErrorKind::Cancelled, Verdict::Release { halt: false }),
        ] {
            assert_eq!(verdict(kind, FRESH), expected, "{kind}");
        }
    }
}
