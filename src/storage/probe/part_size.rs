//! Whether a store, and whatever stands before it, takes parts as large as uploads send them.

use bytes::Bytes;
use object_store::path::Path;
use uuid::Uuid;

use super::complete::{NOTHING, fingerprint};
use super::{PROBE_BODY, PROBE_FOLDER};
use crate::digest::Crc64Nvme;
use crate::error::chain;
use crate::storage::error::{Operation, StorageError};
use crate::storage::multipart::Completed;
use crate::storage::part::OutgoingPart;
use crate::storage::s3::Verification;
use crate::storage::{Backend, S3, Storage};

/// What became of an upload whose first part was as large as `storage.part_size`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartSize {
    pub bytes: u64,
    pub answer: PartSizeAnswer,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartSizeAnswer {
    Taken,
    /// Every recording of more than one part will fail; with what was said.
    Refused(String),
    /// There was other trouble, which says nothing of sizes.
    Untold(String),
}

impl Storage {
    /// Uploads one part of `storage.part_size` and a small one as a throw-away object, and removes
    /// it. `None` for a directory, which knows no parts.
    pub async fn probe_part_size(&self) -> Option<PartSize> {
        let Backend::S3(s3) = &self.backend else {
            return None;
        };
        let bytes = self.part_bytes;
        let path = s3
            .prefix
            .clone()
            .join(PROBE_FOLDER)
            .join(Uuid::new_v4().to_string());
        // On the heap: its state is large, and only the first minute of a process needs it.
        let answer = match Box::pin(s3.upload_large_part(&path, bytes)).await {
            Ok(()) => PartSizeAnswer::Taken,
            Err(error) if error.is_not_understood() => PartSizeAnswer::Refused(chain(&error)),
            Err(error) => PartSizeAnswer::Untold(chain(&error)),
        };
        Some(PartSize { bytes, answer })
    }
}

impl S3 {
    async fn upload_large_part(&self, path: &Path, part_bytes: u64) -> Result<(), StorageError> {
        let verified_by = self.verification().await?;
        let Some(upload_id) = self.begin_probe(path, verified_by.algorithm()).await? else {
            return Err(StorageError::Unexpected {
                operation: Operation::new("probe the store with", path),
                cause: "the store begins no multipart upload".to_owned(),
            });
        };
        let uploaded = self.complete_two(path, &upload_id, part_bytes, verified_by);
        let uploaded = uploaded.await;
        // One of both is gone already, or may not be removed.
        drop(self.abort(path, &upload_id).await);
        if uploaded.is_ok() {
            self.discard(path).await;
        }
        uploaded
    }

    async fn complete_two(
        &self,
        path: &Path,
        upload_id: &str,
        part_bytes: u64,
        verified_by: Verification,
    ) -> Result<(), StorageError> {
        // Pages of zeros that are only read take no memory.
        let large = vec![0; usize::try_from(part_bytes).unwrap_or(usize::MAX)];
        let mut parts = Vec::new();
        for (number, bytes) in [(1, Bytes::from(large)), (2, Bytes::from_static(PROBE_BODY))] {
            let part = OutgoingPart {
                number,
                crc64nvme: Crc64Nvme::of(&bytes),
                bytes,
            };
            let operation = || Operation::new("probe the store with", path);
            let sent = self.put_part(path, upload_id, &part, verified_by, operation);
            parts.push(sent.await?);
        }
        let whole = fingerprint(PROBE_BODY);
        match self
            .complete_new(path, upload_id, &parts, &whole, NOTHING)
            .await?
        {
            Completed::Done { .. } => Ok(()),
            Completed::Refused(error) => Err(error),
            Completed::SomethingIsThere => Err(StorageError::Unexpected {
                operation: Operation::new("probe the store with", path),
                cause: "an object exists under a new name".to_owned(),
            }),
        }
    }
}
