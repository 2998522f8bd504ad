//! What a store holds a whole multipart object against before it lets it appear.

use bytes::Bytes;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutPayload};

use super::PROBE_BODY;
use crate::checkpoint::StoredPart;
use crate::digest::{Crc64Nvme, Fingerprint, Fingerprinting};
use crate::storage::error::{Operation, StorageError};
use crate::storage::multipart::{Completed, Conditions};
use crate::storage::part::OutgoingPart;
use crate::storage::{Algorithm, S3, Verification};

pub(in crate::storage) const NOTHING: Conditions = Conditions {
    checksum: false,
    size: false,
    create_only: false,
};

/// What a store holds a whole object against.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Honoured {
    pub(super) checksum: bool,
    pub(super) size: bool,
}

/// An upload of one part, to be completed in several ways.
struct Trial<'a> {
    s3: &'a S3,
    path: &'a Path,
    upload_id: String,
    part: StoredPart,
    whole: Fingerprint,
}

impl S3 {
    /// Tries to complete a throw-away upload as what it is not. A store honours a condition if it
    /// refuses then, and takes the upload once all of them hold.
    pub(super) async fn probe_complete(&self, path: &Path) -> Result<Honoured, StorageError> {
        let Some(trial) = self.trial(path).await? else {
            return Ok(Honoured::default());
        };
        let found = trial.as_something_else().await;
        trial.clear_away().await;
        found
    }

    /// Whether an upload that is to create only is refused where something stands.
    pub(super) async fn probe_complete_create_only(
        &self,
        path: &Path,
    ) -> Result<bool, StorageError> {
        let Some(trial) = self.trial(path).await? else {
            return Ok(false);
        };
        let refused = trial.over_another().await;
        trial.clear_away().await;
        refused
    }

    /// `None` where not even an upload of one part is taken.
    async fn trial<'a>(&'a self, path: &'a Path) -> Result<Option<Trial<'a>>, StorageError> {
        let algorithm = Algorithm::of(self.checksum);
        let Some(upload_id) = self.begin_probe(path, algorithm).await? else {
            return Ok(None);
        };
        let whole = fingerprint(PROBE_BODY);
        let part = OutgoingPart {
            number: 1,
            bytes: Bytes::from_static(PROBE_BODY),
            crc64nvme: whole.crc64nvme,
        };
        // Nothing is known yet of what it enforces.
        let verified_by = algorithm.map_or(Verification::Signature, Verification::Asked);
        let operation = || Operation::new("probe the store with", path);
        let sent = self.put_part(path, &upload_id, &part, verified_by, operation);
        let part = match sent.await {
            // By what was sent, not by the store's word.
            Ok(part) => StoredPart {
                crc64nvme: whole.crc64nvme,
                ..part
            },
            Err(error) => {
                drop(self.abort(path, &upload_id).await);
                return if error.is_not_understood() {
                    Ok(None)
                } else {
                    Err(error)
                };
            }
        };
        Ok(Some(Trial {
            s3: self,
            path,
            upload_id,
            part,
            whole,
        }))
    }
}

impl Trial<'_> {
    async fn as_something_else(&self) -> Result<Honoured, StorageError> {
        let mut honoured = Honoured::default();
        // Only CRC64NVME combines to a checksum of the whole object.
        if self.s3.sends_crc64nvme() {
            let other_bytes = Fingerprint {
                crc64nvme: Crc64Nvme::of(b"other bytes"),
                ..self.whole
            };
            let checksum = Conditions {
                checksum: true,
                ..NOTHING
            };
            honoured.checksum = self.is_refused(&other_bytes, checksum).await?;
            if !honoured.checksum {
                // It is published with a wrong checksum: there is nothing left to try.
                return Ok(honoured);
            }
        }
        let other_size = Fingerprint {
            size_bytes: self.whole.size_bytes + 1,
            ..self.whole
        };
        let conditions = Conditions {
            checksum: honoured.checksum,
            size: true,
            create_only: false,
        };
        honoured.size = self.is_refused(&other_size, conditions).await?;
        if honoured.size {
            let completed = self.complete(&self.whole, conditions).await?;
            if !matches!(completed, Completed::Done { .. }) {
                // What it refuses when all is right, it does not refuse for being wrong.
                return Ok(Honoured::default());
            }
        }
        // The object stands: does the store say the checksum that it was held against, too?
        let stored = self.s3.stored(self.path).await?;
        let said = stored.and_then(|stored| stored.checksums.crc64nvme);
        honoured.checksum &= said == Some(self.whole.crc64nvme);
        Ok(honoured)
    }

    async fn over_another(&self) -> Result<bool, StorageError> {
        let standing = PutPayload::from_static(b"something stands here");
        let overwrite = PutMode::Overwrite.into();
        let put = self.s3.put_own(self.path, standing, overwrite).await;
        put.map_err(|e| StorageError::of(Operation::new("probe the store with", self.path), &e))?;
        let create_only = Conditions {
            create_only: true,
            ..NOTHING
        };
        let completed = self.complete(&self.whole, create_only).await?;
        Ok(matches!(completed, Completed::SomethingIsThere))
    }

    async fn is_refused(
        &self,
        whole: &Fingerprint,
        conditions: Conditions,
    ) -> Result<bool, StorageError> {
        let completed = self.complete(whole, conditions).await?;
        Ok(matches!(completed, Completed::Refused(_)))
    }

    async fn complete(
        &self,
        whole: &Fingerprint,
        conditions: Conditions,
    ) -> Result<Completed, StorageError> {
        let parts = std::slice::from_ref(&self.part);
        let (path, upload_id) = (self.path, &self.upload_id);
        self.s3
            .complete(path, upload_id, parts, whole, conditions)
            .await
    }

    /// One of both is gone already, or may not be removed: that is nobody's business here.
    async fn clear_away(self) {
        drop(
            self.s3
                .plain
                .abort_multipart(self.path, &self.upload_id)
                .await,
        );
        drop(self.s3.plain.delete(self.path).await);
    }
}

pub(in crate::storage) fn fingerprint(bytes: &[u8]) -> Fingerprint {
    let mut fingerprint = Fingerprinting::new();
    fingerprint.update(bytes);
    fingerprint.finish()
}
