//! Orphaned uploads: what a killed worker left in the store costs money and shows nowhere.

use std::time::Duration;

use sqlx::PgPool;

use crate::error::chain;
use crate::queue::{
    QueueError, database_time, forget_stale_upload, stale_uploads, take_stale_upload,
};
use crate::storage::{ObjectKey, Storage};

/// Probing takes seconds. Clocks differ, but not by a day.
const PROBED_WITHIN: Duration = Duration::from_hours(24);

/// What a sweep did, or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    pub aborted: u64,
    /// Could not be aborted now; the next sweep tries again.
    pub left: u64,
}

/// Aborts the multipart uploads that nobody will go on with and forgets them. With `dry_run`, only
/// counts them. One that fails does not keep the others.
pub async fn sweep(pool: &PgPool, storage: &Storage, dry_run: bool) -> Result<Swept, QueueError> {
    let mut swept = Swept::default();
    if !dry_run {
        match storage
            .remove_old_probes(database_time(pool).await? - PROBED_WITHIN)
            .await
        {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "removed what a killed process left of a probe"),
            Err(error) => tracing::warn!("old probes stay: {}", chain(&error)),
        }
    }
    for upload in stale_uploads(pool).await? {
        let aborted = match ObjectKey::from_stored(upload.object_key.clone()) {
            // In another store than ours: whoever archives there sweeps it.
            Ok(key) if storage.object_url(&key) != upload.object_url => continue,
            Ok(_) | Err(_) if dry_run => {
                swept.left += 1;
                continue;
            }
            // Somebody goes on with it after all.
            Ok(_) if !take_stale_upload(pool, &upload).await? => continue,
            Ok(key) => storage.abort_upload(&key, &upload.upload_id).await,
            Err(error) => Err(error.into()),
        };
        match aborted {
            Ok(()) => {
                forget_stale_upload(pool, &upload).await?;
                swept.aborted += 1;
                tracing::info!(
                    recording.id = %upload.recording_id, object.key = upload.object_key,
                    "aborted an upload that nobody works on any more"
                );
            }
            Err(error) => {
                swept.left += 1;
                tracing::warn!(
                    recording.id = %upload.recording_id, error.kind = error.kind().as_str(),
                    "{}", chain(&error)
                );
            }
        }
    }
    Ok(swept)
}
