//! One budget of buffer memory for the whole process, shared by all running recordings.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Budgets are counted in units of this size, so that they fit the semaphore's counter.
const UNIT_BYTES: u64 = 4096;

/// Buffer memory that may be held at once; clones share the same budget.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    units: Arc<Semaphore>,
    total_units: u32,
}

/// Memory taken from the budget; given back when dropped.
#[derive(Debug)]
pub struct MemoryHold {
    _permit: OwnedSemaphorePermit,
}

impl MemoryBudget {
    pub fn new(limit_bytes: u64) -> Self {
        let total_units = u32::try_from(limit_bytes.div_ceil(UNIT_BYTES))
            .unwrap_or(u32::MAX)
            .clamp(1, u32::MAX >> 3);
        Self {
            units: Arc::new(Semaphore::new(total_units as usize)),
            total_units,
        }
    }

    /// Waits until `bytes` are free and takes them, first come first served. What exceeds the
    /// whole budget waits for all of it rather than for ever.
    ///
    /// A caller must not wait here while it keeps another hold that only its own progress frees.
    ///
    /// # Panics
    /// Never: the semaphore is not closed.
    pub async fn take(&self, bytes: u64) -> MemoryHold {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES))
            .unwrap_or(u32::MAX)
            .clamp(1, self.total_units);
        let permit = Arc::clone(&self.units)
            .acquire_many_owned(units)
            .await
            .expect("the budget's semaphore is never closed");
        MemoryHold { _permit: permit }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn what_is_taken_is_missing_until_it_is_dropped() {
        let budget = MemoryBudget::new(64 * 1024);
        let most = budget.take(60 * 1024).await;
        assert!(budget.take(8 * 1024).now_or_never().is_none());
        drop(most);
        assert!(budget.take(8 * 1024).now_or_never().is_some());
    }

    #[tokio::test]
    async fn more_than_the_budget_waits_for_all_of_it() {
        let budget = MemoryBudget::new(64 * 1024);
        let all = budget.take(1024 * 1024).await;
        assert!(budget.take(1).now_or_never().is_none());
        drop(all);
    }
}
