//! The state machine of a row: `pending → in_progress → archived | failed`.

use std::fmt;
use std::str::FromStr;

use super::QueueError;

/// Where a recording is on its way. The same machine stands in the table as CHECK constraints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobState {
    /// Waiting for `next_attempt_at`; retries too, so nothing has to promote them.
    Pending,
    /// A worker holds the lease. If that worker dies, the lease ends and the row is claimable.
    InProgress,
    /// Stored and proven. Final, unless `archive --force` finds the object gone.
    Archived,
    /// Given up, with a reason. Final until an operator's `retry` or `archive --force`.
    Failed,
}

impl JobState {
    pub const ALL: [Self; 4] = [
        Self::Pending,
        Self::InProgress,
        Self::Archived,
        Self::Failed,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::Archived => "archived",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for JobState {
    type Err = QueueError;

    fn from_str(text: &str) -> Result<Self, QueueError> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| QueueError::UnknownWord {
                table: "archiver.recordings",
                column: "state",
                value: text.to_owned(),
            })
    }
}
