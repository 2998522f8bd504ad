//! Tells what became of each recording, as soon as it is known.

use std::io::{self, Write};

use tokio_util::sync::CancellationToken;

use super::tally::Tally;
use crate::cli::bars::Bars;
use crate::cli::lines::{Line, LineFormat};

/// Writes lines and counts them.
#[derive(Debug)]
pub(super) struct Teller<'a, W> {
    bars: &'a Bars,
    format: LineFormat,
    out: &'a mut W,
    /// Set when nobody reads any more: what runs is given back, in order.
    stop: CancellationToken,
    closed: Option<io::Error>,
    tally: Tally,
}

impl<'a, W: Write> Teller<'a, W> {
    pub(super) fn new(
        bars: &'a Bars,
        format: LineFormat,
        out: &'a mut W,
        stop: CancellationToken,
    ) -> Self {
        Self {
            bars,
            format,
            out,
            stop,
            closed: None,
            tally: Tally::default(),
        }
    }

    pub(super) fn tell(&mut self, lines: &[Line]) {
        for line in lines {
            self.tally.count(line);
        }
        self.bars.done(lines.len());
        self.write(lines);
    }

    /// Tells of those whose turn did not come. People are spared thousands of equal lines.
    pub(super) fn not_begun(&mut self, lines: &[Line]) {
        self.tally.not_begun(lines.len());
        if self.format == LineFormat::Jsonl {
            self.write(lines);
        }
    }

    fn write(&mut self, lines: &[Line]) {
        if self.closed.is_some() || lines.is_empty() {
            return;
        }
        let (format, out) = (self.format, &mut *self.out);
        // In one piece: the bars get out of the way once.
        let written = self.bars.beside(|| {
            let mut text = Vec::new();
            for line in lines {
                line.write(format, &mut text)?;
            }
            out.write_all(&text)?;
            out.flush()
        });
        if let Err(error) = written {
            self.stop.cancel();
            self.closed = Some(error);
        }
    }

    /// How many ended how.
    ///
    /// # Errors
    /// When the output was closed before the last line.
    pub(super) fn end(self) -> io::Result<Tally> {
        match self.closed {
            Some(error) => Err(error),
            None => Ok(self.tally),
        }
    }
}
