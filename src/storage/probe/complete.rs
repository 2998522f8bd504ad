//! What a store verifies of a whole multipart object before it lets it appear.

use bytes::Bytes;
use object_store::path::Path;

use super::PROBE_BODY;
use crate::checkpoint::StoredPart;
use crate::config::ChecksumMode;
use crate::digest::{Crc64Nvme, Fingerprint, Fingerprinting};
use crate::storage::error::{Operation, StorageError};
use crate::storage::multipart::{Completed, Conditions};
use crate::storage::part::OutgoingPart;
use crate::storage::signed::retrying;
use crate::storage::{Algorithm, S3, Verification};

pub(in crate::storage) const NOTHING: Conditions = Conditions {
    checksum: false,
    size: false,
    create_only: false,
};

/// A temporary upload of one part.
pub(super) struct Trial<'a> {
    s3: &'a S3,
    path: &'a Path,
    pub(super) upload_id: String,
    part: StoredPart,
    whole: Fingerprint,
    has_checksums: bool,
}

impl S3 {
    /// Whether completing an upload is refused with a wrong CRC64NVME of the whole, and the right one
    /// is returned afterwards.
    pub(super) async fn probe_object_checksum(&self, path: &Path) -> Result<bool, StorageError> {
        // Only CRC64NVME combines to a checksum of the whole object.
        if !self.sends_crc64nvme() {
            return Ok(false);
        }
        let Some(trial) = self.trial(path).await? else {
            return Ok(false);
        };
        let honoured = trial.honours_checksum().await;
        trial.clear_away().await;
        honoured
    }

    /// Whether completing an upload is refused with a wrong size of the whole.
    pub(super) async fn probe_object_size(&self, path: &Path) -> Result<bool, StorageError> {
        let Some(trial) = self.trial(path).await? else {
            return Ok(false);
        };
        let conditions = Conditions {
            size: true,
            ..NOTHING
        };
        let other_size = Fingerprint {
            size_bytes: trial.whole.size_bytes + 1,
            ..trial.whole
        };
        let honoured = trial.honours(conditions, &other_size).await;
        trial.clear_away().await;
        honoured
    }

    /// Whether an upload that is to create only is completed where nothing exists, and refused where
    /// an object does.
    pub(super) async fn probe_complete_create_only(
        &self,
        path: &Path,
    ) -> Result<bool, StorageError> {
        let create_only = Conditions {
            create_only: true,
            ..NOTHING
        };
        let Some(first) = self.trial(path).await? else {
            return Ok(false);
        };
        let created = first.complete(&first.whole, create_only).await;
        let honoured = match created {
            Ok(Completed::Done { .. }) => self.is_kept(path, create_only).await,
            Ok(Completed::SomethingIsThere | Completed::Refused(_)) => Ok(false),
            Err(error) => Err(error),
        };
        first.clear_away().await;
        honoured
    }

    async fn is_kept(&self, path: &Path, create_only: Conditions) -> Result<bool, StorageError> {
        let Some(second) = self.trial(path).await? else {
            return Ok(false);
        };
        // Not looked for when an answer is lost: the object that exists is another.
        let completed = retrying(|| second.complete_once(&second.whole, create_only)).await;
        drop(self.abort(path, &second.upload_id).await);
        Ok(matches!(completed?, Completed::SomethingIsThere))
    }

    /// An upload of one part, with checksums if the store takes them; `None` if it takes no upload at
    /// all.
    pub(super) async fn trial<'a>(
        &'a self,
        path: &'a Path,
    ) -> Result<Option<Trial<'a>>, StorageError> {
        let algorithm = Algorithm::of(self.checksum);
        let trial = self.trial_with(path, algorithm).await?;
        // An operator who names an algorithm wants it sent.
        if trial.is_none() && self.checksum == ChecksumMode::Auto {
            return self.trial_with(path, None).await;
        }
        Ok(trial)
    }

    async fn trial_with<'a>(
        &'a self,
        path: &'a Path,
        algorithm: Option<Algorithm>,
    ) -> Result<Option<Trial<'a>>, StorageError> {
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
                let is_finding = error.is_of_this_request();
                return if is_finding { Ok(None) } else { Err(error) };
            }
        };
        Ok(Some(Trial {
            s3: self,
            path,
            upload_id,
            part,
            whole,
            has_checksums: algorithm.is_some(),
        }))
    }

    /// Completes an upload under a path where nothing exists. After a lost answer the object is
    /// looked for.
    pub(super) async fn complete_new(
        &self,
        path: &Path,
        upload_id: &str,
        parts: &[StoredPart],
        whole: &Fingerprint,
        conditions: Conditions,
    ) -> Result<Completed, StorageError> {
        retrying(|| async {
            let completed = self.complete(path, upload_id, parts, whole, conditions);
            match completed.await {
                Err(error) if self.stored(path).await?.is_some() => {
                    tracing::debug!("completed, though the answer was lost: {error}");
                    Ok(Completed::Done { etag: None })
                }
                result => result,
            }
        })
        .await
    }
}

impl Trial<'_> {
    async fn honours_checksum(&self) -> Result<bool, StorageError> {
        let conditions = Conditions {
            checksum: true,
            ..NOTHING
        };
        let other_bytes = Fingerprint {
            crc64nvme: Crc64Nvme::of(b"other bytes"),
            ..self.whole
        };
        if !self.has_checksums || !self.honours(conditions, &other_bytes).await? {
            return Ok(false);
        }
        // The object exists: does the store return the checksum that it verified, too?
        let stored = self.s3.stored(self.path).await?;
        let said = stored.and_then(|stored| stored.checksums.crc64nvme);
        Ok(said == Some(self.whole.crc64nvme))
    }

    /// Whether the upload is refused as something that it is not, and completed as what it is.
    async fn honours(
        &self,
        conditions: Conditions,
        other: &Fingerprint,
    ) -> Result<bool, StorageError> {
        let wrong = self.complete(other, conditions).await?;
        if !matches!(wrong, Completed::Refused(_)) {
            return Ok(false);
        }
        let right = self.complete(&self.whole, conditions).await?;
        Ok(matches!(right, Completed::Done { .. }))
    }

    async fn complete(
        &self,
        whole: &Fingerprint,
        conditions: Conditions,
    ) -> Result<Completed, StorageError> {
        let parts = std::slice::from_ref(&self.part);
        let (path, upload_id) = (self.path, &self.upload_id);
        let completed = self
            .s3
            .complete_new(path, upload_id, parts, whole, conditions);
        finding(completed.await?)
    }

    async fn complete_once(
        &self,
        whole: &Fingerprint,
        conditions: Conditions,
    ) -> Result<Completed, StorageError> {
        let parts = std::slice::from_ref(&self.part);
        let (path, upload_id) = (self.path, &self.upload_id);
        let completed = self.s3.complete(path, upload_id, parts, whole, conditions);
        finding(completed.await?)
    }

    /// One of both is missing already, or may not be removed: that does not matter here.
    async fn clear_away(self) {
        drop(self.s3.abort(self.path, &self.upload_id).await);
        self.s3.discard(self.path).await;
    }
}

/// A refusal that every request would meet is no finding.
fn finding(completed: Completed) -> Result<Completed, StorageError> {
    match completed {
        Completed::Refused(error) if error.is_about_every_request() => Err(error),
        completed => Ok(completed),
    }
}

pub(in crate::storage) fn fingerprint(bytes: &[u8]) -> Fingerprint {
    let mut fingerprint = Fingerprinting::new();
    fingerprint.update(bytes);
    fingerprint.finish()
}
