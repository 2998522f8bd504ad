//! Which columns of a file hold what, and where its header has them.

use rust_decimal::Decimal;

use super::dialect::Places;
use super::rows::Row;
use super::{InvoiceError, quoted};

/// Columns that are named in an error.
const SHOWN: usize = 30;

/// Which columns hold what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// Of recordings, or of sessions.
    pub id: String,
    /// The flag that names it.
    pub id_flag: &'static str,
    pub amount: String,
    /// The length that was billed.
    pub length: Option<Length>,
}

/// The column of the billed length, and what its numbers count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Length {
    pub column: String,
    pub seconds_each: Decimal,
}

impl Columns {
    fn wanted(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let length = self.length.as_ref();
        let length = length.map(|it| (&*it.column, "--seconds-column or --minutes-column"));
        [
            (&*self.id, self.id_flag),
            (&*self.amount, "--amount-column"),
        ]
        .into_iter()
        .chain(length)
    }

    /// Returns where the columns are, `None` if a column is missing.
    ///
    /// # Errors
    /// If all are there, and one more than once.
    pub(super) fn places(&self, header: &[String]) -> Result<Option<Places>, InvoiceError> {
        let mut places = Vec::new();
        for (wanted, _) in self.wanted() {
            let mut found = positions(header, wanted);
            let Some(first) = found.next() else {
                return Ok(None);
            };
            places.push((first, found.next().is_some(), wanted));
        }
        if let Some((.., name)) = places.iter().find(|(_, is_twice, _)| *is_twice) {
            return Err(InvoiceError::SameName(quoted(name)));
        }
        Ok(Some(Places {
            id: places[0].0,
            amount: places[1].0,
            length: places.get(2).map(|(place, ..)| *place),
        }))
    }

    /// Returns how much a row looks like the header: columns that are there weigh most.
    pub(super) fn score(&self, row: &[String]) -> usize {
        let there = self
            .wanted()
            .filter(|(wanted, _)| positions(row, wanted).next().is_some());
        let named = row.iter().filter(|field| !field.trim().is_empty());
        there.count() * 100_000 + named.count()
    }

    /// Returns the error about the first column that `row` has not.
    pub(super) fn missing(&self, row: &Row) -> InvoiceError {
        let missing = self
            .wanted()
            .find(|(wanted, _)| positions(&row.fields, wanted).next().is_none());
        let (wanted, flag) = missing.unwrap_or((&self.id, self.id_flag));
        let first = row.fields.iter().take(SHOWN).map(|field| quoted(field));
        InvoiceError::NoColumn {
            wanted: quoted(wanted),
            line: row.line,
            present: first.collect::<Vec<_>>().join(", "),
            flag,
        }
    }
}

fn positions<'a>(row: &'a [String], wanted: &'a str) -> impl Iterator<Item = usize> + 'a {
    let same = move |name: &String| name.trim().to_lowercase() == wanted.trim().to_lowercase();
    let places = row.iter().enumerate();
    places.filter(move |(_, name)| same(name)).map(|(at, _)| at)
}
