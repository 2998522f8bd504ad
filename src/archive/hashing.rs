//! Taking the fingerprint of a file, part after part: on a thread of its own, while other threads
//! move its bytes.

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinError, JoinHandle};

use crate::digest::Fingerprinting;
use crate::transfer::Part;

/// Hashing less than this takes less time than handing it to another thread.
const HASHED_HERE_BYTES: u64 = 512 * 1024;

/// The state of the hashes after a part.
pub(super) type Hashed = (u32, Fingerprinting);

/// A file being hashed. What waits to be hashed holds its memory, which is bounded.
#[derive(Debug)]
pub(super) enum Hashing {
    Here(Box<Fingerprinting>),
    Elsewhere {
        parts: UnboundedSender<Part>,
        hashed: UnboundedReceiver<Hashed>,
        thread: JoinHandle<Fingerprinting>,
    },
}

impl Hashing {
    /// Goes on from `state`. Dropped, its thread ends when it has hashed what it was given.
    pub(super) fn start(mut state: Fingerprinting, size_bytes: Option<u64>) -> Self {
        if size_bytes.is_some_and(|size| size <= HASHED_HERE_BYTES) {
            return Self::Here(Box::new(state));
        }
        let (parts, mut given) = unbounded_channel::<Part>();
        let (tell, hashed) = unbounded_channel();
        let thread = tokio::task::spawn_blocking(move || {
            while let Some(part) = given.blocking_recv() {
                state.update_checked(&part.bytes, part.crc64nvme);
                let number = part.number;
                drop(part);
                // Nobody listens any more when the transfer was cut off.
                drop(tell.send((number, state.clone())));
            }
            state
        });
        Self::Elsewhere {
            parts,
            hashed,
            thread,
        }
    }

    /// Takes the next part; they must come in order.
    pub(super) fn take_in(&mut self, part: &Part) {
        match self {
            Self::Here(state) => state.update_checked(&part.bytes, part.crc64nvme),
            // A thread that ended early panicked, which `finish` tells.
            Self::Elsewhere { parts, .. } => drop(parts.send(part.clone())),
        }
    }

    /// Waits until a part was hashed elsewhere; for ever if none will be.
    pub(super) async fn hashed(&mut self) -> Hashed {
        if let Self::Elsewhere { hashed, .. } = self
            && let Some(next) = hashed.recv().await
        {
            return next;
        }
        std::future::pending().await
    }

    /// Waits until every part is hashed; gives the whole, and what was hashed since it was asked
    /// last.
    pub(super) async fn finish(self) -> Result<(Fingerprinting, Vec<Hashed>), JoinError> {
        match self {
            Self::Here(state) => Ok((*state, Vec::new())),
            Self::Elsewhere {
                parts,
                mut hashed,
                thread,
            } => {
                drop(parts);
                let state = thread.await?;
                let rest = std::iter::from_fn(|| hashed.try_recv().ok()).collect();
                Ok((state, rest))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::digest::Crc64Nvme;

    fn part(number: u32, bytes: &'static [u8]) -> Part {
        Part {
            number,
            bytes: Bytes::from_static(bytes),
            crc64nvme: Crc64Nvme::of(bytes),
        }
    }

    #[tokio::test]
    async fn the_fingerprint_is_the_same_here_and_elsewhere() {
        let mut whole = Fingerprinting::new();
        whole.update(b"abcdef");
        for size_bytes in [Some(6), None] {
            let mut hashing = Hashing::start(Fingerprinting::new(), size_bytes);
            hashing.take_in(&part(1, b"abc"));
            hashing.take_in(&part(2, b"def"));
            let (state, _) = hashing.finish().await.unwrap();
            assert_eq!(state.finish(), whole.clone().finish());
        }
    }

    #[tokio::test]
    async fn every_state_is_told_once() {
        let mut hashing = Hashing::start(Fingerprinting::new(), None);
        hashing.take_in(&part(1, b"abc"));
        let (number, state) = hashing.hashed().await;
        assert_eq!((number, state.size_bytes()), (1, 3));
        hashing.take_in(&part(2, b"def"));
        let (_, rest) = hashing.finish().await.unwrap();
        let sizes: Vec<_> = rest.iter().map(|(n, it)| (*n, it.size_bytes())).collect();
        assert_eq!(sizes, [(2, 6)]);
    }
}
