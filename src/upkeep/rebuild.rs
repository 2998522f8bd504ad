//! The database from the bucket alone: each manifest says all that its row said.

use futures_util::{StreamExt as _, stream};
use sqlx::PgPool;

use crate::finance::ledger::{self, Observation, ObservedBy};
use crate::queue::{self, QueueError, Rebuilding, StoredObject, ToRebuild};
use crate::recording::RecordingStatus;
use crate::signalwire;
use crate::storage::{ObjectKey, Storage, StorageError};

/// Manifests that are read side by side.
const SIDE_BY_SIDE: usize = 16;
/// Rows that are written in one transaction.
const BATCH: usize = 50;

/// What came back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rebuilt {
    pub manifests: u64,
    /// Rows that had been missing.
    pub rebuilt: u64,
    /// Rows that said the same already.
    pub known: u64,
    /// Rows that are not archived yet, or have failed: they stay as they are.
    pub unfinished: u64,
    /// Manifests that no row could be made of.
    pub refused: u64,
}

/// A manifest that no row could be made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotRebuilt {
    pub object_key: String,
    pub reason: String,
}

/// Why the walk through the bucket ended early.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error("{0}")]
    Storage(#[from] StorageError),
    #[error("{0}")]
    Queue(#[from] QueueError),
    #[error("write what no row could be made of")]
    Write(#[from] std::io::Error),
}

/// Walks through the bucket and writes the row of each manifest that has none, with the last cost
/// it knows. Rows that are there stay as they are, so that a second time changes nothing. `told`
/// hears of what no row could be made of, `seen` of each step.
pub async fn rebuild(
    pool: &PgPool,
    storage: &Storage,
    mut told: impl FnMut(&NotRebuilt) -> std::io::Result<()>,
    mut seen: impl FnMut(&Rebuilt),
) -> Result<Rebuilt, RebuildError> {
    let mut so_far = Rebuilt::default();
    let mut inventory = storage.inventory();
    let mut ended = false;
    while !ended {
        let mut keys = Vec::new();
        while keys.len() < BATCH && !ended {
            let listed = inventory.next().await?;
            ended = listed.is_none();
            keys.extend(listed.and_then(|it| ObjectKey::of_manifest(&it.key)));
        }
        let read = stream::iter(keys.into_iter().map(|key| read(storage, key)));
        let read: Vec<_> = read.buffered(SIDE_BY_SIDE).collect().await;
        let mut rows = Vec::new();
        for result in read {
            so_far.manifests += 1;
            match result? {
                Ok(row) => rows.push(row),
                Err(refusal) => {
                    so_far.refused += 1;
                    told(&refusal)?;
                }
            }
        }
        // In the order in which everybody locks rows.
        rows.sort_by_key(|row| row.recording.id);
        for refusal in write(pool, &rows, &mut so_far).await? {
            so_far.refused += 1;
            told(&refusal)?;
        }
        seen(&so_far);
    }
    Ok(so_far)
}

/// What a manifest and its object say; or why that makes no row.
async fn read(
    storage: &Storage,
    key: ObjectKey,
) -> Result<Result<ToRebuild, NotRebuilt>, StorageError> {
    let refused = |reason: String| {
        Ok(Err(NotRebuilt {
            object_key: key.as_str().to_owned(),
            reason,
        }))
    };
    let Some(manifest) = storage.manifest(&key).await? else {
        return refused("its manifest cannot be read".to_owned());
    };
    let facts = match manifest.facts() {
        Ok(facts) => facts,
        Err(field) => return refused(format!("its manifest has a {field} that is not understood")),
    };
    let recording = match signalwire::described(facts.metadata) {
        Ok(recording) if recording.id == facts.recording_id => recording,
        Ok(_) => return refused("its manifest speaks of two recordings".to_owned()),
        Err(problem) => return refused(format!("its manifest's metadata: {problem}")),
    };
    let Some(standing) = storage.look_at(&key).await? else {
        return refused("its manifest is there, the object is not".to_owned());
    };
    let stated = facts.fingerprint.size_bytes;
    if standing.size_bytes != stated {
        let found = standing.size_bytes;
        return refused(format!(
            "the object has {found} bytes, its manifest says {stated}"
        ));
    }
    Ok(Ok(ToRebuild {
        project_id: facts.project_id,
        recording,
        object: StoredObject {
            object_key: key.as_str().to_owned(),
            object_url: storage.object_url(&key),
            fingerprint: facts.fingerprint,
            evidence: facts.proof.evidence.as_str(),
            evidence_algorithm: facts.proof.algorithm.as_str(),
            evidence_value: facts.proof.value,
            etag: standing.etag,
            upload_id: None,
            archived_at: facts.archived_at,
            format_mismatch: facts.format_mismatch,
        },
        observed_at: facts.observed_at,
    }))
}

/// Writes rows and ledger, all or none of them.
async fn write(
    pool: &PgPool,
    rows: &[ToRebuild],
    so_far: &mut Rebuilt,
) -> Result<Vec<NotRebuilt>, QueueError> {
    let mut tx = queue::begin(pool).await?;
    let (mut costs, mut refusals) = (Vec::new(), Vec::new());
    for row in rows {
        match queue::rebuild(&mut tx, row).await? {
            Rebuilding::Rebuilt => {
                so_far.rebuilt += 1;
                costs.extend(row.recording.cost.map(|cost| Observation {
                    recording_id: row.recording.id,
                    cost,
                    recording_status: row.recording.status.as_ref().map(RecordingStatus::as_str),
                    observed_at: Some(row.observed_at),
                }));
            }
            Rebuilding::Known => so_far.known += 1,
            Rebuilding::Unfinished => so_far.unfinished += 1,
            Rebuilding::Differs => refusals.push(NotRebuilt {
                object_key: row.object.object_key.clone(),
                reason: format!(
                    "the row of {} says that another object is its own",
                    row.recording.id
                ),
            }),
        }
    }
    queue::written(ledger::observe(&mut tx, None, &costs, ObservedBy::Rebuild)).await?;
    queue::commit(tx, "bring rows back").await?;
    Ok(refusals)
}

impl std::fmt::Display for NotRebuilt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.object_key, self.reason)
    }
}
