//! How an upload begins: anew, or where another process left one; and how one that was left ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use object_store::multipart::MultipartStore;
use object_store::{Attribute, Attributes, PutMultipartOptions};
use tokio::task::JoinSet;

use super::{Sink, Upload, UploadPlan};
use crate::checkpoint::Checkpoint;
use crate::storage::directory::translated;
use crate::storage::error::{Operation, StorageError};
use crate::storage::key::ObjectKey;
use crate::storage::parts::PartPlan;
use crate::storage::{ATTEMPT_METADATA, Backend, Storage};

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
        // Nothing is stored that could not be proven.
        self.assurance().await?;
        let path = key.location();
        let found = self.enforcement().await?;
        let keeps_metadata = found.is_some_and(|found| found.keeps_metadata);
        let attributes = self.attributes(plan, keeps_metadata);
        let sink = match &self.backend {
            Backend::Local(directory) => {
                let begun = directory.begin(&path).await;
                Sink::Local(begun.map_err(|error| {
                    let operation = Operation::new("begin to write", key);
                    StorageError::of(operation, &translated(&path, error))
                })?)
            }
            Backend::S3(s3) if plan.parts.single && s3.enforcement().await?.create_only => {
                Sink::Single {
                    store: s3.for_upload().await?,
                    bytes: Bytes::new(),
                }
            }
            // Where the store overwrites whatever it is told, small objects go by multipart, too:
            // see `Storage::upload_ids_fence`.
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
                    s3: Arc::clone(s3),
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
                s3: Arc::clone(s3),
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

    /// Whether only the upload ID keeps a late worker from overwriting the object of the worker that
    /// took its recording over. Then every upload of an earlier attempt must be aborted, or resumed,
    /// before another object is published.
    ///
    /// A worker may stand still between its last look at the lease and its request, and the request
    /// may be held up on its way, for longer than the lease. Where the store honours create-only
    /// writes, it refuses what comes too late. Elsewhere a late PUT would replace the next worker's
    /// object, after the row has named that one's digest. Complete cannot: an upload is on record
    /// before its lease is confirmed for the last time, so the next worker finds it there. It aborts
    /// the upload, and a Complete that comes later meets `NoSuchUpload`; or it resumes the upload,
    /// and a late Complete names the same parts of the same bytes. A Complete that the store has
    /// executed by then left an object, which the next worker finds when it looks right before
    /// publishing, and never replaces.
    ///
    /// What remains: a store in which Abort succeeds while a Complete of the same upload is being
    /// executed, and wins.
    pub async fn upload_ids_fence(&self) -> Result<bool, StorageError> {
        let found = self.enforcement().await?;
        Ok(found.is_some_and(|found| !found.complete_create_only))
    }

    /// Aborts an S3 multipart upload that somebody left behind. One that is gone already is fine.
    pub async fn abort_upload(&self, key: &ObjectKey, upload_id: &str) -> Result<(), StorageError> {
        match &self.backend {
            Backend::S3(s3) => s3.abort(&key.location(), upload_id).await,
            Backend::Local(_) => Ok(()),
        }
    }

    /// What the object says of itself in the store; a file system has no place for it.
    fn attributes(&self, plan: &UploadPlan, keeps_metadata: bool) -> Attributes {
        let mut attributes = Attributes::new();
        if let Backend::S3(s3) = &self.backend {
            if let Some(content_type) = plan.content_type {
                attributes.insert(Attribute::ContentType, content_type.into());
            }
            if let Some(class) = &s3.storage_class {
                attributes.insert(Attribute::StorageClass, class.clone().into());
            }
            if keeps_metadata {
                attributes.insert(
                    Attribute::Metadata(ATTEMPT_METADATA.into()),
                    plan.attempt_token.to_string().into(),
                );
            }
        }
        attributes
    }
}
