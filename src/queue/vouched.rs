//! What the row of a claimed recording knows of its object: the only witness for one that is found in
//! the bucket, beside the source.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Answered, Claim, Queue, QueueError};
use crate::digest::{Crc64Nvme, Fingerprint, Sha256Digest};

/// What a row knows of where its recording is archived, or would be.
#[derive(Debug, Clone)]
pub struct KnownPlace {
    pub object_key: Option<String>,
    pub object_url: Option<String>,
    /// The provider's, from an earlier answer or list.
    pub room_session_id: Option<Uuid>,
    pub created_at: Option<DateTime<Utc>>,
    pub started_at: Option<DateTime<Utc>>,
    pub media_format: Option<String>,
    /// Whether another project that shares the database may still have the recording.
    pub may_be_elsewhere: bool,
}

impl Queue {
    /// Returns what the row vouches for: the bytes that were archived before, and compared with
    /// their source then. `None` if it was never archived, or if all that is known of the object
    /// was found in the bucket.
    pub async fn vouched(&self, claim: &Claim) -> Result<Option<Fingerprint>, QueueError> {
        let row = sqlx::query!(
            r#"-- queue::vouched
            SELECT size_bytes AS "size_bytes!", sha256 AS "sha256!", crc64nvme AS "crc64nvme!"
              FROM archiver.recordings
             WHERE recording_id = $1 AND lease_token = $2
               AND size_bytes IS NOT NULL AND sha256 IS NOT NULL AND crc64nvme IS NOT NULL
               AND evidence IN ('full_object', 'read_back', 'parts')"#,
            claim.recording_id().uuid(),
            claim.lease_token(),
        )
        .fetch_optional(&self.pool)
        .answered("look up what was archived before")
        .await?;
        Ok(row.and_then(|row| {
            Some(Fingerprint {
                size_bytes: u64::try_from(row.size_bytes).ok()?,
                sha256: Sha256Digest::from_bytes(row.sha256.try_into().ok()?),
                crc64nvme: Crc64Nvme::from_base64(&row.crc64nvme)?,
            })
        }))
    }

    /// Looks up where the object of a claimed recording may be; `None` if the lease is lost.
    pub async fn known_place(&self, claim: &Claim) -> Result<Option<KnownPlace>, QueueError> {
        sqlx::query_as!(
            KnownPlace,
            r#"-- queue::known_place
            SELECT object_key, object_url, room_session_id, created_at, started_at, media_format,
                   project_id IS NULL AND archiver.others_to_ask(array_append(not_found_in, $3))
                       AS "may_be_elsewhere!"
              FROM archiver.recordings
             WHERE recording_id = $1 AND lease_token = $2"#,
            claim.recording_id().uuid(),
            claim.lease_token(),
            self.project_id,
        )
        .fetch_optional(&self.pool)
        .answered("look up where a recording is archived")
        .await
    }
}
