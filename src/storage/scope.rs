//! Whether a failure is about one object or about every request: a policy, a lock or a lifecycle
//! rule may deny a single object, wrong credentials deny all; one object may meet a server error, an
//! outage meets all.

use std::time::Duration;

use object_store::aws::AmazonS3;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{PutMode, PutPayload};
use uuid::Uuid;

use super::directory::translated;
use super::error::{Operation, StorageError};
use super::multipart::Completed;
use super::part::OutgoingPart;
use super::probe::complete::{NOTHING, fingerprint};
use super::{Algorithm, AnswerClass, Backend, PROBE_FOLDER, S3, Storage, Verification};
use crate::config::ChecksumMode;
use crate::error::ErrorKind;

/// A check that takes longer tells nothing of a refusal, and confirms an outage.
const CHECK_WITHIN: Duration = Duration::from_secs(20);
/// The most that is written to see whether there is room.
const MAX_ROOM_BYTES: u64 = 16 * 1024 * 1024;
const BODY: &[u8] = b"recording-archiver checks that it may upload";

impl Storage {
    /// Marks a refusal whose code does not tell its scope: as of one object where the store takes
    /// another one at this moment, else as of every request. Marks a store that is unavailable as down
    /// for every request unless it takes another object. Other errors are returned as they are.
    pub async fn with_scope(&self, error: StorageError) -> StorageError {
        let is_outage = error.kind() == ErrorKind::StorageUnavailable;
        if !is_outage && !is_of_unknown_scope(&error) {
            return error;
        }
        // On the heap: it is needed rarely, and its state is large.
        let check = tokio::time::timeout(CHECK_WITHIN, Box::pin(self.check_access()));
        match check.await {
            Ok(Ok(_)) if is_outage => error,
            Ok(Err(_)) | Err(_) if is_outage => StorageError::EveryRequest(Box::new(error)),
            Ok(Ok(_)) => StorageError::OneObject(Box::new(error)),
            Ok(Err(other)) if !other.is_transient() => StorageError::EveryRequest(Box::new(error)),
            Ok(Err(_)) | Err(_) => error,
        }
    }
}

impl Storage {
    /// Writes and removes a temporary object as large as a part of a recording: a full store may
    /// still take small ones.
    pub async fn check_room(&self) -> Result<(), StorageError> {
        let path = Path::from(self.location.prefix())
            .join(PROBE_FOLDER)
            .join(Uuid::new_v4().to_string());
        let size_bytes = self.part_bytes.min(MAX_ROOM_BYTES);
        let mut bytes = vec![0; usize::try_from(size_bytes).unwrap_or(0)];
        // Zeros take no room in stores that compress.
        rand::fill(&mut bytes[..]);
        let written = match &self.backend {
            Backend::S3(s3) => {
                let body = PutPayload::from(bytes);
                let put = s3.put_own(&path, body, PutMode::Overwrite.into()).await;
                put.map(drop)
            }
            Backend::Local(directory) => directory
                .write(&path, bytes.into(), false)
                .await
                .map_err(|error| translated(&path, error)),
        };
        written.map_err(|error| StorageError::of(Operation::new("write", &path), &error))?;
        if let Err(error) = self.remove(&path).await {
            tracing::warn!("a temporary object stays: {error}");
        }
        Ok(())
    }
}

fn is_of_unknown_scope(error: &StorageError) -> bool {
    let StorageError::Answer { answer, .. } = error else {
        return false;
    };
    let is_refusal = matches!(
        answer.class(),
        AnswerClass::Denied | AnswerClass::Refused | AnswerClass::Unsupported
    );
    is_refusal && !answer.is_about_every_request()
}

impl S3 {
    /// Uploads a throw-away object as a multipart upload of one part, and removes it: with a
    /// checksum as recordings are, or without where the store does not know it.
    pub(super) async fn check_upload(&self, path: &Path) -> Result<(), StorageError> {
        let plainly = (&*self.plain, Verification::Signature);
        let for_upload;
        let how = match (self.enforcement.get(), Algorithm::of(self.checksum)) {
            (Some(_), _) => {
                for_upload = self.for_upload().await?;
                (&*for_upload, self.verification().await?)
            }
            (None, Some(algorithm)) => (&*self.checked, Verification::Asked(algorithm)),
            (None, None) => plainly,
        };
        match self.upload_one_part(path, how).await {
            Err(error) if error.is_of_this_request() && self.checksum == ChecksumMode::Auto => {
                self.upload_one_part(path, plainly).await
            }
            result => result,
        }
    }

    async fn upload_one_part(
        &self,
        path: &Path,
        (client, verified_by): (&AmazonS3, Verification),
    ) -> Result<(), StorageError> {
        let operation = || Operation::new("upload", path);
        let failed = |e| StorageError::of(operation(), &e);
        let begun = client.create_multipart(path).await.map_err(failed);
        let upload_id = match begun {
            // A store without multipart uploads may still take small recordings.
            Err(error) if error.class() == Some(AnswerClass::Unsupported) => return Ok(()),
            begun => begun?,
        };
        let whole = fingerprint(BODY);
        let part = OutgoingPart {
            number: 1,
            bytes: BODY.into(),
            crc64nvme: whole.crc64nvme,
        };
        let completed = async {
            let part = self.put_part(path, &upload_id, &part, verified_by, operation);
            let parts = [part.await?];
            match self
                .complete(path, &upload_id, &parts, &whole, NOTHING)
                .await?
            {
                Completed::Refused(error) => Err(error),
                Completed::Done { .. } | Completed::SomethingIsThere => Ok(()),
            }
        };
        let completed = completed.await;
        let removed = if completed.is_ok() {
            self.remove(path).await
        } else {
            self.abort(path, &upload_id).await
        };
        if let Err(error) = removed {
            tracing::warn!("a temporary object stays: {error}");
        }
        completed
    }
}
