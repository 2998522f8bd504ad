//! Reading archived objects again: a proof holds for the day on which it was made, and disks rot.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::repair::{Repair, repair};
use crate::archive::{Archiver, confirm_store};
use crate::bandwidth::Bandwidth;
use crate::error::{ErrorKind, chain};
use crate::progress::{Board, Progress};
use crate::queue::{ArchivedObject, QueueError, note_damage, note_equal, note_not_read};
use crate::storage::{ObjectKey, Storage, StorageError, found_in_words};

mod slice;
mod supply;

pub use slice::{Sliced, slice};
pub use supply::{Sample, Supply};

/// So many reads in a row that fail, with none that succeeds between, end a scrub: the store is
/// down, or refuses everything.
const TROUBLES_IN_A_ROW: u32 = 5;

/// What it takes to read objects again.
#[derive(Debug, Clone, Copy)]
pub struct Scrub<'a> {
    pub pool: &'a PgPool,
    pub storage: &'a Storage,
    /// Archives again what is found damaged; `None` only tells of it.
    pub repair: Option<&'a Archiver>,
    pub bandwidth: &'a Bandwidth,
    /// Objects read at the same time; at least 1.
    pub side_by_side: usize,
    /// Shows what is being read.
    pub board: &'a Board,
    /// Ends it early: what is being read is left.
    pub stop: &'a CancellationToken,
}

/// What reading one object gave.
#[derive(Debug)]
pub enum Found {
    Equal,
    Damaged {
        damage: Damage,
        /// `None` if nobody was to repair it.
        repair: Option<Repair>,
    },
    /// Nobody can tell: the store has trouble, or it was told to stop.
    NotRead {
        kind: ErrorKind,
        message: String,
    },
    /// In a storage class that must be restored first: neither equal nor damaged.
    Cold {
        message: String,
    },
    /// Archived again, or claimed to be, while it was read: that other object was not.
    Replaced,
}

/// How an archived object differs from what is on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// `checksum_mismatch` or `object_missing`.
    pub kind: ErrorKind,
    pub message: String,
}

/// How many objects a scrub found how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scrubbed {
    pub equal: u64,
    pub damaged: u64,
    /// Of these, archived again.
    pub repaired: u64,
    /// Could not be read now; the next scrub tries again.
    pub left: u64,
    /// Of these, because the store refused.
    pub denied: u64,
    /// In a storage class that cannot be read.
    pub cold: u64,
    /// Bytes of those that could be read.
    pub read_bytes: u64,
    /// Not all that was asked for was begun: told to stop, or the store is in trouble.
    pub cut_short: bool,
}

impl Scrub<'_> {
    /// Reads what the supply gives, up to `most_bytes` if given, and at least one object. Tells of
    /// each as soon as it is known. No transaction is open meanwhile.
    ///
    /// # Errors
    /// When the database cannot be asked or written: what was read until then is written down.
    pub async fn run(
        &self,
        supply: &mut Supply,
        most_bytes: Option<u64>,
        mut tell: impl FnMut(&ArchivedObject, &Found),
    ) -> Result<Scrubbed, QueueError> {
        // A directory that is not mounted shows when an object is missing there.
        if let Err(error) = confirm_store(self.pool, self.storage).await {
            tracing::debug!("the store is not confirmed: {}", chain(&error));
        }
        let mut scrubbed = Scrubbed::default();
        let mut running = FuturesUnordered::new();
        let (mut begun_bytes, mut troubles) = (0_u64, 0);
        let mut supplied = true;
        loop {
            while supplied && running.len() < self.side_by_side.max(1) {
                if self.stop.is_cancelled() || troubles >= TROUBLES_IN_A_ROW {
                    scrubbed.cut_short = true;
                    supplied = false;
                } else if begun_bytes > 0 && most_bytes.is_some_and(|most| begun_bytes >= most) {
                    supplied = false;
                } else if let Some(object) = supply.next().await? {
                    begun_bytes = begun_bytes.saturating_add(object.size_bytes.max(1));
                    running.push(self.check(object));
                } else {
                    supplied = false;
                }
            }
            let Some(checked) = running.next().await else {
                return Ok(scrubbed);
            };
            let (object, found) = checked?;
            match &found {
                Found::NotRead { .. } => troubles += 1,
                Found::Equal | Found::Damaged { .. } | Found::Replaced => troubles = 0,
                // It says nothing of the store, good or bad.
                Found::Cold { .. } => {}
            }
            // A cold object counts as read: each one costs two requests and a write, and where most
            // are cold, a slice would otherwise ask for the whole archive.
            if let Found::NotRead { .. } = &found {
                begun_bytes = begun_bytes.saturating_sub(object.size_bytes.max(1));
            }
            scrubbed.count(&object, &found);
            tell(&object, &found);
        }
    }

    /// Reads one object, writes down what that showed, and repairs it if it is to.
    async fn check(&self, object: ArchivedObject) -> Result<(ArchivedObject, Found), QueueError> {
        let id = object.recording_id;
        let place = self.board.enter(id);
        place.progress().start(Some(object.size_bytes), 0);
        let compared = self.compare(&object, place.progress());
        let compared = self.stop.run_until_cancelled(compared).await;
        drop(place);
        let damage = match compared {
            Some(Ok(None)) => {
                note_equal(self.pool, &object).await?;
                return Ok((object, Found::Equal));
            }
            Some(Ok(Some(damage))) => damage,
            Some(Err(error)) if error.kind() == ErrorKind::ObjectArchivedCold => {
                let message = chain(&error);
                tracing::info!(recording.id = %id, "skipped: {message}");
                note_not_read(self.pool, &object).await?;
                return Ok((object, Found::Cold { message }));
            }
            Some(Err(error)) => {
                let (kind, message) = (error.kind(), chain(&error));
                tracing::warn!(recording.id = %id, error.kind = kind.as_str(), "not read again: {message}");
                note_not_read(self.pool, &object).await?;
                return Ok((object, Found::NotRead { kind, message }));
            }
            None => {
                let kind = ErrorKind::Cancelled;
                let message = "stopped before it was read".to_owned();
                return Ok((object, Found::NotRead { kind, message }));
            }
        };
        if !note_damage(self.pool, &object, damage.kind, &damage.message).await? {
            return Ok((object, Found::Replaced));
        }
        let repair = match self.repair {
            Some(archiver) => Some(repair(archiver, self, &object, &damage).await?),
            None => None,
        };
        let ending = repair.as_ref().map(|it| format!("; {it}"));
        tracing::error!(
            recording.id = %id, error.kind = damage.kind.as_str(), object.url = object.object_url,
            "{id}: {}{}", damage.message, ending.unwrap_or_default()
        );
        Ok((object, Found::Damaged { damage, repair }))
    }

    /// How an object differs from its row, read a second time before that is said: a read that
    /// broke is no verdict.
    async fn compare(
        &self,
        object: &ArchivedObject,
        progress: &Progress,
    ) -> Result<Option<Damage>, StorageError> {
        let key = ObjectKey::from_stored(object.object_key.clone())?;
        if self.look(&key, object, progress).await?.is_none() {
            return Ok(None);
        }
        self.look(&key, object, progress).await
    }

    async fn look(
        &self,
        key: &ObjectKey,
        object: &ArchivedObject,
        progress: &Progress,
    ) -> Result<Option<Damage>, StorageError> {
        let known_bytes = object.size_bytes;
        let (storage, bandwidth) = (self.storage, self.bandwidth);
        let reading = storage.read_back_within(key, known_bytes, bandwidth, progress);
        let Some(found) = reading.await? else {
            self.storage.demand_mounted().await?;
            return Ok(Some(Damage {
                kind: ErrorKind::ObjectMissing,
                message: format!("the archived object is gone from {}", object.object_url),
            }));
        };
        if (found.size_bytes, found.sha256) == (object.size_bytes, object.sha256) {
            return Ok(None);
        }
        Ok(Some(Damage {
            kind: ErrorKind::ChecksumMismatch,
            message: format!(
                "the archived object {} has changed: {}, recorded are {} and {}",
                object.object_url,
                found_in_words(found.size_bytes, &found.sha256.to_string(), known_bytes),
                known_bytes,
                object.sha256
            ),
        }))
    }
}

impl Scrubbed {
    /// Both together; whether it was cut short is for the first of them to say.
    const fn add(&mut self, more: &Self) {
        let Self {
            equal,
            damaged,
            repaired,
            left,
            denied,
            cold,
            read_bytes,
            cut_short: _,
        } = *more;
        self.equal += equal;
        self.damaged += damaged;
        self.repaired += repaired;
        self.left += left;
        self.denied += denied;
        self.cold += cold;
        self.read_bytes += read_bytes;
    }

    fn count(&mut self, object: &ArchivedObject, found: &Found) {
        match found {
            Found::Equal => {
                self.equal += 1;
                self.read_bytes += object.size_bytes;
            }
            Found::Damaged { repair, .. } => {
                self.damaged += 1;
                self.read_bytes += object.size_bytes;
                self.repaired += u64::from(matches!(repair, Some(Repair::Done { .. })));
            }
            Found::NotRead { kind, .. } => {
                self.left += 1;
                self.denied += u64::from(*kind == ErrorKind::StorageDenied);
            }
            Found::Cold { .. } => self.cold += 1,
            Found::Replaced => {}
        }
    }
}
