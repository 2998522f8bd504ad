//! What each store was last seen to do, on record: so that one that gets worse is noticed, by
//! whichever host probes it next.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{PgExecutor, PgPool};

use super::{Answered, QueueError};

/// What a store was seen to do; a finding is `None` if it was not asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreProbe {
    /// `storage.url`.
    pub store: String,
    /// By the database's clock.
    pub probed_at: DateTime<Utc>,
    pub probed_by: String,
    #[serde(flatten)]
    pub seen: StoreSeen,
}

/// The findings themselves, and what follows for the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a finding of its own, and all combinations are met"
)]
pub struct StoreSeen {
    /// `storage.checksum`, with which it was probed.
    pub checksum: String,
    pub evidence: String,
    /// Why by nothing stronger.
    pub evidence_reason: Option<String>,
    pub put_crc64nvme: Option<bool>,
    pub put_sha256: Option<bool>,
    pub part_crc64nvme: Option<bool>,
    pub part_sha256: Option<bool>,
    pub create_only: bool,
    pub complete_create_only: bool,
    pub object_checksum: Option<bool>,
    pub object_size: bool,
    pub lists_uploads: bool,
    pub lists_parts: bool,
    pub aborts_uploads: bool,
    pub keeps_metadata: bool,
    pub part_size: Option<TakesPartSize>,
}

/// Whether parts of `storage.part_size` get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TakesPartSize {
    pub bytes: u64,
    pub is_taken: bool,
}

impl StoreSeen {
    /// Each finding, in words that go on after "it does".
    fn findings(&self) -> [(&'static str, Option<bool>); 12] {
        [
            ("refuse a wrong CRC64NVME on PUT", self.put_crc64nvme),
            ("refuse a wrong SHA-256 on PUT", self.put_sha256),
            ("refuse a wrong CRC64NVME of a part", self.part_crc64nvme),
            ("refuse a wrong SHA-256 of a part", self.part_sha256),
            (
                "refuse to write over an object by PUT",
                Some(self.create_only),
            ),
            (
                "refuse to write over an object by a multipart upload",
                Some(self.complete_create_only),
            ),
            (
                "refuse a wrong checksum of the whole, or say the right one",
                self.object_checksum,
            ),
            ("refuse a wrong size of the whole", Some(self.object_size)),
            ("list uploads", Some(self.lists_uploads)),
            ("list parts", Some(self.lists_parts)),
            ("forget aborted uploads", Some(self.aborts_uploads)),
            ("keep metadata", Some(self.keeps_metadata)),
        ]
    }

    /// What was seen `before` and is not any more.
    pub fn lost_since(&self, before: &Self) -> Vec<&'static str> {
        let (before, now) = (before.findings(), self.findings());
        let both = before.into_iter().zip(now);
        both.filter(|((_, before), (_, now))| *before == Some(true) && *now == Some(false))
            .map(|((finding, _), _)| finding)
            .collect()
    }
}

/// Puts on record what a store was seen to do, and gives what was on record before.
pub async fn note_store_probe(
    pool: &PgPool,
    store: &str,
    probed_by: &str,
    seen: &StoreSeen,
) -> Result<Option<StoreProbe>, QueueError> {
    let noting = "put on record what the store does";
    let mut transaction = pool.begin().answered(noting).await?;
    let known = read(&mut *transaction, Some(store))
        .answered(noting)
        .await?;
    let part_size_bytes = seen.part_size.map(|it| it.bytes);
    let part_size_bytes = part_size_bytes.map(|it| i64::try_from(it).unwrap_or(i64::MAX));
    sqlx::query!(
        r#"-- queue::note_store_probe
        INSERT INTO archiver.store_probes
               (store, probed_by, checksum, evidence, evidence_reason, put_crc64nvme, put_sha256,
                part_crc64nvme, part_sha256, create_only, complete_create_only, object_checksum,
                object_size, lists_uploads, lists_parts, aborts_uploads, keeps_metadata,
                part_size_bytes, takes_part_size)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
                $19)
        ON CONFLICT (store) DO UPDATE
           SET probed_at = now(), probed_by = excluded.probed_by, checksum = excluded.checksum,
               evidence = excluded.evidence, evidence_reason = excluded.evidence_reason,
               put_crc64nvme = excluded.put_crc64nvme, put_sha256 = excluded.put_sha256,
               part_crc64nvme = excluded.part_crc64nvme, part_sha256 = excluded.part_sha256,
               create_only = excluded.create_only,
               complete_create_only = excluded.complete_create_only,
               object_checksum = excluded.object_checksum, object_size = excluded.object_size,
               lists_uploads = excluded.lists_uploads, lists_parts = excluded.lists_parts,
               aborts_uploads = excluded.aborts_uploads,
               keeps_metadata = excluded.keeps_metadata,
               part_size_bytes = coalesce(excluded.part_size_bytes, store_probes.part_size_bytes),
               takes_part_size = coalesce(excluded.takes_part_size, store_probes.takes_part_size)"#,
        store,
        probed_by,
        seen.checksum,
        seen.evidence,
        seen.evidence_reason,
        seen.put_crc64nvme,
        seen.put_sha256,
        seen.part_crc64nvme,
        seen.part_sha256,
        seen.create_only,
        seen.complete_create_only,
        seen.object_checksum,
        seen.object_size,
        seen.lists_uploads,
        seen.lists_parts,
        seen.aborts_uploads,
        seen.keeps_metadata,
        part_size_bytes,
        seen.part_size.map(|it| it.is_taken),
    )
    .execute(&mut *transaction)
    .answered(noting)
    .await?;
    transaction.commit().answered(noting).await?;
    Ok(known.into_iter().next())
}

/// What is on record of one store, or of all.
pub(super) async fn read(
    executor: impl PgExecutor<'_>,
    store: Option<&str>,
) -> sqlx::Result<Vec<StoreProbe>> {
    let rows = sqlx::query!(
        r#"-- queue::store_probes
        SELECT * FROM archiver.store_probes WHERE $1::text IS NULL OR store = $1 ORDER BY store"#,
        store,
    )
    .fetch_all(executor)
    .await?;
    let rows = rows.into_iter().map(|row| StoreProbe {
        store: row.store,
        probed_at: row.probed_at,
        probed_by: row.probed_by,
        seen: StoreSeen {
            checksum: row.checksum,
            evidence: row.evidence,
            evidence_reason: row.evidence_reason,
            put_crc64nvme: row.put_crc64nvme,
            put_sha256: row.put_sha256,
            part_crc64nvme: row.part_crc64nvme,
            part_sha256: row.part_sha256,
            create_only: row.create_only,
            complete_create_only: row.complete_create_only,
            object_checksum: row.object_checksum,
            object_size: row.object_size,
            lists_uploads: row.lists_uploads,
            lists_parts: row.lists_parts,
            aborts_uploads: row.aborts_uploads,
            keeps_metadata: row.keeps_metadata,
            part_size: row
                .part_size_bytes
                .zip(row.takes_part_size)
                .map(|(bytes, is_taken)| TakesPartSize {
                    bytes: u64::try_from(bytes).unwrap_or_default(),
                    is_taken,
                }),
        },
    });
    Ok(rows.collect())
}
