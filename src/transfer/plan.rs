//! Which part of the file is fetched next: in order, each with a buffer for its bytes.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::body::Body;
use crate::digest::Crc64Nvme;
use crate::memory::{Buffer, MemoryShare};

/// The parts that are still to be fetched.
#[derive(Debug)]
pub(super) struct Plan {
    /// Held while waiting for memory, so that it is taken in the order of the parts.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    part_bytes: u64,
    /// Size of the whole file; `None` while nobody knows it.
    total_bytes: Option<u64>,
    share: MemoryShare,
}

#[derive(Debug)]
struct State {
    /// The next part to be fetched.
    number: u32,
    /// The answer that was opened at the first part: for whoever fetches that.
    open: Option<Body>,
    /// Parts being fetched, each with the token that withdraws it.
    fetching: BTreeMap<u32, CancellationToken>,
}

/// A part that somebody is going to fetch.
#[derive(Debug)]
pub(super) struct Assignment {
    /// From 1.
    pub(super) number: u32,
    /// Position of its first byte in the file.
    pub(super) offset: u64,
    /// Its size, or the most it can have while the size of the file is not known.
    pub(super) bytes: u64,
    buffer: Buffer,
    /// Of what the buffer was filled with.
    crc64nvme: Crc64Nvme,
    /// An answer that begins with it, if there is one already.
    pub(super) open: Option<Body>,
    /// Cancelled when the plan goes back to an earlier part: this one is assigned again.
    pub(super) withdrawn: CancellationToken,
}

/// A piece of the file, its memory taken from the budget until the last of its bytes is dropped.
#[derive(Debug, Clone)]
pub struct Part {
    /// From 1.
    pub number: u32,
    pub bytes: Bytes,
    /// Of the bytes as they came off the wire.
    pub crc64nvme: Crc64Nvme,
}

impl Assignment {
    /// Appends as much as belongs to the part and says how many bytes that were.
    pub(super) fn fill(&mut self, bytes: &[u8]) -> usize {
        let taken = self.buffer.fill(bytes);
        // Nobody sees the bytes earlier, and here they are in the processor's cache.
        self.crc64nvme = self.crc64nvme.and(&bytes[..taken]);
        taken
    }

    /// Bytes that came so far.
    pub(super) fn filled_bytes(&self) -> u64 {
        self.buffer.filled().len() as u64
    }

    /// Whether there is room for another byte.
    pub(super) fn is_full(&self) -> bool {
        self.buffer.room() == 0
    }

    pub(super) fn into_part(self) -> Part {
        Part {
            number: self.number,
            bytes: self.buffer.freeze(),
            crc64nvme: self.crc64nvme,
        }
    }
}

impl Plan {
    /// Parts of `part_bytes` from part number `first` on, at which `open` was opened.
    pub(super) fn new(
        first: u32,
        open: Option<Body>,
        part_bytes: u64,
        total_bytes: Option<u64>,
        share: MemoryShare,
    ) -> Self {
        Self {
            turn: tokio::sync::Mutex::default(),
            state: Mutex::new(State {
                number: first,
                open,
                fetching: BTreeMap::new(),
            }),
            part_bytes: part_bytes.max(1),
            total_bytes,
            share,
        }
    }

    /// How many parts there are in all, if that is known.
    pub(super) fn parts(&self) -> Option<u32> {
        let parts = self.total_bytes?.div_ceil(self.part_bytes);
        Some(u32::try_from(parts).unwrap_or(u32::MAX))
    }

    /// The next part, with its buffer. Buffers are taken in the order of the parts: the first part
    /// that is missing always has one, so that it can be waited for.
    pub(super) async fn next(&self) -> Option<Assignment> {
        let _turn = self.turn.lock().await;
        loop {
            let number = self.state().number;
            let offset = u64::from(number - 1) * self.part_bytes;
            let bytes = match self.total_bytes {
                Some(total) if offset >= total => return None,
                Some(total) => self.part_bytes.min(total - offset),
                None => self.part_bytes,
            };
            let buffer = usize::try_from(bytes).unwrap_or(usize::MAX);
            let buffer = self.share.take(buffer).await;
            let mut state = self.state();
            if state.number != number {
                // The plan went back meanwhile, to a part of another size perhaps.
                continue;
            }
            state.number += 1;
            let withdrawn = CancellationToken::new();
            state.fetching.insert(number, withdrawn.clone());
            return Some(Assignment {
                open: state.open.take(),
                number,
                offset,
                bytes,
                buffer,
                crc64nvme: Crc64Nvme::EMPTY,
                withdrawn,
            });
        }
    }

    /// Announces by `tell` that a part is complete, unless it was withdrawn.
    pub(super) fn complete(&self, assignment: Assignment, tell: impl FnOnce(Part)) {
        let mut state = self.state();
        if !assignment.withdrawn.is_cancelled() {
            state.fetching.remove(&assignment.number);
            tell(assignment.into_part());
        }
    }

    /// Goes back to a part that cannot be fetched now: it and all later ones are assigned again,
    /// and their memory is free until then. Announced by `tell`, so that later parts that are
    /// complete are dropped too: otherwise they might hold the memory that this one needs.
    pub(super) fn go_back(&self, to: &Assignment, tell: impl FnOnce(u32)) {
        let mut state = self.state();
        if !to.withdrawn.is_cancelled() {
            state.number = to.number;
            for withdrawn in state.fetching.split_off(&to.number).into_values() {
                withdrawn.cancel();
            }
            tell(to.number);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryBudget;

    async fn sizes(first: u32, total_bytes: Option<u64>, most: usize) -> Vec<(u64, u64)> {
        let share = MemoryBudget::new(1 << 20).share(8);
        let plan = Plan::new(first, None, 100, total_bytes, share);
        let mut sizes = Vec::new();
        while sizes.len() < most
            && let Some(part) = plan.next().await
        {
            assert_eq!(part.buffer.room() as u64, part.bytes);
            sizes.push((part.offset, part.bytes));
        }
        sizes
    }

    #[tokio::test]
    async fn all_parts_are_equal_but_the_last() {
        let all = sizes(1, Some(250), 9).await;
        assert_eq!(all, [(0, 100), (100, 100), (200, 50)]);
        assert_eq!(sizes(3, Some(250), 9).await, [(200, 50)]);
        assert_eq!(sizes(1, Some(200), 9).await, [(0, 100), (100, 100)]);
        assert_eq!(sizes(1, Some(0), 9).await, []);
    }

    #[tokio::test]
    async fn a_file_of_unknown_size_goes_on() {
        assert_eq!(sizes(1, None, 2).await, [(0, 100), (100, 100)]);
    }

    #[tokio::test]
    async fn plan_that_goes_back_assigns_the_part_and_all_later_ones_again() {
        let share = MemoryBudget::new(1 << 20).share(8);
        let plan = Plan::new(1, None, 100, Some(450), share);
        let mut parts = Vec::new();
        for _ in 0..5 {
            parts.push(plan.next().await.unwrap());
        }
        assert!(plan.next().await.is_none());
        let last = parts.pop().unwrap();
        let [first, second, third, fourth] = parts.try_into().unwrap();
        let mut told = Vec::new();
        plan.complete(third, |part| told.push(part.number));
        plan.go_back(&second, |number| told.push(number));
        assert!(!first.withdrawn.is_cancelled());
        assert!(fourth.withdrawn.is_cancelled() && last.withdrawn.is_cancelled());
        plan.complete(fourth, |_| panic!("it was withdrawn"));
        plan.go_back(&last, |_| panic!("it was withdrawn"));
        plan.complete(first, |part| told.push(part.number));
        assert_eq!(told, [3, 2, 1]);
        for (number, bytes) in [(2, 100), (3, 100), (4, 100), (5, 50)] {
            let part = plan.next().await.unwrap();
            assert_eq!((part.number, part.bytes), (number, bytes));
            assert_eq!(part.buffer.room() as u64, bytes);
        }
        assert!(plan.next().await.is_none());
    }
}
