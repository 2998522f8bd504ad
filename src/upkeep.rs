//! Periodic chores beside the archiving itself.

mod repair;
mod reprice;
mod scrub;
mod sweep;

pub use repair::Repair;
pub use reprice::{RepriceError, Repriced, reprice};
pub use scrub::{Damage, Found, Sample, Scrub, Scrubbed, Sliced, Supply, slice};
pub use sweep::{Swept, sweep};
