//! Sorts more than memory should hold: sorted runs in temporary files without a name, merged while
//! they are read.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Seek as _, Write as _};
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Items that are held in memory.
const HELD: usize = 50_000;

/// Takes items in any order.
#[derive(Debug)]
pub(super) struct Sorter<T> {
    held: Vec<T>,
    runs: Vec<File>,
    at_most: usize,
}

impl<T: Ord + Serialize> Default for Sorter<T> {
    fn default() -> Self {
        Self::holding(HELD)
    }
}

impl<T: Ord + Serialize> Sorter<T> {
    const fn holding(at_most: usize) -> Self {
        Self {
            held: Vec::new(),
            runs: Vec::new(),
            at_most,
        }
    }

    pub(super) fn push(&mut self, item: T) -> io::Result<()> {
        self.held.push(item);
        if self.held.len() >= self.at_most {
            self.spill()?;
        }
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        self.held.sort_unstable();
        let mut run = BufWriter::new(tempfile::tempfile()?);
        for item in self.held.drain(..) {
            serde_json::to_writer(&mut run, &item)?;
            run.write_all(b"\n")?;
        }
        self.runs.push(run.into_inner()?);
        Ok(())
    }

    /// Ends the input.
    pub(super) fn sorted(mut self) -> io::Result<Sorted<T>> {
        if !self.runs.is_empty() && !self.held.is_empty() {
            self.spill()?;
        }
        self.held.sort_unstable();
        Ok(Sorted {
            held: self.held,
            runs: self.runs,
        })
    }
}

/// Sorted items; can be read several times.
#[derive(Debug)]
pub(super) struct Sorted<T> {
    held: Vec<T>,
    runs: Vec<File>,
}

impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Self {
            held: Vec::new(),
            runs: Vec::new(),
        }
    }
}

impl<T: Ord + Clone + DeserializeOwned> Sorted<T> {
    /// Reads all items from the first.
    pub(super) fn items(&self) -> io::Result<Items<'_, T>> {
        let mut items = Items {
            held: self.held.iter(),
            runs: Vec::new(),
            heads: BinaryHeap::new(),
            line: String::new(),
            of: PhantomData,
        };
        for (place, run) in self.runs.iter().enumerate() {
            let mut run = run;
            run.rewind()?;
            items.runs.push(BufReader::new(run));
            items.refill(place)?;
        }
        Ok(items)
    }
}

/// The items in order.
#[derive(Debug)]
pub(super) struct Items<'a, T> {
    held: std::slice::Iter<'a, T>,
    runs: Vec<BufReader<&'a File>>,
    /// The next item of each run.
    heads: BinaryHeap<Reverse<(T, usize)>>,
    line: String,
    of: PhantomData<T>,
}

impl<T: Ord + Clone + DeserializeOwned> Items<'_, T> {
    fn refill(&mut self, place: usize) -> io::Result<()> {
        self.line.clear();
        if self.runs[place].read_line(&mut self.line)? > 0 {
            let item = serde_json::from_str(&self.line)?;
            self.heads.push(Reverse((item, place)));
        }
        Ok(())
    }

    /// Returns the next item.
    pub(super) fn next(&mut self) -> io::Result<Option<T>> {
        let Some(Reverse((item, place))) = self.heads.pop() else {
            return Ok(self.held.next().cloned());
        };
        self.refill(place)?;
        Ok(Some(item))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_sorted_whether_or_not_they_were_spilled() {
        for at_most in [1, 3, 100] {
            let mut sorter = Sorter::holding(at_most);
            for item in [5, 3, 9, 1, 3, 7, 0] {
                sorter.push(item).unwrap();
            }
            let all_items = sorter.sorted().unwrap();
            for _ in 0..2 {
                let mut items = all_items.items().unwrap();
                let all: Vec<i32> = std::iter::from_fn(|| items.next().unwrap()).collect();
                assert_eq!(all, [0, 1, 3, 3, 5, 7, 9]);
            }
        }
    }
}
