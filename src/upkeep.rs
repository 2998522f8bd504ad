//! Periodic chores beside the archiving itself.

mod reprice;
mod sweep;

pub use reprice::{RepriceError, Repriced, reprice};
pub use sweep::{Swept, sweep};
