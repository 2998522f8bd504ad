//! One event, one line: whatever an event says, it can neither forge another line nor steer the
//! terminal that shows it.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FormatFields, MakeWriter};

use crate::error::chain;
use crate::printable::{printable, write_json_lines};

/// Formats the fields of an event as text: the message, then `name=value`, every value printable.
#[derive(Debug, Clone, Copy)]
pub(super) struct PrintableFields;

impl<'writer> FormatFields<'writer> for PrintableFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut line = Line {
            writer,
            is_empty: true,
            result: Ok(()),
        };
        fields.record(&mut line);
        line.result
    }
}

struct Line<'writer> {
    writer: Writer<'writer>,
    is_empty: bool,
    result: fmt::Result,
}

impl Line<'_> {
    fn write(&mut self, name: &str, value: &str) -> fmt::Result {
        if !self.is_empty {
            self.writer.write_char(' ')?;
        }
        self.is_empty = false;
        match (name, self.writer.has_ansi_escapes()) {
            ("message", _) => {}
            // Italic, and a dim sign.
            (_, true) => write!(self.writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m")?,
            (_, false) => write!(self.writer, "{name}=")?,
        }
        self.writer.write_str(&printable(value))
    }
}

impl Visit for Line<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.record_debug(field, &format_args!("{value}"));
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.record_debug(field, &format_args!("{}", chain(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Those of the `log` crate's records stand in front of the line already.
        if self.result.is_ok() && !field.name().starts_with("log.") {
            self.result = self.write(field.name(), &format!("{value:?}"));
        }
    }
}

/// Writes lines of JSON, on which a terminal acts no more than on those of text.
#[derive(Debug, Clone)]
pub(super) struct PrintableJsonLines<W>(pub(super) W);

impl<W: Write> Write for PrintableJsonLines<W> {
    /// Takes whole lines, as the formatter gives them.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let mut safe = Vec::with_capacity(lines.len());
        write_json_lines(&mut safe, &String::from_utf8_lossy(lines))?;
        self.0.write_all(&safe)?;
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<'a, W: Write + Clone + 'a> MakeWriter<'a> for PrintableJsonLines<W> {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
