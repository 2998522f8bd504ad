//! Is the directory that objects go to the one that the database knows?

use sqlx::PgPool;

use super::{ArchiveError, Archiver};
use crate::queue::{Claim, newest_in};
use crate::storage::{ObjectKey, Storage};

impl Archiver {
    /// Confirms the store before anything is stored. A directory that is not mounted stops the
    /// claiming at once, because every recording would meet the same.
    pub(super) async fn demand_store(&self, claim: &Claim) -> Result<(), ArchiveError> {
        let mut patience = self.patience(claim);
        let confirmed = loop {
            match confirm_store(self.queue.pool(), &self.storage).await {
                Err(ArchiveError::Queue(error)) if patience.allows(&error).await => {}
                confirmed => break confirmed,
            }
        };
        if let Err(ArchiveError::Storage(error)) = &confirmed {
            self.breaker.open(error.kind());
        }
        confirmed
    }
}

/// Demands the marker file of a directory store. One that has none yet gets it when the database
/// knows no archived object there, or when one of the newest is there: a new store, a store of an
/// earlier version, or one that was moved.
///
/// Only the database can tell an unused directory from a mount point whose file system is missing,
/// and what it knows of archived objects needs no table of its own. It is asked only while the
/// marker is missing.
pub async fn confirm_store(pool: &PgPool, storage: &Storage) -> Result<(), ArchiveError> {
    if storage.is_marked().await? {
        return Ok(());
    }
    let known = newest_in(pool, &storage.url_root()).await?;
    let known: Result<Vec<_>, _> = known.into_iter().map(ObjectKey::from_stored).collect();
    let known = known.map_err(crate::storage::StorageError::from)?;
    storage.mark(&known).await?;
    Ok(())
}
