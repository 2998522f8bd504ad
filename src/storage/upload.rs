//! One object on its way into the store: several parts in flight, each remembered by what was
//! sent. Nothing is visible under the key before `publish`, and that holds the parts against the
//! bytes as they were read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Attributes, ObjectStore, PutMode, PutOptions, PutPayload};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::directory::{Draft, translated};
use super::error::{Operation, StorageError};
use super::key::ObjectKey;
use super::multipart::{Checksums, Stored};
use super::part::OutgoingPart;
use super::parts::PartPlan;
use super::probe::Enforcement;
use super::publish::Receipt;
use super::{S3, Storage, Verification};
use crate::checkpoint::{StoredPart, UploadRef, check_parts};
use crate::crash::CrashPoint;
use crate::digest::{Crc64Nvme, Fingerprint};

mod begin;

/// Parts of one object that may be on the wire at once. The memory for them is bounded elsewhere.
const PARTS_IN_FLIGHT: usize = 4;
/// Aborting takes one request; what is not done by then is left to the sweep.
const ABORT_WITHIN: Duration = Duration::from_secs(15);

/// What is known of an object before its bytes come.
#[derive(Debug, Clone)]
pub struct UploadPlan {
    pub parts: PartPlan,
    /// From a fixed table, see [`crate::recording::content_type`].
    pub content_type: Option<&'static str>,
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
    in_flight: JoinSet<Result<StoredPart, StorageError>>,
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
    /// The whole object in one create-only request.
    Single {
        store: Arc<dyn ObjectStore>,
        bytes: Bytes,
    },
    S3 {
        s3: Arc<S3>,
        upload_id: String,
        verified_by: Verification,
    },
    Local(Draft),
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

    /// Sends a part, the first being number 1, without copying it; `crc64nvme` is that of the bytes
    /// as they were read. Waits while too many are on the wire; an earlier one that failed is
    /// noticed then, or by [`Upload::finish_parts`]. The number says where the part belongs; a
    /// directory takes them in order only.
    pub async fn send(
        &mut self,
        number: u32,
        bytes: Bytes,
        crc64nvme: Crc64Nvme,
    ) -> Result<(), StorageError> {
        while self.in_flight.len() >= PARTS_IN_FLIGHT {
            self.join_one().await?;
        }
        let part = OutgoingPart {
            number,
            bytes,
            crc64nvme,
        };
        let key = self.key.clone();
        let operation = move || Operation::new("store a part of", &key);
        match &mut self.sink {
            Sink::Single { bytes: whole, .. } => {
                let sent = part.as_sent();
                *whole = part.bytes;
                self.remember(sent);
            }
            Sink::S3 {
                s3,
                upload_id,
                verified_by,
            } => {
                let (s3, path) = (Arc::clone(s3), self.path.clone());
                let (upload_id, verified_by) = (upload_id.clone(), *verified_by);
                self.in_flight.spawn(async move {
                    s3.put_part(&path, &upload_id, &part, verified_by, operation)
                        .await
                });
            }
            Sink::Local(draft) => {
                let (sent, path) = (part.as_sent(), self.path.clone());
                let written = draft.append(part.bytes);
                self.in_flight.spawn(async move {
                    let written = written.await.map(|()| sent);
                    written.map_err(|e| StorageError::of(operation(), &translated(&path, e)))
                });
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
            self.send(1, Bytes::new(), Crc64Nvme::EMPTY).await?;
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
        // Not every store honours create-only writes: look right before. Other archivers are kept
        // away by the lease, and late ones by the upload ID.
        let found = storage.enforcement().await?;
        if !self.is_create_only(found) && storage.size_of(&self.key).await?.is_some() {
            return Err(StorageError::Exists { key: own.key });
        }
        let stored = match &mut self.sink {
            Sink::Single { store, bytes } => {
                let options = PutOptions {
                    mode: PutMode::Create,
                    attributes: std::mem::take(&mut self.attributes),
                    ..PutOptions::default()
                };
                let payload = PutPayload::from(std::mem::take(bytes));
                store.put_opts(&self.path, payload, options).await
            }
            Sink::S3 { upload_id, .. } => {
                return storage.complete(&own, upload_id, &parts, read).await;
            }
            Sink::Local(draft) => {
                if let Err(error) = draft.publish(false).await {
                    let error = translated(&self.path, error);
                    return Err(StorageError::publishing(&own.key, &error));
                }
                let found = storage.meta_of(&own.key).await?;
                return Ok(Receipt::of(found.and_then(|found| found.e_tag)));
            }
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
            (Sink::Single { .. } | Sink::Local(_), _) => true,
            (Sink::S3 { .. }, Some(found)) => found.complete_create_only,
            (Sink::S3 { .. }, None) => false,
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
                Sink::S3 { s3, upload_id, .. } => s3.abort(&self.path, upload_id).await,
                Sink::Local(draft) => {
                    let discarded = draft.discard().await;
                    discarded.map_err(|e| StorageError::of(operation(), &translated(&self.path, e)))
                }
            }
        };
        // A store that has gone silent must not hold up a process that was told to stop.
        tokio::time::timeout(ABORT_WITHIN, aborting)
            .await
            .unwrap_or_else(|_| {
                Err(StorageError::Unavailable {
                    operation: operation(),
                    cause: "no answer".to_owned(),
                })
            })
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
        ended: Result<Result<StoredPart, StorageError>, tokio::task::JoinError>,
    ) -> Result<(), StorageError> {
        match ended {
            Ok(Ok(part)) => {
                self.remember(part);
                CrashPoint::AfterPart.pass();
                Ok(())
            }
            Ok(Err(error)) => Err(error),
            Err(panic) => Err(StorageError::Unavailable {
                operation: Operation::new("store a part of", &self.key),
                cause: format!("the task failed: {panic}"),
            }),
        }
    }
}
