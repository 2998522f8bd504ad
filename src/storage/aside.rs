//! Moving a damaged object out of the way, so that the recording can be archived again under its
//! key. The bad bytes are kept: somebody may want to know what happened to them.

use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};

use super::directory::translated;
use super::error::{Operation, StorageError};
use super::key::ObjectKey;
use super::{Backend, DAMAGED_FOLDER, Storage};

/// A damaged object of which a copy is kept.
#[derive(Debug)]
pub struct KeptAside {
    key: ObjectKey,
    original: ObjectMeta,
    /// Where the copy is.
    pub url: String,
}

impl Storage {
    /// Copies what stands under a key into the store's folder of damaged objects, and demands that
    /// the copy is as large; `None` if nothing stands there. One that was copied before is not
    /// copied again.
    ///
    /// # Errors
    /// When there is no such copy afterwards.
    pub async fn keep_aside(&self, key: &ObjectKey) -> Result<Option<KeptAside>, StorageError> {
        let Some(original) = self.meta_of(key).await? else {
            return Ok(None);
        };
        let aside = self.aside_of(key, &original);
        if self.is_copy(&aside, &original).await? {
            return Ok(Some(self.kept(key, original, &aside)));
        }
        self.copy(key, &aside, original.size).await?;
        if !self.is_copy(&aside, &original).await? {
            return Err(StorageError::Unexpected {
                operation: Operation::new("move aside", key),
                cause: format!(
                    "the copy does not have the {} bytes of the original",
                    original.size
                ),
            });
        }
        Ok(Some(self.kept(key, original, &aside)))
    }

    /// What stands under a key, if [`Self::keep_aside`] has copied that very object; `None` if
    /// nothing stands there, or nothing that was copied.
    pub async fn kept_aside(&self, key: &ObjectKey) -> Result<Option<KeptAside>, StorageError> {
        let Some(original) = self.meta_of(key).await? else {
            return Ok(None);
        };
        let aside = self.aside_of(key, &original);
        let is_copied = self.is_copy(&aside, &original).await?;
        Ok(is_copied.then(|| self.kept(key, original, &aside)))
    }

    /// Removes the original of what is kept aside, and nothing else: one that was replaced
    /// meanwhile stays.
    pub async fn remove_original(&self, kept: &KeptAside) -> Result<(), StorageError> {
        if self.original_exists(kept).await? {
            self.remove(&kept.key.location()).await?;
        }
        Ok(())
    }

    /// Whether the original of what is kept aside still exists, and was not replaced.
    pub async fn original_exists(&self, kept: &KeptAside) -> Result<bool, StorageError> {
        let then = &kept.original;
        Ok(self.meta_of(&kept.key).await?.is_some_and(|now| {
            (now.size, &now.e_tag, now.last_modified)
                == (then.size, &then.e_tag, then.last_modified)
        }))
    }

    /// What the store says of what stands under a key; `None` if nothing does.
    pub(super) async fn meta_of(
        &self,
        key: &ObjectKey,
    ) -> Result<Option<ObjectMeta>, StorageError> {
        let operation = || Operation::new("look for", key);
        self.head(&key.location(), operation).await
    }

    fn kept(&self, key: &ObjectKey, original: ObjectMeta, aside: &str) -> KeptAside {
        KeptAside {
            key: key.clone(),
            original,
            url: self.url_of(aside),
        }
    }

    async fn copy(&self, key: &ObjectKey, aside: &str, size: u64) -> Result<(), StorageError> {
        let place = Path::from(aside);
        if let Backend::S3(s3) = &self.backend
            && size > self.max_copy_bytes
        {
            return s3
                .copy_in_parts(&key.location(), &place, size, self.max_copy_bytes)
                .await;
        }
        let copied = match &self.backend {
            Backend::S3(s3) => s3.plain.copy(&key.location(), &place).await,
            Backend::Local(directory) => directory
                .copy(&key.location(), &place)
                .await
                .map_err(|error| translated(&place, error)),
        };
        copied.map_err(|e| StorageError::of(Operation::new("move aside", key), &e))
    }

    async fn is_copy(&self, aside: &str, original: &ObjectMeta) -> Result<bool, StorageError> {
        let operation = || Operation::new("look for", &aside);
        let copy = self.head(&Path::from(aside), operation).await?;
        Ok(copy.is_some_and(|copy| copy.size == original.size))
    }

    /// `<prefix>/<folder>/<key below the prefix>.<time>`, by the time at which the store got it: so
    /// each object has one place there, however often it is copied.
    fn aside_of(&self, key: &ObjectKey, original: &ObjectMeta) -> String {
        let prefix = self.location.listing_prefix();
        let below = key.as_str().strip_prefix(&prefix).unwrap_or(key.as_str());
        let time = original.last_modified.format("%Y%m%dT%H%M%S%.fZ");
        format!("{prefix}{DAMAGED_FOLDER}/{below}.{time}")
    }
}
