//! From the link into the store: begun anew or gone on with, published, and left behind only where
//! somebody can go on with it.

use std::time::Duration;

use super::checkpoints::Checkpoints;
use super::hashing::Hashing;
use super::{ArchiveError, Archiver, Job, Published, unless};
use crate::checkpoint::Checkpoint;
use crate::crash::CrashPoint;
use crate::digest::{Fingerprint, Fingerprinting};
use crate::error::{ErrorKind, chain};
use crate::progress::Stage;
use crate::queue::{BegunUpload, LeftUpload};
use crate::recording::content_type;
use crate::storage::{PartPlan, StorageError, Upload, UploadPlan};
use crate::transfer::{Download, Resume, TransferError};

/// A transfer that is cut off waits so long for parts on the wire: they need not be sent again.
const LAST_PARTS_WITHIN: Duration = Duration::from_secs(2);

/// A transfer in the middle.
#[derive(Debug)]
struct Moving {
    upload: Upload,
    /// `None`: every byte is in the store already.
    download: Option<Download>,
    /// `None` once it has come to its end.
    hashing: Option<Hashing>,
    checkpoints: Checkpoints,
}

impl Archiver {
    /// The uploads that earlier attempts left, ours from here on.
    pub(super) async fn left_uploads(
        &self,
        job: &Job<'_>,
    ) -> Result<Vec<LeftUpload>, ArchiveError> {
        let mut left = Vec::new();
        if job.claim.has_left_uploads() {
            let object_url = self.storage.object_url(job.key);
            let taken = self.repeated(job.claim, || {
                self.queue.take_over_uploads(job.claim, &object_url)
            });
            left = unless(job.stop, taken).await?;
        }
        if job.claim.follows_a_loss() {
            // Who dies between the store's answer and our record leaves one that is on none.
            for upload_id in self.storage.unfinished_uploads(job.key).await? {
                if left.iter().all(|known| known.upload_id != upload_id) {
                    left.push(LeftUpload {
                        upload_id,
                        checkpoint: None,
                        format_mismatch: None,
                    });
                }
            }
        }
        Ok(left)
    }

    /// Brings the media into the store and publishes it. Whatever goes wrong, the upload is
    /// aborted, unless the next attempt can go on with it; one that cannot be aborted now stays on
    /// record for the sweep.
    pub(super) async fn transfer(
        &self,
        job: &Job<'_>,
        left: Vec<LeftUpload>,
    ) -> Result<(Fingerprint, Published), ArchiveError> {
        job.progress.enter(Stage::Transfer);
        let mut moving = match self.go_on(job, left).await? {
            Some(moving) => moving,
            None => self.begin(job).await?,
        };
        let result = self.send(job, &mut moving).await;
        self.end(job, moving, &result).await;
        result
    }

    /// Goes on with the upload that got furthest, if store and source agree that it can be gone on
    /// with. All others are aborted.
    ///
    /// # Errors
    /// Also when an upload that its former worker could still publish is not aborted.
    async fn go_on(
        &self,
        job: &Job<'_>,
        left: Vec<LeftUpload>,
    ) -> Result<Option<Moving>, ArchiveError> {
        let mut moving = None;
        let must_abort =
            !left.is_empty() && unless(job.stop, self.storage.upload_ids_fence()).await?;
        for upload in left {
            if moving.is_none()
                && let Some(checkpoint) = upload.checkpoint
            {
                moving = unless(job.stop, self.resume(job, checkpoint)).await?;
                if moving.is_some() {
                    job.note_mismatch(upload.format_mismatch);
                    continue;
                }
            }
            match self.discard(job, &upload.upload_id).await {
                Err(error) if must_abort => return Err(error),
                Err(error) => warn(job, &error),
                Ok(()) => {}
            }
        }
        Ok(moving)
    }

    async fn resume(
        &self,
        job: &Job<'_>,
        checkpoint: Checkpoint,
    ) -> Result<Option<Moving>, ArchiveError> {
        let expected = self.expected(job);
        let Some(offset_bytes) = checkpoint.offset_bytes() else {
            return Ok(None);
        };
        if expected
            .size_bytes
            .is_some_and(|size| size != checkpoint.size_bytes)
        {
            return Ok(None);
        }
        let Some(upload) = self.storage.resume_upload(job.key, &checkpoint).await? else {
            return Ok(None);
        };
        let (size_bytes, part_bytes) = (checkpoint.size_bytes, checkpoint.part_bytes);
        job.progress.start(Some(size_bytes), offset_bytes);
        let download = if offset_bytes == size_bytes {
            None
        } else {
            let from = Resume {
                offset_bytes,
                size_bytes,
                validator: checkpoint.validator,
            };
            let opened = self
                .media
                .open(job.link, &expected, part_bytes, Some(&from));
            match opened.await {
                Ok(source) => Some(source.download(part_bytes, &self.memory, job.progress)),
                Err(TransferError::Changed) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        };
        tracing::info!(
            recording.id = %job.recording.id, offset_bytes, size_bytes,
            "going on where an earlier attempt stopped"
        );
        let saved = upload.gapless();
        Ok(Some(Moving {
            checkpoints: Checkpoints::new(&upload, true, Some(size_bytes), part_bytes, saved),
            upload,
            download,
            hashing: Some(Hashing::start(checkpoint.fingerprinting, Some(size_bytes))),
        }))
    }

    async fn begin(&self, job: &Job<'_>) -> Result<Moving, ArchiveError> {
        let expected = self.expected(job);
        let first_bytes = self.part_plan(expected.size_bytes)?.part_bytes;
        let opened = self.media.open(job.link, &expected, first_bytes, None);
        let source = unless(job.stop, opened).await?;
        let size_bytes = source.size_bytes();
        let parts = self.part_plan(size_bytes)?;
        let format = source.format();
        job.note_mismatch(format.mismatch);
        let plan = UploadPlan {
            parts,
            content_type: Some(content_type(expected.format.as_deref(), format.container)),
            attempt_token: job.claim.lease_token(),
        };
        let upload = self.storage.begin_upload(job.key, &plan).await?;
        CrashPoint::AfterCreateUpload.pass();
        if let Some(begun) = upload.resumable() {
            let begun = BegunUpload {
                object_key: job.key.as_str().to_owned(),
                object_url: self.storage.object_url(job.key),
                upload: begun,
                size_bytes,
                validator: source.validator().cloned(),
                part_bytes: parts.part_bytes,
                format_mismatch: format.mismatch,
            };
            let remembered =
                self.repeated(job.claim, || self.queue.remember_upload(job.claim, &begun));
            if let Err(error) = unless(job.stop, remembered).await {
                // Nobody else can know of it.
                if let Err(error) = upload.abort().await {
                    tracing::warn!(
                        recording.id = %job.recording.id, object.key = %job.key, "{}", chain(&error)
                    );
                }
                return Err(error);
            }
            CrashPoint::AfterRememberUpload.pass();
        }
        job.progress.start(size_bytes, 0);
        let resumable = source.validator().is_some();
        Ok(Moving {
            checkpoints: Checkpoints::new(&upload, resumable, size_bytes, parts.part_bytes, 0),
            upload,
            download: Some(source.download(parts.part_bytes, &self.memory, job.progress)),
            hashing: Some(Hashing::start(Fingerprinting::new(), size_bytes)),
        })
    }

    /// How a file of this size is cut up, if one of its parts fits into memory: what is said of its
    /// size may be anything.
    pub(super) fn part_plan(&self, size_bytes: Option<u64>) -> Result<PartPlan, ArchiveError> {
        let plan = self.storage.part_plan(size_bytes);
        let usual_bytes = self.storage.part_plan(None).part_bytes;
        let buffer_bytes = self.memory.limit_bytes();
        match size_bytes {
            Some(size_bytes) if plan.part_bytes > buffer_bytes.max(usual_bytes) => {
                Err(ArchiveError::TooLarge {
                    size_bytes,
                    part_bytes: plan.part_bytes,
                    buffer_bytes,
                })
            }
            _ => Ok(plan),
        }
    }

    /// Sends every byte and publishes; nothing is visible under the key before the last byte was
    /// counted and the parts were held against what was read.
    async fn send(
        &self,
        job: &Job<'_>,
        moving: &mut Moving,
    ) -> Result<(Fingerprint, Published), ArchiveError> {
        let (upload, checkpoints) = (&mut moving.upload, &mut moving.checkpoints);
        let fingerprint = unless(job.stop, async {
            if let Some(download) = moving.download.take()
                && let Some(hashing) = &mut moving.hashing
            {
                self.pump(job, download, hashing, upload, checkpoints)
                    .await?;
            }
            upload.finish_parts().await?;
            let fingerprint = all_hashed(&mut moving.hashing, checkpoints).await?;
            self.demand_declared_size(job.recording, &fingerprint)?;
            checkpoints.note_all(upload);
            checkpoints.save_if_due(&self.queue, job.claim).await;
            // A worker whose lease has passed on must not publish. From here on only short
            // requests are left, and a lease that is lost meanwhile cuts them off.
            if upload.resumable().is_some() {
                self.confirm_lease(job.claim).await?;
            } else {
                self.time_under_lease(job.claim).await?;
            }
            Ok::<_, ArchiveError>(fingerprint)
        })
        .await?;
        CrashPoint::BeforeComplete.pass();
        job.progress.enter(Stage::Publish);
        match unless(job.stop, upload.publish(&self.storage, &fingerprint)).await {
            Ok(receipt) => {
                CrashPoint::AfterComplete.pass();
                let upload_id = upload.resumable().map(|upload| upload.upload_id);
                Ok((fingerprint, Published::Ours { receipt, upload_id }))
            }
            Err(ArchiveError::Storage(StorageError::Exists { .. })) => {
                let equal = self.storage.demand_equal(job.key, &fingerprint);
                unless(job.stop, equal).await?;
                Ok((fingerprint, Published::EqualWasThere))
            }
            Err(error) => Err(error),
        }
    }

    /// Leaves an upload that was published or can be gone on with; aborts others.
    async fn end(
        &self,
        job: &Job<'_>,
        mut moving: Moving,
        result: &Result<(Fingerprint, Published), ArchiveError>,
    ) {
        match result {
            // On record until the object is settled.
            Ok((_, Published::Ours { .. })) => {}
            // The row says whose the upload is. It may be another worker's by now.
            Err(error) if error.kind() == ErrorKind::LeaseLost => {}
            Err(error) if is_worth_going_on(error.kind()) => {
                let (upload, checkpoints) = (&mut moving.upload, &mut moving.checkpoints);
                // What is on the wire or in the hashing thread by now is nearly there.
                let last_parts = async {
                    upload.settle().await;
                    // A thread that panicked has told what it had.
                    drop(all_hashed(&mut moving.hashing, checkpoints).await);
                };
                drop(tokio::time::timeout(LAST_PARTS_WITHIN, last_parts).await);
                checkpoints.note_all(upload);
                checkpoints.save_if_due(&self.queue, job.claim).await;
                if !checkpoints.any() {
                    self.abort(job, moving.upload).await;
                }
            }
            Ok((_, Published::EqualWasThere)) | Err(_) => self.abort(job, moving.upload).await,
        }
    }

    /// Aborts an upload of this attempt's. Not without the lease: whoever has it may have taken the
    /// upload over.
    async fn abort(&self, job: &Job<'_>, upload: Upload) {
        let Some(on_record) = upload.resumable() else {
            if let Err(error) = upload.abort().await {
                tracing::warn!(
                    recording.id = %job.recording.id, object.key = %job.key, "{}", chain(&error)
                );
            }
            return;
        };
        if self.queue.renew(job.claim).await.is_err() {
            return;
        }
        match upload.abort().await {
            Ok(()) => self.forget(job, &on_record.upload_id).await,
            Err(error) => tracing::warn!(
                recording.id = %job.recording.id, object.key = %job.key, "{}", chain(&error)
            ),
        }
    }

    /// Aborts what earlier attempts left and nobody needs.
    pub(super) async fn discard_all(
        &self,
        job: &Job<'_>,
        uploads: impl IntoIterator<Item = String>,
    ) {
        for upload_id in uploads {
            if let Err(error) = self.discard(job, &upload_id).await {
                warn(job, &error);
            }
        }
    }

    async fn discard(&self, job: &Job<'_>, upload_id: &str) -> Result<(), ArchiveError> {
        self.confirm_lease(job.claim).await?;
        self.storage.abort_upload(job.key, upload_id).await?;
        self.forget(job, upload_id).await;
        Ok(())
    }

    async fn forget(&self, job: &Job<'_>, upload_id: &str) {
        if let Err(error) = self.queue.forget_upload(job.claim, upload_id).await {
            tracing::warn!(
                recording.id = %job.recording.id, object.key = %job.key, "{}", chain(&error)
            );
        }
    }
}

fn warn(job: &Job<'_>, error: &ArchiveError) {
    tracing::warn!(
        recording.id = %job.recording.id, object.key = %job.key, "{}", chain(error)
    );
}

/// Waits until every part that came is hashed.
async fn all_hashed(
    hashing: &mut Option<Hashing>,
    checkpoints: &mut Checkpoints,
) -> Result<Fingerprint, ArchiveError> {
    let Some(hashing) = hashing.take() else {
        return Err(TransferError::Lost.into());
    };
    let (fingerprinting, rest) = hashing.finish().await.map_err(TransferError::from)?;
    for hashed in rest {
        checkpoints.note(hashed);
    }
    Ok(fingerprinting.finish())
}

/// Whether what is in the store by now can be what the next attempt needs.
const fn is_worth_going_on(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Unauthorized
        | ErrorKind::Throttled
        | ErrorKind::ApiUnavailable
        | ErrorKind::ApiRefused
        | ErrorKind::LinkExpired
        | ErrorKind::MediaUnavailable
        | ErrorKind::NotMedia
        | ErrorKind::Truncated
        | ErrorKind::Stalled
        | ErrorKind::StorageUnavailable
        | ErrorKind::StorageDenied
        | ErrorKind::StorageFull
        | ErrorKind::Cancelled
        | ErrorKind::Internal => true,
        ErrorKind::NotFound
        | ErrorKind::NotReady
        | ErrorKind::NoMedia
        | ErrorKind::BadMetadata
        | ErrorKind::LinkRefused
        | ErrorKind::SizeMismatch
        | ErrorKind::SourceChanged
        // Perhaps for what became of this upload, which another one would not meet.
        | ErrorKind::StorageRefused
        | ErrorKind::ChecksumMismatch
        | ErrorKind::ObjectConflict
        | ErrorKind::ObjectMissing
        | ErrorKind::ObjectArchivedCold
        | ErrorKind::LeaseLost => false,
    }
}
