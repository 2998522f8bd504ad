//! The database from the bucket alone: each manifest says all that its row said.
//!
//! The bucket is no witness for itself. So each object is read and compared with its manifest, and
//! its row says that it was found: what `retire` deletes at the provider never rests on that.

use std::pin::pin;

use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream};
use sqlx::PgPool;

use crate::archive::{Described, describe};
use crate::error::chain;
use crate::finance::ledger::{self, Observation, ObservedBy};
use crate::progress::Progress;
use crate::queue::{self, QueueError, Rebuilding, RowBefore, ToRebuild};
use crate::recording::{RecordingId, RecordingStatus};
use crate::storage::{Inventory, MANIFEST_SUFFIX, ObjectKey, Storage, StorageError};

/// Manifests that are read side by side.
const SIDE_BY_SIDE: usize = 16;
/// Objects that are read side by side.
const OBJECTS_SIDE_BY_SIDE: usize = 4;
/// Rows that are written in one transaction, if their objects need not be read.
const BATCH: usize = 50;

/// What came back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rebuilt {
    pub manifests: u64,
    /// Rows that had been missing, or had failed because the provider has no such recording.
    pub rebuilt: u64,
    /// Rows that said the same already.
    pub known: u64,
    /// Rows that are not archived yet, or have failed: they stay as they are.
    pub unfinished: u64,
    /// Manifests that no row could be made of.
    pub refused: u64,
    /// Bytes of objects that were read and compared.
    pub read_bytes: u64,
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

/// Whether objects are read before their rows say that they are archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Each object is read, and compared with its manifest.
    Nothing,
    /// The manifests are believed, and the rows say so.
    Manifests,
}

/// A rebuild on its way.
struct Rebuild<'a, Told, Seen> {
    pool: &'a PgPool,
    storage: &'a Storage,
    trust: Trust,
    told: Told,
    seen: Seen,
    so_far: Rebuilt,
}

/// Walks through the bucket and writes the row of each manifest that has none, with the last cost
/// it knows. Rows that are there stay as they are, so that a second time changes nothing, and reads
/// nothing that was read the first time. `told` hears of what no row could be made of, `seen` of
/// each step.
pub async fn rebuild(
    pool: &PgPool,
    storage: &Storage,
    trust: Trust,
    told: impl FnMut(&NotRebuilt) -> std::io::Result<()>,
    seen: impl FnMut(&Rebuilt),
) -> Result<Rebuilt, RebuildError> {
    let mut rebuild = Rebuild {
        pool,
        storage,
        trust,
        told,
        seen,
        so_far: Rebuilt::default(),
    };
    let mut inventory = storage.inventory();
    while rebuild.batch(&mut inventory).await? {}
    Ok(rebuild.so_far)
}

impl<Told, Seen> Rebuild<'_, Told, Seen>
where
    Told: FnMut(&NotRebuilt) -> std::io::Result<()>,
    Seen: FnMut(&Rebuilt),
{
    /// Takes the next manifests of the list; `false` at its end.
    async fn batch(&mut self, inventory: &mut Inventory<'_>) -> Result<bool, RebuildError> {
        let (mut keys, mut ended) = (Vec::new(), false);
        while keys.len() < BATCH && !ended {
            let Some(listed) = inventory.next().await? else {
                ended = true;
                continue;
            };
            if !listed.key.ends_with(MANIFEST_SUFFIX) {
                continue;
            }
            if let Some(key) = ObjectKey::of_manifest(&listed.key) {
                keys.push(key);
            } else {
                self.so_far.manifests += 1;
                self.refuse(listed.key, "its key is none that this program makes")?;
            }
        }
        let now = queue::database_time(self.pool).await?;
        let described = self.describe(keys, now).await?;
        let ids: Vec<RecordingId> = described.iter().map(|it| it.recording.id).collect();
        let before = queue::rows_before(self.pool, &ids).await?;
        let (mut at_once, mut to_read) = (Vec::new(), Vec::new());
        for described in described {
            let is_read = self.trust == Trust::Nothing;
            let verdict = before
                .get(&described.recording.id)
                .and_then(|row| self.verdict(row, &described, is_read));
            if verdict.is_none() && is_read {
                to_read.push(described);
            } else {
                at_once.push(described);
            }
        }
        // In the order in which everybody locks rows.
        at_once.sort_by_key(|it| it.recording.id);
        self.write(at_once, false).await?;
        (self.seen)(&self.so_far);
        self.read(to_read).await?;
        Ok(!ended)
    }

    fn verdict(&self, row: &RowBefore, described: &Described, is_read: bool) -> Option<Rebuilding> {
        let facts = &described.facts;
        let url = self.storage.object_url(&described.key);
        let sha256 = &facts.fingerprint.sha256;
        row.verdict(facts.project_id.as_deref(), &url, sha256, is_read)
    }

    /// Reads manifests, and leaves out those that no row can be made of.
    async fn describe(
        &mut self,
        keys: Vec<ObjectKey>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Described>, RebuildError> {
        let storage = self.storage;
        let reading = keys.into_iter().map(|key| async move {
            let described = describe(storage, key.clone(), now).await;
            (key, described)
        });
        let read: Vec<_> = stream::iter(reading).buffered(SIDE_BY_SIDE).collect().await;
        let mut taken = Vec::new();
        for (key, described) in read {
            self.so_far.manifests += 1;
            match refusal_of(described)? {
                Ok(described) => taken.push(described),
                Err(reason) => self.refuse(key.as_str().to_owned(), &reason)?,
            }
        }
        Ok(taken)
    }

    /// Reads objects, and writes the row of each as soon as it is read.
    async fn read(&mut self, described: Vec<Described>) -> Result<(), RebuildError> {
        let storage = self.storage;
        let reading = described.into_iter().map(|described| async move {
            let read = described.difference(storage, &Progress::default()).await;
            (described, read)
        });
        let mut reading = pin!(stream::iter(reading).buffer_unordered(OBJECTS_SIDE_BY_SIDE));
        while let Some((described, difference)) = reading.next().await {
            match refusal_of(difference.map(|it| it.map_or(Ok(()), Err)))? {
                Ok(()) => {
                    self.so_far.read_bytes += described.facts.fingerprint.size_bytes;
                    self.write(vec![described], true).await?;
                }
                Err(reason) => self.refuse(described.key.as_str().to_owned(), &reason)?,
            }
            (self.seen)(&self.so_far);
        }
        Ok(())
    }

    /// Writes rows and ledger, all or none of them.
    async fn write(
        &mut self,
        described: Vec<Described>,
        is_read: bool,
    ) -> Result<(), RebuildError> {
        if described.is_empty() {
            return Ok(());
        }
        let rows: Vec<ToRebuild> = described
            .into_iter()
            .map(|it| ToRebuild {
                object: it.object(self.storage, is_read),
                project_id: it.facts.project_id,
                recording: it.recording,
                observed_at: it.facts.observed_at,
                is_read,
            })
            .collect();
        let mut tx = queue::begin(self.pool).await?;
        let (mut costs, mut refused) = (Vec::new(), Vec::new());
        let mut counted = self.so_far;
        // Nothing is written unread, unless the manifests are trusted.
        let may_write = is_read || self.trust == Trust::Manifests;
        for row in &rows {
            let became = if may_write {
                queue::rebuild(&mut tx, row).await?
            } else {
                queue::leave_row(&mut tx, row).await?
            };
            match became {
                Rebuilding::Rebuilt => {
                    counted.rebuilt += 1;
                    costs.extend(row.recording.cost.map(|cost| Observation {
                        recording_id: row.recording.id,
                        cost,
                        recording_status:
                            row.recording.status.as_ref().map(RecordingStatus::as_str),
                        observed_at: Some(row.observed_at),
                    }));
                }
                Rebuilding::Known => counted.known += 1,
                Rebuilding::Unfinished => counted.unfinished += 1,
                Rebuilding::Differs => refused.push(row),
            }
        }
        queue::written(ledger::observe(&mut tx, None, &costs, ObservedBy::Rebuild)).await?;
        queue::commit(tx, "bring rows back").await?;
        self.so_far = counted;
        for row in refused {
            let reason = format!(
                "the row of {} says that another object is its own, or another project",
                row.recording.id
            );
            self.refuse(row.object.object_key.clone(), &reason)?;
        }
        Ok(())
    }

    fn refuse(&mut self, object_key: String, reason: &str) -> std::io::Result<()> {
        self.so_far.refused += 1;
        (self.told)(&NotRebuilt {
            object_key,
            reason: reason.to_owned(),
        })
    }
}

/// Returns why no row can be made of an object as the inner error. An object that cannot be read is
/// refused like one that differs: the rebuild would otherwise end at it every time. Errors that
/// other objects would meet as well end the rebuild.
fn refusal_of<T>(
    result: Result<Result<T, String>, StorageError>,
) -> Result<Result<T, String>, StorageError> {
    match result {
        Err(error) if error.is_about_one_object() => Ok(Err(chain(&error))),
        result => result,
    }
}

impl std::fmt::Display for NotRebuilt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.object_key, self.reason)
    }
}
