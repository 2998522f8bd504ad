//! Which part of the file is fetched next: in order, each with a buffer for its bytes.

use bytes::Bytes;
use tokio::sync::Mutex;

use super::body::Body;
use crate::digest::Crc64Nvme;
use crate::memory::{Buffer, MemoryShare};

/// The parts that are still to be fetched.
#[derive(Debug)]
pub(super) struct Plan {
    next: Mutex<Next>,
    part_bytes: u64,
    /// Size of the whole file; `None` while nobody knows it.
    total_bytes: Option<u64>,
    share: MemoryShare,
}

#[derive(Debug)]
struct Next {
    number: u32,
    /// The answer that was opened at the first part: for whoever fetches that.
    open: Option<Body>,
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
            next: Mutex::new(Next {
                number: first,
                open,
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
        let mut next = self.next.lock().await;
        let number = next.number;
        let offset = u64::from(number - 1) * self.part_bytes;
        let bytes = match self.total_bytes {
            Some(total) if offset >= total => return None,
            Some(total) => self.part_bytes.min(total - offset),
            None => self.part_bytes,
        };
        let buffer = usize::try_from(bytes).unwrap_or(usize::MAX);
        let buffer = self.share.take(buffer).await;
        next.number += 1;
        Some(Assignment {
            open: next.open.take(),
            number,
            offset,
            bytes,
            buffer,
            crc64nvme: Crc64Nvme::EMPTY,
        })
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
}
