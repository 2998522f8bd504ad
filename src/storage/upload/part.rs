//! One part on its way: sent, sent again if it arrives damaged, and remembered by what was said of
//! it.

use bytes::Bytes;
use object_store::aws::AmazonS3;
use object_store::multipart::MultipartStore;
use object_store::path::Path;

use crate::checkpoint::StoredPart;
use crate::digest::Crc64Nvme;
use crate::error::chain;
use crate::storage::codes::is_damage;

/// A part that arrives damaged is sent so often in all.
const PART_TRIES: u32 = 3;

/// A part by the very bytes that go out: held against those that were read, before publishing.
pub(super) fn part_of(number: u32, bytes: &Bytes) -> StoredPart {
    StoredPart {
        number,
        size_bytes: bytes.len() as u64,
        crc64nvme: Crc64Nvme::of(bytes),
        etag: String::new(),
        sha256: None,
    }
}

/// Sends a part, and again if it arrives damaged: the bytes are still here.
pub(super) async fn put_part(
    store: &AmazonS3,
    path: &Path,
    upload_id: &str,
    number: u32,
    bytes: Bytes,
) -> Result<StoredPart, object_store::Error> {
    let (upload_id, index) = (upload_id.to_owned(), number as usize - 1);
    let mut tries = 1;
    loop {
        let sent = store.put_part(path, &upload_id, index, bytes.clone().into());
        match sent.await {
            Ok(sent) => {
                let said = SaidOfPart::from(sent.content_id.as_str());
                return Ok(match said.crc64nvme {
                    // The store's own word on what came in is worth more than ours.
                    Some(crc64nvme) => StoredPart {
                        number,
                        size_bytes: bytes.len() as u64,
                        crc64nvme,
                        etag: said.etag,
                        sha256: said.sha256,
                    },
                    None => StoredPart {
                        etag: said.etag,
                        sha256: said.sha256,
                        ..part_of(number, &bytes)
                    },
                });
            }
            Err(error) if tries < PART_TRIES && is_damage(&chain(&error)) => {
                tracing::warn!(
                    object.key = %path, part = number,
                    "a part arrived damaged: sending it again"
                );
                tries += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// What the store said of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::storage) struct SaidOfPart {
    pub(in crate::storage) etag: String,
    pub(in crate::storage) sha256: Option<String>,
    pub(in crate::storage) crc64nvme: Option<Crc64Nvme>,
}

impl From<&str> for SaidOfPart {
    /// Reads the client's name of a part: with checksums, it wraps what it knows into an element.
    fn from(content_id: &str) -> Self {
        #[derive(serde::Deserialize)]
        struct PartMetadata {
            e_tag: String,
            checksum_sha256: Option<String>,
            checksum_crc64nvme: Option<String>,
        }
        match quick_xml::de::from_str::<PartMetadata>(content_id) {
            Ok(part) => Self {
                etag: part.e_tag,
                sha256: part.checksum_sha256,
                crc64nvme: part
                    .checksum_crc64nvme
                    .and_then(|text| Crc64Nvme::from_base64(&text)),
            },
            Err(_) => Self {
                etag: content_id.to_owned(),
                sha256: None,
                crc64nvme: None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_part_is_found_with_and_without_checksums() {
        let wrapped = |inner| format!("<PartMetadata><e_tag>\"abc\"</e_tag>{inner}</PartMetadata>");
        let said = |text: &str| {
            let said = SaidOfPart::from(text);
            (
                said.etag,
                said.sha256,
                said.crc64nvme.map(|it| it.to_string()),
            )
        };
        let (etag, some) = ("\"abc\"".to_owned(), |text: &str| Some(text.to_owned()));
        let crc = wrapped("<checksum_crc64nvme>rosUhgp5mIg=</checksum_crc64nvme>");
        assert_eq!(said(&crc), (etag.clone(), None, some("rosUhgp5mIg=")));
        let sha256 = wrapped("<checksum_sha256>c2hh</checksum_sha256>");
        assert_eq!(said(&sha256), (etag.clone(), some("c2hh"), None));
        assert_eq!(said("\"abc\""), (etag, None, None));
        assert_eq!(said("abc"), ("abc".to_owned(), None, None));
    }
}
