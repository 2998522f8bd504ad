//! THE STORY: how one claimed recording becomes a proven object, told once for the daemon, for
//! `archive --id` and for every test.

use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use self::found::NotLost;
use crate::crash::CrashPoint;
use crate::digest::Fingerprint;
use crate::error::ErrorKind;
use crate::memory::MemoryBudget;
use crate::progress::{Progress, Stage};
use crate::queue::{Claim, Outcome, Queue, StoredObject};
use crate::recording::{FormatMismatch, Readiness, Recording};
use crate::signalwire::SignalWire;
use crate::signed_url::SignedUrl;
use crate::storage::{Manifest, ObjectKey, Proof, Receipt, Storage};
use crate::transfer::{Expected, MediaClient};

mod attempt;
mod breaker;
mod checkpoints;
mod equal;
mod error;
mod found;
mod hashing;
mod oddities;
mod patience;
mod pump;
mod settle;
mod store;
mod transfer;
mod verdict;

pub use attempt::Report;
pub use breaker::Breaker;
pub use error::ArchiveError;
pub use found::{Described, describe};
pub use store::confirm_store;
pub use verdict::Policy;

/// Everything it takes to archive recordings: the stations, and the rules of giving up.
#[derive(Debug)]
pub struct Archiver {
    pub queue: Queue,
    pub signalwire: SignalWire,
    pub media: MediaClient,
    pub storage: Storage,
    /// For parts in flight, of all recordings together.
    pub memory: MemoryBudget,
    pub policy: Policy,
    pub breaker: Breaker,
}

/// What the story learned on its way, whether it ends well or not.
#[derive(Debug, Default)]
struct Notes {
    recording: Option<Recording>,
    /// By the database's clock, before the provider said that.
    asked_at: Option<DateTime<Utc>>,
    /// The provider did not say it now: the manifest in the bucket says that it once did.
    is_from_manifest: bool,
}

/// One recording on its way, as the story's chapters hand it on.
#[derive(Debug, Clone, Copy)]
struct Job<'a> {
    claim: &'a Claim,
    recording: &'a Recording,
    link: &'a SignedUrl,
    key: &'a ObjectKey,
    progress: &'a Arc<Progress>,
    stop: &'a CancellationToken,
    /// Set once the first bytes of the file are known, if they are not of the declared format.
    format_mismatch: &'a OnceLock<FormatMismatch>,
    /// The media are fetched by one plain GET.
    plain: bool,
}

/// What stands under the key when the bytes are through.
#[derive(Debug)]
enum Published {
    Ours {
        receipt: Receipt,
        /// The multipart upload that became it.
        upload_id: Option<String>,
    },
    EqualWasThere,
}

impl Published {
    fn upload_id(&self) -> Option<&str> {
        match self {
            Self::Ours { upload_id, .. } => upload_id.as_deref(),
            Self::EqualWasThere => None,
        }
    }
}

impl Archiver {
    /// Archives one claimed recording and says what is stored now. Safe to run again: the key
    /// depends only on the recording, and an object that already matches is kept.
    async fn archive(
        &self,
        claim: &Claim,
        notes: &mut Notes,
        progress: &Arc<Progress>,
        stop: &CancellationToken,
    ) -> Result<(StoredObject, Outcome), ArchiveError> {
        let result = match self.archive_once(claim, notes, progress, stop, false).await {
            // The file changed while it was fetched, or the host's answers cannot be joined: again
            // from the start, by one plain GET, which joins nothing.
            Err(error) if error.kind() == ErrorKind::SourceChanged => {
                self.archive_once(claim, notes, progress, stop, true).await
            }
            result => result,
        };
        match result {
            Err(ArchiveError::Storage(error)) => {
                let scoped = async { Err(self.storage.with_scope(error).await) };
                unless(stop, scoped).await
            }
            result => result,
        }
    }

    async fn archive_once(
        &self,
        claim: &Claim,
        notes: &mut Notes,
        progress: &Arc<Progress>,
        stop: &CancellationToken,
        plain: bool,
    ) -> Result<(StoredObject, Outcome), ArchiveError> {
        progress.enter(Stage::Metadata);
        let (_, asked_at) = claim.confirmed();
        let asking = self.signalwire.recording(claim.recording_id());
        // The store is got to know meanwhile; what that meets is told where it matters.
        let (recording, _) = tokio::join!(
            unless(stop, asking),
            unless(stop, self.storage.enforcement())
        );
        let recording = match recording {
            Ok(recording) => recording,
            Err(error) => match self.or_found(error, claim, notes, progress, stop).await? {
                NotLost::InStore(object) => return Ok((object, Outcome::AlreadyArchived)),
                NotLost::AtProvider(recording) => recording,
            },
        };
        notes.asked_at = Some(asked_at);
        let recording = notes.recording.insert(recording);
        let key = &self.storage.key_for(self.queue.project_id(), recording)?;
        let format_mismatch = OnceLock::new();
        let job = Job {
            claim,
            recording,
            link: ready(recording)?,
            key,
            progress,
            stop,
            format_mismatch: &format_mismatch,
            plain,
        };
        progress.enter(Stage::Look);
        unless(stop, self.demand_store(claim)).await?;
        let left = unless(stop, self.left_uploads(&job)).await?;
        let (fingerprint, published) = match unless(stop, self.standing(&job, &left)).await? {
            Some(standing) => {
                let published = standing.1.upload_id();
                let others = left.into_iter().map(|left| left.upload_id);
                let others = others.filter(|id| Some(id.as_str()) != published);
                self.discard_all(&job, others).await;
                standing
            }
            None => self.transfer(&job, left).await?,
        };
        let (outcome, proof, etag, upload_id) = match published {
            // Compared by reading it. Nobody knows how it was written, and it is not ours to
            // remove.
            Published::EqualWasThere => {
                let proof = Proof::read_back(&fingerprint);
                (Outcome::AlreadyArchived, proof, None, None)
            }
            Published::Ours { receipt, upload_id } => {
                progress.enter(Stage::Prove);
                let proving = self.storage.prove(key, &fingerprint, &receipt);
                let proof = match unless(stop, proving).await {
                    Err(error) if error.kind() == ErrorKind::ChecksumMismatch => {
                        // Removed again: there is nothing left to go on with.
                        self.discard_all(&job, upload_id).await;
                        return Err(error);
                    }
                    proof => proof?,
                };
                (Outcome::Archived, proof, receipt.etag, upload_id)
            }
        };
        let mut object = self.describe(&job, &fingerprint, &proof).await?;
        (object.etag, object.upload_id) = (etag, upload_id);
        Ok((object, outcome))
    }

    /// Writes the manifest, so that the archive explains itself, and says what is stored.
    async fn describe(
        &self,
        job: &Job<'_>,
        fingerprint: &Fingerprint,
        proof: &Proof,
    ) -> Result<StoredObject, ArchiveError> {
        job.progress.enter(Stage::Manifest);
        let archived_at = unless(job.stop, self.time_under_lease(job.claim)).await?;
        let manifest = Manifest::new(
            job.recording.id,
            self.queue.project_id(),
            job.key,
            fingerprint,
            proof,
            archived_at,
            job.recording.metadata.clone(),
        )
        .with_format_mismatch(job.format_mismatch.get().copied());
        unless(job.stop, self.storage.put_manifest(job.key, &manifest)).await?;
        self.storage.clear_staging(job.key).await;
        CrashPoint::AfterManifest.pass();
        Ok(StoredObject {
            object_key: job.key.as_str().to_owned(),
            object_url: self.storage.object_url(job.key),
            fingerprint: *fingerprint,
            evidence: proof.evidence.as_str(),
            evidence_algorithm: proof.algorithm.as_str(),
            evidence_value: proof.value.clone(),
            etag: None,
            upload_id: None,
            archived_at,
            format_mismatch: job.format_mismatch.get().copied(),
        })
    }

    /// What the file should be, by its metadata and the operator's word.
    fn expected(&self, job: &Job<'_>) -> Expected {
        Expected {
            size_bytes: self.demanded_size(job.recording),
            format: job.recording.media_format.clone(),
            plain: job.plain,
        }
    }

    /// The size that the file must have; `None` if the provider names none, or the operator
    /// accepts whatever it is.
    fn demanded_size(&self, recording: &Recording) -> Option<u64> {
        recording
            .declared_size_bytes
            .filter(|_| !self.policy.accept_size)
    }
}

impl Job<'_> {
    /// Notes how the file differs from its declared format, if it does.
    fn note_mismatch(&self, mismatch: Option<FormatMismatch>) {
        if let Some(mismatch) = mismatch {
            self.format_mismatch.get_or_init(|| mismatch);
        }
    }
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
