//! What makes us believe that the store holds the very bytes that were sent.

use std::fmt;
use std::str::FromStr;

use super::error::{Operation, StorageError, is_not_found};
use super::key::ObjectKey;
use super::multipart::{Checksums, Stored};
use super::publish::Receipt;
use super::{Backend, S3, Storage, Verification};
use crate::config::{ChecksumMode, VerifyMode};
use crate::digest::Fingerprint;

/// How an archived object was proven. Size alone is no evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// The store returned a checksum of the whole object, equal to ours.
    FullObject,
    /// Read again, and the SHA-256 was equal.
    ReadBack,
    /// Each part's checksum was verified by a store probed to reject wrong ones.
    Parts,
    /// Found in the bucket, read, and equal to the manifest beside it. Nobody has compared it with
    /// the source: whoever can write the bucket can write both.
    Found,
    /// Found in the bucket, and not read: only its manifest says what it is.
    Manifest,
}

impl Evidence {
    /// Every kind, in the order of the README.
    pub const ALL: [Self; 5] = [
        Self::FullObject,
        Self::Parts,
        Self::ReadBack,
        Self::Found,
        Self::Manifest,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FullObject => "full_object",
            Self::ReadBack => "read_back",
            Self::Parts => "parts",
            Self::Found => "found",
            Self::Manifest => "manifest",
        }
    }

    /// Whether the object was compared with its source, and not only with what the bucket says.
    pub const fn is_of_the_source(self) -> bool {
        match self {
            Self::FullObject | Self::ReadBack | Self::Parts => true,
            Self::Found | Self::Manifest => false,
        }
    }
}

/// What was proven of an object, by which algorithm, and the value that was equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    pub evidence: Evidence,
    pub algorithm: Algorithm,
    /// As the store or reading back gave it for the whole; `None` for parts.
    pub value: Option<String>,
}

/// An object as the store speaks of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub size_bytes: u64,
    pub etag: Option<String>,
}

/// What checksums a proof rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Crc64Nvme,
    Sha256,
}

impl Algorithm {
    /// What uploads carry checksums of by a setting; `None` if they carry none.
    pub(super) const fn of(checksum: ChecksumMode) -> Option<Self> {
        match checksum {
            ChecksumMode::Auto | ChecksumMode::Crc64Nvme => Some(Self::Crc64Nvme),
            ChecksumMode::Sha256 => Some(Self::Sha256),
            ChecksumMode::None => None,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Crc64Nvme => "crc64nvme",
            Self::Sha256 => "sha256",
        }
    }
}

impl Proof {
    /// Every byte was read again.
    pub fn read_back(found: &Fingerprint) -> Self {
        Self {
            evidence: Evidence::ReadBack,
            algorithm: Algorithm::Sha256,
            value: Some(found.sha256.to_string()),
        }
    }

    /// What was found in the bucket: read and equal to its manifest, or believed unread.
    pub fn found(stated: &Fingerprint, is_read: bool) -> Self {
        Self {
            evidence: if is_read {
                Evidence::Found
            } else {
                Evidence::Manifest
            },
            algorithm: Algorithm::Sha256,
            value: is_read.then(|| stated.sha256.to_string()),
        }
    }

    /// A proof as it stands on record. Older rows name no algorithm: reading back rests on
    /// SHA-256, all else on CRC64NVME then.
    pub fn from_stored(
        evidence: &str,
        algorithm: Option<&str>,
        value: Option<String>,
    ) -> Option<Self> {
        let evidence: Evidence = evidence.parse().ok()?;
        let algorithm = match algorithm {
            Some("crc64nvme") => Algorithm::Crc64Nvme,
            Some("sha256") => Algorithm::Sha256,
            Some(_) => return None,
            None => match evidence {
                Evidence::ReadBack | Evidence::Found | Evidence::Manifest => Algorithm::Sha256,
                Evidence::FullObject | Evidence::Parts => Algorithm::Crc64Nvme,
            },
        };
        Some(Self {
            evidence,
            algorithm,
            value,
        })
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no kind of evidence.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{0}` is no kind of evidence")]
pub struct UnknownEvidence(String);

impl FromStr for Evidence {
    type Err = UnknownEvidence;

    fn from_str(text: &str) -> Result<Self, UnknownEvidence> {
        Self::ALL
            .into_iter()
            .find(|evidence| evidence.as_str() == text)
            .ok_or_else(|| UnknownEvidence(text.to_owned()))
    }
}

impl Storage {
    /// Proves that the object just published is what was sent, by the strongest cheap means: the
    /// whole object's checksum where the store was probed to compute it itself, each part's
    /// checksum where it was probed to reject wrong ones, else by reading back.
    ///
    /// An object that is proven wrong is removed again: it was never called archived, and the
    /// next attempt must not meet it.
    pub async fn prove(
        &self,
        key: &ObjectKey,
        sent: &Fingerprint,
        receipt: &Receipt,
    ) -> Result<Proof, StorageError> {
        let verdict = match self.said_of(key, sent, receipt).await {
            Ok(Some(proof)) => Ok(proof),
            Ok(None) => self.prove_by_reading(key, sent).await,
            Err(error) => Err(error),
        };
        if let Err(StorageError::Damaged { .. } | StorageError::ReadBackDiffers { .. }) = &verdict {
            self.remove_unproven(key).await;
        }
        verdict
    }

    /// The proof that the store's own word is; `None` if its word is worth nothing.
    async fn said_of(
        &self,
        key: &ObjectKey,
        sent: &Fingerprint,
        receipt: &Receipt,
    ) -> Result<Option<Proof>, StorageError> {
        let (Backend::S3(s3), VerifyMode::Auto) = (&self.backend, self.verify) else {
            return Ok(None);
        };
        if !s3.verifies_uploads().await? {
            return Ok(None);
        }
        let stored = match receipt.stored {
            Some(stored) if stored.checksums != Checksums::default() => Some(stored),
            _ => s3.stored(&key.location()).await?,
        };
        let mut stored = stored.ok_or_else(|| StorageError::Missing { key: key.clone() })?;
        if !receipt.single {
            // Of the parts' checksums, whatever it is called.
            stored.checksums.sha256 = None;
        }
        s3.judge(key, &stored, sent).await
    }

    async fn prove_by_reading(
        &self,
        key: &ObjectKey,
        sent: &Fingerprint,
    ) -> Result<Proof, StorageError> {
        match self.read_back(key, sent.size_bytes).await? {
            Some(found) if found == *sent => Ok(Proof::read_back(&found)),
            Some(found) => Err(StorageError::ReadBackDiffers {
                key: key.clone(),
                found: Box::new(found),
                sent: Box::new(*sent),
            }),
            None => Err(StorageError::Missing { key: key.clone() }),
        }
    }

    /// Demands that what stands under a key is these very bytes.
    pub async fn demand_equal(
        &self,
        key: &ObjectKey,
        expected: &Fingerprint,
    ) -> Result<(), StorageError> {
        match self.size_of(key).await? {
            Some(size_bytes) if size_bytes == expected.size_bytes => {}
            Some(size_bytes) => return Err(self.conflict(key, size_bytes, expected.size_bytes)),
            None => return Err(StorageError::Missing { key: key.clone() }),
        }
        match self.read_back(key, expected.size_bytes).await? {
            Some(found) if found == *expected => Ok(()),
            Some(found) => Err(self.conflict(key, found.size_bytes, expected.size_bytes)),
            None => Err(StorageError::Missing { key: key.clone() }),
        }
    }

    /// Another object stands under a recording's key: it is left alone.
    pub fn conflict(&self, key: &ObjectKey, found_bytes: u64, expected_bytes: u64) -> StorageError {
        StorageError::Conflict {
            key: key.clone(),
            found_bytes,
            expected_bytes,
        }
    }

    /// The size in bytes of what stands under a key; `None` if nothing does.
    pub async fn size_of(&self, key: &ObjectKey) -> Result<Option<u64>, StorageError> {
        Ok(self.meta_of(key).await?.map(|meta| meta.size))
    }

    /// What the store says of what stands under a key; `None` if nothing does.
    pub async fn look_at(&self, key: &ObjectKey) -> Result<Option<Standing>, StorageError> {
        let found = self.meta_of(key).await?;
        Ok(found.map(|meta| Standing {
            size_bytes: meta.size,
            etag: meta.e_tag,
        }))
    }
}

impl S3 {
    /// Holds what the store says of an object against what was sent; `None` if it cannot tell.
    async fn judge(
        &self,
        key: &ObjectKey,
        stored: &Stored,
        sent: &Fingerprint,
    ) -> Result<Option<Proof>, StorageError> {
        let damaged = |cause: String| StorageError::Damaged {
            operation: Operation::new("store", key),
            cause,
        };
        let Some(size_bytes) = stored.size_bytes else {
            return Ok(None);
        };
        if size_bytes != sent.size_bytes {
            let sent = sent.size_bytes;
            return Err(damaged(format!(
                "size differs: sent {sent} bytes, the store has {size_bytes}"
            )));
        }
        let Checksums { crc64nvme, sha256 } = stored.checksums;
        if let Some(found) = crc64nvme.filter(|found| *found != sent.crc64nvme) {
            let sent = sent.crc64nvme;
            return Err(damaged(format!(
                "CRC64NVME differs: sent {sent}, the store has {found}"
            )));
        }
        if let Some(found) = sha256.filter(|found| *found != sent.sha256) {
            let sent = sent.sha256;
            return Err(damaged(format!(
                "SHA-256 differs: sent {sent}, the store has {found}"
            )));
        }
        let computes_itself = self.enforcement().await?.object_checksum;
        let (evidence, algorithm, value) = match (self.verification().await?, crc64nvme, sha256) {
            (Verification::Enforced(Algorithm::Crc64Nvme), Some(crc), _) if computes_itself => (
                Evidence::FullObject,
                Algorithm::Crc64Nvme,
                Some(crc.to_string()),
            ),
            (Verification::Enforced(Algorithm::Sha256), _, Some(sha256)) => (
                Evidence::FullObject,
                Algorithm::Sha256,
                Some(sha256.to_string()),
            ),
            (Verification::Enforced(algorithm), ..) => (Evidence::Parts, algorithm, None),
            (Verification::Signature | Verification::Asked(_), ..) => return Ok(None),
        };
        Ok(Some(Proof {
            evidence,
            algorithm,
            value,
        }))
    }
}

/// No object is an answer; no bucket is an error, and not to be taken for it.
pub(super) fn nothing_there<T>(
    error: object_store::Error,
    translate: impl FnOnce(object_store::Error) -> StorageError,
) -> Result<Option<T>, StorageError> {
    if is_not_found(&error) {
        return Ok(None);
    }
    Err(translate(error))
}
