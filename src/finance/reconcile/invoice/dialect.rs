//! How a file is written: encoding, delimiter, header line and decimal sign, from the file itself.
//!
//! Detection never guesses: where a file can be read in two ways, it is refused with the flag that
//! decides.

use std::fmt;
use std::io::{self, Read, Seek};

use encoding_rs::Encoding;

use super::amount::{Evidence, evidence};
use super::rows::{Row, Rows};
use super::{Columns, DecimalSign, InvoiceError, encoding, quoted};

/// The header stands within these rows.
const HEAD_ROWS: usize = 100;
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// What is known of a file beforehand, and the columns to read.
#[derive(Debug, Clone)]
pub struct Format {
    pub columns: Columns,
    pub encoding: Option<&'static Encoding>,
    pub delimiter: Option<u8>,
    pub decimal: Option<DecimalSign>,
    /// From 1.
    pub header_line: Option<u64>,
}

/// How a file is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialect {
    pub encoding: &'static Encoding,
    pub delimiter: u8,
    pub header_line: u64,
    pub decimal: DecimalSign,
    /// The first amount that decided on the decimal sign; `None` if it was named, or does not
    /// matter.
    pub decided_by: Option<(u64, String)>,
    pub(super) fields: usize,
    pub(super) places: Places,
}

/// Where the columns stand in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) id: usize,
    pub(super) amount: usize,
    pub(super) length: Option<usize>,
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, delimiter {}, header in line {}, {}",
            self.encoding.name(),
            spelled(self.delimiter),
            self.header_line,
            self.decimal
        )?;
        match &self.decided_by {
            Some((line, text)) => write!(f, " (line {line}: `{text}`)"),
            None => Ok(()),
        }
    }
}

fn spelled(delimiter: u8) -> String {
    match delimiter {
        b'\t' => "tab".to_owned(),
        other => format!("`{}`", char::from(other)),
    }
}

impl Dialect {
    /// Finds out how `file` is written: reads all of it, from its start.
    ///
    /// # Errors
    /// If it can be read in two ways, or in none.
    pub fn detect(file: &mut (impl Read + Seek), format: &Format) -> Result<Self, InvoiceError> {
        rewind(file)?;
        let encoding = encoding::detect(&mut *file, format.encoding)?;
        let (delimiter, header, places) = find_header(file, encoding, format)?;
        let mut dialect = Self {
            encoding,
            delimiter,
            header_line: header.line,
            decimal: DecimalSign::Point,
            decided_by: None,
            fields: header.fields.len(),
            places,
        };
        match format.decimal {
            Some(decimal) => dialect.decimal = decimal,
            None => dialect.find_decimal(file)?,
        }
        Ok(dialect)
    }

    /// Returns the rows of `file` behind the header.
    pub(super) fn rows<'a, F: Read + Seek>(
        &self,
        file: &'a mut F,
    ) -> Result<Rows<&'a mut F>, InvoiceError> {
        rewind(file)?;
        let mut rows = Rows::new(file, self.encoding, self.delimiter);
        while let Some(row) = rows.next()? {
            if row.line >= self.header_line {
                break;
            }
        }
        Ok(rows)
    }

    fn find_decimal(&mut self, file: &mut (impl Read + Seek)) -> Result<(), InvoiceError> {
        let places = self.places;
        let mut rows = self.rows(file)?;
        let mut decided: Option<(DecimalSign, u64, String)> = None;
        let mut either = None;
        while let Some(row) = rows.next()? {
            let numbers = [Some(places.amount), places.length];
            for text in numbers.into_iter().flatten() {
                let Some(text) = row.fields.get(text) else {
                    continue;
                };
                match (evidence(text), &decided) {
                    (Evidence::Either, _) => {
                        either.get_or_insert_with(|| (row.line, quoted(text)));
                    }
                    (Evidence::Only(sign), None) => {
                        decided = Some((sign, row.line, quoted(text)));
                    }
                    (Evidence::Only(sign), Some((other, line, first))) if sign != *other => {
                        return Err(InvoiceError::BothDecimals {
                            first: (*line, first.clone(), *other),
                            second: (row.line, quoted(text), sign),
                        });
                    }
                    (Evidence::None, _) | (Evidence::Only(_), Some(_)) => {}
                }
            }
        }
        match (decided, either) {
            (Some((sign, line, text)), _) => {
                self.decimal = sign;
                self.decided_by = Some((line, text));
                Ok(())
            }
            (None, Some((line, text))) => Err(InvoiceError::EitherDecimal { line, text }),
            (None, None) => Ok(()),
        }
    }
}

fn rewind(file: &mut impl Seek) -> Result<(), InvoiceError> {
    file.rewind().map_err(|error| match error.kind() {
        io::ErrorKind::NotSeekable => InvoiceError::NotAFile,
        _ => InvoiceError::Read(error),
    })
}

/// Finds the one delimiter and row with all the columns.
fn find_header(
    file: &mut (impl Read + Seek),
    encoding: &'static Encoding,
    format: &Format,
) -> Result<(u8, Row, Places), InvoiceError> {
    let delimiters = match format.delimiter {
        Some(named) => vec![named],
        None => DELIMITERS.to_vec(),
    };
    let mut found: Option<(u8, Row, Places)> = None;
    let mut nearest: Option<(usize, Row)> = None;
    let mut failed = None;
    for delimiter in delimiters {
        rewind(file)?;
        let mut rows = Rows::new(&mut *file, encoding, delimiter);
        for _ in 0..HEAD_ROWS {
            let row = match rows.next() {
                Ok(Some(row)) => row,
                Ok(None) => break,
                // With another delimiter the same bytes may be fine.
                Err(error) => {
                    failed.get_or_insert(error);
                    break;
                }
            };
            if format.header_line.is_some_and(|line| line != row.line) {
                continue;
            }
            let score = format.columns.score(&row.fields);
            if let Some(places) = format.columns.places(&row.fields)? {
                match &found {
                    Some((other, ..)) if *other != delimiter => {
                        let [first, second] = [*other, delimiter].map(spelled);
                        return Err(InvoiceError::EitherDelimiter { first, second });
                    }
                    Some(_) => {}
                    None => found = Some((delimiter, row, places)),
                }
                break;
            }
            if score > nearest.as_ref().map_or(0, |(score, _)| *score) {
                nearest = Some((score, row));
            }
        }
    }
    match (found, failed, nearest) {
        (Some(found), ..) => Ok(found),
        (None, _, Some((_, row))) => Err(format.columns.missing(&row)),
        (None, Some(error), None) => Err(error),
        (None, None, None) => Err(match format.header_line {
            Some(line) => InvoiceError::NoHeader(line),
            None => InvoiceError::Empty,
        }),
    }
}
