//! What a process that was killed in the middle of probing left in the store.

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use object_store::path::Path;

use crate::storage::error::{Operation, StorageError};
use crate::storage::{Backend, PROBE_FOLDER, Storage};

impl Storage {
    /// Removes throw-away objects and aborts throw-away uploads that were begun before this time,
    /// and says how many there were. A store that cannot list uploads is left
    /// to its own rules.
    pub async fn remove_old_probes(
        &self,
        begun_before: DateTime<Utc>,
    ) -> Result<u64, StorageError> {
        let folder = Path::from(self.location.prefix()).join(PROBE_FOLDER);
        let store = self.backend.plain();
        let operation = || Operation::new("look for", &folder);
        let objects: Vec<_> = store
            .list(Some(&folder))
            .try_collect()
            .await
            .map_err(|e| StorageError::of(operation(), &e))?;
        let mut removed = 0;
        for object in objects {
            if object.last_modified < begun_before {
                let path = object.location;
                object_store::ObjectStoreExt::delete(store, &path)
                    .await
                    .map_err(|e| StorageError::of(Operation::new("remove", &path), &e))?;
                removed += 1;
            }
        }
        let Backend::S3(s3) = &self.backend else {
            return Ok(removed);
        };
        for upload in s3.list_uploads(&folder).await? {
            if upload.initiated.is_some_and(|it| it < begun_before) {
                s3.abort(&Path::from(upload.key), &upload.upload_id).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}
