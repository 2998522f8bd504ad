//! A halt of the claiming, and when it is checked for its cure: ever more rarely.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::ErrorKind;

/// After a refusal, the first and the longest wait before it is checked again.
const FIRST_HALT: Duration = Duration::from_secs(15);
const LONGEST_HALT: Duration = Duration::from_mins(15);
/// A halt of the same kind so soon after its cure goes on where the last one ended.
const RELAPSE_WITHIN: Duration = Duration::from_mins(5);

/// Claiming has stopped because it would meet the same again and again: credentials that are
/// refused, or an open breaker.
#[derive(Debug)]
pub(super) struct Halt {
    pub(super) kind: ErrorKind,
    wait: Duration,
    pub(super) next_check: Instant,
}

impl Halt {
    fn new(kind: ErrorKind) -> Self {
        Self {
            kind,
            wait: FIRST_HALT,
            next_check: Instant::now() + FIRST_HALT,
        }
    }

    /// A halt that follows on another. One that comes back right after its check found all well
    /// is about something that the check does not see, and is checked ever more rarely.
    /// So is one `on_trial`, however long the trial took: nothing was archived since.
    pub(super) fn after(last: Option<Self>, kind: ErrorKind, on_trial: bool) -> Self {
        match last {
            Some(mut last)
                if last.kind == kind
                    && (on_trial || last.next_check.elapsed() < RELAPSE_WITHIN) =>
            {
                last.put_off();
                last
            }
            _ => Self::new(kind),
        }
    }

    pub(super) fn put_off(&mut self) {
        self.wait = (self.wait * 2).min(LONGEST_HALT);
        self.next_check = Instant::now() + self.wait;
    }

    pub(super) fn until_next_check(&self) -> Duration {
        self.next_check.saturating_duration_since(Instant::now())
    }
}
