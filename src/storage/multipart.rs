//! The calls of a multipart upload that its client lacks: Complete under conditions, `ListParts`,
//! and HEAD with the object's checksum.

use bytes::Bytes;
use object_store::path::Path;
use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, HeaderMap};
use serde::{Deserialize, Serialize};

use super::error::{Operation, StorageError};
use super::signed::Ask;
use super::{AnswerClass, S3};
use crate::checkpoint::StoredPart;
use crate::digest::{Crc64Nvme, Fingerprint, Sha256Digest};

pub(super) const CRC64NVME: &str = "x-amz-checksum-crc64nvme";
pub(super) const SHA256: &str = "x-amz-checksum-sha256";
/// S3 allows no more parts than this.
const MAX_PARTS: usize = 10_000;
const CHECKSUM_TYPE: &str = "x-amz-checksum-type";

/// What the store is to hold an object against before it appears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Conditions {
    pub(super) checksum: bool,
    pub(super) size: bool,
    pub(super) create_only: bool,
}

/// What became of Complete.
#[derive(Debug)]
pub(super) enum Completed {
    Done {
        etag: Option<String>,
    },
    /// The upload stays, and nothing was overwritten.
    SomethingIsThere,
    Refused(StorageError),
}

/// What a store says of an object it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) size_bytes: Option<u64>,
    pub(super) checksums: Checksums,
}

/// Checksums of a whole object, as far as the store gives them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Checksums {
    pub(super) crc64nvme: Option<Crc64Nvme>,
    pub(super) sha256: Option<Sha256Digest>,
}

#[derive(Serialize)]
#[serde(rename = "CompleteMultipartUpload")]
struct CompleteXml<'a> {
    #[serde(rename = "Part")]
    parts: Vec<CompletePartXml<'a>>,
}

#[derive(Serialize)]
struct CompletePartXml<'a> {
    #[serde(rename = "PartNumber")]
    number: u32,
    #[serde(rename = "ETag")]
    etag: &'a str,
    #[serde(rename = "ChecksumCRC64NVME", skip_serializing_if = "Option::is_none")]
    crc64nvme: Option<String>,
    #[serde(rename = "ChecksumSHA256", skip_serializing_if = "Option::is_none")]
    sha256: Option<&'a str>,
}

#[derive(Deserialize)]
struct CompletedXml {
    #[serde(rename = "ETag")]
    etag: Option<String>,
}

#[derive(Deserialize)]
struct PartsXml {
    #[serde(rename = "Part", default)]
    parts: Vec<PartXml>,
    #[serde(rename = "IsTruncated", default)]
    is_truncated: bool,
    #[serde(rename = "NextPartNumberMarker")]
    next_marker: Option<String>,
}

/// A part as the store lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct PartXml {
    #[serde(rename = "PartNumber")]
    number: u32,
    #[serde(rename = "ETag")]
    etag: String,
    #[serde(rename = "Size")]
    size_bytes: u64,
    #[serde(rename = "ChecksumCRC64NVME")]
    crc64nvme: Option<String>,
}

impl S3 {
    /// Makes the object appear. Sends once.
    ///
    /// # Errors
    /// When the store did not answer, or has trouble: it may have acted nevertheless. Look whether
    /// the object is there.
    pub(super) async fn complete(
        &self,
        path: &Path,
        upload_id: &str,
        parts: &[StoredPart],
        whole: &Fingerprint,
        conditions: Conditions,
    ) -> Result<Completed, StorageError> {
        let operation = || Operation::new("publish", path);
        let mut headers = Vec::new();
        if conditions.checksum {
            headers.push((CRC64NVME, whole.crc64nvme.to_string()));
            headers.push((CHECKSUM_TYPE, "FULL_OBJECT".to_owned()));
        }
        if conditions.size {
            headers.push(("x-amz-mp-object-size", whole.size_bytes.to_string()));
        }
        if conditions.create_only {
            headers.push(("if-none-match", "*".to_owned()));
        }
        let xml = CompleteXml {
            parts: parts
                .iter()
                .map(|part| CompletePartXml {
                    number: part.number,
                    etag: &part.etag,
                    crc64nvme: conditions.checksum.then(|| part.crc64nvme.to_string()),
                    // AWS demands each part's checksum of an upload that was begun under SHA-256.
                    sha256: part.sha256.as_deref(),
                })
                .collect(),
        };
        let body = quick_xml::se::to_string(&xml).map_err(|e| StorageError::Unavailable {
            operation: operation(),
            cause: format!("spell the list of parts: {e}"),
        })?;
        let ask = Ask {
            method: Method::POST,
            query: &[("uploadId", upload_id)],
            headers,
            body: Bytes::from(body),
            ..Ask::default()
        };
        let said = match self.ask(path, ask, operation).await {
            Ok(said) => said,
            Err(error) if error.class() == Some(AnswerClass::Exists) => {
                return Ok(Completed::SomethingIsThere);
            }
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => return Ok(Completed::Refused(error)),
        };
        // Nor need its result have come by the end.
        if !said.body.contains("CompleteMultipartUploadResult") {
            return Err(StorageError::Unavailable {
                operation: operation(),
                cause: "the answer is neither a result nor an error".to_owned(),
            });
        }
        let completed: Option<CompletedXml> = quick_xml::de::from_str(&said.body).ok();
        let etag = completed.and_then(|completed| completed.etag);
        Ok(Completed::Done { etag })
    }

    /// The parts that the store has, in order; `None` if it knows no such upload, or cannot tell.
    pub(super) async fn list_parts(
        &self,
        path: &Path,
        upload_id: &str,
    ) -> Result<Option<Vec<PartXml>>, StorageError> {
        let operation = || Operation::new("list the parts of", path);
        let mut parts = Vec::new();
        let mut marker = String::from("0");
        loop {
            let query = [
                ("part-number-marker", marker.as_str()),
                ("uploadId", upload_id),
            ];
            let ask = Ask {
                query: &query,
                ..Ask::default()
            };
            let said = match self.inquire(path, ask, operation).await {
                Ok(said) => said,
                // Listing is a right of its own, which archiving does not take.
                Err(error) if error.is_denied() && !error.is_about_every_request() => {
                    tracing::warn!(object.key = %path, "cannot resume the upload: {error}");
                    return Ok(None);
                }
                // The parts may well be there, and are for when that is fixed.
                Err(error) if error.is_denied() || error.is_transient() => return Err(error),
                Err(_) => return Ok(None),
            };
            let Ok(page) = quick_xml::de::from_str::<PartsXml>(&said.body) else {
                return Ok(None);
            };
            let went_on = page.parts.last().map(|part| part.number);
            parts.extend(page.parts);
            if parts.len() > MAX_PARTS {
                return Ok(None);
            }
            match page.next_marker {
                Some(next) if page.is_truncated && went_on.is_some() && next != marker => {
                    marker = next;
                }
                _ => return Ok(Some(parts)),
            }
        }
    }

    /// What the store says of an object, checksums of the whole included; `None` if there is none.
    pub(super) async fn stored(&self, path: &Path) -> Result<Option<Stored>, StorageError> {
        let operation = || Operation::new("look for", path);
        let head = |headers| Ask {
            method: Method::HEAD,
            headers,
            ..Ask::default()
        };
        let asking = head(vec![("x-amz-checksum-mode", "ENABLED".to_owned())]);
        let mut said = self.inquire(path, asking, operation).await;
        // It may know no such header. HEAD has no body that would tell.
        if said.as_ref().is_err_and(StorageError::is_of_this_request) {
            said = self.inquire(path, head(Vec::new()), operation).await;
        }
        let said = match said {
            Ok(said) => said,
            Err(error) if error.class() == Some(AnswerClass::NotFound) => return Ok(None),
            Err(error) => return Err(self.in_words(path, operation, error).await),
        };
        Ok(Some(Stored {
            size_bytes: said
                .headers
                .get(CONTENT_LENGTH)
                .and_then(|length| length.to_str().ok()?.parse().ok()),
            checksums: Checksums::of(&said.headers),
        }))
    }
}

impl Checksums {
    /// Reads the headers of an answer. A checksum of checksums is marked as such, by its type or
    /// by `-N` at its end, and left out.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name)?.to_str().ok();
        let whole = text(CHECKSUM_TYPE).is_none_or(|it| it.eq_ignore_ascii_case("FULL_OBJECT"));
        let checksum = |name| text(name).filter(|_| whole);
        Self {
            crc64nvme: checksum(CRC64NVME).and_then(Crc64Nvme::from_base64),
            sha256: checksum(SHA256).and_then(Sha256Digest::from_base64),
        }
    }
}

impl PartXml {
    /// Whether this is the part that we sent.
    pub(super) fn is(&self, ours: &StoredPart) -> bool {
        let bare = |etag: &str| etag.trim_matches('"').to_owned();
        self.number == ours.number
            && self.size_bytes == ours.size_bytes
            && bare(&self.etag) == bare(&ours.etag)
            && self
                .crc64nvme
                .as_deref()
                .is_none_or(|listed| Crc64Nvme::from_base64(listed) == Some(ours.crc64nvme))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListPartsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Bucket>b</Bucket><Key>k</Key><UploadId>u</UploadId><PartNumberMarker>0</PartNumberMarker>
  <NextPartNumberMarker>2</NextPartNumberMarker><MaxParts>2</MaxParts><IsTruncated>true</IsTruncated>
  <Part><PartNumber>1</PartNumber><LastModified>2026-11-25T01:02:03Z</LastModified>
    <ETag>&quot;abc&quot;</ETag><Size>5242880</Size><ChecksumCRC64NVME>rosUhgp5mIg=</ChecksumCRC64NVME></Part>
  <Part><PartNumber>2</PartNumber><ETag>"def"</ETag><Size>7</Size></Part>
</ListPartsResult>"#;

    fn ours(number: u32, size_bytes: u64, etag: &str) -> StoredPart {
        StoredPart {
            number,
            size_bytes,
            crc64nvme: Crc64Nvme::of(b"123456789"),
            etag: etag.to_owned(),
            sha256: None,
        }
    }

    #[test]
    fn a_list_of_parts_is_held_against_ours() {
        let list: PartsXml = quick_xml::de::from_str(LIST).unwrap();
        assert!(list.is_truncated);
        assert_eq!(list.next_marker.as_deref(), Some("2"));
        let [first, second] = &list.parts[..] else {
            panic!("two parts");
        };
        assert!(first.is(&ours(1, 5_242_880, "\"abc\"")));
        assert!(first.is(&ours(1, 5_242_880, "abc")));
        assert!(
            second.is(&ours(2, 7, "def")),
            "no checksum is no contradiction"
        );
        assert!(!first.is(&ours(2, 5_242_880, "abc")));
        assert!(!first.is(&ours(1, 5_242_881, "abc")));
        assert!(!first.is(&ours(1, 5_242_880, "abd")));
        let mut other_bytes = ours(1, 5_242_880, "abc");
        other_bytes.crc64nvme = Crc64Nvme::of(b"12345678");
        assert!(!first.is(&other_bytes));
    }

    #[test]
    fn the_list_sent_with_complete_is_as_s3_documents_it() {
        let xml = CompleteXml {
            parts: vec![CompletePartXml {
                number: 1,
                etag: "\"a\"",
                crc64nvme: Some("AAAAAAAAAAA=".to_owned()),
                sha256: Some("c2hh"),
            }],
        };
        assert_eq!(
            quick_xml::se::to_string(&xml).unwrap(),
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>\"a\"</ETag>\
             <ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME>\
             <ChecksumSHA256>c2hh</ChecksumSHA256></Part></CompleteMultipartUpload>"
        );
    }
}
