//! The good end: the object that was proven, with what was heard of the provider, in one statement.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Outcome, finish_attempt};
use crate::digest::Fingerprint;
use crate::queue::claim::Claim;
use crate::queue::described::{Heard, update_as_heard};
use crate::queue::{Answered, Queue, QueueError, exactly_one, uploads};
use crate::recording::FormatMismatch;

/// An object that was proven, as the row keeps it.
#[derive(Debug, Clone)]
pub struct StoredObject {
    pub object_key: String,
    pub object_url: String,
    pub fingerprint: Fingerprint,
    pub evidence: &'static str,
    /// The checksums that the evidence rests on.
    pub evidence_algorithm: &'static str,
    /// The checksum that was equal.
    pub evidence_value: Option<String>,
    pub etag: Option<String>,
    /// The multipart upload that became the object. It is on record until the object is settled,
    /// so that a crash in between finds out what it is.
    pub upload_id: Option<String>,
    pub archived_at: DateTime<Utc>,
    /// How the file differs from its declared format.
    pub format_mismatch: Option<FormatMismatch>,
}

impl Queue {
    /// The recording is archived, for good, and as `heard` of the provider.
    pub async fn complete(
        &self,
        connection: &mut PgConnection,
        claim: Claim,
        heard: Option<&Heard<'_>>,
        object: &StoredObject,
        outcome: Outcome,
        bytes_fetched: u64,
    ) -> Result<(), QueueError> {
        let fingerprint = &object.fingerprint;
        let result = update_as_heard!(
            "complete",
            r#",
                   state = 'archived', object_key = $18, object_url = $19, size_bytes = $20,
                   sha256 = $21, crc64nvme = $22, evidence = $23, evidence_algorithm = $24,
                   evidence_value = $25, etag = $26, archived_at = $27, format_mismatch = $28,
                   verified_at = CASE WHEN $23 = 'read_back' THEN $27::timestamptz END,
                   finalized_at = now(), error_kind = NULL, error_message = NULL,
                   damage_found_at = NULL, verify_failed_at = NULL,
                   previous_sha256 = CASE WHEN sha256 <> $21 THEN sha256 ELSE previous_sha256 END,
                   mismatched_size_bytes = NULL, not_ready_since = NULL, not_found_in = '{}',
                   lease_token = NULL, lease_expires_at = NULL, leased_by = NULL"#,
            self,
            claim,
            heard,
            object.object_key,
            object.object_url,
            i64::try_from(fingerprint.size_bytes).unwrap_or(i64::MAX),
            &fingerprint.sha256.as_bytes()[..],
            fingerprint.crc64nvme.to_string(),
            object.evidence,
            object.evidence_algorithm,
            object.evidence_value,
            object.etag,
            object.archived_at,
            object.format_mismatch.map(FormatMismatch::as_str),
        )
        .execute(&mut *connection)
        .answered("complete the recording")
        .await?;
        exactly_one(&result)?;
        if let Some(upload_id) = &object.upload_id {
            uploads::forget(&mut *connection, &claim, upload_id).await?;
        }
        finish_attempt(connection, &claim, outcome, None, bytes_fetched).await
    }
}
