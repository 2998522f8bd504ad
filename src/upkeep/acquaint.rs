//! Getting to know the store: what it was seen to do is put on record and held against what was,
//! and by what evidence objects are proven from now on is said.

use sqlx::PgPool;

use crate::config::ChecksumMode;
use crate::error::chain;
use crate::queue::{StoreProbe, StoreSeen, note_store_probe};
use crate::storage::{Assurance, Enforcement, Storage, StorageError};

/// What is known of a store.
#[derive(Debug)]
pub struct Acquainted {
    store: String,
    pub assurance: Assurance,
    /// `None` for a directory, which enforces nothing.
    pub found: Option<Enforcement>,
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

/// Probes a store unless this process has done so, and puts what it does on record. A database that
/// does not take it is no reason to stop.
pub async fn acquaint(
    pool: &PgPool,
    storage: &Storage,
    probed_by: &str,
) -> Result<Acquainted, StorageError> {
    let mut known = look(storage).await?;
    let Some(found) = known.found else {
        return Ok(known);
    };
    let seen = seen(&found, &known.assurance);
    match note_store_probe(pool, &known.store, probed_by, &seen).await {
        Ok(before) => known.worse = before.and_then(|before| worse(before, &seen, &known)),
        Err(error) => known.unrecorded = Some(chain(&error)),
    }
    Ok(known)
}

/// The same without a database.
pub async fn look(storage: &Storage) -> Result<Acquainted, StorageError> {
    Ok(Acquainted {
        store: storage.location().to_string(),
        assurance: storage.assurance().await?,
        found: storage.enforcement().await?,
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

fn seen(found: &Enforcement, assurance: &Assurance) -> StoreSeen {
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
    }
}

impl Acquainted {
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
