//! Answers for how many recordings are generated, and how large.

use bytesize::ByteSize;

/// So many recordings of a size; `None` is what `--size` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Series {
    pub(super) count: u32,
    pub(super) size: Option<ByteSize>,
}

impl Series {
    /// Reads `20` or `20x256MiB`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (count, size) = match text.split_once('x') {
            Some((count, size)) => (count, Some(size.parse()?)),
            None => (text, None),
        };
        let count = count
            .parse()
            .map_err(|_| "write a number such as 20, or 20x256MiB".to_owned())?;
        Ok(Self { count, size })
    }
}

/// The size of each recording, in bytes and in order.
pub(super) fn sizes(series: &[Series], default: ByteSize) -> impl Iterator<Item = u64> {
    series.iter().flat_map(move |series| {
        let size_bytes = series.size.unwrap_or(default).as_u64();
        std::iter::repeat_n(size_bytes, series.count as usize)
    })
}
