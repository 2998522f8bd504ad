//! Periodic chores beside the archiving itself.

mod reprice;
mod retire;
mod sweep;

pub use reprice::{RepriceError, Repriced, reprice};
pub use retire::{Candidate, Chosen, Refusal, RetireError, Retired, Retirer};
pub use sweep::{Swept, sweep};
