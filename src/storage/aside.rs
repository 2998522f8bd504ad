//! Moving a damaged object out of the way, so that the recording can be archived again under its
//! key. The bad bytes are kept: somebody may want to know what happened to them.

use chrono::{DateTime, Utc};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};

use super::error::{Operation, StorageError};
use super::key::ObjectKey;
use super::proof::nothing_there;
use super::{Backend, DAMAGED_FOLDER, Storage};

/// S3 copies no larger object in one request.
const MAX_COPY_BYTES: u64 = 5 * 1024 * 1024 * 1024;

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
    /// the copy is as large; `None` if nothing stands there.
    ///
    /// # Errors
    /// When there is no such copy afterwards. Objects in a bucket beyond 5 GiB are refused.
    pub async fn keep_aside(
        &self,
        key: &ObjectKey,
        now: DateTime<Utc>,
    ) -> Result<Option<KeptAside>, StorageError> {
        let Some(original) = self.meta_of(key).await? else {
            return Ok(None);
        };
        let refused = |said: String| StorageError::Refused {
            operation: Operation::new("move aside", key),
            said,
        };
        if matches!(self.backend, Backend::S3(_)) && original.size > MAX_COPY_BYTES {
            let size = original.size;
            return Err(refused(format!(
                "S3 copies no more than 5 GiB at once, and it has {size} bytes; move it away with a tool of the store"
            )));
        }
        let aside = self.aside_of(key, now);
        let plain = self.backend.plain();
        let place = Path::from(aside.as_str());
        let copied = plain.copy(&key.location(), &place).await;
        copied.map_err(|e| StorageError::of(Operation::new("move aside", key), &e))?;
        let copy = plain.head(&place).await;
        let copy = copy.map_err(|e| StorageError::of(Operation::new("look for", &aside), &e))?;
        if copy.size != original.size {
            return Err(refused(format!(
                "its copy has {} of its {} bytes",
                copy.size, original.size
            )));
        }
        Ok(Some(KeptAside {
            key: key.clone(),
            original,
            url: self.url_of(&aside),
        }))
    }

    /// Removes the original of what is kept aside, and nothing else: one that was replaced
    /// meanwhile stays.
    pub async fn remove_original(&self, kept: &KeptAside) -> Result<(), StorageError> {
        let key = &kept.key;
        let same = self.meta_of(key).await?.is_some_and(|now| {
            let then = &kept.original;
            (now.size, &now.e_tag, now.last_modified)
                == (then.size, &then.e_tag, then.last_modified)
        });
        if !same {
            return Ok(());
        }
        let removed = self.backend.plain().delete(&key.location()).await;
        removed.map_err(|e| StorageError::of(Operation::new("remove", key), &e))
    }

    /// What the store says of what stands under a key; `None` if nothing does.
    pub(super) async fn meta_of(
        &self,
        key: &ObjectKey,
    ) -> Result<Option<ObjectMeta>, StorageError> {
        match self.backend.plain().head(&key.location()).await {
            Ok(meta) => Ok(Some(meta)),
            Err(error) => nothing_there(error, |e| {
                StorageError::of(Operation::new("look for", key), &e)
            }),
        }
    }

    /// `<prefix>/<folder>/<key below the prefix>.<time>`
    fn aside_of(&self, key: &ObjectKey, now: DateTime<Utc>) -> String {
        let prefix = self.location.listing_prefix();
        let below = key.as_str().strip_prefix(&prefix).unwrap_or(key.as_str());
        let time = now.format("%Y%m%dT%H%M%SZ");
        format!("{prefix}{DAMAGED_FOLDER}/{below}.{time}")
    }
}
