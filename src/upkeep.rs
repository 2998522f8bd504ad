//! Periodic chores beside the archiving itself.

mod discover;
mod observe;
mod rebuild;
mod reconcile;
mod reprice;
mod retire;
mod sweep;
mod walk;

pub use discover::{DiscoverError, Discovered, Discovery, UnknownError};
pub use rebuild::{NotRebuilt, RebuildError, Rebuilt, rebuild};
pub use reconcile::{
    Difference, DifferenceKind, Listener, ReconcileError, Reconciled, Reconciliation,
};
pub use reprice::{RepriceError, Repriced, reprice};
pub use retire::{Candidate, Chosen, Refusal, RetireError, Retired, Retirer};
pub use sweep::{Swept, sweep};
pub use walk::{PAGE_SIZE, WalkError};
