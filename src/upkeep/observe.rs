//! What the provider says of recordings, on its way into rows, ledger and manifests.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use crate::error::chain;
use crate::finance::ledger::{self, Observation, ObservedBy};
use crate::queue::{self, Noted, QueueError};
use crate::recording::{Recording, RecordingId, RecordingStatus};
use crate::storage::{ObjectKey, Storage, StorageError};

/// Brings the manifests of archived recordings up to what the provider says now, where their cost
/// has changed: it must survive the database. Returns those whose manifest could not be written;
/// their cost is not to be written down yet, so that the next round finds it changed again.
pub(super) async fn renew_manifests(
    pool: &PgPool,
    storage: &Storage,
    recordings: &[Recording],
    asked_at: DateTime<Utc>,
) -> Result<Vec<RecordingId>, QueueError> {
    let costs = recordings.iter().filter_map(|it| Some((it.id, it.cost?)));
    let changed = queue::archived_with_other_cost(pool, costs, asked_at).await?;
    if changed.is_empty() {
        return Ok(Vec::new());
    }
    let by_id: HashMap<RecordingId, &Recording> = recordings.iter().map(|it| (it.id, it)).collect();
    let mut left = Vec::new();
    for object in changed {
        let Some(recording) = by_id.get(&object.recording_id) else {
            continue;
        };
        let renewed = match ObjectKey::from_stored(object.object_key) {
            // In another store than ours: whoever archives there renews it.
            Ok(key) if !storage.is_at(&key, &object.object_url) => continue,
            Ok(key) => renew_manifest(storage, &key, recording, asked_at).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = renewed {
            tracing::warn!(
                recording.id = %recording.id, error.kind = error.kind().as_str(),
                "its changed cost is left for the next round: {}", chain(&error)
            );
            left.push(recording.id);
        }
    }
    Ok(left)
}

async fn renew_manifest(
    storage: &Storage,
    key: &ObjectKey,
    recording: &Recording,
    asked_at: DateTime<Utc>,
) -> Result<(), StorageError> {
    // One that is missing is for `reconcile` to report, not for us to make up.
    match storage.manifest(key).await? {
        Some(manifest) => {
            let renewed = manifest.with_metadata(recording.metadata.clone(), asked_at);
            storage.put_manifest(key, &renewed).await
        }
        None => Ok(()),
    }
}

/// Writes down what the provider said of recordings of this project when it was asked, by the
/// database's clock, if nobody has heard later news: rows, and what is new in the ledger. Unknown
/// ones are queued.
pub(super) async fn observe(
    connection: &mut PgConnection,
    project_id: &str,
    recordings: &[Recording],
    asked_at: DateTime<Utc>,
    observed_by: ObservedBy,
) -> Result<Noted, QueueError> {
    let noted = queue::note_listed(connection, project_id, recordings, asked_at).await?;
    let mut costs: HashMap<RecordingId, Observation<'_>> = HashMap::new();
    for recording in recordings {
        if let Some(cost) = recording.cost {
            let observation = Observation {
                recording_id: recording.id,
                cost,
                recording_status: recording.status.as_ref().map(RecordingStatus::as_str),
                observed_at: Some(asked_at),
            };
            costs.insert(recording.id, observation);
        }
    }
    let costs: Vec<_> = costs.into_values().collect();
    queue::written(ledger::observe(
        connection,
        Some(project_id),
        &costs,
        observed_by,
    ))
    .await?;
    Ok(noted)
}
