//! Removing objects, one `DELETE` each: the bulk request of S3 is denied, unknown or answered in
//! other ways by several stores.

use object_store::ObjectStoreExt;
use object_store::path::Path;
use reqwest::Method;

use super::error::{Operation, StorageError, is_not_found};
use super::signed::Ask;
use super::{Backend, S3, Storage};

impl Storage {
    /// Removes the object at a path. A missing object counts as removed.
    ///
    /// # Errors
    /// When the object still exists, or the store does not say whether it does.
    pub(super) async fn remove(&self, path: &Path) -> Result<(), StorageError> {
        match &self.backend {
            Backend::S3(s3) => s3.remove(path).await,
            Backend::Local(directory) => match directory.files.delete(path).await {
                Ok(()) => Ok(()),
                Err(error) if is_not_found(&error) => Ok(()),
                Err(error) => Err(StorageError::of(Operation::new("remove", path), &error)),
            },
        }
    }
}

impl S3 {
    /// Removes the object at a path. A `DELETE` that failed may have been executed, so the object
    /// is looked for before the error is returned.
    pub(super) async fn remove(&self, path: &Path) -> Result<(), StorageError> {
        let operation = || Operation::new("remove", path);
        let delete = Ask {
            method: Method::DELETE,
            ..Ask::default()
        };
        let Err(error) = self.inquire(path, delete, operation).await else {
            return Ok(());
        };
        match self.stored(path).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) | Err(_) => Err(error),
        }
    }
}
