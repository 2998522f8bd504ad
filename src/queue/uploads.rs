//! Unfinished multipart uploads that nobody works on any more.

use sqlx::PgPool;
use uuid::Uuid;

use super::{Claim, Queue, QueueError};

/// An upload whose lease has ended.
#[derive(Debug, Clone)]
pub struct StaleUpload {
    pub recording_id: Uuid,
    pub lease_token: Uuid,
    pub object_key: String,
    /// Names the store: several may share one database.
    pub object_url: String,
    pub upload_id: String,
}

/// The uploads that no live lease owns.
pub async fn stale_uploads(pool: &PgPool) -> Result<Vec<StaleUpload>, QueueError> {
    sqlx::query_as!(
        StaleUpload,
        r#"-- queue::stale_uploads
        SELECT u.recording_id, u.lease_token, u.object_key, u.object_url, u.upload_id
          FROM archiver.uploads u
          JOIN archiver.recordings r USING (recording_id)
         WHERE r.lease_token IS DISTINCT FROM u.lease_token OR r.lease_expires_at <= now()
         ORDER BY u.started_at"#
    )
    .fetch_all(pool)
    .await
    .map_err(QueueError::database("look for stale uploads"))
}

/// Forgets an upload that has been aborted.
pub async fn forget_upload(pool: &PgPool, upload: &StaleUpload) -> Result<(), QueueError> {
    forget(pool, upload.recording_id, upload.lease_token).await
}

impl Queue {
    /// Forgets the upload of a claim: it is published or aborted by now.
    pub async fn forget_upload(&self, claim: &Claim) -> Result<(), QueueError> {
        forget(&self.pool, claim.recording_id().uuid(), claim.lease_token()).await
    }
}

async fn forget(pool: &PgPool, recording_id: Uuid, lease_token: Uuid) -> Result<(), QueueError> {
    sqlx::query!(
        r#"-- queue::forget_upload
        DELETE FROM archiver.uploads WHERE recording_id = $1 AND lease_token = $2"#,
        recording_id,
        lease_token,
    )
    .execute(pool)
    .await
    .map(drop)
    .map_err(QueueError::database("forget an upload"))
}
