//! Unfinished multipart uploads: who owns them, how far they are, and which nobody will go on with.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, PgPool};
use uuid::Uuid;

use super::{Answered, Claim, Queue, QueueError, exactly_one};
use crate::checkpoint::{Checkpoint, StoredPart, UploadRef, Validator};
use crate::digest::{Crc64Nvme, Fingerprinting};
use crate::recording::FormatMismatch;

/// An upload is left for another attempt to go on with at most this many days after its last
/// checkpoint; stores charge for its parts meanwhile.
const KEPT_FOR_DAYS: i32 = 7;

/// An upload as it is begun.
#[derive(Debug, Clone)]
pub struct BegunUpload {
    pub object_key: String,
    /// Names the store: several may share one database.
    pub object_url: String,
    pub upload: UploadRef,
    /// Size of the whole file at its source, if known.
    pub size_bytes: Option<u64>,
    /// `None`: the upload can be aborted by others, but not be gone on with.
    pub validator: Option<Validator>,
    pub part_bytes: u64,
    pub format_mismatch: Option<FormatMismatch>,
}

/// An upload that a former attempt left behind.
#[derive(Debug, Clone)]
pub struct LeftUpload {
    pub upload_id: String,
    /// Where to go on, if it got so far.
    pub checkpoint: Option<Checkpoint>,
    pub format_mismatch: Option<FormatMismatch>,
}

/// An upload that nobody will go on with.
#[derive(Debug, Clone)]
pub struct StaleUpload {
    pub recording_id: Uuid,
    pub object_key: String,
    /// Names the store: several may share one database.
    pub object_url: String,
    pub upload_id: String,
    pub started_at: DateTime<Utc>,
}

/// The uploads that no live lease owns and that no attempt to come will go on with.
pub async fn stale_uploads(pool: &PgPool) -> Result<Vec<StaleUpload>, QueueError> {
    sqlx::query_as!(
        StaleUpload,
        r#"-- queue::stale_uploads
        SELECT u.recording_id, u.object_key, u.object_url, u.upload_id, u.started_at
          FROM archiver.uploads u
          JOIN archiver.recordings r USING (recording_id)
         WHERE (r.lease_token IS DISTINCT FROM u.lease_token OR r.lease_expires_at <= now())
           AND (r.state IN ('archived', 'failed')
             OR u.checkpoint_at IS NULL
             OR u.checkpoint_at < now() - make_interval(days => $1))
         ORDER BY u.started_at"#,
        KEPT_FOR_DAYS,
    )
    .fetch_all(pool)
    .answered("look for stale uploads")
    .await
}

/// Which of these uploads are on record: whatever is done about them is done by their records.
pub async fn recorded_uploads(
    pool: &PgPool,
    upload_ids: &[String],
) -> Result<HashSet<String>, QueueError> {
    sqlx::query_scalar!(
        r#"-- queue::recorded_uploads
        SELECT upload_id FROM archiver.uploads WHERE upload_id = ANY ($1)"#,
        upload_ids,
    )
    .fetch_all(pool)
    .answered("look for uploads")
    .await
    .map(HashSet::from_iter)
}

/// Which of these are recordings in the queue, and whether somebody holds them.
pub async fn held_recordings(
    pool: &PgPool,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, bool>, QueueError> {
    let rows = sqlx::query!(
        r#"-- queue::held_recordings
        SELECT recording_id, coalesce(lease_expires_at > now(), false) AS "is_held!"
          FROM archiver.recordings WHERE recording_id = ANY ($1)"#,
        ids,
    )
    .fetch_all(pool)
    .answered("look up recordings")
    .await?;
    let rows = rows.into_iter().map(|row| (row.recording_id, row.is_held));
    Ok(rows.collect())
}

/// Takes a stale upload, to abort it: from here on nobody goes on with it. `false` if somebody has
/// taken it over meanwhile.
pub async fn take_stale_upload(pool: &PgPool, upload: &StaleUpload) -> Result<bool, QueueError> {
    sqlx::query!(
        r#"-- queue::take_stale_upload
        UPDATE archiver.uploads u
           SET lease_token = gen_random_uuid(), hash_state = NULL, checkpoint_at = NULL
          FROM archiver.recordings r
         WHERE u.recording_id = $1 AND u.upload_id = $2 AND r.recording_id = u.recording_id
           AND (r.lease_token IS DISTINCT FROM u.lease_token OR r.lease_expires_at <= now())
           AND (r.state IN ('archived', 'failed')
             OR u.checkpoint_at IS NULL
             OR u.checkpoint_at < now() - make_interval(days => $3))"#,
        upload.recording_id,
        upload.upload_id,
        KEPT_FOR_DAYS,
    )
    .execute(pool)
    .answered("take a stale upload")
    .await
    .map(|result| result.rows_affected() > 0)
}

/// Forgets an upload that has been aborted.
pub async fn forget_stale_upload(pool: &PgPool, upload: &StaleUpload) -> Result<(), QueueError> {
    sqlx::query!(
        r#"-- queue::forget_stale_upload
        DELETE FROM archiver.uploads WHERE recording_id = $1 AND upload_id = $2"#,
        upload.recording_id,
        upload.upload_id,
    )
    .execute(pool)
    .answered("forget an upload")
    .await
    .map(drop)
}

impl Queue {
    /// Remembers an upload before its first part, so that whoever comes after a crash can go on
    /// with it, or abort it.
    pub async fn remember_upload(
        &self,
        claim: &Claim,
        begun: &BegunUpload,
    ) -> Result<(), QueueError> {
        let result = sqlx::query!(
            r#"-- queue::remember_upload
            INSERT INTO archiver.uploads
                   (recording_id, lease_token, object_key, object_url, upload_id, attempt_token,
                    size_bytes, validator, part_bytes, verified_by, format_mismatch)
            SELECT recording_id, lease_token, $3, $4, $5, $6, $7, $8, $9, $10, $11
              FROM archiver.recordings
             WHERE recording_id = $1 AND lease_token = $2 AND state = 'in_progress'
                -- Repeated because the answer was lost.
                ON CONFLICT (recording_id, upload_id)
                DO UPDATE SET lease_token = excluded.lease_token"#,
            claim.recording_id().uuid(),
            claim.lease_token(),
            begun.object_key,
            begun.object_url,
            begun.upload.upload_id,
            begun.upload.attempt_token,
            begun.size_bytes.map(signed),
            begun.validator.as_ref().map(Validator::as_str),
            signed(begun.part_bytes),
            begun.upload.verified_by,
            begun.format_mismatch.map(FormatMismatch::as_str),
        )
        .execute(&self.pool)
        .answered("remember the upload")
        .await?;
        exactly_one(&result)
    }

    /// Takes over the uploads that former attempts at this recording left in this store; the one
    /// that got furthest comes first. From here on a former worker changes nothing about them.
    pub async fn take_over_uploads(
        &self,
        claim: &Claim,
        object_url: &str,
    ) -> Result<Vec<LeftUpload>, QueueError> {
        let rows = sqlx::query!(
            r#"-- queue::take_over_uploads
            WITH taken AS (
                UPDATE archiver.uploads u SET lease_token = r.lease_token
                  FROM archiver.recordings r
                 WHERE u.recording_id = $1 AND u.object_url = $3
                   AND r.recording_id = $1 AND r.lease_token = $2 AND r.state = 'in_progress'
             RETURNING u.*)
            SELECT t.upload_id AS "upload_id!", t.attempt_token, t.verified_by, t.size_bytes,
                   t.validator, t.part_bytes, t.hash_state, t.format_mismatch,
                   array_agg(p.part_number ORDER BY p.part_number)
                       FILTER (WHERE p.part_number IS NOT NULL) AS "numbers: Vec<i32>",
                   array_agg(p.size_bytes ORDER BY p.part_number)
                       FILTER (WHERE p.part_number IS NOT NULL) AS "sizes: Vec<i64>",
                   array_agg(p.crc64nvme ORDER BY p.part_number)
                       FILTER (WHERE p.part_number IS NOT NULL) AS "checksums: Vec<String>",
                   array_agg(p.etag ORDER BY p.part_number)
                       FILTER (WHERE p.part_number IS NOT NULL) AS "etags: Vec<String>",
                   array_agg(p.sha256 ORDER BY p.part_number)
                       FILTER (WHERE p.part_number IS NOT NULL) AS "sha256s: Vec<Option<String>>"
              FROM taken t LEFT JOIN archiver.upload_parts p USING (recording_id, upload_id)
             GROUP BY t.upload_id, t.attempt_token, t.verified_by, t.size_bytes, t.validator,
                      t.part_bytes, t.hash_state, t.format_mismatch, t.started_at
             ORDER BY count(p.part_number) DESC, t.started_at DESC"#,
            claim.recording_id().uuid(),
            claim.lease_token(),
            object_url,
        )
        .fetch_all(&self.pool)
        .answered("take over what was left of an upload")
        .await?;
        let left = rows.into_iter().map(|row| {
            let parts = row.numbers.unwrap_or_default().into_iter();
            let parts = parts
                .zip(row.sizes.unwrap_or_default())
                .zip(row.checksums.unwrap_or_default())
                .zip(row.etags.unwrap_or_default())
                .zip(row.sha256s.unwrap_or_default())
                .map(|((((number, size_bytes), crc64nvme), etag), sha256)| {
                    Some(StoredPart {
                        number: u32::try_from(number).ok()?,
                        size_bytes: unsigned(size_bytes)?,
                        crc64nvme: Crc64Nvme::from_base64(&crc64nvme)?,
                        etag,
                        sha256,
                    })
                });
            // What is not whole, or not understood, is no point to go on from.
            let checkpoint = || {
                Some(Checkpoint {
                    upload: UploadRef {
                        upload_id: row.upload_id.clone(),
                        attempt_token: row.attempt_token?,
                        verified_by: row.verified_by?,
                    },
                    size_bytes: unsigned(row.size_bytes?)?,
                    validator: Validator::from_stored(row.validator?),
                    part_bytes: unsigned(row.part_bytes?)?,
                    parts: parts.collect::<Option<_>>()?,
                    fingerprinting: Fingerprinting::restore(&row.hash_state?)?,
                })
            };
            LeftUpload {
                checkpoint: checkpoint(),
                format_mismatch: row
                    .format_mismatch
                    .as_deref()
                    .map(FormatMismatch::from_stored),
                upload_id: row.upload_id,
            }
        });
        Ok(left.collect())
    }

    /// Writes down that an upload got so far: its next parts, and the state of the hashes after
    /// them. Both or neither, and only for the owner of the upload.
    pub async fn save_checkpoint(
        &self,
        claim: &Claim,
        upload_id: &str,
        new_parts: &[StoredPart],
        fingerprinting: &Fingerprinting,
    ) -> Result<(), QueueError> {
        let numbers: Vec<i32> = new_parts
            .iter()
            .map(|part| i32::try_from(part.number).unwrap_or(i32::MAX))
            .collect();
        let sizes: Vec<i64> = new_parts.iter().map(|it| signed(it.size_bytes)).collect();
        let checksums: Vec<String> = new_parts
            .iter()
            .map(|it| it.crc64nvme.to_string())
            .collect();
        let etags: Vec<String> = new_parts.iter().map(|it| it.etag.clone()).collect();
        let sha256s: Vec<Option<String>> = new_parts.iter().map(|it| it.sha256.clone()).collect();
        let result = sqlx::query!(
            r#"-- queue::save_checkpoint
            WITH saved AS (
                UPDATE archiver.uploads SET hash_state = $4, checkpoint_at = now()
                 WHERE recording_id = $1 AND lease_token = $2 AND upload_id = $3
             RETURNING recording_id, upload_id)
            INSERT INTO archiver.upload_parts
                   (recording_id, upload_id, part_number, size_bytes, crc64nvme, etag, sha256)
            SELECT s.recording_id, s.upload_id, n.number, n.size, n.checksum, n.etag, n.sha256
                -- A checkpoint that the database loses costs what the one before it would cost.
              FROM saved s, set_config('synchronous_commit', 'off', true),
                   unnest($5::int[], $6::bigint[], $7::text[], $8::text[], $9::text[])
                       AS n(number, size, checksum, etag, sha256)
                -- An answer that was not waited for may have written them already.
                ON CONFLICT (recording_id, upload_id, part_number)
                   DO UPDATE SET size_bytes = excluded.size_bytes, crc64nvme = excluded.crc64nvme,
                                 etag = excluded.etag, sha256 = excluded.sha256"#,
            claim.recording_id().uuid(),
            claim.lease_token(),
            upload_id,
            fingerprinting.save(),
            &numbers,
            &sizes,
            &checksums,
            &etags,
            &sha256s as &[Option<String>],
        )
        .execute(&self.pool)
        .answered("write a checkpoint")
        .await?;
        if result.rows_affected() == new_parts.len() as u64 {
            Ok(())
        } else {
            Err(QueueError::LeaseLost)
        }
    }

    /// Forgets an upload of this claim's that has been aborted.
    pub async fn forget_upload(&self, claim: &Claim, upload_id: &str) -> Result<(), QueueError> {
        forget(&self.pool, claim, upload_id).await
    }
}

/// Forgets an upload that is none any more. One that another worker has taken over stays.
pub(super) async fn forget(
    executor: impl PgExecutor<'_>,
    claim: &Claim,
    upload_id: &str,
) -> Result<(), QueueError> {
    sqlx::query!(
        r#"-- queue::forget_upload
        DELETE FROM archiver.uploads
         WHERE recording_id = $1 AND lease_token = $2 AND upload_id = $3"#,
        claim.recording_id().uuid(),
        claim.lease_token(),
        upload_id,
    )
    .execute(executor)
    .answered("forget an upload")
    .await
    .map(drop)
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn unsigned(bytes: i64) -> Option<u64> {
    u64::try_from(bytes).ok()
}
