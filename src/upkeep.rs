//! Periodic chores beside the archiving itself.

mod acquaint;
mod discover;
mod observe;
mod rebuild;
mod reconcile;
mod repair;
mod reprice;
mod retire;
mod scrub;
mod sweep;
mod walk;

pub use acquaint::{Acquainted, PART_SIZE_CURE, REMOVAL_CURE, Worse, look};
pub use discover::{DiscoverError, Discovered, Discovery, UnknownError};
pub use rebuild::{NotRebuilt, RebuildError, Rebuilt, Trust, rebuild};
pub use reconcile::{
    Difference, DifferenceKind, Listener, ReconcileError, Reconciled, Reconciliation,
};
pub use repair::Repair;
pub use reprice::{RepriceError, Repriced, reprice};
pub use retire::{Candidate, Chosen, Refusal, RetireError, Retired, Retirer};
pub use scrub::{Damage, Found, Sample, Scrub, Scrubbed, Sliced, Supply, slice};
pub use sweep::{Orphan, Swept, Why, sweep};
pub use walk::{PAGE_SIZE, WalkError};
