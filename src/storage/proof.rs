//! What makes us believe that the store holds the very bytes that were sent.

use std::fmt;
use std::str::FromStr;

use futures_util::TryStreamExt;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt};

use super::error::{Operation, StorageError};
use super::key::ObjectKey;
use super::upload::OwnObject;
use super::{ATTEMPT_METADATA, Backend, Storage};
use crate::config::VerifyMode;
use crate::digest::{Fingerprint, Fingerprinting};

/// How an archived object was proven. Size alone is no evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// The store returned a checksum of the whole object, equal to ours.
    FullObject,
    /// Read again, and the SHA-256 was equal.
    ReadBack,
    /// Each part's checksum was verified by a store probed to reject wrong ones.
    Parts,
}

impl Evidence {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FullObject => "full_object",
            Self::ReadBack => "read_back",
            Self::Parts => "parts",
        }
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
        [Self::FullObject, Self::ReadBack, Self::Parts]
            .into_iter()
            .find(|evidence| evidence.as_str() == text)
            .ok_or_else(|| UnknownEvidence(text.to_owned()))
    }
}

impl Storage {
    /// Proves that the object just published is what was sent, by the cheapest honest means:
    /// part checksums where the store was probed to reject wrong ones, else by reading it back.
    ///
    /// An object that is proven wrong is removed again: it was never called archived, and the
    /// next attempt must not meet it.
    pub async fn prove(
        &self,
        key: &ObjectKey,
        sent: &Fingerprint,
    ) -> Result<Evidence, StorageError> {
        if let (Backend::S3(s3), VerifyMode::Auto) = (&self.backend, self.verify)
            && s3.verifies_uploads().await?
        {
            return match self.size_of(key).await? {
                Some(size) if size == sent.size_bytes => Ok(Evidence::Parts),
                Some(size) => {
                    self.remove_unproven(key).await;
                    Err(StorageError::Damaged {
                        operation: Operation::new("store", key),
                        said: format!("it has {size} bytes, sent were {}", sent.size_bytes),
                    })
                }
                None => Err(StorageError::Missing { key: key.clone() }),
            };
        }
        match self.read_back(key).await? {
            Some(found) if found == *sent => Ok(Evidence::ReadBack),
            Some(found) => {
                self.remove_unproven(key).await;
                Err(StorageError::ReadBackDiffers {
                    key: key.clone(),
                    found: Box::new(found),
                    sent: Box::new(*sent),
                })
            }
            None => Err(StorageError::Missing { key: key.clone() }),
        }
    }

    /// Reads an object whole and takes its fingerprint; `None` if there is none.
    pub async fn read_back(&self, key: &ObjectKey) -> Result<Option<Fingerprint>, StorageError> {
        let failed = |e| StorageError::of(Operation::new("read back", key), &e);
        let object = match self.backend.plain().get(&key.location()).await {
            Ok(object) => object,
            Err(error) => return nothing_there(error, failed),
        };
        let mut bytes = object.into_stream();
        let mut fingerprint = Fingerprinting::new();
        while let Some(chunk) = bytes.try_next().await.map_err(failed)? {
            fingerprint.update(&chunk);
        }
        Ok(Some(fingerprint.finish()))
    }

    /// Demands that what stands under a key is these very bytes.
    pub async fn demand_equal(
        &self,
        key: &ObjectKey,
        expected: &Fingerprint,
    ) -> Result<(), StorageError> {
        match self.read_back(key).await? {
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
        match self.backend.plain().head(&key.location()).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(error) => nothing_there(error, |e| {
                StorageError::of(Operation::new("look for", key), &e)
            }),
        }
    }

    /// Publishing failed, or its answer was lost: the object may stand nevertheless. It is taken
    /// for ours only by size and attempt token.
    pub(super) async fn after_lost_answer(
        &self,
        own: &OwnObject,
        error: object_store::Error,
    ) -> Result<Option<String>, StorageError> {
        if let Backend::S3(s3) = &self.backend {
            let head = GetOptions {
                head: true,
                ..GetOptions::default()
            };
            if let Ok(found) = s3.plain.get_opts(&own.key.location(), head).await {
                let token = found
                    .attributes
                    .get(&object_store::Attribute::Metadata(ATTEMPT_METADATA.into()))
                    .map(|value| value.as_ref() == own.attempt_token.to_string());
                if token == Some(true) && found.meta.size == own.size_bytes {
                    return Ok(found.meta.e_tag);
                }
            }
        }
        match error {
            object_store::Error::AlreadyExists { .. }
            | object_store::Error::Precondition { .. } => Err(StorageError::Exists {
                key: own.key.clone(),
            }),
            error => Err(StorageError::of(
                Operation::new("publish", &own.key),
                &error,
            )),
        }
    }

    async fn remove_unproven(&self, key: &ObjectKey) {
        tracing::warn!(object.key = %key, "removing an object that does not hold what was sent");
        if let Err(error) = self.backend.plain().delete(&key.location()).await {
            let error = StorageError::of(Operation::new("remove", key), &error);
            tracing::warn!(object.key = %key, "{error}");
        }
    }
}

/// No object is an answer; no bucket is an error, and not to be taken for it.
fn nothing_there<T>(
    error: object_store::Error,
    translate: impl FnOnce(object_store::Error) -> StorageError,
) -> Result<Option<T>, StorageError> {
    let absent = matches!(error, object_store::Error::NotFound { .. });
    match translate(error) {
        no_bucket @ StorageError::NoBucket { .. } => Err(no_bucket),
        _ if absent => Ok(None),
        other => Err(other),
    }
}
