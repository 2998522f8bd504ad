//! Tells trouble that every recording meets from the trouble of one, by the shortest list.
//!
//! With a wrong space, an empty balance or a refused `media_ttl` the API answers every request alike: a 404
//! then says nothing of the recording. So whatever fails for one recording is compared with the list of
//! recordings, requested after the failure. If that works, the failure is the recording's own; if it fails
//! too, the API has an outage, and no recording is to blame.

use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::client::ApiError;
use crate::error::{ErrorKind, chain};

/// How long a known outage answers in place of the API, which is not sent the same request again.
const KNOWN_FOR: Duration = Duration::from_secs(15);

/// Trouble that every request to the API meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    kind: ErrorKind,
    problem: String,
}

/// What the last request for the list showed. Locked while the list is requested, so that requests sent
/// meanwhile wait for the result.
#[derive(Debug, Default)]
pub(super) struct LastCheck(Mutex<Option<Check>>);

#[derive(Debug)]
pub(super) struct Check {
    started_at: Instant,
    ended_at: Instant,
    outage: Option<Outage>,
}

impl Outage {
    /// Returns what a failed list says of the API; `None` if it was only throttled.
    fn of(error: &ApiError) -> Option<Self> {
        let kind = match error.kind() {
            ErrorKind::Throttled => return None,
            kind @ (ErrorKind::Unauthorized | ErrorKind::ApiUnavailable) => kind,
            _ => ErrorKind::ApiRefused,
        };
        let problem = chain(error);
        Some(Self { kind, problem })
    }

    pub(super) const fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(super) fn problem(&self) -> &str {
        &self.problem
    }
}

impl LastCheck {
    pub(super) async fn lock(&self) -> MutexGuard<'_, Option<Check>> {
        self.0.lock().await
    }

    /// Returns the outage that was found a moment ago. Waits for a check in progress.
    pub(super) async fn known_outage(&self) -> Option<Outage> {
        let last = self.lock().await;
        last.as_ref().and_then(Check::recent_outage)
    }
}

impl Check {
    /// `checked` is the answer, received now, to a request for the list that was sent at `started_at`.
    pub(super) fn new<T>(started_at: Instant, checked: &Result<T, ApiError>) -> Self {
        Self {
            started_at,
            ended_at: Instant::now(),
            outage: checked.as_ref().err().and_then(Outage::of),
        }
    }

    /// Returns whether this check tells what a failure at this time was. That the list worked before it
    /// tells nothing; an outage that was found a moment ago is still the cause.
    pub(super) fn covers(&self, failed_at: Instant) -> bool {
        self.started_at >= failed_at || self.recent_outage().is_some()
    }

    fn recent_outage(&self) -> Option<Outage> {
        let outage = self.outage.as_ref();
        outage
            .filter(|_| self.ended_at.elapsed() < KNOWN_FOR)
            .cloned()
    }

    pub(super) fn outage(&self) -> Option<Outage> {
        self.outage.clone()
    }
}
