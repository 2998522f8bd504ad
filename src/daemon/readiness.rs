//! Whether the worker claims, and if not, why: for `/readyz`, for `systemctl status`, for the
//! metrics.
//!
//! A halt is not ready (503). Nobody sends requests here that would have to go elsewhere: in
//! Kubernetes readiness decides whether a rollout goes on, and one that brings wrong credentials
//! must not; for a person and an alert it says whether recordings are archived. It is no reason to
//! restart, which cures nothing and would cut running transfers off: `/livez` stays 200, and systemd,
//! which asks for readiness only at start, is told the reason as the unit's status.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::lifecycle::notify_status;
use crate::error::ErrorKind;

/// What the worker is up to; clones show the same.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<Standing>>);

/// Why nothing is claimed, if so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Standing {
    #[default]
    Claiming,
    /// Every recording would meet the same. It is checked again by itself.
    Halted {
        kind: ErrorKind,
        message: String,
        since: Instant,
    },
    /// The API wants to be left alone until then.
    Silenced { until: Instant },
    /// It is asked again by itself.
    NoDatabase { message: String, since: Instant },
    /// Told to stop: what runs may finish.
    Stopping,
}

impl Readiness {
    pub fn standing(&self) -> Standing {
        self.lock().clone()
    }

    /// Why nothing is claimed, if it is an error that every recording would meet.
    pub fn halted(&self) -> Option<ErrorKind> {
        match *self.lock() {
            Standing::Halted { kind, .. } => Some(kind),
            _ => None,
        }
    }

    pub(super) fn claiming(&self) {
        self.set(Standing::Claiming);
    }

    pub(super) fn halt(&self, kind: ErrorKind, message: &str) {
        self.set(Standing::Halted {
            kind,
            message: message.to_owned(),
            since: Instant::now(),
        });
    }

    /// Returns whether the cause is another than before.
    pub(super) fn no_database(&self, message: &str) -> bool {
        let (is_new, since) = match &*self.lock() {
            Standing::NoDatabase {
                message: before,
                since,
            } => (before != message, *since),
            _ => (true, Instant::now()),
        };
        self.set(Standing::NoDatabase {
            message: message.to_owned(),
            since,
        });
        is_new
    }

    /// Whether the API wants to be left alone. Told once, and when it is over.
    pub(super) fn silenced(&self, until: Option<Instant>) {
        let before = match *self.lock() {
            Standing::Silenced { until } => Some(until),
            _ => None,
        };
        match until {
            _ if until == before => {}
            Some(until) => {
                if before.is_none() {
                    let left = whole_seconds(until.saturating_duration_since(Instant::now()));
                    tracing::info!(
                        "nothing is claimed for {left}: the API wants to be left alone (429)"
                    );
                }
                self.set(Standing::Silenced { until });
            }
            None => self.claiming(),
        }
    }

    pub(super) fn stopping(&self) {
        self.set(Standing::Stopping);
    }

    fn set(&self, standing: Standing) {
        let text = standing.to_string();
        // One line is shown.
        notify_status(&text.trim_end().replace('\n', "; "));
        *self.lock() = standing;
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn whole_seconds(duration: Duration) -> String {
    let secs = Duration::from_secs(duration.as_secs());
    humantime::format_duration(secs).to_string()
}

/// For people, a line each: what, why, since when, and what helps.
impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let age = |since: &Instant| whole_seconds(since.elapsed());
        match self {
            Self::Claiming => writeln!(f, "ok"),
            Self::Halted {
                kind,
                message,
                since,
            } => {
                writeln!(f, "claiming is halted: {kind}")?;
                writeln!(f, "error: {message}")?;
                writeln!(f, "cure: {}", kind.cure())?;
                writeln!(f, "for {}; checked again by itself", age(since))
            }
            Self::Silenced { until } => {
                let left = until.saturating_duration_since(Instant::now());
                writeln!(
                    f,
                    "nothing is claimed: the API wants to be left alone (429)"
                )?;
                writeln!(f, "for {} more; goes on by itself", whole_seconds(left))
            }
            Self::NoDatabase { message, since } => {
                writeln!(f, "nothing is claimed until the database is back")?;
                writeln!(f, "error: {message}")?;
                writeln!(f, "for {}; tried again by itself", age(since))
            }
            Self::Stopping => writeln!(f, "stopping: nothing more is claimed"),
        }
    }
}
