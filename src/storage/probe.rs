//! What the store really enforces, found out with throw-away objects: "S3-compatible" is a claim,
//! and the dangerous stores accept what they do not honour.

use object_store::path::Path;
use object_store::{Attribute, Attributes, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use uuid::Uuid;

use super::directory::translated;
use super::error::{Operation, StorageError, is_taken};
use super::read::body_within;
use super::signed::retrying;
use super::{ATTEMPT_METADATA, Algorithm, Backend, PROBE_FOLDER, S3, Storage};
use crate::config::ChecksumMode;

mod checksums;
pub(super) mod complete;
mod leftover;
mod listing;
mod part_size;

pub use part_size::{PartSize, PartSizeAnswer};

const PROBE_BODY: &[u8] = b"recording-archiver asks whether wrong checksums are refused";

/// What a store was seen to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a finding of its own, and all combinations are met"
)]
pub struct Enforcement {
    /// The setting that it was asked with: `None` asks for no checksum, and only CRC64NVME can be
    /// asked of a whole object.
    pub checksum: ChecksumMode,
    /// Takes a right CRC64NVME on PUT and refuses a wrong one.
    pub put_crc64nvme: bool,
    pub put_sha256: bool,
    /// The same for a part of a multipart upload.
    pub part_crc64nvme: bool,
    pub part_sha256: bool,
    /// Refuses to write over an object when told to create only.
    pub create_only: bool,
    /// Holds the whole object's CRC64NVME against its parts before a multipart upload appears, and
    /// says it of itself afterwards.
    pub object_checksum: bool,
    /// Holds the whole object's size against its parts.
    pub object_size: bool,
    /// Refuses to write over an object by a multipart upload that is to create only.
    pub complete_create_only: bool,
    /// Lists an upload that is begun.
    pub lists_uploads: bool,
    pub lists_parts: bool,
    /// Forgets an upload that is aborted.
    pub aborts_uploads: bool,
    /// Gives an object back with the metadata that it was stored with.
    pub keeps_metadata: bool,
    /// Removes an object by `DELETE`.
    pub removes_objects: bool,
}

/// What a store that can archive may still refuse.
#[derive(Debug)]
pub struct Access {
    /// Why objects cannot be removed.
    pub cannot_remove: Option<StorageError>,
}

impl Enforcement {
    /// The algorithm that uploads carry checksums of, if they do.
    pub const fn algorithm(&self) -> Option<Algorithm> {
        Algorithm::of(self.checksum)
    }

    /// Whether a wrong checksum is refused on PUT.
    pub const fn put(&self, algorithm: Algorithm) -> bool {
        match algorithm {
            Algorithm::Crc64Nvme => self.put_crc64nvme,
            Algorithm::Sha256 => self.put_sha256,
        }
    }

    /// Whether a wrong checksum of a part is refused.
    pub const fn part(&self, algorithm: Algorithm) -> bool {
        match algorithm {
            Algorithm::Crc64Nvme => self.part_crc64nvme,
            Algorithm::Sha256 => self.part_sha256,
        }
    }
}

/// What one object tells that is written twice.
struct Plainly {
    create_only: bool,
    keeps_metadata: bool,
    removes_objects: bool,
}

impl Storage {
    /// Looks for an object that is not there, then writes and removes a throw-away one: may this
    /// process do what archiving takes? Archiving does not take the right to remove, so its lack is
    /// no error.
    pub async fn check_access(&self) -> Result<Access, StorageError> {
        let path = Path::from(self.location.prefix())
            .join(PROBE_FOLDER)
            .join(Uuid::new_v4().to_string());
        let looking = || Operation::new("look for", &path);
        self.head(&path, looking).await?;
        let body = PutPayload::from_static(PROBE_BODY);
        let written = match &self.backend {
            Backend::S3(s3) => {
                let put = s3.put_own(&path, body, PutMode::Overwrite.into()).await;
                put.map(drop)
            }
            // In the way of an object, so that what fails there fails here.
            Backend::Local(directory) => directory
                .write(&path, PROBE_BODY.into(), false)
                .await
                .map_err(|error| translated(&path, error)),
        };
        written.map_err(|error| StorageError::of(Operation::new("write", &path), &error))?;
        let cannot_remove = self.remove(&path).await.err();
        if let Backend::S3(s3) = &self.backend {
            // On the heap: its state is large, and it is needed rarely.
            Box::pin(s3.check_upload(&path)).await?;
        }
        Ok(Access { cannot_remove })
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
        let (object, checksum, size) = (place("object"), place("checksum"), place("size"));
        let (taken, unfinished) = (place("taken"), place("unfinished"));
        // The first one tells whether the store works at all.
        let plainly = self.probe_plainly(&object).await?;
        let (crc64nvme, sha256, object_checksum, object_size, complete_create_only, unfinished) = tokio::try_join!(
            self.probe_checksums(&folder, Algorithm::Crc64Nvme),
            self.probe_checksums(&folder, Algorithm::Sha256),
            self.probe_object_checksum(&checksum),
            self.probe_object_size(&size),
            self.probe_complete_create_only(&taken),
            self.probe_unfinished(&unfinished)
        )?;
        let found = Enforcement {
            checksum: self.checksum,
            put_crc64nvme: crc64nvme.put,
            put_sha256: sha256.put,
            part_crc64nvme: crc64nvme.part,
            part_sha256: sha256.part,
            create_only: plainly.create_only,
            object_checksum,
            object_size,
            complete_create_only,
            lists_uploads: unfinished.is_listed,
            lists_parts: unfinished.lists_parts,
            aborts_uploads: unfinished.is_aborted,
            keeps_metadata: plainly.keeps_metadata,
            removes_objects: plainly.removes_objects,
        };
        tracing::debug!(?found, "probed what the store enforces");
        Ok(found)
    }

    /// Writes, writes again as create-only, reads and removes: also tells whether the store works.
    async fn probe_plainly(&self, path: &Path) -> Result<Plainly, StorageError> {
        let token = (
            Attribute::Metadata(ATTEMPT_METADATA.into()),
            Uuid::new_v4().to_string(),
        );
        let mut options = PutOptions::from(PutMode::Overwrite);
        options.attributes = Attributes::from_iter([token.clone()]);
        match self.put_probe(path, options.clone()).await {
            Err(error) if error.is_of_this_request() => {
                options.attributes = Attributes::new();
                self.put_probe(path, options.clone()).await?;
            }
            put => drop(put?),
        }
        options.mode = PutMode::Create;
        let create_only = match self.put_probe(path, options).await {
            Ok(is_written) => !is_written,
            Err(error) if error.is_of_this_request() => false,
            Err(error) => return Err(error),
        };
        let keeps_metadata = retrying(|| self.read_probe(path, &token)).await?;
        let removes_objects = self.probe_removal(path).await?;
        Ok(Plainly {
            create_only,
            keeps_metadata,
            removes_objects,
        })
    }

    /// Writes the temporary object; `false` if one exists, and it was to create only.
    async fn put_probe(&self, path: &Path, options: PutOptions) -> Result<bool, StorageError> {
        retrying(|| async {
            let body = PutPayload::from_static(PROBE_BODY);
            match self.put_own(path, body, options.clone()).await {
                Ok(_) => Ok(true),
                Err(error) if is_taken(&error) => Ok(false),
                Err(error) => {
                    let operation = Operation::new("probe the store with", path);
                    Err(StorageError::of(operation, &error))
                }
            }
        })
        .await
    }

    /// Reads it; whether it has the metadata that it was written with.
    async fn read_probe(
        &self,
        path: &Path,
        token: &(Attribute, String),
    ) -> Result<bool, StorageError> {
        let operation = || Operation::new("probe the store with", path);
        let failed = |e| StorageError::of(operation(), &e);
        let read = self.plain.get(path).await.map_err(failed)?;
        let kept = read.attributes.get(&token.0);
        let keeps_metadata = kept.is_some_and(|kept| kept.as_ref() == token.1);
        let body = body_within(read, PROBE_BODY.len()).await.map_err(failed)?;
        if body.is_none_or(|body| body != PROBE_BODY) {
            return Err(StorageError::Damaged {
                operation: operation(),
                cause: "the store returns other bytes than were stored".to_owned(),
            });
        }
        Ok(keeps_metadata)
    }

    /// Removes an object and looks whether it is missing afterwards.
    async fn probe_removal(&self, path: &Path) -> Result<bool, StorageError> {
        match self.remove(path).await {
            Ok(()) => Ok(self.stored(path).await?.is_none()),
            Err(error) if error.is_of_this_request() => {
                tracing::debug!("objects cannot be removed: {error}");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Removes a throw-away object, if that is possible: whether it is, `removes_objects` says.
    async fn discard(&self, path: &Path) {
        if let Err(error) = self.remove(path).await {
            tracing::debug!("a throw-away object stays: {error}");
        }
    }
}
