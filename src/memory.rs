//! One budget of buffer memory for the whole process, shared by all running recordings, and a pool
//! of the buffers themselves: a part's buffer is used again by the next part.

use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Budgets are counted in units of this size, so that they fit the semaphore's counter.
const UNIT_BYTES: u64 = 4096;

/// Buffer memory that may be held at once; clones share the same budget.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    units: Arc<Semaphore>,
    total_units: u32,
    pool: Arc<Mutex<Pool>>,
}

/// Buffers that nobody uses at the moment. Together with those in use they stay below the budget.
#[derive(Default)]
struct Pool {
    free: Vec<Vec<u8>>,
    free_bytes: u64,
    in_use: usize,
    in_use_bytes: u64,
}

/// One recording's share of the budget: at most so many buffers at once, whatever is free.
#[derive(Debug, Clone)]
pub struct MemoryShare {
    budget: MemoryBudget,
    buffers: Arc<Semaphore>,
}

/// Memory for one part, taken from the budget; given back when it and all [`Bytes`] made of it are
/// dropped.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    limit: usize,
    hold: Hold,
}

/// Takes buffer and budget back.
struct Hold {
    pool: Arc<Mutex<Pool>>,
    capacity: u64,
    _units: OwnedSemaphorePermit,
    _share: OwnedSemaphorePermit,
}

/// A filled buffer, as the owner behind [`Bytes`].
struct Filled(Buffer);

impl MemoryBudget {
    pub fn new(limit_bytes: u64) -> Self {
        let total_units = u32::try_from(limit_bytes.div_ceil(UNIT_BYTES))
            .unwrap_or(u32::MAX)
            .clamp(1, u32::MAX >> 3);
        Self {
            units: Arc::new(Semaphore::new(total_units as usize)),
            total_units,
            pool: Arc::default(),
        }
    }

    /// A share for one recording of at most `buffers` buffers at once.
    pub fn share(&self, buffers: usize) -> MemoryShare {
        MemoryShare {
            budget: self.clone(),
            buffers: Arc::new(Semaphore::new(buffers.max(1))),
        }
    }

    /// Bytes that buffers in use take up.
    pub fn used_bytes(&self) -> u64 {
        lock(&self.pool).in_use_bytes
    }

    /// The whole budget in bytes.
    pub const fn limit_bytes(&self) -> u64 {
        self.total_units as u64 * UNIT_BYTES
    }
}

impl MemoryShare {
    /// Waits until a buffer of `bytes` fits into share and budget, first come first served. One
    /// that exceeds the whole budget waits for all of it rather than for ever.
    ///
    /// A caller must not wait here while it keeps a buffer that only its own progress frees.
    ///
    /// # Panics
    /// Never: the semaphores are not closed.
    pub async fn take(&self, bytes: usize) -> Buffer {
        const NEVER_CLOSED: &str = "the budget's semaphores are never closed";
        let share = Arc::clone(&self.buffers).acquire_owned().await;
        let units = u32::try_from((bytes as u64).div_ceil(UNIT_BYTES))
            .unwrap_or(u32::MAX)
            .clamp(1, self.budget.total_units);
        let taken = Arc::clone(&self.budget.units).acquire_many_owned(units);
        let taken = taken.await.expect(NEVER_CLOSED);
        let pool = Arc::clone(&self.budget.pool);
        let buffer = lock(&pool).take(bytes, self.budget.limit_bytes());
        let capacity = buffer.capacity() as u64;
        Buffer {
            bytes: buffer,
            limit: bytes,
            hold: Hold {
                pool,
                capacity,
                _units: taken,
                _share: share.expect(NEVER_CLOSED),
            },
        }
    }
}

impl Pool {
    /// A free buffer of this size, or a new one.
    fn take(&mut self, bytes: usize, limit_bytes: u64) -> Vec<u8> {
        // Nearly as large as what is charged for it.
        let fits = |buffer: &Vec<u8>| (bytes..=bytes + bytes / 16).contains(&buffer.capacity());
        let best = (0..self.free.len())
            .filter(|&at| fits(&self.free[at]))
            .min_by_key(|&at| self.free[at].capacity());
        let buffer = if let Some(at) = best {
            self.remove(at)
        } else {
            // What lies about in other sizes makes room.
            while !self.free.is_empty()
                && self.in_use_bytes + self.free_bytes + bytes as u64 > limit_bytes
            {
                drop(self.remove(0));
            }
            Vec::with_capacity(bytes)
        };
        self.in_use += 1;
        self.in_use_bytes += buffer.capacity() as u64;
        buffer
    }

    fn remove(&mut self, at: usize) -> Vec<u8> {
        let buffer = self.free.swap_remove(at);
        self.free_bytes -= buffer.capacity() as u64;
        buffer
    }

    fn give_back(&mut self, mut buffer: Vec<u8>, capacity: u64) {
        self.in_use -= 1;
        self.in_use_bytes -= capacity;
        if self.in_use == 0 {
            // An idle process keeps nothing.
            self.free = Vec::new();
            self.free_bytes = 0;
        } else {
            buffer.clear();
            self.free_bytes += capacity;
            self.free.push(buffer);
        }
    }
}

impl Buffer {
    /// Appends as much as fits and says how many bytes that were.
    pub fn fill(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room());
        self.bytes.extend_from_slice(&bytes[..taken]);
        taken
    }

    /// Bytes that still fit.
    pub fn room(&self) -> usize {
        self.limit - self.bytes.len()
    }

    /// What it holds so far.
    pub fn filled(&self) -> &[u8] {
        &self.bytes
    }

    /// Its content for reading by several, without a copy.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(Filled(self))
    }
}

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        self.0.filled()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let buffer = mem::take(&mut self.bytes);
        lock(&self.hold.pool).give_back(buffer, self.hold.capacity);
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold")
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("free", &self.free.len())
            .field("in_use", &self.in_use)
            .finish_non_exhaustive()
    }
}

fn lock(pool: &Mutex<Pool>) -> MutexGuard<'_, Pool> {
    pool.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const KIB: usize = 1024;

    #[tokio::test]
    async fn what_is_taken_is_missing_until_the_last_of_its_bytes_is_dropped() {
        let budget = MemoryBudget::new(64 * 1024);
        let share = budget.share(8);
        let mut most = share.take(60 * KIB).await;
        assert_eq!(most.fill(b"abc"), 3);
        let bytes = most.freeze();
        let slice = bytes.slice(1..);
        drop(bytes);
        assert!(share.take(8 * KIB).now_or_never().is_none());
        assert_eq!(&slice[..], b"bc");
        assert_eq!(budget.used_bytes(), 60 * 1024);
        drop(slice);
        assert_eq!(budget.used_bytes(), 0);
        assert!(share.take(8 * KIB).now_or_never().is_some());
    }

    #[tokio::test]
    async fn more_than_the_budget_waits_for_all_of_it() {
        let budget = MemoryBudget::new(64 * 1024);
        let share = budget.share(8);
        let all = share.take(1024 * KIB).await;
        assert!(share.take(1).now_or_never().is_none());
        drop(all);
        assert!(share.take(1).now_or_never().is_some());
    }

    #[tokio::test]
    async fn no_recording_takes_more_buffers_than_its_share() {
        let budget = MemoryBudget::new(1024 * 1024);
        let (greedy, other) = (budget.share(2), budget.share(2));
        let first = greedy.take(KIB).await;
        let _second = greedy.take(KIB).await;
        assert!(greedy.take(KIB).now_or_never().is_none());
        assert!(other.take(KIB).now_or_never().is_some());
        drop(first);
        assert!(greedy.take(KIB).now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_waits_longest_is_served_first() {
        let budget = MemoryBudget::new(64 * 1024);
        let (one, two) = (budget.share(8), budget.share(8));
        let all = one.take(64 * KIB).await;
        let mut large = Box::pin(two.take(64 * KIB));
        assert!((&mut large).now_or_never().is_none());
        let mut small = Box::pin(one.take(KIB));
        assert!((&mut small).now_or_never().is_none());
        drop(all);
        // Room for the small one, but it is not its turn.
        assert!((&mut small).now_or_never().is_none());
        let large = large.now_or_never().expect("the first one is served");
        drop(large);
        assert!(small.now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_buffer_is_used_again_and_an_idle_process_keeps_none() {
        let budget = MemoryBudget::new(64 * 1024);
        let share = budget.share(8);
        let kept = share.take(4 * KIB).await;
        let first = share.take(16 * KIB).await;
        let place = first.bytes.as_ptr();
        drop(first);
        let mut again = share.take(16 * KIB).await;
        assert_eq!(again.bytes.as_ptr(), place);
        assert_eq!(again.fill(&vec![7; 20 * KIB]), 16 * KIB);
        assert_eq!(again.room(), 0);
        drop(again);
        assert_eq!(lock(&budget.pool).free_bytes, 16 * 1024);
        drop(kept);
        assert_eq!(lock(&budget.pool).free_bytes, 0);
    }

    #[tokio::test]
    async fn free_buffers_of_other_sizes_make_room() {
        let budget = MemoryBudget::new(64 * 1024);
        let share = budget.share(8);
        let _kept = share.take(4 * KIB).await;
        drop((share.take(16 * KIB).await, share.take(16 * KIB).await));
        let _large = share.take(60 * KIB).await;
        let pool = lock(&budget.pool);
        assert!(pool.in_use_bytes + pool.free_bytes <= 64 * 1024, "{pool:?}");
    }
}
