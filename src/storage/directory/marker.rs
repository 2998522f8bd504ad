//! The marker file: a mount point whose file system is not mounted looks like an empty archive, and
//! everything in it like lost. The file in the root tells one from the other.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::Ordering;

use bytes::Bytes;
use object_store::path::Path;

use super::{Directory, translated};
use crate::storage::error::{Operation, StorageError};
use crate::storage::{Backend, ObjectKey, Storage};

/// In the root of the directory.
pub(in crate::storage) const MARKER_FILE: &str = ".recording-archiver-store";
const TEXT: &[u8] = b"recording-archiver keeps recordings in this directory. \
It writes nothing here when this file is missing: then the directory is not mounted.\n";

impl Directory {
    pub(super) async fn has_marker(&self) -> io::Result<bool> {
        match tokio::fs::symlink_metadata(self.root.join(MARKER_FILE)).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What is wrong, and the fix.
    pub(super) fn not_mounted(&self) -> String {
        let marker = self.root.join(MARKER_FILE);
        let marker = marker.display();
        format!(
            "{marker} is missing; is it mounted? fix: mount it; or, if this directory is the archive's, run `touch {marker}`"
        )
    }

    fn trouble(&self, cause: &impl ToString) -> StorageError {
        StorageError::Unavailable {
            operation: Operation::new("look into", &self.root.display()),
            cause: cause.to_string(),
        }
    }

    /// Whether it holds nothing at all, as a mount point does.
    async fn is_empty(&self) -> io::Result<bool> {
        let mut entries = tokio::fs::read_dir(&self.root).await?;
        while let Some(entry) = entries.next_entry().await? {
            if entry.file_name() != "lost+found" {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Storage {
    /// Whether this is an archive's store for certain: a bucket, or a directory with the marker
    /// file. From then on nothing is written into a directory that has lost its marker.
    pub async fn is_marked(&self) -> Result<bool, StorageError> {
        let Backend::Local(directory) = &self.backend else {
            return Ok(true);
        };
        let is_marked = directory.has_marker().await;
        let is_marked = is_marked.map_err(|error| directory.trouble(&error))?;
        if is_marked {
            directory.needs_marker.store(true, Ordering::Relaxed);
        }
        Ok(is_marked)
    }

    /// Writes the marker file into a directory that has none, if nothing is known to be archived
    /// there, or one of these objects is there.
    ///
    /// # Errors
    /// When all of them are missing: the directory is not mounted. Nothing is written into it until
    /// it has its marker file.
    pub async fn mark(&self, archived: &[ObjectKey]) -> Result<(), StorageError> {
        let Backend::Local(directory) = &self.backend else {
            return Ok(());
        };
        let mut is_known = archived.is_empty();
        for key in archived {
            is_known = is_known || self.size_of(key).await?.is_some();
        }
        if !is_known {
            directory.needs_marker.store(true, Ordering::Relaxed);
            return Err(directory.trouble(&directory.not_mounted()));
        }
        let (path, text) = (Path::from(MARKER_FILE), Bytes::from_static(TEXT));
        match directory.write(&path, text, false).await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // Whoever only reads may not write.
            Err(error) if !archived.is_empty() => {
                tracing::debug!("write {path}: {error}");
                return Ok(());
            }
            Err(error) => {
                let operation = Operation::new("write", &path);
                return Err(StorageError::of(operation, &translated(&path, error)));
            }
        }
        directory.needs_marker.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The root of a directory store in which other users may read, as far as its first level shows:
    /// former versions left that to the umask.
    pub async fn readable_by_others(&self) -> Option<PathBuf> {
        let Backend::Local(directory) = &self.backend else {
            return None;
        };
        if mode_of(&directory.root).await & 0o011 == 0 {
            return None;
        }
        let mut entries = tokio::fs::read_dir(&directory.root).await.ok()?;
        while let Ok(Some(entry)) = entries.next_entry().await {
            if mode_of(&entry.path()).await & 0o055 != 0 {
                return Some(directory.root.clone());
            }
        }
        None
    }

    /// Demands that a directory in which an object is missing is mounted: that it has its marker
    /// file, or, while nothing has marked it yet, anything at all.
    pub async fn demand_mounted(&self) -> Result<(), StorageError> {
        let Backend::Local(directory) = &self.backend else {
            return Ok(());
        };
        if self.is_marked().await? {
            return Ok(());
        }
        let is_empty = directory.is_empty().await;
        let is_empty = is_empty.map_err(|error| directory.trouble(&error))?;
        if is_empty || directory.needs_marker.load(Ordering::Relaxed) {
            return Err(directory.trouble(&directory.not_mounted()));
        }
        Ok(())
    }
}

/// What is missing or may not be looked at is open to nobody.
async fn mode_of(path: &FilePath) -> u32 {
    let found = tokio::fs::symlink_metadata(path).await;
    found.map_or(0, |found| if found.is_symlink() { 0 } else { found.mode() })
}
