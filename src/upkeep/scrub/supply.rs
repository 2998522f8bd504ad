//! Which objects are read: named ones, all of a store, or a sample of them.

use std::collections::VecDeque;

use crate::queue::{ArchivedObject, QueueError, Unread};

/// Gives one object after the other; of a walk, a page is in memory at most.
#[derive(Debug)]
pub struct Supply {
    walk: Option<Unread>,
    sample: Option<Sample>,
    ready: VecDeque<ArchivedObject>,
}

/// Picks so many of so many, each with the same chance, as they come by.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    wanted: u64,
    to_come: u64,
}

impl Supply {
    /// Exactly these.
    pub fn these(objects: Vec<ArchivedObject>) -> Self {
        Self {
            walk: None,
            sample: None,
            ready: objects.into(),
        }
    }

    /// All that a walk comes by, or a sample of that.
    pub fn walk(walk: Unread, sample: Option<Sample>) -> Self {
        Self {
            walk: Some(walk),
            sample,
            ready: VecDeque::new(),
        }
    }

    pub(super) async fn next(&mut self) -> Result<Option<ArchivedObject>, QueueError> {
        loop {
            if self.sample.is_some_and(|sample| sample.wanted == 0) {
                return Ok(None);
            }
            while let Some(object) = self.ready.pop_front() {
                let picked = self.sample.as_mut().is_none_or(Sample::pick);
                if picked {
                    return Ok(Some(object));
                }
            }
            let Some(walk) = &mut self.walk else {
                return Ok(None);
            };
            self.ready = walk.page().await?.into();
            if self.ready.is_empty() {
                return Ok(None);
            }
        }
    }
}

impl Sample {
    pub const fn new(wanted: u64, of: u64) -> Self {
        Self {
            wanted,
            to_come: of,
        }
    }

    /// Whether to take the one that comes by now.
    fn pick(&mut self) -> bool {
        let chance = rand::random_range(0..self.to_come.max(1));
        let taken = chance < self.wanted;
        self.to_come = self.to_come.saturating_sub(1);
        self.wanted -= u64::from(taken);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_takes_exactly_as_many_as_are_wanted_and_each_one_sometimes() {
        let mut taken = [0; 10];
        for _ in 0..2000 {
            let mut sample = Sample::new(3, 10);
            let picked: Vec<usize> = (0..10).filter(|_| sample.pick()).collect();
            assert_eq!(picked.len(), 3);
            for place in picked {
                taken[place] += 1;
            }
        }
        // 600 of 2000 are expected of each; chance alone stays within 10 deviations.
        assert!(taken.iter().all(|it| (400..800).contains(it)), "{taken:?}");
    }
}
