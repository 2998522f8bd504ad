//! The kinds of differences, and what helps against each.

use std::fmt;

use crate::recording::RecordingId;

/// How two of the three sides differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DifferenceKind {
    /// At the provider, and not in the queue.
    NotQueued,
    /// Failed in the queue, though the provider still has it.
    FailedButThere,
    /// Gone at the provider, and never archived.
    Lost,
    /// Archived by its row, and no object stands under the key.
    ObjectGone,
    /// The object has another size than was archived.
    SizeDiffers,
    /// The object is there, its manifest is not.
    ObjectWithoutManifest,
    /// An object that no row answers for.
    ObjectWithoutRow,
    /// A manifest whose object is not there, and that no row answers for.
    ManifestWithoutObject,
}

impl DifferenceKind {
    /// Every kind, in the order in which they are looked for.
    pub const ALL: [Self; 8] = [
        Self::NotQueued,
        Self::FailedButThere,
        Self::Lost,
        Self::ObjectGone,
        Self::SizeDiffers,
        Self::ObjectWithoutManifest,
        Self::ObjectWithoutRow,
        Self::ManifestWithoutObject,
    ];

    /// The word in tables, CSV and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotQueued => "not_queued",
            Self::FailedButThere => "failed_but_there",
            Self::Lost => "lost",
            Self::ObjectGone => "object_gone",
            Self::SizeDiffers => "size_differs",
            Self::ObjectWithoutManifest => "object_without_manifest",
            Self::ObjectWithoutRow => "object_without_row",
            Self::ManifestWithoutObject => "manifest_without_object",
        }
    }

    /// What the operator does.
    pub const fn cure(self) -> &'static str {
        match self {
            Self::NotQueued => "`reconcile --fix` or `discover` queues it",
            Self::FailedButThere => "look at `status --id`, then `retry --id`",
            Self::Lost => {
                "`rebuild`, if its object and manifest are in the bucket; else nothing brings it \
                 back: find out who deleted it"
            }
            Self::ObjectGone | Self::SizeDiffers => {
                "`verify --repair --id`, while the provider still has it"
            }
            Self::ObjectWithoutManifest => "`reconcile --fix` writes it",
            Self::ObjectWithoutRow => "`rebuild`, if it has a manifest; else find out whose it is",
            Self::ManifestWithoutObject => "queue its recording, or remove the manifest",
        }
    }
}

impl fmt::Display for DifferenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub kind: DifferenceKind,
    pub recording_id: Option<RecordingId>,
    pub object_key: Option<String>,
    /// What more is known of it, in words; may be empty.
    pub detail: String,
    /// Whether it is mended by now.
    pub fixed: bool,
}

impl Difference {
    pub(super) const fn of_recording(
        kind: DifferenceKind,
        id: RecordingId,
        detail: String,
    ) -> Self {
        Self {
            kind,
            recording_id: Some(id),
            object_key: None,
            detail,
            fixed: false,
        }
    }

    pub(super) const fn of_object(
        kind: DifferenceKind,
        recording_id: Option<RecordingId>,
        object_key: String,
        detail: String,
    ) -> Self {
        Self {
            kind,
            recording_id,
            object_key: Some(object_key),
            detail,
            fixed: false,
        }
    }
}
