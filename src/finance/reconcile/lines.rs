//! The lines of an invoice in the order of their IDs.

use std::io;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::InvoiceLine;
use super::compare::CompareError;
use super::sorter::{Items, Sorted, Sorter};

/// Lines that may name one ID: they are compared together, in memory.
const OF_ONE_ID: usize = 100_000;

/// One line as it is sorted. Amounts are text, because the scale of a zero matters and is lost in
/// Postgres' binary numerics.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) id: Uuid,
    pub(super) number: i64,
    pub(super) amount: String,
    pub(super) seconds: Option<String>,
}

/// Takes the lines of an invoice.
#[derive(Debug, Default)]
pub struct LineSorter {
    sorter: Sorter<Line>,
    first_id: Option<Uuid>,
}

impl LineSorter {
    /// Takes one line.
    pub fn push(&mut self, line: &InvoiceLine) -> io::Result<()> {
        self.first_id.get_or_insert(line.id);
        self.sorter.push(Line {
            id: line.id,
            number: i64::try_from(line.number).unwrap_or(i64::MAX),
            amount: line.amount.to_string(),
            seconds: line.seconds.map(|seconds| seconds.to_string()),
        })
    }

    /// Ends the invoice.
    pub fn sorted(self) -> io::Result<Lines> {
        Ok(Lines {
            sorted: self.sorter.sorted()?,
            first_id: self.first_id,
        })
    }
}

/// All lines of an invoice.
#[derive(Debug)]
pub struct Lines {
    sorted: Sorted<Line>,
    first_id: Option<Uuid>,
}

impl Lines {
    /// Returns the first ID in the file.
    pub const fn first_id(&self) -> Option<Uuid> {
        self.first_id
    }

    pub(super) fn items(&self) -> io::Result<Items<'_, Line>> {
        self.sorted.items()
    }

    /// Returns the lines in batches of `size` or more: those of one ID stay together.
    pub(super) fn batches(&self, size: usize) -> io::Result<Batches<'_>> {
        let mut items = self.items()?;
        let head = items.next()?;
        Ok(Batches { items, head, size })
    }
}

#[derive(Debug)]
pub(super) struct Batches<'a> {
    items: Items<'a, Line>,
    head: Option<Line>,
    size: usize,
}

impl Batches<'_> {
    pub(super) fn next(&mut self) -> Result<Option<Vec<Line>>, CompareError> {
        let mut batch: Vec<Line> = Vec::new();
        while let Some(line) = &self.head {
            let last = batch.last().filter(|_| batch.len() >= self.size);
            if last.is_some_and(|last| last.id != line.id) {
                break;
            }
            if batch.len() >= OF_ONE_ID + self.size {
                return Err(CompareError::OneId(line.id));
            }
            batch.extend(self.head.take());
            self.head = self.items.next()?;
        }
        Ok(Some(batch).filter(|batch| !batch.is_empty()))
    }
}
