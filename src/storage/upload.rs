//! One object on its way into the store: buffered into equal parts, several of them in flight,
//! memory taken from the process's budget. Nothing is visible under the key before `publish`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::aws::AmazonS3;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload,
};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::error::{Operation, StorageError};
use super::key::ObjectKey;
use super::{ATTEMPT_METADATA, Backend, Storage};
use crate::memory::{MemoryBudget, MemoryHold};

/// Parts of one object that may be on the wire at once.
const PARTS_IN_FLIGHT: usize = 3;
/// S3 allows no more parts than this.
const MAX_PARTS: u64 = 10_000;
const MIB: u64 = 1024 * 1024;
/// Aborting takes one request; what is not done by then is left to the sweep.
const ABORT_WITHIN: Duration = Duration::from_secs(15);

/// What is known of an object before its bytes come.
#[derive(Debug, Clone)]
pub struct UploadPlan {
    pub size_hint: Option<u64>,
    pub content_type: Option<String>,
    /// Marks the object as this attempt's, so that a lost answer can be told from a stranger.
    pub attempt_token: Uuid,
}

/// An object being written. Give it every byte in order, then [`Upload::publish`] or
/// [`Upload::abort`] it: dropped, it leaves an unfinished multipart upload behind.
#[derive(Debug)]
pub struct Upload {
    key: ObjectKey,
    path: Path,
    attributes: Attributes,
    sink: Sink,
    part_bytes: u64,
    budget: MemoryBudget,
    buffer: Vec<Bytes>,
    buffered_bytes: u64,
    hold: Option<MemoryHold>,
    in_flight: JoinSet<Result<(usize, PartId), object_store::Error>>,
    parts: Vec<(usize, PartId)>,
    next_part: usize,
    written_bytes: u64,
    attempt_token: Uuid,
}

/// What makes an object recognizable as the one this attempt wrote.
#[derive(Debug)]
pub(super) struct OwnObject {
    pub(super) key: ObjectKey,
    pub(super) size_bytes: u64,
    pub(super) attempt_token: Uuid,
}

#[derive(Debug)]
enum Sink {
    /// The whole object in one request.
    Single {
        store: Arc<dyn ObjectStore>,
        create_only: bool,
    },
    S3 {
        store: Arc<AmazonS3>,
        upload_id: String,
    },
    Local(Box<dyn MultipartUpload>),
}

impl Storage {
    /// Opens an upload. For an S3 multipart upload its ID exists from here on: remember
    /// [`Upload::upload_id`] before the first part, or a crash leaves parts that nobody owns.
    pub async fn begin_upload(
        &self,
        key: &ObjectKey,
        plan: &UploadPlan,
    ) -> Result<Upload, StorageError> {
        let path = key.location();
        let attributes = self.attributes(plan);
        let part_bytes = part_size(self.part_bytes, plan.size_hint);
        let whole_in_one = plan.size_hint.is_some_and(|size| size <= part_bytes);
        let sink = match &self.backend {
            Backend::Local(store) if whole_in_one => Sink::Single {
                store: Arc::clone(store) as Arc<dyn ObjectStore>,
                create_only: true,
            },
            Backend::Local(store) => Sink::Local(
                store
                    .put_multipart(&path)
                    .await
                    .map_err(|e| StorageError::of(Operation::new("begin to write", key), &e))?,
            ),
            Backend::S3(s3) if whole_in_one => Sink::Single {
                store: s3.for_upload().await?,
                create_only: s3.enforcement().await?.create_only,
            },
            Backend::S3(s3) => {
                let store = s3.for_upload().await?;
                let options = PutMultipartOptions {
                    attributes: attributes.clone(),
                    ..PutMultipartOptions::default()
                };
                let upload_id = store
                    .create_multipart_opts(&path, options)
                    .await
                    .map_err(|e| {
                        StorageError::of(Operation::new("begin the upload of", key), &e)
                    })?;
                Sink::S3 { store, upload_id }
            }
        };
        Ok(Upload {
            key: key.clone(),
            path,
            attributes,
            sink,
            part_bytes: if whole_in_one {
                plan.size_hint.unwrap_or(part_bytes).max(1)
            } else {
                part_bytes
            },
            budget: self.budget.clone(),
            buffer: Vec::new(),
            buffered_bytes: 0,
            hold: None,
            in_flight: JoinSet::new(),
            parts: Vec::new(),
            next_part: 0,
            written_bytes: 0,
            attempt_token: plan.attempt_token,
        })
    }

    /// Aborts an S3 multipart upload that somebody left behind. One that is gone already is fine.
    pub async fn abort_upload(&self, key: &ObjectKey, upload_id: &str) -> Result<(), StorageError> {
        let Backend::S3(s3) = &self.backend else {
            return Ok(());
        };
        let path = key.location();
        match s3.plain.abort_multipart(&path, &upload_id.to_owned()).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let gone = matches!(error, object_store::Error::NotFound { .. });
                match StorageError::of(Operation::new("abort the upload of", key), &error) {
                    no_bucket @ StorageError::NoBucket { .. } => Err(no_bucket),
                    _ if gone => Ok(()),
                    other => Err(other),
                }
            }
        }
    }

    /// What the object says of itself in the store; a file system has no place for it.
    fn attributes(&self, plan: &UploadPlan) -> Attributes {
        let mut attributes = Attributes::new();
        if let Backend::S3(s3) = &self.backend {
            if let Some(content_type) = plan.content_type.as_deref().filter(|t| is_header_safe(t)) {
                attributes.insert(Attribute::ContentType, content_type.to_owned().into());
            }
            if let Some(class) = &s3.storage_class {
                attributes.insert(Attribute::StorageClass, class.clone().into());
            }
            attributes.insert(
                Attribute::Metadata(ATTEMPT_METADATA.into()),
                plan.attempt_token.to_string().into(),
            );
        }
        attributes
    }
}

impl Upload {
    /// The store's ID of the multipart upload, if it has one.
    pub fn upload_id(&self) -> Option<&str> {
        match &self.sink {
            Sink::S3 { upload_id, .. } => Some(upload_id),
            Sink::Single { .. } | Sink::Local(_) => None,
        }
    }

    /// Takes the next bytes, without copying them. Waits while memory or parts in flight are at
    /// their bound; an earlier part that failed is noticed then, or by [`Upload::finish_parts`].
    pub async fn write(&mut self, mut chunk: Bytes) -> Result<(), StorageError> {
        while !chunk.is_empty() {
            if self.hold.is_none() {
                self.hold = Some(self.budget.take(self.part_bytes).await);
            }
            let room = self.part_bytes - self.buffered_bytes;
            let taken = chunk.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            self.buffer.push(chunk.split_to(taken));
            self.buffered_bytes += taken as u64;
            self.written_bytes += taken as u64;
            // A single PUT announced its size; more than that is told by the length checks.
            if self.buffered_bytes == self.part_bytes && !matches!(self.sink, Sink::Single { .. }) {
                self.send_part().await?;
            }
            if room == 0 {
                return Err(StorageError::Unavailable {
                    operation: Operation::new("store", &self.key),
                    said: "more bytes came than were announced".to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Makes the object visible, unless something stands under its key by now. Call
    /// [`Upload::finish_parts`] first. Where publishing fails, or is cut off, the upload may still
    /// be there: [`Upload::abort`] it.
    ///
    /// Returns the store's `ETag`, if it gave one.
    pub async fn publish(&mut self, storage: &Storage) -> Result<Option<String>, StorageError> {
        let own = OwnObject {
            key: self.key.clone(),
            size_bytes: self.written_bytes,
            attempt_token: self.attempt_token,
        };
        // Not every store honours create-only writes, and none is asked to for multipart uploads:
        // look right before. The lease keeps other archivers away meanwhile.
        if storage.size_of(&self.key).await?.is_some() {
            return Err(StorageError::Exists { key: own.key });
        }
        let result = match &mut self.sink {
            Sink::Single { store, create_only } => {
                let payload = PutPayload::from_iter(std::mem::take(&mut self.buffer));
                let options = PutOptions {
                    mode: if *create_only {
                        PutMode::Create
                    } else {
                        PutMode::Overwrite
                    },
                    attributes: std::mem::take(&mut self.attributes),
                    ..PutOptions::default()
                };
                store.put_opts(&self.path, payload, options).await
            }
            Sink::S3 { store, upload_id } => {
                self.parts.sort_unstable_by_key(|(index, _)| *index);
                let parts = self.parts.drain(..).map(|(_, part)| part).collect();
                store.complete_multipart(&self.path, upload_id, parts).await
            }
            Sink::Local(upload) => upload.complete().await,
        };
        match result {
            Ok(stored) => Ok(stored.e_tag),
            Err(error) => storage.after_lost_answer(&own, error).await,
        }
    }

    /// Gives up: nothing becomes visible, and the store forgets the parts.
    ///
    /// # Errors
    /// When the store may still keep the parts. The reason for giving up matters more than that:
    /// leave the rest to the sweep.
    pub async fn abort(mut self) -> Result<(), StorageError> {
        self.in_flight.shutdown().await;
        let operation = || Operation::new("abort the upload of", &self.key);
        let aborting = async {
            match &mut self.sink {
                Sink::Single { .. } => Ok(()),
                Sink::S3 { store, upload_id } => store.abort_multipart(&self.path, upload_id).await,
                Sink::Local(upload) => upload.abort().await,
            }
        };
        // A store that has gone silent must not hold up a process that was told to stop.
        let Ok(result) = tokio::time::timeout(ABORT_WITHIN, aborting).await else {
            return Err(StorageError::Unavailable {
                operation: operation(),
                said: "no answer".to_owned(),
            });
        };
        match result {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(StorageError::of(operation(), &error)),
        }
    }

    /// Sends the buffered bytes as the next part.
    async fn send_part(&mut self) -> Result<(), StorageError> {
        while self.in_flight.len() >= PARTS_IN_FLIGHT {
            self.join_one().await?;
        }
        let payload = PutPayload::from_iter(std::mem::take(&mut self.buffer));
        self.buffered_bytes = 0;
        let hold = self.hold.take();
        let index = self.next_part;
        self.next_part += 1;
        match &mut self.sink {
            Sink::S3 { store, upload_id } => {
                let (store, path, upload_id) =
                    (Arc::clone(store), self.path.clone(), upload_id.clone());
                self.in_flight.spawn(async move {
                    let part = store.put_part(&path, &upload_id, index, payload).await;
                    drop(hold);
                    part.map(|part| (index, part))
                });
            }
            Sink::Local(upload) => {
                let part = upload.put_part(payload);
                self.in_flight.spawn(async move {
                    let written = part.await;
                    drop(hold);
                    written.map(|()| {
                        (
                            index,
                            PartId {
                                content_id: String::new(),
                            },
                        )
                    })
                });
            }
            Sink::Single { .. } => unreachable!("a single PUT is not cut into parts"),
        }
        Ok(())
    }

    /// Sends what is still buffered and waits until the store has every part. After this,
    /// publishing is one short request, but for an object that goes whole in a single PUT.
    pub async fn finish_parts(&mut self) -> Result<(), StorageError> {
        if matches!(self.sink, Sink::Single { .. }) {
            return Ok(());
        }
        // An object without bytes still needs one part.
        if self.buffered_bytes > 0 || self.next_part == 0 {
            self.send_part().await?;
        }
        while !self.in_flight.is_empty() {
            self.join_one().await?;
        }
        Ok(())
    }

    async fn join_one(&mut self) -> Result<(), StorageError> {
        let operation = || Operation::new("store a part of", &self.key);
        match self.in_flight.join_next().await {
            None => Ok(()),
            Some(Ok(Ok(part))) => {
                self.parts.push(part);
                Ok(())
            }
            Some(Ok(Err(error))) => Err(StorageError::of(operation(), &error)),
            Some(Err(panic)) => Err(StorageError::Unavailable {
                operation: operation(),
                said: format!("the task failed: {panic}"),
            }),
        }
    }
}

/// All parts but the last are equal (some stores insist), in whole MiB, and 10,000 always do.
fn part_size(configured: u64, size_hint: Option<u64>) -> u64 {
    let needed = size_hint.unwrap_or(0).div_ceil(MAX_PARTS);
    configured.max(needed.div_ceil(MIB) * MIB)
}

/// The provider names the format; a header must not carry control characters.
fn is_header_safe(content_type: &str) -> bool {
    !content_type.is_empty() && content_type.bytes().all(|b| (0x20..0x7f).contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_parts_always_do() {
        const TIB: u64 = 1024 * 1024 * MIB;
        for size in [1, 8 * MIB, 80_000 * MIB, 80_000 * MIB + 1, 5 * TIB] {
            let part = part_size(8 * MIB, Some(size));
            assert!(size.div_ceil(part) <= MAX_PARTS, "{size}");
            assert_eq!(part % MIB, 0);
        }
        assert_eq!(part_size(8 * MIB, Some(MIB)), 8 * MIB);
        assert_eq!(part_size(8 * MIB, None), 8 * MIB);
    }

    #[test]
    fn a_content_type_with_control_characters_is_not_sent() {
        assert!(is_header_safe("video/mp4; codecs=\"avc1\""));
        assert!(!is_header_safe("video/mp4\r\nx-evil: 1"));
        assert!(!is_header_safe(""));
    }
}
