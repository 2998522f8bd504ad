//! What can be mended without a risk: nothing is overwritten, nothing removed.

use super::{Difference, DifferenceKind, ReconcileError, Reconciliation};
use crate::queue;
use crate::recording::{Metadata, RecordingId};
use crate::storage::{Manifest, ObjectKey, Proof};

impl Reconciliation<'_> {
    /// Mends a difference if that is safe, and says whether it is mended.
    pub(super) async fn fix(&self, difference: &Difference) -> Result<bool, ReconcileError> {
        let Some(id) = difference.recording_id else {
            return Ok(false);
        };
        match difference.kind {
            DifferenceKind::NotQueued => {
                queue::enqueue(self.pool, &[id]).await?;
                Ok(true)
            }
            DifferenceKind::ObjectWithoutManifest => match &difference.object_key {
                Some(key) => self.write_manifest(id, key.clone()).await,
                None => Ok(false),
            },
            DifferenceKind::FailedButThere
            | DifferenceKind::Lost
            | DifferenceKind::ObjectGone
            | DifferenceKind::SizeDiffers
            | DifferenceKind::ObjectWithoutRow
            | DifferenceKind::ManifestWithoutObject => Ok(false),
        }
    }

    /// Writes the manifest by what the row says, if the object is what the row says.
    async fn write_manifest(
        &self,
        id: RecordingId,
        object_key: String,
    ) -> Result<bool, ReconcileError> {
        let Some(facts) = queue::archived_facts(self.pool, id).await? else {
            return Ok(false);
        };
        let Some(proof) = Proof::from_stored(
            &facts.evidence,
            facts.evidence_algorithm.as_deref(),
            facts.evidence_value,
        ) else {
            return Ok(false);
        };
        let metadata = facts.metadata.as_deref().map(serde_json::from_str);
        let Some(Ok(metadata)) = metadata else {
            return Ok(false);
        };
        let key = ObjectKey::from_stored(object_key).map_err(crate::storage::StorageError::from)?;
        let found = self
            .storage
            .read_back(&key, facts.fingerprint.size_bytes)
            .await?;
        if found != Some(facts.fingerprint) {
            return Ok(false);
        }
        let metadata: Metadata = metadata;
        let manifest = Manifest::new(
            id,
            facts.project_id.as_deref().unwrap_or_default(),
            &key,
            &facts.fingerprint,
            &proof,
            facts.archived_at,
            metadata.without_link(),
        )
        .with_format_mismatch(facts.format_mismatch);
        Ok(self.storage.create_manifest(&key, &manifest).await?)
    }
}
