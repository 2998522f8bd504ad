//! Orphaned uploads: what a killed worker left in the store costs money and shows nowhere.

mod unrecorded;

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use crate::error::chain;
use crate::queue::{
    QueueError, database_time, forget_stale_upload, stale_uploads, take_stale_upload,
};
use crate::storage::{ObjectKey, Storage};

/// Probing takes seconds. Clocks differ, but not by a day.
const PROBED_WITHIN: Duration = Duration::from_hours(24);

/// What a sweep did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    pub aborted: u64,
    /// Could not be aborted now; the next sweep tries again.
    pub left: u64,
    /// Of a dry run: those that would be aborted.
    pub found: Vec<Orphan>,
}

/// An upload that nobody will go on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    pub object_key: String,
    pub upload_id: String,
    pub begun_at: Option<DateTime<Utc>>,
    pub why: Why,
}

/// What makes an upload an orphan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It is on record, and no attempt goes on with it.
    Recorded,
    /// It is on no record, and nobody works on the recording that its key names.
    Unrecorded(Uuid),
    /// Its key names no recording that the database knows.
    Unknown,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recorded => f.write_str("on record, and no attempt goes on with it"),
            Self::Unrecorded(id) => {
                write!(f, "on no record, and nobody works on recording {id}")
            }
            Self::Unknown => f.write_str("of no recording that is known, and over 7 days old"),
        }
    }
}

/// Aborts the multipart uploads that nobody will go on with and forgets them: those on record, and
/// those that the store shows under our prefix and no record knows. With `dry_run`, only tells
/// them. One that fails does not keep the others.
pub async fn sweep(pool: &PgPool, storage: &Storage, dry_run: bool) -> Result<Swept, QueueError> {
    let mut swept = Swept::default();
    let now = database_time(pool).await?;
    if !dry_run {
        match storage.remove_old_probes(now - PROBED_WITHIN).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "removed what a killed process left of a probe"),
            Err(error) => tracing::warn!("old probes stay: {}", chain(&error)),
        }
    }
    recorded(pool, storage, dry_run, &mut swept).await?;
    unrecorded::sweep(pool, storage, now, dry_run, &mut swept).await?;
    Ok(swept)
}

/// Aborts those whose records say that nobody goes on with them.
async fn recorded(
    pool: &PgPool,
    storage: &Storage,
    dry_run: bool,
    swept: &mut Swept,
) -> Result<(), QueueError> {
    for upload in stale_uploads(pool).await? {
        let aborted = match ObjectKey::from_stored(upload.object_key.clone()) {
            // In another store than ours: whoever archives there sweeps it.
            Ok(key) if !storage.is_at(&key, &upload.object_url) => continue,
            Ok(_) | Err(_) if dry_run => {
                swept.found.push(Orphan {
                    object_key: upload.object_key,
                    upload_id: upload.upload_id,
                    begun_at: Some(upload.started_at),
                    why: Why::Recorded,
                });
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
    Ok(())
}
