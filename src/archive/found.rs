//! What the bucket says of itself: an archived recording as its manifest describes it.
//!
//! A party that can write to the bucket can write an object and a manifest beside it. So what is found is
//! checked as far as it can be, is marked as found, and is never taken for compared with its source.

use chrono::{DateTime, Datelike, Utc};
use tokio_util::sync::CancellationToken;

use super::{ArchiveError, Archiver, Notes, unless};
use crate::bandwidth::Bandwidth;
use crate::digest::Fingerprint;
use crate::error::ErrorKind;
use crate::progress::{Progress, Stage};
use crate::queue::{Claim, KnownPlace, StoredObject};
use crate::recording::Recording;
use crate::signalwire;
use crate::storage::{Manifest, ManifestFacts, ObjectKey, Proof, Storage, StorageError};

/// The first year in which something can have been archived.
const FIRST_YEAR: i32 = 2020;

/// A manifest that holds together, with its object.
#[derive(Debug, Clone)]
pub struct Described {
    pub key: ObjectKey,
    pub recording: Recording,
    pub facts: ManifestFacts,
    pub etag: Option<String>,
}

impl Described {
    /// The object as a row has it. `is_read` says whether its bytes were compared with the manifest.
    pub fn object(&self, storage: &Storage, is_read: bool) -> StoredObject {
        let proof = Proof::found(&self.facts.fingerprint, is_read);
        StoredObject {
            object_key: self.key.as_str().to_owned(),
            object_url: storage.object_url(&self.key),
            fingerprint: self.facts.fingerprint,
            evidence: proof.evidence.as_str(),
            evidence_algorithm: proof.algorithm.as_str(),
            evidence_value: proof.value,
            etag: self.etag.clone(),
            upload_id: None,
            archived_at: self.facts.archived_at,
            format_mismatch: self.facts.format_mismatch,
        }
    }

    /// Reads the object, and says why it is not what its manifest says; `None` if it is.
    pub async fn difference(
        &self,
        storage: &Storage,
        progress: &Progress,
    ) -> Result<Option<String>, StorageError> {
        let stated = &self.facts.fingerprint;
        let unlimited = Bandwidth::new(None);
        let reading = storage.read_back_within(&self.key, stated.size_bytes, &unlimited, progress);
        Ok(match reading.await? {
            Some(found) if found == *stated => None,
            Some(found) if found.size_bytes != stated.size_bytes => Some(format!(
                "the object does not have the {} bytes that its manifest says",
                stated.size_bytes
            )),
            Some(found) if found.sha256 != stated.sha256 => Some(format!(
                "the object has SHA-256 {}, its manifest says {}",
                found.sha256, stated.sha256
            )),
            Some(found) => Some(format!(
                "the object has CRC64NVME {}, its manifest says {}",
                found.crc64nvme, stated.crc64nvme
            )),
            None => Some("its manifest is there, the object is not".to_owned()),
        })
    }
}

/// Reads the manifest beside `key` and looks for its object; the inner error says why the two make
/// no archived recording. `now` is the database's time.
pub async fn describe(
    storage: &Storage,
    key: ObjectKey,
    now: DateTime<Utc>,
) -> Result<Result<Described, String>, StorageError> {
    let Some(named) = storage.recording_at(key.as_str()) else {
        return Ok(Err(
            "its key is not of storage.layout; if it was stored under another layout, run \
             `rebuild` with that one"
                .to_owned(),
        ));
    };
    let Some(manifest) = storage.manifest(&key).await? else {
        return Ok(Err("its manifest cannot be read".to_owned()));
    };
    let facts = match manifest.facts() {
        Ok(facts) => facts,
        Err(field) => {
            let reason = format!("its manifest has a {field} that is not understood");
            return Ok(Err(reason));
        }
    };
    if facts.recording_id != named {
        let reason = format!("its manifest is about recording {}", facts.recording_id);
        return Ok(Err(reason));
    }
    for (name, at) in [
        ("archived_at", facts.archived_at),
        ("metadata_observed_at", facts.observed_at),
    ] {
        if at > now || at.year() < FIRST_YEAR {
            let reason = format!("its manifest has a wrong {name}: {}", at.to_rfc3339());
            return Ok(Err(reason));
        }
    }
    let recording = match signalwire::described(facts.metadata.clone()) {
        Ok(recording) if recording.id == facts.recording_id => recording,
        Ok(_) => return Ok(Err("its manifest speaks of two recordings".to_owned())),
        Err(problem) => return Ok(Err(format!("its manifest's metadata: {problem}"))),
    };
    let Some(standing) = storage.look_at(&key).await? else {
        return Ok(Err("its manifest is there, the object is not".to_owned()));
    };
    let stated = facts.fingerprint.size_bytes;
    if standing.size_bytes != stated {
        let found = standing.size_bytes;
        let reason = format!("the object has {found} bytes, its manifest says {stated}");
        return Ok(Err(reason));
    }
    Ok(Ok(Described {
        key,
        recording,
        facts,
        etag: standing.etag,
    }))
}

/// An archived object that was found whole in the bucket.
#[derive(Debug)]
struct InStore {
    object: StoredObject,
    /// When the provider was asked and what it said, if only the manifest says so.
    by_manifest: Option<(DateTime<Utc>, Recording)>,
}

/// Where a recording is after the provider answered 404 once.
#[derive(Debug)]
pub(super) enum NotLost {
    InStore(StoredObject),
    AtProvider(Recording),
}

impl Archiver {
    /// The provider has no such recording: looks for the object where the row says, or would have it
    /// archived. `None` if the row does not know where that is, if there is nothing whole, or if
    /// another project has not been asked yet.
    async fn found_in_store(
        &self,
        claim: &Claim,
        progress: &Progress,
    ) -> Result<Option<InStore>, ArchiveError> {
        let place = self.repeated(claim, || self.queue.known_place(claim));
        let Some(place) = place.await? else {
            return Ok(None);
        };
        if place.may_be_elsewhere {
            return Ok(None);
        }
        let Some(key) = self.key_of(claim, &place) else {
            return Ok(None);
        };
        progress.enter(Stage::Look);
        if self.storage.size_of(&key).await?.is_none() {
            return Ok(None);
        }
        let id = claim.recording_id();
        let vouched = self.repeated(claim, || self.queue.vouched(claim)).await?;
        let now = self.time_under_lease(claim).await?;
        if let Some(vouched) = vouched {
            if self.storage.read_back(&key, vouched.size_bytes).await? != Some(vouched) {
                return Ok(None);
            }
            let manifest = self.storage.manifest(&key).await?;
            let object = StoredObject {
                format_mismatch: manifest.as_ref().and_then(Manifest::format_mismatch),
                ..self.read_again(&key, &vouched, now)
            };
            return Ok(Some(InStore {
                object,
                by_manifest: None,
            }));
        }
        let described = match describe(&self.storage, key, now).await? {
            Ok(described) => described,
            Err(reason) => {
                tracing::warn!(recording.id = %id, "what is found in the bucket is not taken: {reason}");
                return Ok(None);
            }
        };
        let is_other_project = described
            .facts
            .project_id
            .as_deref()
            .is_some_and(|it| it != self.queue.project_id());
        if described.recording.id != id || is_other_project {
            return Ok(None);
        }
        if let Some(reason) = described
            .difference(&self.storage, &Progress::default())
            .await?
        {
            tracing::warn!(recording.id = %id, "what is found in the bucket is not taken: {reason}");
            return Ok(None);
        }
        Ok(Some(InStore {
            object: described.object(&self.storage, true),
            by_manifest: Some((described.facts.observed_at, described.recording)),
        }))
    }

    /// An object that was read just now, and is what was archived before.
    fn read_again(&self, key: &ObjectKey, found: &Fingerprint, now: DateTime<Utc>) -> StoredObject {
        let proof = Proof::read_back(found);
        StoredObject {
            object_key: key.as_str().to_owned(),
            object_url: self.storage.object_url(key),
            fingerprint: *found,
            evidence: proof.evidence.as_str(),
            evidence_algorithm: proof.algorithm.as_str(),
            evidence_value: proof.value,
            etag: None,
            upload_id: None,
            archived_at: now,
            format_mismatch: None,
        }
    }

    /// Where the object of a recording is by its row, or would be by the layout.
    fn key_of(&self, claim: &Claim, place: &KnownPlace) -> Option<ObjectKey> {
        if let (Some(key), Some(url)) = (&place.object_key, &place.object_url) {
            let key = ObjectKey::from_stored(key.clone()).ok()?;
            // In another store than ours, it is not ours to look for.
            return (self.storage.object_url(&key) == *url).then_some(key);
        }
        let recording = Recording {
            room_session_id: place.room_session_id,
            created_at: place.created_at,
            started_at: place.started_at,
            media_format: place.media_format.clone(),
            ..Recording::unknown(claim.recording_id())
        };
        self.storage
            .key_for(self.queue.project_id(), &recording)
            .ok()
    }

    /// Looks for a recording that the provider does not have. Nothing that is found is taken before
    /// the provider has said so twice: a single wrong 404 would archive without the source.
    pub(super) async fn or_found(
        &self,
        error: ArchiveError,
        claim: &Claim,
        notes: &mut Notes,
        progress: &Progress,
        stop: &CancellationToken,
    ) -> Result<NotLost, ArchiveError> {
        if error.kind() != ErrorKind::NotFound {
            return Err(error);
        }
        let looking = self.found_in_store(claim, progress);
        let Some(found) = unless(stop, Box::pin(looking)).await? else {
            return Err(error);
        };
        let id = claim.recording_id();
        progress.enter(Stage::Metadata);
        match unless(stop, self.signalwire.recording(id)).await {
            Ok(recording) => {
                tracing::warn!(recording.id = %id, "provider answered 404 once, then the recording");
                return Ok(NotLost::AtProvider(recording));
            }
            Err(again) if again.kind() == ErrorKind::NotFound => {}
            Err(again) => return Err(again),
        }
        tracing::warn!(
            recording.id = %id, object.key = found.object.object_key,
            is_from_manifest = found.by_manifest.is_some(),
            "recording missing at the provider; archived object taken from the bucket"
        );
        if let Some((observed_at, recording)) = found.by_manifest {
            notes.asked_at = Some(observed_at);
            notes.is_from_manifest = true;
            notes.recording = Some(recording);
        }
        Ok(NotLost::InStore(found.object))
    }
}
