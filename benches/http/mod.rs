//! The little of HTTP/1.1 that the programs of the benchmark speak: heads, and bodies that have a
//! length.

use std::io::{self, BufRead};

/// One connection's buffer: large, so that a read is one long copy, and still within a core's cache.
pub(crate) const BUFFER_BYTES: usize = 256 * 1024;
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// A request's or a response's first line and headers.
pub(crate) struct Head {
    /// As it came, with the blank line.
    pub(crate) raw: String,
}

impl Head {
    /// The next head; `None` if the other side has closed the connection instead.
    pub(crate) fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut raw = String::new();
        loop {
            let begin = raw.len();
            if from.read_line(&mut raw)? == 0 {
                return if raw.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
            if &raw[begin..] == "\r\n" {
                return Ok(Some(Self { raw }));
            }
            if raw.len() > MAX_HEAD_BYTES {
                return Err(io::Error::other("a head without an end"));
            }
        }
    }

    /// A word of the first line: method, target, version; or version, status, reason.
    pub(crate) fn word(&self, index: usize) -> &str {
        let line = self.raw.lines().next().unwrap_or_default();
        line.split(' ').nth(index).unwrap_or_default()
    }

    /// Names and values, without the white space around them.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.raw
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name, value.trim()))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The body's length; 0 if none is announced.
    pub(crate) fn content_length(&self) -> u64 {
        self.header("content-length")
            .and_then(|value| value.parse().ok())
            .unwrap_or(0)
    }
}

/// Hands the next `length` bytes to `each`, in pieces as they come.
pub(crate) fn read_body(
    from: &mut impl BufRead,
    mut length: u64,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    while length > 0 {
        let came = from.fill_buf()?;
        if came.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let taken = came
            .len()
            .min(usize::try_from(length).unwrap_or(usize::MAX));
        each(&came[..taken])?;
        from.consume(taken);
        length -= taken as u64;
    }
    Ok(())
}
