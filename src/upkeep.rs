//! Periodic chores beside the archiving itself.

mod discover;
mod observe;
mod reprice;
mod sweep;
mod walk;

pub use discover::{DiscoverError, Discovered, Discovery, UnknownError};
pub use reprice::{RepriceError, Repriced, reprice};
pub use sweep::{Swept, sweep};
pub use walk::{PAGE_SIZE, WalkError};
