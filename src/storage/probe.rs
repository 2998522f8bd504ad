//! What the store really enforces, found out with throw-away objects: "S3-compatible" is a claim,
//! and the dangerous stores accept what they do not honour.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutPayload};
use reqwest::Method;
use uuid::Uuid;

use super::codes::is_damage;
use super::error::{Operation, StorageError};
use super::multipart::{CRC64NVME, SHA256};
use super::signed::Ask;
use super::{Backend, PROBE_FOLDER, S3, Storage};
use crate::config::ChecksumMode;
use crate::digest::Fingerprinting;

mod complete;
mod leftover;

const PROBE_BODY: &[u8] = b"recording-archiver asks whether wrong checksums are refused";

/// What a store was seen to enforce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a finding of its own, and all combinations are met"
)]
pub struct Enforcement {
    /// Takes a right checksum on PUT and refuses a wrong one.
    pub put_checksum: bool,
    /// The same for a part of a multipart upload.
    pub part_checksum: bool,
    /// Refuses to write over an object when told to create only.
    pub create_only: bool,
    /// Holds the whole object's CRC64NVME against its parts before a multipart upload appears, and
    /// says it of itself afterwards.
    pub object_checksum: bool,
    /// Holds the whole object's size against its parts.
    pub object_size: bool,
    /// Refuses to write over an object by a multipart upload that is to create only.
    pub complete_create_only: bool,
}

/// What the store said to a checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Taken,
    RefusedAsDamaged,
    /// For another reason: it may not know the header at all.
    Refused,
}

/// Only a store that takes the right checksum and calls the wrong one wrong enforces anything.
fn enforces(right: Answer, wrong: Answer) -> bool {
    right == Answer::Taken && wrong == Answer::RefusedAsDamaged
}

#[derive(Clone, Copy)]
enum Honesty {
    Right,
    Wrong,
}

impl Storage {
    /// Looks for an object that is not there, then writes and removes a throw-away one: may this
    /// process do what archiving takes? Leave to delete is not needed, so its lack is only logged.
    pub async fn check_access(&self) -> Result<(), StorageError> {
        let path = Path::from(self.location.prefix())
            .join(PROBE_FOLDER)
            .join(Uuid::new_v4().to_string());
        let store = self.backend.plain();
        let looking = || Operation::new("look for", &path);
        self.head(&path, looking).await?;
        let body = PutPayload::from_static(PROBE_BODY);
        let written = match &self.backend {
            Backend::S3(s3) => s3.put_own(&path, body, PutMode::Overwrite.into()).await,
            Backend::Local(store) => store.put(&path, body).await,
        };
        written.map_err(|error| StorageError::of(Operation::new("write", &path), &error))?;
        if let Err(error) = store.delete(&path).await {
            let error = StorageError::of(Operation::new("remove", &path), &error);
            tracing::warn!("a throw-away object stays: {error}");
        }
        Ok(())
    }
}

impl S3 {
    /// What the store enforces; asked once per process. On the heap: every step of the story holds
    /// its state otherwise.
    pub(super) async fn enforcement(&self) -> Result<Enforcement, StorageError> {
        self.enforcement
            .get_or_try_init(|| Box::pin(self.probe()))
            .await
            .copied()
    }

    async fn probe(&self) -> Result<Enforcement, StorageError> {
        let folder = self
            .prefix
            .clone()
            .join(PROBE_FOLDER)
            .join(Uuid::new_v4().to_string());
        let place = |name| folder.clone().join(name);
        let (object, checksum, parts, whole, taken) = (
            place("object"),
            place("checksum"),
            place("parts"),
            place("whole"),
            place("taken"),
        );
        // The first one tells whether the store works at all.
        let create_only = self.probe_create_only(&object).await?;
        let checksums = async {
            if self.checksum == ChecksumMode::None {
                return Ok((false, false));
            }
            tokio::try_join!(self.probe_put(&checksum), self.probe_part(&parts))
        };
        let ((put_checksum, part_checksum), honoured, complete_create_only) = tokio::try_join!(
            checksums,
            self.probe_complete(&whole),
            self.probe_complete_create_only(&taken)
        )?;
        let found = Enforcement {
            put_checksum,
            part_checksum,
            create_only,
            object_checksum: honoured.checksum,
            object_size: honoured.size,
            complete_create_only,
        };
        tracing::debug!(?found, "probed what the store enforces");
        Ok(found)
    }

    /// Writes, writes again as create-only, reads and removes: also tells whether the store works.
    async fn probe_create_only(&self, path: &Path) -> Result<bool, StorageError> {
        let failed = |e| StorageError::of(Operation::new("probe the store with", path), &e);
        let payload = || PutPayload::from_static(PROBE_BODY);
        self.put_own(path, payload(), PutMode::Overwrite.into())
            .await
            .map_err(failed)?;
        let again = self.put_own(path, payload(), PutMode::Create.into()).await;
        let read = self.plain.get(path).await.map_err(failed)?;
        let same = read.bytes().await.map_err(failed)? == PROBE_BODY;
        self.remove(path).await;
        if !same {
            return Err(StorageError::Damaged {
                operation: Operation::new("probe the store with", path),
                said: "it gives back other bytes than were stored".to_owned(),
            });
        }
        Ok(matches!(
            again,
            Err(object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. })
        ))
    }

    async fn probe_put(&self, path: &Path) -> Result<bool, StorageError> {
        let wrong = self.send(path, &[], Honesty::Wrong).await?;
        let right = self.send(path, &[], Honesty::Right).await?;
        self.remove(path).await;
        Ok(enforces(right, wrong))
    }

    async fn probe_part(&self, path: &Path) -> Result<bool, StorageError> {
        let Ok(upload_id) = self.checked.create_multipart(path).await else {
            // A store that does not know the algorithm enforces nothing.
            return Ok(false);
        };
        let query = [("partNumber", "1"), ("uploadId", upload_id.as_str())];
        let wrong = self.send(path, &query, Honesty::Wrong).await;
        let right = self.send(path, &query, Honesty::Right).await;
        if let Err(error) = self.plain.abort_multipart(path, &upload_id).await {
            let error = StorageError::of(Operation::new("abort the probe", path), &error);
            tracing::warn!("{error}");
        }
        Ok(enforces(right?, wrong?))
    }

    /// Sends the probe's body with a checksum, true or false; says whether the store took it.
    async fn send(
        &self,
        path: &Path,
        query: &[(&str, &str)],
        honesty: Honesty,
    ) -> Result<Answer, StorageError> {
        let operation = || Operation::new("probe the store with", path);
        let said = self
            .ask(
                path,
                Ask {
                    method: Method::PUT,
                    query,
                    headers: vec![self.probe_checksum(honesty)],
                    body: Bytes::from_static(PROBE_BODY),
                },
                operation,
            )
            .await?;
        Ok(if said.status.is_success() {
            Answer::Taken
        } else if is_damage(&said.body) {
            Answer::RefusedAsDamaged
        } else {
            Answer::Refused
        })
    }

    fn probe_checksum(&self, honesty: Honesty) -> (&'static str, String) {
        let mut fingerprint = Fingerprinting::new();
        fingerprint.update(PROBE_BODY);
        if matches!(honesty, Honesty::Wrong) {
            fingerprint.update(b"!");
        }
        let fingerprint = fingerprint.finish();
        if self.sends_crc64nvme() {
            (CRC64NVME, fingerprint.crc64nvme.to_string())
        } else {
            (SHA256, BASE64.encode(fingerprint.sha256.as_bytes()))
        }
    }

    async fn remove(&self, path: &Path) {
        if let Err(error) = self.plain.delete(path).await {
            let error = StorageError::of(Operation::new("remove the probe", path), &error);
            tracing::warn!("{error}");
        }
    }
}
