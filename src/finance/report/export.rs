//! Reports for machines: CSV and JSON, row by row as the database sends them.
//!
//! Both carry exactly the columns of the report, exact and without totals. When the rows end in
//! an error the output so far stays written: whoever reads it must look at the exit code.

use std::io;

use futures_util::{Stream, StreamExt as _};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::Row;
use crate::printable::write_json;

/// Why a report is not complete.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("read the costs from the database")]
    Database(#[from] sqlx::Error),
    #[error("write the report")]
    Write(#[from] io::Error),
}

impl From<csv::Error> for ExportError {
    fn from(error: csv::Error) -> Self {
        Self::Write(error.into())
    }
}

/// Writes RFC 4180: a header line, CRLF, quotes where needed, nothing for null.
pub async fn write_csv(
    columns: &[&str],
    mut rows: impl Stream<Item = sqlx::Result<Row>> + Unpin,
    out: &mut dyn io::Write,
) -> Result<(), ExportError> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(out);
    writer.write_record(columns)?;
    while let Some(row) = rows.next().await {
        writer.write_record(row?.iter().map(super::Cell::to_csv))?;
    }
    writer.flush()?;
    Ok(())
}

/// Writes one array of objects, one object per line, keys in the order of the columns.
pub async fn write_json_array(
    columns: &[&str],
    mut rows: impl Stream<Item = sqlx::Result<Row>> + Unpin,
    out: &mut dyn io::Write,
) -> Result<(), ExportError> {
    let mut out = io::BufWriter::new(out);
    let mut separator = "[\n";
    while let Some(row) = rows.next().await {
        let row = row?;
        io::Write::write_all(&mut out, separator.as_bytes())?;
        write_json(&mut out, &Object { columns, row: &row }).map_err(io::Error::from)?;
        separator = ",\n";
    }
    let end: &[u8] = if separator == "[\n" {
        b"[]\n"
    } else {
        b"\n]\n"
    };
    io::Write::write_all(&mut out, end)?;
    io::Write::flush(&mut out)?;
    Ok(())
}

struct Object<'a> {
    columns: &'a [&'a str],
    row: &'a Row,
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(self.columns.len()))?;
        for (column, cell) in self.columns.iter().zip(self.row) {
            object.serialize_entry(column, cell)?;
        }
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::super::Cell;
    use super::*;

    fn row(text: &str) -> Row {
        vec![Cell::Text(text.into()), Cell::Null]
    }

    #[tokio::test]
    async fn csv_quotes_what_needs_quotes_and_ends_lines_with_crlf() {
        let mut out = Vec::new();
        let rows = ["a,b", "say \"hi\"", "two\nlines", "=1,2"].map(|text| Ok(row(text)));
        write_csv(&["text", "empty"], stream::iter(rows), &mut out)
            .await
            .unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "text,empty\r\n\"a,b\",\r\n\"say \"\"hi\"\"\",\r\n\"two\nlines\",\r\n\"'=1,2\",\r\n"
        );
    }

    #[tokio::test]
    async fn rows_are_written_as_they_come() {
        let broken = || stream::iter([Ok(row("first")), Err(sqlx::Error::PoolTimedOut)]);
        let mut csv = Vec::new();
        let mut json = Vec::new();
        write_csv(&["a", "b"], broken(), &mut csv)
            .await
            .unwrap_err();
        write_json_array(&["a", "b"], broken(), &mut json)
            .await
            .unwrap_err();
        assert_eq!(String::from_utf8(csv).unwrap(), "a,b\r\nfirst,\r\n");
        let json = String::from_utf8(json).unwrap();
        assert_eq!(json, "[\n{\"a\":\"first\",\"b\":null}");
    }

    #[tokio::test]
    async fn nothing_is_a_header_or_an_empty_array() {
        let mut csv = Vec::new();
        let mut json = Vec::new();
        write_csv(&["a"], stream::empty(), &mut csv).await.unwrap();
        write_json_array(&["a"], stream::empty(), &mut json)
            .await
            .unwrap();
        assert_eq!(csv, b"a\r\n");
        assert_eq!(json, b"[]\n");
    }
}
