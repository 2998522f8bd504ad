//! Reading objects, whole or from some byte on, as fast as a bandwidth lets.

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::{GetOptions, GetRange};

use super::error::{Operation, StorageError};
use super::key::ObjectKey;
use super::proof::nothing_there;
use super::{Storage, StorageLocation};
use crate::bandwidth::Bandwidth;
use crate::digest::{Fingerprint, Fingerprinting};
use crate::progress::Progress;

/// The bytes of an object on their way.
pub struct ObjectBytes {
    key: ObjectKey,
    size_bytes: u64,
    stream: BoxStream<'static, object_store::Result<Bytes>>,
}

impl ObjectBytes {
    /// The size of the whole object, wherever the reading began.
    pub const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The next bytes; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        let failed = |e| StorageError::of(Operation::new("read back", &self.key), &e);
        self.stream.next().await.transpose().map_err(failed)
    }
}

impl std::fmt::Debug for ObjectBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectBytes")
            .field("key", &self.key)
            .field("size_bytes", &self.size_bytes)
            .finish_non_exhaustive()
    }
}

impl Storage {
    /// Begins to read an object at its byte `from`; `None` if there is none.
    pub async fn open_object(
        &self,
        key: &ObjectKey,
        from: u64,
    ) -> Result<Option<ObjectBytes>, StorageError> {
        let options = GetOptions {
            range: (from > 0).then_some(GetRange::Offset(from)),
            ..GetOptions::default()
        };
        let plain = self.backend.plain();
        match plain.get_opts(&key.location(), options).await {
            Ok(object) => Ok(Some(ObjectBytes {
                key: key.clone(),
                size_bytes: object.meta.size,
                stream: object.into_stream(),
            })),
            Err(error) => nothing_there(error, |e| {
                StorageError::of(Operation::new("read back", key), &e)
            }),
        }
    }

    /// Reads an object whole and takes its fingerprint; `None` if there is none.
    pub async fn read_back(&self, key: &ObjectKey) -> Result<Option<Fingerprint>, StorageError> {
        let unlimited = Bandwidth::new(None);
        self.read_back_within(key, &unlimited, &Progress::default())
            .await
    }

    /// The same no faster than a bandwidth allows, telling how far it is.
    pub async fn read_back_within(
        &self,
        key: &ObjectKey,
        bandwidth: &Bandwidth,
        progress: &Progress,
    ) -> Result<Option<Fingerprint>, StorageError> {
        let Some(mut object) = self.open_object(key, 0).await? else {
            return Ok(None);
        };
        let mut fingerprint = Fingerprinting::new();
        while let Some(bytes) = object.next().await? {
            bandwidth.pass(bytes.len()).await;
            fingerprint.update(&bytes);
            progress.add(bytes.len() as u64);
        }
        Ok(Some(fingerprint.finish()))
    }

    /// What every object URL in this store begins with, other prefixes in the bucket included.
    pub fn url_root(&self) -> String {
        match &self.location {
            StorageLocation::S3 { bucket, .. } => format!("s3://{bucket}/"),
            StorageLocation::File { root } => {
                url::Url::from_directory_path(root).map_or_else(|()| String::new(), String::from)
            }
        }
    }

    /// Demands that a directory holds anything at all: one that is not mounted looks as if every
    /// object were gone.
    pub async fn demand_not_empty(&self) -> Result<(), StorageError> {
        let StorageLocation::File { root } = &self.location else {
            return Ok(());
        };
        let unavailable = |cause: String| StorageError::Unavailable {
            operation: Operation::new("look into", &root.display()),
            cause,
        };
        let entries = tokio::fs::read_dir(root).await;
        let mut entries = entries.map_err(|error| unavailable(error.to_string()))?;
        while let Some(entry) = entries.next_entry().await.transpose() {
            let entry = entry.map_err(|error| unavailable(error.to_string()))?;
            if entry.file_name() != "lost+found" {
                return Ok(());
            }
        }
        let cause = "the directory is empty; is it mounted?";
        Err(unavailable(cause.to_owned()))
    }
}
