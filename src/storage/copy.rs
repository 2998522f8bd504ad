//! Copies within a bucket of objects that are too large for one request.

use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde::Deserialize;

use super::S3;
use super::answer::quoted;
use super::error::{Operation, StorageError};
use super::signed::Ask;

/// The largest object that S3 copies in one request.
pub(super) const MAX_COPY_BYTES: u64 = 5 * 1024 * 1024 * 1024;
/// A part is answered when it is copied: before a silent connection is taken for dead.
const PART_BYTES: u64 = 512 * 1024 * 1024;
const MAX_PARTS: u64 = 10_000;
/// What stays unescaped in `x-amz-copy-source` (RFC 3986 unreserved): stores decode it.
const COPY_SOURCE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

#[derive(Deserialize)]
struct CopiedXml {
    #[serde(rename = "ETag")]
    etag: String,
}

impl S3 {
    /// Copies an object of the same bucket part by part, without fetching it. What was begun is
    /// aborted when it fails.
    pub(super) async fn copy_in_parts(
        &self,
        source: &Path,
        target: &Path,
        size_bytes: u64,
        max_copy_bytes: u64,
    ) -> Result<(), StorageError> {
        let failed = |e| StorageError::of(Operation::new("copy to", target), &e);
        let source = utf8_percent_encode(source.as_ref(), COPY_SOURCE);
        let source = format!("/{}/{source}", self.bucket);
        let upload_id = self.plain.create_multipart(target).await.map_err(failed)?;
        let copied = async {
            let mut parts = Vec::new();
            for (index, (first, last)) in ranges(size_bytes, max_copy_bytes).enumerate() {
                let number = (index + 1).to_string();
                let query = [
                    ("partNumber", number.as_str()),
                    ("uploadId", upload_id.as_str()),
                ];
                let content_id = self.copy_part(&source, target, &query, first, last).await?;
                parts.push(PartId { content_id });
            }
            let completed = self.plain.complete_multipart(target, &upload_id, parts);
            completed.await.map(drop).map_err(failed)
        };
        let copied = copied.await;
        if copied.is_err()
            && let Err(error) = self.plain.abort_multipart(target, &upload_id).await
        {
            tracing::warn!(object.key = %target, "abort a copy that failed: {error}");
        }
        copied
    }

    /// The copied part's `ETag`.
    async fn copy_part(
        &self,
        source: &str,
        target: &Path,
        query: &[(&str, &str)],
        first: u64,
        last: u64,
    ) -> Result<String, StorageError> {
        let operation = || Operation::new("copy to", target);
        let ask = Ask {
            method: Method::PUT,
            query,
            headers: vec![
                ("x-amz-copy-source", source.to_owned()),
                ("x-amz-copy-source-range", format!("bytes={first}-{last}")),
            ],
            ..Ask::default()
        };
        // The same part may be copied twice: asked like a question.
        let said = self.inquire(target, ask, operation).await?;
        let copied: Result<CopiedXml, _> = quick_xml::de::from_str(&said.body);
        copied
            .map(|copied| copied.etag)
            .map_err(|error| StorageError::Unavailable {
                operation: operation(),
                cause: quoted(&format!("the answer is no copied part: {error}"), 200),
            })
    }
}

/// First and last byte of each part.
fn ranges(size_bytes: u64, max_copy_bytes: u64) -> impl Iterator<Item = (u64, u64)> {
    let usual_bytes = PART_BYTES.max(size_bytes.div_ceil(MAX_PARTS));
    let part_bytes = usual_bytes.min(max_copy_bytes).max(1);
    (0..size_bytes.div_ceil(part_bytes)).map(move |index| {
        let first = index * part_bytes;
        (first, (first + part_bytes).min(size_bytes) - 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_copy_cover_every_byte_once() {
        let of = |size, most| ranges(size, most).collect::<Vec<_>>();
        assert_eq!(of(10, 4), [(0, 3), (4, 7), (8, 9)]);
        assert_eq!(of(8, 4), [(0, 3), (4, 7)]);
        assert_eq!(of(3, 4), [(0, 2)]);
        assert_eq!(of(0, 4), []);
        let (part, size) = (PART_BYTES, MAX_COPY_BYTES + 1);
        let parts = of(size, MAX_COPY_BYTES);
        assert_eq!((parts.len(), parts[0]), (11, (0, part - 1)));
        assert_eq!(parts[10], (size - 1, size - 1));
        let tib = 1024 * 1024 * 1024 * 1024;
        assert_eq!(ranges(48 * tib, MAX_COPY_BYTES).count(), 10_000);
    }
}
