//! From parts to a visible object, whatever happens to the answers.

use std::time::Duration;

use object_store::{GetOptions, ObjectStore};

use super::error::{Operation, StorageError};
use super::multipart::{Completed, Conditions, Stored};
use super::upload::OwnObject;
use super::{ATTEMPT_METADATA, Algorithm, Backend, Storage};
use crate::checkpoint::StoredPart;
use crate::digest::Fingerprint;

/// Complete is sent so often in all; between the tries the store is asked whether it has acted.
const TRIES: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// What the store gave for an object that we published.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    pub etag: Option<String>,
    /// What it said right away; it need not be asked again.
    pub(super) stored: Option<Stored>,
    /// Known to have been sent in one request: its SHA-256 is that of the whole.
    pub(super) single: bool,
}

impl Receipt {
    /// With nothing but the name of a version.
    pub(super) const fn of(etag: Option<String>) -> Self {
        Self {
            etag,
            stored: None,
            single: false,
        }
    }
}

impl Storage {
    /// Completes a multipart upload under every condition that the store was seen to honour.
    pub(super) async fn complete(
        &self,
        own: &OwnObject,
        upload_id: &str,
        parts: &[StoredPart],
        read: &Fingerprint,
    ) -> Result<Receipt, StorageError> {
        let Backend::S3(s3) = &self.backend else {
            unreachable!("only S3 has upload IDs");
        };
        let honoured = s3.enforcement().await?;
        let conditions = Conditions {
            // Of an upload whose parts carry none, some stores take none of the whole.
            checksum: honoured.object_checksum
                && s3.verification().await?.algorithm() == Some(Algorithm::Crc64Nvme),
            size: honoured.object_size,
            create_only: honoured.complete_create_only,
        };
        let path = own.key.location();
        let mut tries = 0;
        loop {
            let error = match s3.complete(&path, upload_id, parts, read, conditions).await {
                Ok(Completed::Done { etag }) => return Ok(Receipt::of(etag)),
                Ok(Completed::SomethingIsThere) => {
                    let error = StorageError::Exists {
                        key: own.key.clone(),
                    };
                    return self.after_lost_answer(own, error).await;
                }
                // An answer that was lost before makes the store forget the upload.
                Ok(Completed::Refused(error)) => return self.after_lost_answer(own, error).await,
                Err(error) => error,
            };
            tries += 1;
            match self.after_lost_answer(own, error).await {
                Err(_) if tries < TRIES => {
                    tokio::time::sleep(FIRST_PAUSE * (1 << (2 * (tries - 1)))).await;
                }
                result => return result,
            }
        }
    }

    /// Publishing failed, or its answer was lost: the object may stand nevertheless. It is taken
    /// for ours only by size and attempt token.
    pub(super) async fn after_lost_answer(
        &self,
        own: &OwnObject,
        error: StorageError,
    ) -> Result<Receipt, StorageError> {
        match self.own_object(own).await {
            Ok(Some(receipt)) => Ok(receipt),
            _ => Err(error),
        }
    }

    /// What stands under the key, if it is what this upload was to become: by size and attempt
    /// token. A directory has no place for a token.
    pub async fn own_object(&self, own: &OwnObject) -> Result<Option<Receipt>, StorageError> {
        let Backend::S3(s3) = &self.backend else {
            return Ok(None);
        };
        let head = GetOptions {
            head: true,
            ..GetOptions::default()
        };
        let path = own.key.location();
        let found = match s3.plain.get_opts(&path, head).await {
            Ok(found) => found,
            Err(error) => {
                let operation = || Operation::new("look for", &own.key);
                return self.look_failed(&path, error, operation).await;
            }
        };
        let token = found
            .attributes
            .get(&object_store::Attribute::Metadata(ATTEMPT_METADATA.into()))
            .map(|value| value.as_ref() == own.attempt_token.to_string());
        let ours = token == Some(true) && found.meta.size == own.size_bytes;
        Ok(ours.then(|| Receipt::of(found.meta.e_tag)))
    }

    pub(super) async fn remove_unproven(&self, key: &super::ObjectKey) {
        tracing::warn!(object.key = %key, "removing an object that does not hold what was sent");
        if let Err(error) = self.remove(&key.location()).await {
            tracing::warn!(object.key = %key, "{error}");
        }
    }
}
