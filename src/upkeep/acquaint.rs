//! Getting to know the store: what it was seen to do is put on record and held against what was,
//! and by what evidence objects are proven from now on is said.

use sqlx::PgPool;

use crate::config::ChecksumMode;
use crate::error::chain;
use crate::queue::{StoreProbe, StoreSeen, TakesPartSize, note_store_probe};
use crate::storage::{Assurance, Enforcement, PartSize, PartSizeAnswer, Storage, StorageError};

/// What helps where parts do not get through.
pub const PART_SIZE_CURE: &str =
    "set storage.part_size to what the store takes, and raise the limit of any proxy before it";

/// What helps where objects cannot be removed.
pub const REMOVAL_CURE: &str = "allow s3:DeleteObject under the prefix; without it temporary objects stay, and \
                                `verify --repair` cannot replace a damaged object";

/// What is known of a store.
#[derive(Debug)]
pub struct Acquainted {
    store: String,
    pub assurance: Assurance,
    /// `None` for a directory, which enforces nothing.
    pub found: Option<Enforcement>,
    /// `None` if that was not asked.
    pub part_size: Option<PartSize>,
    /// What has become of it since it was probed before.
    pub worse: Option<Worse>,
    /// Why it is not on record, if it should be.
    pub unrecorded: Option<String>,
}

/// What a store did when it was probed before, and does not any more.
#[derive(Debug)]
pub struct Worse {
    pub before: StoreProbe,
    pub lost: Vec<&'static str>,
    now: &'static str,
}

/// Probes a store, unless this process has done so.
pub async fn look(storage: &Storage) -> Result<Acquainted, StorageError> {
    Ok(Acquainted {
        store: storage.location().to_string(),
        assurance: storage.assurance().await?,
        found: storage.enforcement().await?,
        part_size: None,
        worse: None,
        unrecorded: None,
    })
}

fn worse(before: StoreProbe, seen: &StoreSeen, known: &Acquainted) -> Option<Worse> {
    let lost = seen.lost_since(&before.seen);
    (!lost.is_empty()).then(|| Worse {
        before,
        lost,
        now: known.assurance.evidence.as_str(),
    })
}

fn seen(found: &Enforcement, assurance: &Assurance, part_size: Option<&PartSize>) -> StoreSeen {
    let asks = |is_asked: bool, finding: bool| is_asked.then_some(finding);
    let checksums = found.checksum != ChecksumMode::None;
    let combines = matches!(found.checksum, ChecksumMode::Auto | ChecksumMode::Crc64Nvme);
    StoreSeen {
        checksum: found.checksum.as_str().to_owned(),
        evidence: assurance.evidence.as_str().to_owned(),
        evidence_reason: assurance.reason.map(str::to_owned),
        put_crc64nvme: asks(checksums, found.put_crc64nvme),
        put_sha256: asks(checksums, found.put_sha256),
        part_crc64nvme: asks(checksums, found.part_crc64nvme),
        part_sha256: asks(checksums, found.part_sha256),
        create_only: found.create_only,
        complete_create_only: found.complete_create_only,
        object_checksum: asks(combines, found.object_checksum),
        object_size: found.object_size,
        lists_uploads: found.lists_uploads,
        lists_parts: found.lists_parts,
        aborts_uploads: found.aborts_uploads,
        keeps_metadata: found.keeps_metadata,
        part_size: part_size.and_then(taken),
    }
}

/// `None` where trouble kept the store from telling.
fn taken(part_size: &PartSize) -> Option<TakesPartSize> {
    let is_taken = match part_size.answer {
        PartSizeAnswer::Taken => true,
        PartSizeAnswer::Refused(_) => false,
        PartSizeAnswer::Untold(_) => return None,
    };
    Some(TakesPartSize {
        bytes: part_size.bytes,
        is_taken,
    })
}

impl Acquainted {
    /// Asks the store for what takes uploading a whole part: whether it takes one.
    #[must_use]
    pub async fn with_part_size(self, storage: &Storage) -> Self {
        Self {
            part_size: storage.probe_part_size().await,
            ..self
        }
    }

    /// Puts on record what the store does, and holds it against what it did. A database that does
    /// not take it is no reason to stop.
    #[must_use]
    pub async fn on_record(mut self, pool: &PgPool, probed_by: &str) -> Self {
        let Some(found) = self.found else {
            return self;
        };
        let seen = seen(&found, &self.assurance, self.part_size.as_ref());
        match note_store_probe(pool, &self.store, probed_by, &seen).await {
            Ok(before) => self.worse = before.and_then(|before| worse(before, &seen, &self)),
            Err(error) => self.unrecorded = Some(chain(&error)),
        }
        self
    }

    /// Says by what evidence objects are proven, and warns of all that is less than it might be.
    pub fn tell(&self) {
        let evidence = self.assurance.evidence.as_str();
        tracing::info!(
            store.url = self.store,
            store.evidence = evidence,
            "objects are proven by `{evidence}`{}",
            because(self.assurance.reason)
        );
        self.warn();
    }

    /// Warns of what is less than the settings ask for, or than it was.
    pub fn warn(&self) {
        let evidence = self.assurance.evidence.as_str();
        if self.assurance.is_degraded {
            tracing::warn!(
                store.url = self.store,
                store.evidence = evidence,
                "storage.checksum and storage.verify ask for more, but evidence is only `{evidence}`{}",
                because(self.assurance.reason)
            );
        }
        if self.found.is_some_and(|found| !found.removes_objects) {
            tracing::warn!(
                store.url = self.store,
                "the store does not remove objects. Cure: {REMOVAL_CURE}"
            );
        }
        if let Some(PartSize { bytes, answer }) = &self.part_size
            && let PartSizeAnswer::Refused(said) = answer
        {
            tracing::warn!(
                store.url = self.store,
                "the store refuses parts of {}, so no large recording can be archived ({said}). Cure: {}",
                bytesize::ByteSize(*bytes).display().iec(),
                PART_SIZE_CURE
            );
        }
        if let Some(worse) = &self.worse {
            tracing::warn!(store.url = self.store, store.evidence = evidence, "{worse}");
        }
        if let Some(error) = &self.unrecorded {
            tracing::warn!(
                store.url = self.store,
                "what the store does is not put on record: {error}"
            );
        }
    }
}

fn because(reason: Option<&str>) -> String {
    reason.map_or_else(String::new, |reason| format!(": {reason}"))
}

impl std::fmt::Display for Worse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { before, lost, now } = self;
        write!(
            f,
            "the store has got worse since {} ({}): it does not {} any more; ",
            before.probed_at.format("%F %R"),
            before.probed_by,
            lost.join(", nor ")
        )?;
        match before.seen.evidence.as_str() {
            same if same == *now => write!(f, "evidence stays `{now}`"),
            was => write!(f, "evidence degrades from `{was}` to `{now}`"),
        }
    }
}
