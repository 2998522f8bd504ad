//! THE STORY: how one claimed recording becomes a proven object, told once for the daemon, for
//! `archive --id` and for every test.

use tokio_util::sync::CancellationToken;

use crate::digest::{Fingerprint, Fingerprinting};
use crate::error::chain;
use crate::progress::Progress;
use crate::queue::{Claim, Outcome, Queue, StoredObject};
use crate::recording::{Readiness, Recording};
use crate::signalwire::SignalWire;
use crate::signed_url::SignedUrl;
use crate::storage::{Evidence, Manifest, ObjectKey, Storage, StorageError, Upload, UploadPlan};
use crate::transfer::{Expected, Media, MediaClient};

mod attempt;
mod breaker;
mod error;
mod settle;
mod verdict;

pub use attempt::Report;
pub use breaker::Breaker;
pub use error::ArchiveError;
pub use verdict::Policy;

/// Everything it takes to archive recordings: the stations, and the rules of giving up.
#[derive(Debug)]
pub struct Archiver {
    pub queue: Queue,
    pub signalwire: SignalWire,
    pub media: MediaClient,
    pub storage: Storage,
    pub policy: Policy,
    pub breaker: Breaker,
}

/// What the story learned on its way, whether it ends well or not.
#[derive(Debug, Default)]
struct Notes {
    recording: Option<Recording>,
}

/// What stands under the key when the bytes are through.
#[derive(Debug)]
enum Published {
    Ours { etag: Option<String> },
    EqualWasThere,
}

impl Archiver {
    /// Archives one claimed recording and says what is stored now. Safe to run again: the key
    /// depends only on the recording, and an object that already matches is kept.
    async fn archive(
        &self,
        claim: &Claim,
        notes: &mut Notes,
        progress: &Progress,
        stop: &CancellationToken,
    ) -> Result<(StoredObject, Outcome), ArchiveError> {
        let recording = unless(stop, self.signalwire.recording(claim.recording_id())).await?;
        let recording = notes.recording.insert(recording);
        let link = ready(recording)?;
        let key = self.storage.key_for(self.queue.project_id(), recording)?;

        let kept = unless(
            stop,
            self.equal_object(claim, recording, link, &key, progress),
        )
        .await?;
        let (fingerprint, published) = if let Some(fingerprint) = kept {
            (fingerprint, Published::EqualWasThere)
        } else {
            let media = unless(stop, self.media.open(link, &expected(recording))).await?;
            self.transfer(claim, recording, &key, media, progress, stop)
                .await?
        };
        let (outcome, evidence, etag) = match published {
            // Compared by reading it. Nobody knows how it was written, and it is not ours to
            // remove.
            Published::EqualWasThere => (Outcome::AlreadyArchived, Evidence::ReadBack, None),
            Published::Ours { etag } => {
                let evidence = unless(stop, self.storage.prove(&key, &fingerprint)).await?;
                (Outcome::Archived, evidence, etag)
            }
        };
        let archived_at = unless(stop, self.confirm_lease(claim)).await?;
        let manifest = Manifest::new(
            recording.id,
            self.queue.project_id(),
            &key,
            &fingerprint,
            evidence,
            archived_at,
            recording.metadata.clone(),
        );
        unless(stop, self.storage.put_manifest(&key, &manifest)).await?;
        let object = StoredObject {
            object_key: key.as_str().to_owned(),
            object_url: self.storage.object_url(&key),
            fingerprint,
            evidence: evidence.as_str(),
            etag,
            archived_at,
        };
        Ok((object, outcome))
    }

    /// Streams the media into the store and publishes it. Whatever goes wrong, the upload is
    /// aborted; one that cannot be aborted now stays on record for the sweep.
    async fn transfer(
        &self,
        claim: &Claim,
        recording: &Recording,
        key: &ObjectKey,
        media: Media,
        progress: &Progress,
        stop: &CancellationToken,
    ) -> Result<(Fingerprint, Published), ArchiveError> {
        let plan = UploadPlan {
            size_hint: media.size_hint(),
            content_type: recording.media_format.clone(),
            attempt_token: claim.lease_token(),
        };
        let mut upload = self.storage.begin_upload(key, &plan).await?;
        let remembered = upload.upload_id().is_some();
        let result = self
            .send(claim, key, media, &mut upload, progress, stop)
            .await;
        let ended = match &result {
            Ok((_, Published::Ours { .. })) => Ok(()),
            Ok((_, Published::EqualWasThere)) | Err(_) => upload.abort().await,
        };
        let forgotten = match ended {
            Ok(()) if remembered => self.queue.forget_upload(claim).await.map_err(Into::into),
            ended => ended.map_err(ArchiveError::from),
        };
        if let Err(error) = forgotten {
            tracing::warn!(object.key = %key, "{}", chain(&error));
        }
        result
    }

    /// Sends every byte and publishes; nothing is visible under the key before the last byte was
    /// counted.
    async fn send(
        &self,
        claim: &Claim,
        key: &ObjectKey,
        media: Media,
        upload: &mut Upload,
        progress: &Progress,
        stop: &CancellationToken,
    ) -> Result<(Fingerprint, Published), ArchiveError> {
        let fingerprint = unless(stop, async {
            if let Some(upload_id) = upload.upload_id() {
                let object_url = self.storage.object_url(key);
                self.queue
                    .remember_upload(claim, key.as_str(), &object_url, upload_id)
                    .await?;
            }
            let fingerprint = pump(media, Some(upload), progress).await?;
            upload.finish_parts().await?;
            // A worker whose lease has passed on must not publish. From here on only short
            // requests are left, and a lease that is lost meanwhile cuts them off.
            self.confirm_lease(claim).await?;
            Ok::<_, ArchiveError>(fingerprint)
        })
        .await?;
        match unless(stop, upload.publish(&self.storage)).await {
            Ok(etag) => Ok((fingerprint, Published::Ours { etag })),
            Err(ArchiveError::Storage(StorageError::Exists { .. })) => {
                unless(stop, self.storage.demand_equal(key, &fingerprint)).await?;
                Ok((fingerprint, Published::EqualWasThere))
            }
            Err(error) => Err(error),
        }
    }

    /// The fingerprint of an object that already stands under the key and is this recording;
    /// `None` if nothing stands there. One that differs is an error, never overwritten.
    async fn equal_object(
        &self,
        claim: &Claim,
        recording: &Recording,
        link: &SignedUrl,
        key: &ObjectKey,
        progress: &Progress,
    ) -> Result<Option<Fingerprint>, ArchiveError> {
        let Some(found_bytes) = self.storage.size_of(key).await? else {
            return Ok(None);
        };
        if let Some(declared) = recording.declared_size_bytes
            && declared != found_bytes
        {
            return Err(self.storage.conflict(key, found_bytes, declared).into());
        }
        // Our own manifest names the digest: reading the object back is proof enough.
        let manifest = self.storage.manifest(key).await?;
        if let Some(stated) = manifest.and_then(|m| m.fingerprint_of(claim.recording_id()))
            && self.storage.read_back(key).await? == Some(stated)
        {
            return Ok(Some(stated));
        }
        // A crash between publishing and the manifest: only the source can tell.
        let media = self.media.open(link, &expected(recording)).await?;
        let fingerprint = pump(media, None, progress).await?;
        self.storage.demand_equal(key, &fingerprint).await?;
        Ok(Some(fingerprint))
    }
}

/// Takes every byte of the media in order: counted, hashed and, if there is one, uploaded.
async fn pump(
    mut media: Media,
    mut upload: Option<&mut Upload>,
    progress: &Progress,
) -> Result<Fingerprint, ArchiveError> {
    progress.start(media.size_hint());
    let mut fingerprint = Fingerprinting::new();
    while let Some(chunk) = media.next_chunk().await? {
        progress.add(chunk.len() as u64);
        fingerprint.update(&chunk);
        if let Some(upload) = upload.as_deref_mut() {
            upload.write(chunk).await?;
        }
    }
    Ok(fingerprint.finish())
}

fn ready(recording: &Recording) -> Result<&SignedUrl, ArchiveError> {
    match recording.readiness() {
        Readiness::Ready(link) => Ok(link),
        Readiness::NotReady => Err(ArchiveError::NotReady {
            status: recording
                .status
                .as_ref()
                .map_or("unknown", |status| status.as_str())
                .to_owned(),
        }),
        Readiness::NoMedia => Err(ArchiveError::NoMedia),
    }
}

fn expected(recording: &Recording) -> Expected {
    Expected {
        size_bytes: recording.declared_size_bytes,
        format: recording.media_format.clone(),
    }
}

/// Does one step of the story, unless the process is told to stop or the lease is lost.
async fn unless<T, E: Into<ArchiveError>>(
    stop: &CancellationToken,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, ArchiveError> {
    match stop.run_until_cancelled(work).await {
        Some(result) => result.map_err(Into::into),
        None => Err(ArchiveError::Cancelled),
    }
}
