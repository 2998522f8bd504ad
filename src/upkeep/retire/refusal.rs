//! Why a recording is not deleted at the provider.

use chrono::{DateTime, Utc};

use crate::digest::{Crc64Nvme, Fingerprint};
use crate::money::Usd;
use crate::queue::{JobState, RetireRow};
use crate::recording::{Recording, RecordingStatus};
use crate::storage::{Evidence, Manifest, ObjectKey, Storage};

/// One thing that must hold, and does not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("it is not in the queue")]
    Unknown,
    #[error("it is deleted at the provider already")]
    DeletedAlready,
    #[error("it is not archived")]
    NotArchived,
    #[error("it belongs to another project")]
    OtherProject,
    #[error("it was archived too short a time ago")]
    TooYoung,
    #[error("it is known to be damaged or gone in the store")]
    Damaged,
    #[error(
        "its archived file is not of its declared format (found: {0}); check the file, and if it is \
         good, delete the recording at the provider by hand"
    )]
    FormatMismatch(String),
    #[error("its evidence is of its parts only; `full_object` or `read_back` is needed")]
    WeakEvidence,
    #[error(
        "its object was found in the bucket and never compared with the source; `archive --force \
         --id` compares them"
    )]
    NotOfTheSource,
    #[error("it is archived in another store than the one configured")]
    OtherStore,
    #[error("its cost is not known")]
    CostMissing,
    #[error("its cost is not final yet")]
    CostProvisional,
    #[error("its row is not whole")]
    RowNotWhole,

    #[error("the provider could not be asked: {0}")]
    NotAsked(String),
    #[error("the provider calls it {0}, not completed")]
    NotCompleted(String),
    #[error("the provider declares {declared}, archived are {archived_bytes} bytes")]
    OtherSize {
        declared: String,
        archived_bytes: u64,
    },
    #[error("the provider states a cost of {stated}, on record is {on_record}")]
    OtherCost { stated: String, on_record: Usd },
    #[error("the provider has updated it since it was archived, or does not say when")]
    Updated,

    #[error("the store could not be asked: {0}")]
    NotRead(String),
    #[error("there is no manifest beside the object")]
    NoManifest,
    #[error("the manifest beside the object is about another object")]
    OtherManifest,
    #[error("the object is gone from the store; `verify --id` writes it down")]
    ObjectGone,
    #[error(
        "the object in the store has other bytes than were archived; `verify --id` writes it down"
    )]
    ObjectDiffers,

    #[error("another process is at it, or its row has changed meanwhile")]
    Overtaken,
    #[error("the provider does not delete it: {0}")]
    NotDeleted(String),
}

/// What a deletion rests on: a row that has nothing against it.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub(super) row: RetireRow,
    pub(super) key: ObjectKey,
    pub(super) archived: Fingerprint,
    pub(super) cost: Usd,
}

impl Candidate {
    /// Judges a row by itself: whether all holds that the database can tell.
    pub(super) fn from_row(
        row: RetireRow,
        project_id: &str,
        storage: &Storage,
    ) -> Result<Self, Refusal> {
        if row.source_deleted_at.is_some() {
            return Err(Refusal::DeletedAlready);
        }
        if row.state != JobState::Archived.as_str() {
            return Err(Refusal::NotArchived);
        }
        if row.project_id.as_deref() != Some(project_id) {
            return Err(Refusal::OtherProject);
        }
        if !row.is_old_enough {
            return Err(Refusal::TooYoung);
        }
        if row.is_damaged {
            return Err(Refusal::Damaged);
        }
        if let Some(found) = row.format_mismatch {
            return Err(Refusal::FormatMismatch(found));
        }
        match row.evidence.as_deref().and_then(|word| word.parse().ok()) {
            Some(Evidence::FullObject | Evidence::ReadBack) => {}
            Some(Evidence::Found | Evidence::Manifest) => return Err(Refusal::NotOfTheSource),
            Some(Evidence::Parts) | None => return Err(Refusal::WeakEvidence),
        }
        let key = row.object_key.clone().map(ObjectKey::from_stored);
        let Some(Ok(key)) = key else {
            return Err(Refusal::RowNotWhole);
        };
        let url = row.object_url.as_deref().unwrap_or_default();
        if !storage.is_at(&key, url) {
            return Err(Refusal::OtherStore);
        }
        let cost = match (row.cost_state.as_str(), row.cost) {
            ("final", Some(cost)) => cost,
            (_, None) => return Err(Refusal::CostMissing),
            (_, Some(_)) => return Err(Refusal::CostProvisional),
        };
        let archived = fingerprint(&row).ok_or(Refusal::RowNotWhole)?;
        Ok(Self {
            row,
            key,
            archived,
            cost,
        })
    }

    /// Holds what the provider says now against the row.
    pub(super) fn agrees_with(&self, said: &Recording) -> Result<(), Refusal> {
        if said.status != Some(RecordingStatus::Completed) {
            let status = said
                .status
                .as_ref()
                .map_or("nothing", RecordingStatus::as_str);
            return Err(Refusal::NotCompleted(status.to_owned()));
        }
        let archived_bytes = self.archived.size_bytes;
        // What the provider had declared when it was archived too: an operator may have accepted
        // another size then, which is no word for deleting.
        for declared in [said.declared_size_bytes, self.row.declared_size_bytes] {
            if declared != Some(archived_bytes) {
                let declared = declared.map_or("no size".to_owned(), |it| format!("{it} bytes"));
                return Err(Refusal::OtherSize {
                    declared,
                    archived_bytes,
                });
            }
        }
        if said.cost != Some(self.cost) {
            return Err(Refusal::OtherCost {
                stated: said
                    .cost
                    .map_or("nothing".to_owned(), |cost| cost.to_string()),
                on_record: self.cost,
            });
        }
        let micros = |at: DateTime<Utc>| at.timestamp_micros();
        match (said.updated_at.map(micros), self.row.updated_at.map(micros)) {
            (Some(now), Some(known)) if now == known => Ok(()),
            _ => Err(Refusal::Updated),
        }
    }

    /// Holds the manifest beside the object against the row.
    pub(super) fn is_described_by(&self, manifest: Option<&Manifest>) -> Result<(), Refusal> {
        let manifest = manifest.ok_or(Refusal::NoManifest)?;
        if manifest.fingerprint_of(self.row.recording_id) == Some(self.archived) {
            Ok(())
        } else {
            Err(Refusal::OtherManifest)
        }
    }

    /// Holds the object's bytes, read just now, against the row.
    pub(super) fn is_equal_to(&self, found: Option<&Fingerprint>) -> Result<(), Refusal> {
        match found {
            Some(found) if *found == self.archived => Ok(()),
            Some(_) => Err(Refusal::ObjectDiffers),
            None => Err(Refusal::ObjectGone),
        }
    }
}

fn fingerprint(row: &RetireRow) -> Option<Fingerprint> {
    Some(Fingerprint {
        size_bytes: row.size_bytes?,
        sha256: row.sha256?,
        crc64nvme: Crc64Nvme::from_base64(row.crc64nvme.as_deref()?)?,
    })
}
