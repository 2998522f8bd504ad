//! The rows of a delimited file, with the line each begins in.
//!
//! Quotes are taken strictly: a quote that is never closed would hide all the lines behind it in
//! one field. [`csv_core`] splits what was found to be one row.

use std::io::{BufRead, Read};

use csv_core::ReadRecordResult;
use encoding_rs::Encoding;

use super::InvoiceError;
use super::encoding::Decoded;

/// Longest row; bounds the memory that a file can take.
const ROW_BYTES: usize = 1 << 20;
/// Most fields of a row.
const FIELDS: usize = 4096;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// Of its first line in the file, from 1.
    pub(super) line: u64,
    pub(super) fields: Vec<String>,
}

impl Row {
    pub(super) fn is_blank(&self) -> bool {
        self.fields.iter().all(|field| field.trim().is_empty())
    }
}

/// Where a byte of a row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    FieldStart,
    Plain,
    Quoted,
    /// Behind a quote in a quoted field: its end, or half of a doubled quote.
    Quote,
}

/// Reads rows; lines that are empty are rows without fields.
pub(super) struct Rows<R> {
    text: Decoded<R>,
    delimiter: u8,
    splitter: csv_core::Reader,
    line: u64,
    row: Vec<u8>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl<R: Read> Rows<R> {
    pub(super) fn new(file: R, encoding: &'static Encoding, delimiter: u8) -> Self {
        Self {
            text: Decoded::new(file, encoding),
            delimiter,
            splitter: csv_core::ReaderBuilder::new().delimiter(delimiter).build(),
            line: 0,
            row: Vec::new(),
            bytes: Vec::new(),
            ends: vec![0; FIELDS],
        }
    }

    /// Returns the next row, `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<Row>, InvoiceError> {
        self.row.clear();
        let line = self.line + 1;
        let mut place = Place::FieldStart;
        loop {
            let start = self.row.len();
            let left = ROW_BYTES.saturating_sub(start) as u64 + 1;
            let read = self
                .text
                .by_ref()
                .take(left)
                .read_until(b'\n', &mut self.row)
                .map_err(InvoiceError::Read)?;
            if self.row.len() > ROW_BYTES {
                return Err(InvoiceError::LongRow(line));
            }
            if read == 0 {
                return match start {
                    0 => Ok(None),
                    _ => Err(InvoiceError::OpenQuote(line)),
                };
            }
            self.line += 1;
            let end = self.row.len();
            let added = &self.row[start..end];
            if added.contains(&0) {
                return Err(InvoiceError::Nul);
            }
            for (at, byte) in added.iter().enumerate() {
                // A carriage return belongs to the end of the line.
                let is_end = matches!(&added[at..], b"\n" | b"\r\n" | b"\r");
                place = match (place, *byte) {
                    (Place::Quoted, b'"') => Place::Quote,
                    (Place::FieldStart | Place::Quote, b'"') | (Place::Quoted, _) => Place::Quoted,
                    (_, byte) if byte == self.delimiter => Place::FieldStart,
                    (place, _) if is_end => place,
                    (Place::Quote, _) => return Err(InvoiceError::StrayQuote(self.line)),
                    (Place::FieldStart | Place::Plain, b'\r') => {
                        return Err(InvoiceError::CarriageReturn(self.line));
                    }
                    (Place::FieldStart | Place::Plain, _) => Place::Plain,
                };
            }
            if place != Place::Quoted {
                break;
            }
        }
        self.split(line).map(Some)
    }

    fn split(&mut self, line: u64) -> Result<Row, InvoiceError> {
        let text = self.row.strip_suffix(b"\n").unwrap_or(&self.row);
        let trimmed = text.strip_suffix(b"\r").unwrap_or(text).len();
        let mut fields = Vec::new();
        if trimmed == 0 {
            return Ok(Row { line, fields });
        }
        self.row.truncate(trimmed);
        self.row.push(b'\n');
        self.bytes.resize(self.row.len(), 0);
        self.splitter.reset();
        let (result, _, _, ends) =
            self.splitter
                .read_record(&self.row, &mut self.bytes, &mut self.ends);
        if result != ReadRecordResult::Record {
            return Err(InvoiceError::ManyFields(line));
        }
        let mut start = 0;
        for end in &self.ends[..ends] {
            fields.push(String::from_utf8_lossy(&self.bytes[start..*end]).into_owned());
            start = *end;
        }
        Ok(Row { line, fields })
    }
}

#[cfg(test)]
mod tests {
    use encoding_rs::UTF_8;

    use super::*;

    fn rows(text: &str) -> Result<Vec<(u64, Vec<String>)>, String> {
        let mut rows = Rows::new(text.as_bytes(), UTF_8, b',');
        let mut all = Vec::new();
        while let Some(row) = rows.next().map_err(|error| error.to_string())? {
            all.push((row.line, row.fields));
        }
        Ok(all)
    }

    fn row(line: u64, fields: &[&str]) -> (u64, Vec<String>) {
        (line, fields.iter().map(|&field| field.to_owned()).collect())
    }

    #[test]
    fn rows_carry_the_line_they_begin_in() {
        let text = "a,b\r\n\r\n\"x\ny\",\"say \"\"hi\"\"\"\n,\n5\" disk,z";
        let expected = vec![
            row(1, &["a", "b"]),
            row(2, &[]),
            row(3, &["x\ny", "say \"hi\""]),
            row(5, &["", ""]),
            row(6, &["5\" disk", "z"]),
        ];
        assert_eq!(rows(text), Ok(expected));
        assert_eq!(rows(""), Ok(Vec::new()));
    }

    #[test]
    fn quote_that_hides_lines_is_refused() {
        for (text, line) in [
            ("a,\"b\nc,d\n", "line 1"),
            ("a,b\nc,\"d\ne,\"f\n", "line 3"),
            ("a,\"b\"c\n", "line 1"),
            ("a\rb\rc\n", "line 1"),
        ] {
            let refused = rows(text).unwrap_err();
            assert!(refused.contains(line), "{text:?}: {refused}");
        }
        let long = "x".repeat(ROW_BYTES + 1);
        assert!(rows(&long).unwrap_err().contains("line 1"));
        assert!(rows(&",".repeat(FIELDS)).unwrap_err().contains("fields"));
    }
}
