//! Bringing a damaged recording home again while the provider still has it: the bad object is
//! moved aside, and the one story of [`crate::archive`] archives the recording anew.

use std::fmt;

use super::scrub::{Damage, Scrub};
use crate::archive::{Archiver, Report};
use crate::digest::Sha256Digest;
use crate::error::{ErrorKind, chain};
use crate::queue::{
    ArchivedObject, Claim, Direct, Failure, Outcome, QueueError, Wish, note_damage, note_kept_aside,
};
use crate::recording::Readiness;
use crate::storage::{KeptAside, ObjectKey, StorageError};

/// What became of a repair.
#[derive(Debug)]
pub enum Repair {
    /// Archived again.
    Done {
        report: Box<Report>,
        kept_aside_url: Option<String>,
        /// What the SHA-256 was before, if the provider sends other bytes now.
        former_sha256: Option<Sha256Digest>,
    },
    /// Begun: the bad object is out of the way, and the recording is in the queue until it is
    /// archived again.
    Begun {
        report: Box<Report>,
        kept_aside_url: Option<String>,
    },
    /// All is as it was, the bad object included.
    NotDone { reason: String },
}

impl Repair {
    fn not_done(reason: impl Into<String>) -> Self {
        Self::NotDone {
            reason: reason.into(),
        }
    }

    /// How the attempt at archiving it again ended, if there was one.
    pub fn report(&self) -> Option<&Report> {
        match self {
            Self::Done { report, .. } | Self::Begun { report, .. } => Some(report),
            Self::NotDone { .. } => None,
        }
    }
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = match self {
            Self::Done {
                kept_aside_url,
                former_sha256,
                ..
            } => {
                f.write_str("repaired")?;
                if let Some(sha256) = former_sha256 {
                    write!(
                        f,
                        ", but in other bytes than before: the provider's file has changed since \
                         its SHA-256 was {sha256}"
                    )?;
                }
                kept_aside_url
            }
            Self::Begun {
                report,
                kept_aside_url,
            } => {
                write!(f, "being archived again: {}", report.outcome.as_str())?;
                if let Some(failure) = &report.failure {
                    write!(f, ", {}: {}", failure.kind, failure.message)?;
                }
                kept_aside_url
            }
            Self::NotDone { reason } => return write!(f, "not repaired: {reason}"),
        };
        match kept {
            Some(url) => write!(f, "; the bad object is kept at {url}"),
            None => Ok(()),
        }
    }
}

/// Repairs one object whose damage is on record. Why it was not done is written beside the damage.
pub(super) async fn repair(
    archiver: &Archiver,
    scrub: &Scrub<'_>,
    object: &ArchivedObject,
    damage: &Damage,
) -> Result<Repair, QueueError> {
    let repair = try_to(archiver, scrub, object, damage).await?;
    if let Repair::NotDone { .. } = &repair {
        let message = format!("{}; {repair}", damage.message);
        note_damage(scrub.pool, object, damage.kind, &message).await?;
    }
    Ok(repair)
}

async fn try_to(
    archiver: &Archiver,
    scrub: &Scrub<'_>,
    object: &ArchivedObject,
    damage: &Damage,
) -> Result<Repair, QueueError> {
    if let Some(reason) = obstacle(archiver, object).await {
        return Ok(Repair::not_done(reason));
    }
    if scrub.stop.is_cancelled() {
        return Ok(Repair::not_done("told to stop"));
    }
    if damage.kind == ErrorKind::ObjectMissing && stands_again(archiver, object).await {
        let reason = "it stands there again, or may; the next reading tells";
        return Ok(Repair::not_done(reason));
    }
    // The copy may take its time, so it is made before the lease.
    let kept = match keep_aside(archiver, object).await {
        Ok(kept) => kept,
        Err(error) => return Ok(Repair::not_done(chain(&error))),
    };
    let kept_aside_url = kept.as_ref().map(|kept| kept.url.clone());
    if let Some(url) = &kept_aside_url
        && !note_kept_aside(scrub.pool, object, url).await?
    {
        return Ok(Repair::not_done("another process is at it"));
    }
    let wish = Wish::EvenArchived;
    let claim = match archiver
        .queue
        .claim_direct(object.recording_id, wish)
        .await?
    {
        Direct::Claimed(claim) => claim,
        // All that could be in the way of an archived row.
        Direct::Elsewhere { .. }
        | Direct::Archived(_)
        | Direct::Failed { .. }
        | Direct::OtherProject { .. }
        | Direct::OtherProjectFirst
        | Direct::Unknown => return Ok(Repair::not_done("another process is at it")),
    };
    if let Some(kept) = &kept
        && let Err(reason) = remove(archiver, &claim, kept).await
    {
        let repair = Repair::not_done(reason);
        let failure = Failure {
            kind: damage.kind,
            message: format!("{}; {repair}", damage.message),
            mismatched_size_bytes: None,
        };
        archiver.queue.keep_archived(claim, &failure).await?;
        return Ok(repair);
    }
    let place = scrub.board.enter(object.recording_id);
    let report = archiver.attempt(claim, place.progress(), scrub.stop).await;
    let report = Box::new(report);
    Ok(match report.outcome {
        Outcome::Archived | Outcome::AlreadyArchived => {
            let stored = report.object.as_ref();
            let is_other = stored.is_some_and(|it| it.fingerprint.sha256 != object.sha256);
            Repair::Done {
                report,
                kept_aside_url,
                former_sha256: is_other.then_some(object.sha256),
            }
        }
        Outcome::Deferred | Outcome::Retrying | Outcome::Failed | Outcome::Released => {
            Repair::Begun {
                report,
                kept_aside_url,
            }
        }
    })
}

/// Why it cannot be archived again now: nothing is moved before the provider has said that it
/// still has the recording.
async fn obstacle(archiver: &Archiver, object: &ArchivedObject) -> Option<String> {
    if let Some(project_id) = &object.project_id
        && project_id != archiver.queue.project_id()
    {
        return Some(format!(
            "it belongs to project {project_id}, whose archiver has to do it"
        ));
    }
    match archiver.signalwire.recording(object.recording_id).await {
        Ok(recording) => match recording.readiness() {
            Readiness::Ready(_) => None,
            Readiness::NotReady => Some("the provider says that it is not ready".to_owned()),
            Readiness::NoMedia => Some("the provider has no file of it any more".to_owned()),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Some("the provider has it no more".to_owned())
        }
        Err(error) => Some(format!("the provider cannot be asked: {}", chain(&error))),
    }
}

/// Whether something stands where nothing did, as far as the store can tell: nobody has read it.
async fn stands_again(archiver: &Archiver, object: &ArchivedObject) -> bool {
    match ObjectKey::from_stored(object.object_key.clone()) {
        Ok(key) => !matches!(archiver.storage.size_of(&key).await, Ok(None)),
        Err(_) => true,
    }
}

/// `None` if there is nothing to keep.
async fn keep_aside(
    archiver: &Archiver,
    object: &ArchivedObject,
) -> Result<Option<KeptAside>, StorageError> {
    let key = ObjectKey::from_stored(object.object_key.clone())?;
    archiver.storage.keep_aside(&key).await
}

/// Under the lease, and well before it ends: nobody else stores anything there meanwhile.
async fn remove(archiver: &Archiver, claim: &Claim, kept: &KeptAside) -> Result<(), String> {
    let left = archiver.queue.lease() / 2;
    let removing = archiver.storage.remove_original(kept);
    let deadline = claim.claimed_at() + left;
    match tokio::time::timeout_at(deadline, removing).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => return Err(chain(&error)),
        Err(_) => {}
    }
    // Removed or not: the request was sent, and only its answer is missing.
    let looking = archiver.storage.original_exists(kept);
    match tokio::time::timeout_at(deadline + left / 2, looking).await {
        Ok(Ok(false)) => Ok(()),
        Ok(Ok(true) | Err(_)) | Err(_) => Err(format!(
            "the store did not remove the bad object within {}",
            humantime::format_duration(left)
        )),
    }
}
