//! One part of a multipart upload on the wire.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use object_store::path::Path;
use reqwest::Method;
use reqwest::header::ETAG;
use sha2::{Digest as _, Sha256};

use super::error::{Operation, StorageError};
use super::multipart::{CRC64NVME, SHA256};
use super::s3::Verification;
use super::signed::{Ask, SignedBody};
use super::{Algorithm, AnswerClass, S3};
use crate::checkpoint::StoredPart;
use crate::digest::{Crc64Nvme, Sha256Digest};

/// A part that arrives damaged is sent so often in all.
const TRIES: u32 = 3;

/// A part to be sent.
#[derive(Debug, Clone)]
pub(super) struct OutgoingPart {
    /// From 1.
    pub(super) number: u32,
    pub(super) bytes: Bytes,
    /// Of the bytes as they were read.
    pub(super) crc64nvme: Crc64Nvme,
}

impl OutgoingPart {
    /// A part as it is kept where nobody but us takes checksums: by the bytes that go out.
    pub(super) fn as_sent(&self) -> StoredPart {
        StoredPart {
            number: self.number,
            size_bytes: self.bytes.len() as u64,
            crc64nvme: Crc64Nvme::of(&self.bytes),
            etag: String::new(),
            sha256: None,
        }
    }
}

impl S3 {
    /// Sends a part, again while the store has trouble or the part arrives damaged: the bytes are
    /// still here.
    pub(super) async fn put_part(
        &self,
        path: &Path,
        upload_id: &str,
        part: &OutgoingPart,
        verified_by: Verification,
        operation: impl Fn() -> Operation,
    ) -> Result<StoredPart, StorageError> {
        let mut tries = 1;
        loop {
            let sent = self.put_part_once(path, upload_id, part, verified_by, &operation);
            match sent.await {
                Err(error) if error.class() == Some(AnswerClass::Damaged) && tries < TRIES => {
                    tracing::warn!(
                        object.key = %path, part = part.number, "{error}: sending it again"
                    );
                    tries += 1;
                }
                result => return result,
            }
        }
    }

    async fn put_part_once(
        &self,
        path: &Path,
        upload_id: &str,
        part: &OutgoingPart,
        verified_by: Verification,
        operation: impl Fn() -> Operation,
    ) -> Result<StoredPart, StorageError> {
        let crc64nvme = match verified_by {
            // What became of the bytes since they were read, the store finds out.
            Verification::Enforced(Algorithm::Crc64Nvme) => part.crc64nvme,
            _ => Crc64Nvme::of(&part.bytes),
        };
        let algorithm = verified_by.algorithm();
        let sha256 = (algorithm == Some(Algorithm::Sha256))
            .then(|| Sha256Digest::from_bytes(Sha256::digest(&part.bytes).into()));
        let checksum = match algorithm {
            Some(Algorithm::Crc64Nvme) => Some((CRC64NVME, crc64nvme.to_string())),
            Some(Algorithm::Sha256) | None => {
                sha256.map(|it| (SHA256, BASE64.encode(it.as_bytes())))
            }
        };
        let number = part.number.to_string();
        let ask = Ask {
            method: Method::PUT,
            query: &[("partNumber", &number), ("uploadId", upload_id)],
            headers: checksum.into_iter().collect(),
            body: part.bytes.clone(),
            signed_body: match verified_by {
                Verification::Enforced(_) => SignedBody::Not,
                Verification::Signature | Verification::Asked(_) => {
                    sha256.map_or(SignedBody::Whole, SignedBody::By)
                }
            },
        };
        // A part that is sent twice is there once: asked like a question.
        let said = self.inquire(path, ask, &operation).await?;
        let text = |name| said.headers.get(name)?.to_str().ok().map(str::to_owned);
        let Some(etag) = text(ETAG.as_str()) else {
            return Err(StorageError::Unavailable {
                operation: operation(),
                cause: "the answer has no ETag".to_owned(),
            });
        };
        Ok(StoredPart {
            number: part.number,
            size_bytes: part.bytes.len() as u64,
            // The store's own word on what came in is worth more than ours.
            crc64nvme: text(CRC64NVME)
                .and_then(|it| Crc64Nvme::from_base64(&it))
                .unwrap_or(crc64nvme),
            etag,
            sha256: sha256.and_then(|_| text(SHA256)),
        })
    }
}
