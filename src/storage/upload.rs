//! One object on its way into the store: several parts in flight, each remembered by what was
//! sent. Nothing is visible under the key before `publish`, and that holds the parts against the
//! bytes as they were read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::aws::AmazonS3;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload,
};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::error::{Operation, StorageError, is_damage};
use super::key::ObjectKey;
use super::multipart::{Checksums, Stored};
use super::parts::PartPlan;
use super::probe::Enforcement;
use super::publish::Receipt;
use super::{ATTEMPT_METADATA, Backend, Storage, Verification};
use crate::checkpoint::{Checkpoint, StoredPart, UploadRef, check_parts};
use crate::digest::{Crc64Nvme, Fingerprint};
use crate::error::chain;

/// Parts of one object that may be on the wire at once. The memory for them is bounded elsewhere.
const PARTS_IN_FLIGHT: usize = 4;
/// A part that arrives damaged is sent so often in all.
const PART_TRIES: u32 = 3;
/// Aborting takes one request; what is not done by then is left to the sweep.
const ABORT_WITHIN: Duration = Duration::from_secs(15);

/// What is known of an object before its bytes come.
#[derive(Debug, Clone)]
pub struct UploadPlan {
    pub parts: PartPlan,
    pub content_type: Option<String>,
    /// Marks the object as this attempt's, so that a lost answer can be told from a stranger.
    pub attempt_token: Uuid,
}

/// An object being written. Give it every part, then [`Upload::publish`] or [`Upload::abort`] it:
/// dropped, it leaves an unfinished multipart upload behind.
#[derive(Debug)]
pub struct Upload {
    key: ObjectKey,
    path: Path,
    attributes: Attributes,
    sink: Sink,
    in_flight: JoinSet<Result<StoredPart, object_store::Error>>,
    /// What the store has, by part number.
    stored: BTreeMap<u32, StoredPart>,
    /// So many parts from the first on are stored without a gap.
    gapless: u32,
    attempt_token: Uuid,
}

/// What makes an object recognizable as the one this attempt wrote.
#[derive(Debug)]
pub struct OwnObject {
    pub key: ObjectKey,
    pub size_bytes: u64,
    pub attempt_token: Uuid,
}

#[derive(Debug)]
enum Sink {
    /// The whole object in one request.
    Single {
        store: Arc<dyn ObjectStore>,
        create_only: bool,
        bytes: Bytes,
    },
    S3 {
        store: Arc<AmazonS3>,
        upload_id: String,
        verified_by: Verification,
    },
    Local(Box<dyn MultipartUpload>),
}

impl Storage {
    /// How an object of this size is cut into parts.
    pub fn part_plan(&self, size_bytes: Option<u64>) -> PartPlan {
        PartPlan::new(self.part_bytes, size_bytes)
    }

    /// Opens an upload. For an S3 multipart upload its ID exists from here on: remember
    /// [`Upload::resumable`] before the first part, or a crash leaves parts that nobody owns.
    pub async fn begin_upload(
        &self,
        key: &ObjectKey,
        plan: &UploadPlan,
    ) -> Result<Upload, StorageError> {
        let path = key.location();
        let attributes = self.attributes(plan);
        let sink = match &self.backend {
            Backend::Local(store) if plan.parts.single => Sink::Single {
                store: Arc::clone(store) as Arc<dyn ObjectStore>,
                create_only: true,
                bytes: Bytes::new(),
            },
            Backend::Local(store) => Sink::Local(
                store
                    .put_multipart(&path)
                    .await
                    .map_err(|e| StorageError::of(Operation::new("begin to write", key), &e))?,
            ),
            Backend::S3(s3) if plan.parts.single => Sink::Single {
                store: s3.for_upload().await?,
                create_only: s3.enforcement().await?.create_only,
                bytes: Bytes::new(),
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
                Sink::S3 {
                    store,
                    upload_id,
                    verified_by: s3.verification().await?,
                }
            }
        };
        Ok(Upload {
            key: key.clone(),
            path,
            attributes,
            sink,
            in_flight: JoinSet::new(),
            stored: BTreeMap::new(),
            gapless: 0,
            attempt_token: plan.attempt_token,
        })
    }

    /// Goes on with an upload that another process left behind. `None` if the store does not have
    /// exactly the parts that are on record, or cannot tell, or verifies parts by another rule now.
    pub async fn resume_upload(
        &self,
        key: &ObjectKey,
        checkpoint: &Checkpoint,
    ) -> Result<Option<Upload>, StorageError> {
        let Backend::S3(s3) = &self.backend else {
            return Ok(None);
        };
        let path = key.location();
        let upload_id = checkpoint.upload.upload_id.clone();
        // Parts under different rules make no upload: some stores refuse them, others prove less.
        let verified_by = s3.verification().await?;
        if verified_by.as_str() != checkpoint.upload.verified_by {
            return Ok(None);
        }
        let Some(listed) = s3.list_parts(&path, &upload_id).await? else {
            return Ok(None);
        };
        // Parts beyond the checkpoint are sent again under their numbers.
        let agrees = listed.len() >= checkpoint.parts.len()
            && listed
                .iter()
                .zip(&checkpoint.parts)
                .all(|(listed, ours)| listed.is(ours));
        if !agrees {
            return Ok(None);
        }
        Ok(Some(Upload {
            key: key.clone(),
            path,
            attributes: Attributes::new(),
            sink: Sink::S3 {
                store: s3.for_upload().await?,
                upload_id,
                verified_by,
            },
            in_flight: JoinSet::new(),
            stored: checkpoint
                .parts
                .iter()
                .map(|part| (part.number, part.clone()))
                .collect(),
            gapless: checkpoint.parts.last().map_or(0, |part| part.number),
            attempt_token: checkpoint.upload.attempt_token,
        }))
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
    /// What another process needs to find this upload; `None` if nobody could go on with it.
    pub fn resumable(&self) -> Option<UploadRef> {
        match &self.sink {
            Sink::S3 {
                upload_id,
                verified_by,
                ..
            } => Some(UploadRef {
                upload_id: upload_id.clone(),
                attempt_token: self.attempt_token,
                verified_by: verified_by.as_str().to_owned(),
            }),
            Sink::Single { .. } | Sink::Local(_) => None,
        }
    }

    /// Sends a part, the first being number 1, without copying it. Waits while too many are on the
    /// wire; an earlier one that failed is noticed then, or by [`Upload::finish_parts`]. The
    /// number says where the part belongs; a directory takes them in order only.
    pub async fn send(&mut self, number: u32, bytes: Bytes) -> Result<(), StorageError> {
        while self.in_flight.len() >= PARTS_IN_FLIGHT {
            self.join_one().await?;
        }
        match &mut self.sink {
            Sink::Single { bytes: whole, .. } => {
                let part = part_of(number, &bytes);
                *whole = bytes;
                self.remember(part);
            }
            Sink::S3 {
                store, upload_id, ..
            } => {
                let (store, path) = (Arc::clone(store), self.path.clone());
                let upload_id = upload_id.clone();
                self.in_flight
                    .spawn(async move { put_part(&store, &path, &upload_id, number, bytes).await });
            }
            Sink::Local(upload) => {
                let part = part_of(number, &bytes);
                let written = upload.put_part(bytes.into());
                self.in_flight
                    .spawn(async move { written.await.map(|()| part) });
            }
        }
        while let Some(ended) = self.in_flight.try_join_next() {
            self.note(ended)?;
        }
        Ok(())
    }

    /// Waits until another part is stored; for ever if none is on its way. May be called again after
    /// it was cut off.
    pub async fn one_more_stored(&mut self) -> Result<(), StorageError> {
        if self.in_flight.is_empty() {
            std::future::pending().await
        } else {
            self.join_one().await
        }
    }

    /// Waits for the parts on their way, whatever becomes of them.
    pub async fn settle(&mut self) {
        while let Some(ended) = self.in_flight.join_next().await {
            // Why the transfer ends is known already.
            drop(self.note(ended));
        }
    }

    /// So many parts, from the first on, are stored without a gap.
    pub const fn gapless(&self) -> u32 {
        self.gapless
    }

    /// The stored parts with these numbers.
    pub fn stored(&self, numbers: std::ops::RangeInclusive<u32>) -> Vec<StoredPart> {
        let parts = self.stored.range(numbers);
        parts.map(|(_, part)| part.clone()).collect()
    }

    /// Waits until the store has every part. After this, publishing is one short request, but for
    /// an object that goes whole in a single PUT.
    pub async fn finish_parts(&mut self) -> Result<(), StorageError> {
        // An object without bytes still needs one part.
        let nothing_yet = self.stored.is_empty() && self.in_flight.is_empty();
        if nothing_yet && !matches!(self.sink, Sink::Single { .. }) {
            self.send(1, Bytes::new()).await?;
        }
        while !self.in_flight.is_empty() {
            self.join_one().await?;
        }
        Ok(())
    }

    /// Makes the object visible, unless its parts are not the bytes that were read, or something
    /// stands under its key by now. Call [`Upload::finish_parts`] first. Where publishing fails, or
    /// is cut off, the upload may still be there: [`Upload::abort`] it.
    ///
    /// Returns what the store says of the object.
    pub async fn publish(
        &mut self,
        storage: &Storage,
        read: &Fingerprint,
    ) -> Result<Receipt, StorageError> {
        let parts: Vec<StoredPart> = self.stored.values().cloned().collect();
        check_parts(&parts, read).map_err(|source| StorageError::PartsDiffer {
            key: self.key.clone(),
            source,
        })?;
        let own = OwnObject {
            key: self.key.clone(),
            size_bytes: read.size_bytes,
            attempt_token: self.attempt_token,
        };
        // Not every store honours create-only writes: look right before. The lease keeps other
        // archivers away meanwhile.
        let found = storage.enforcement().await?;
        if !self.is_create_only(found) && storage.size_of(&self.key).await?.is_some() {
            return Err(StorageError::Exists { key: own.key });
        }
        let stored = match &mut self.sink {
            Sink::Single {
                store,
                create_only,
                bytes,
            } => {
                let options = PutOptions {
                    mode: if *create_only {
                        PutMode::Create
                    } else {
                        PutMode::Overwrite
                    },
                    attributes: std::mem::take(&mut self.attributes),
                    ..PutOptions::default()
                };
                let payload = PutPayload::from(std::mem::take(bytes));
                store.put_opts(&self.path, payload, options).await
            }
            Sink::S3 { upload_id, .. } => {
                return storage.complete(&own, upload_id, &parts, read).await;
            }
            Sink::Local(upload) => upload.complete().await,
        };
        match stored {
            Ok(put) => Ok(Receipt {
                stored: put.extensions.get::<Checksums>().map(|checksums| Stored {
                    size_bytes: Some(read.size_bytes),
                    checksums: *checksums,
                }),
                single: true,
                etag: put.e_tag,
            }),
            Err(error) => {
                let error = StorageError::publishing(&own.key, &error);
                storage.after_lost_answer(&own, error).await
            }
        }
    }

    /// Whether the store itself refuses to write over an object.
    const fn is_create_only(&self, found: Option<Enforcement>) -> bool {
        match (&self.sink, found) {
            (Sink::Single { create_only, .. }, _) => *create_only,
            (Sink::S3 { .. }, Some(found)) => found.complete_create_only,
            (Sink::S3 { .. }, None) | (Sink::Local(_), _) => false,
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
                Sink::S3 {
                    store, upload_id, ..
                } => store.abort_multipart(&self.path, upload_id).await,
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

    fn remember(&mut self, part: StoredPart) {
        self.stored.insert(part.number, part);
        while self.stored.contains_key(&(self.gapless + 1)) {
            self.gapless += 1;
        }
    }

    async fn join_one(&mut self) -> Result<(), StorageError> {
        match self.in_flight.join_next().await {
            None => Ok(()),
            Some(ended) => self.note(ended),
        }
    }

    fn note(
        &mut self,
        ended: Result<Result<StoredPart, object_store::Error>, tokio::task::JoinError>,
    ) -> Result<(), StorageError> {
        let operation = || Operation::new("store a part of", &self.key);
        match ended {
            Ok(Ok(part)) => {
                self.remember(part);
                Ok(())
            }
            Ok(Err(error)) => Err(StorageError::of(operation(), &error)),
            Err(panic) => Err(StorageError::Unavailable {
                operation: operation(),
                said: format!("the task failed: {panic}"),
            }),
        }
    }
}

/// A part by the very bytes that go out: held against those that were read, before publishing.
fn part_of(number: u32, bytes: &Bytes) -> StoredPart {
    StoredPart {
        number,
        size_bytes: bytes.len() as u64,
        crc64nvme: Crc64Nvme::of(bytes),
        etag: String::new(),
        sha256: None,
    }
}

/// Sends a part, and again if it arrives damaged: the bytes are still here.
async fn put_part(
    store: &AmazonS3,
    path: &Path,
    upload_id: &str,
    number: u32,
    bytes: Bytes,
) -> Result<StoredPart, object_store::Error> {
    let (upload_id, index) = (upload_id.to_owned(), number as usize - 1);
    let mut tries = 1;
    loop {
        let sent = store.put_part(path, &upload_id, index, bytes.clone().into());
        match sent.await {
            Ok(sent) => {
                let said = SaidOfPart::from(sent.content_id.as_str());
                return Ok(match said.crc64nvme {
                    // The store's own word on what came in is worth more than ours.
                    Some(crc64nvme) => StoredPart {
                        number,
                        size_bytes: bytes.len() as u64,
                        crc64nvme,
                        etag: said.etag,
                        sha256: said.sha256,
                    },
                    None => StoredPart {
                        etag: said.etag,
                        sha256: said.sha256,
                        ..part_of(number, &bytes)
                    },
                });
            }
            Err(error) if tries < PART_TRIES && is_damage(&chain(&error)) => {
                tracing::warn!(
                    object.key = %path, part = number,
                    "a part arrived damaged: sending it again"
                );
                tries += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// What the store said of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SaidOfPart {
    pub(super) etag: String,
    pub(super) sha256: Option<String>,
    pub(super) crc64nvme: Option<Crc64Nvme>,
}

impl From<&str> for SaidOfPart {
    /// Reads the client's name of a part: with checksums, it wraps what it knows into an element.
    fn from(content_id: &str) -> Self {
        #[derive(serde::Deserialize)]
        struct PartMetadata {
            e_tag: String,
            checksum_sha256: Option<String>,
            checksum_crc64nvme: Option<String>,
        }
        match quick_xml::de::from_str::<PartMetadata>(content_id) {
            Ok(part) => Self {
                etag: part.e_tag,
                sha256: part.checksum_sha256,
                crc64nvme: part
                    .checksum_crc64nvme
                    .and_then(|text| Crc64Nvme::from_base64(&text)),
            },
            Err(_) => Self {
                etag: content_id.to_owned(),
                sha256: None,
                crc64nvme: None,
            },
        }
    }
}

/// The provider names the format; a header must not carry control characters.
fn is_header_safe(content_type: &str) -> bool {
    !content_type.is_empty() && content_type.bytes().all(|b| (0x20..0x7f).contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_part_is_found_with_and_without_checksums() {
        let wrapped = |inner| format!("<PartMetadata><e_tag>\"abc\"</e_tag>{inner}</PartMetadata>");
        let said = |text: &str| {
            let said = SaidOfPart::from(text);
            (
                said.etag,
                said.sha256,
                said.crc64nvme.map(|it| it.to_string()),
            )
        };
        let (etag, some) = ("\"abc\"".to_owned(), |text: &str| Some(text.to_owned()));
        let crc = wrapped("<checksum_crc64nvme>rosUhgp5mIg=</checksum_crc64nvme>");
        assert_eq!(said(&crc), (etag.clone(), None, some("rosUhgp5mIg=")));
        let sha256 = wrapped("<checksum_sha256>c2hh</checksum_sha256>");
        assert_eq!(said(&sha256), (etag.clone(), some("c2hh"), None));
        assert_eq!(said("\"abc\""), (etag, None, None));
        assert_eq!(said("abc"), ("abc".to_owned(), None, None));
    }

    #[test]
    fn a_content_type_with_control_characters_is_not_sent() {
        assert!(is_header_safe("video/mp4; codecs=\"avc1\""));
        assert!(!is_header_safe("video/mp4\r\nx-evil: 1"));
        assert!(!is_header_safe(""));
    }
}
