//! A directory as the store. Objects are read, listed and deleted by `object_store`, and written
//! here: its way of writing needs hard links and an fsync of directories, which network and FUSE
//! file systems may lack, and lets others read what it writes.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use nix::errno::Errno;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use tokio::task::spawn_blocking;

use self::rename::rename_new;
use super::OpenStorageError;

mod marker;
mod rename;

pub(super) use marker::MARKER_FILE;

/// Recordings are nobody else's to read, whatever the umask is.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// A directory in which objects are files.
#[derive(Debug)]
pub(super) struct Directory {
    root: PathBuf,
    /// Looks, reads, lists, copies and deletes.
    pub(super) files: Arc<dyn ObjectStore>,
    /// The marker file is there, or must be: nothing is written without it.
    needs_marker: AtomicBool,
}

/// A file on its way: written beside its name, and under it once it is whole. Removed when dropped
/// before that.
#[derive(Debug)]
pub(super) struct Draft {
    file: Arc<File>,
    staging: PathBuf,
    target: PathBuf,
    length: u64,
    is_done: bool,
}

impl Directory {
    /// Creates the directory if it is missing.
    pub(super) fn open(root: &FilePath) -> Result<Self, OpenStorageError> {
        create_directories(root).map_err(|source| OpenStorageError::CreateDirectory {
            path: root.display().to_string(),
            source,
        })?;
        let files = LocalFileSystem::new_with_prefix(root).map_err(OpenStorageError::Client)?;
        Ok(Self::new(root, Arc::new(files)))
    }

    /// Takes a missing directory as empty, and does not create it.
    pub(super) fn open_to_look(root: &FilePath) -> Result<Self, OpenStorageError> {
        if root.exists() {
            Self::open(root)
        } else {
            Ok(Self::new(root, Arc::new(InMemory::new())))
        }
    }

    fn new(root: &FilePath, files: Arc<dyn ObjectStore>) -> Self {
        Self {
            root: root.to_owned(),
            files,
            needs_marker: AtomicBool::new(false),
        }
    }

    /// Begins a file.
    pub(super) async fn begin(&self, path: &Path) -> io::Result<Draft> {
        let target = self.root.join(path.as_ref());
        if self.needs_marker.load(Ordering::Relaxed) && !self.has_marker().await? {
            return Err(io::Error::other(self.not_mounted()));
        }
        blocking(move || Draft::create(target)).await
    }

    /// Writes a whole file.
    ///
    /// # Errors
    /// `AlreadyExists` if something is there and must not be replaced.
    pub(super) async fn write(&self, path: &Path, bytes: Bytes, replace: bool) -> io::Result<()> {
        let mut draft = self.begin(path).await?;
        draft.append(bytes).await?;
        draft.publish(replace).await
    }

    /// Copies a file, by a second link to it where the file system has links.
    pub(super) async fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        let from = self.root.join(from.as_ref());
        let mut draft = self.begin(to).await?;
        let (file, staging) = (Arc::clone(&draft.file), draft.staging.clone());
        blocking(move || {
            let mut linked = staging.clone().into_os_string();
            linked.push("0");
            if fs::hard_link(&from, &linked).is_ok() {
                return fs::rename(&linked, &staging);
            }
            io::copy(&mut File::open(&from)?, &mut &*file).map(drop)
        })
        .await?;
        draft.publish(true).await
    }
}

impl Draft {
    fn create(target: PathBuf) -> io::Result<Self> {
        let parent = parent_of(&target)?;
        loop {
            // `object_store` takes such a name for no object. It is a new one each time: a late
            // worker may still write to another.
            let mut staging = target.clone().into_os_string();
            staging.push(format!("#{}", rand::random::<u16>()));
            let mut options = OpenOptions::new();
            // `create_new` follows no symlink that somebody has put there.
            options.write(true).create_new(true).mode(FILE_MODE);
            match options.open(&staging) {
                Ok(file) => {
                    return Ok(Self {
                        file: Arc::new(file),
                        staging: staging.into(),
                        target,
                        length: 0,
                        is_done: false,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound && !parent.exists() => {
                    create_directories(parent)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes the next bytes. The returned future may be polled after others were begun.
    pub(super) fn append(
        &mut self,
        bytes: Bytes,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let (file, offset) = (Arc::clone(&self.file), self.length);
        self.length += bytes.len() as u64;
        blocking(move || file.write_all_at(&bytes, offset))
    }

    /// Removes the file.
    pub(super) async fn discard(&mut self) -> io::Result<()> {
        let staging = self.staging.clone();
        let removed = blocking(move || fs::remove_file(staging)).await;
        self.is_done = true;
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Lets the file appear under its name, whole and on the disk. All writes must have ended.
    ///
    /// # Errors
    /// `AlreadyExists` if something is there and must not be replaced.
    pub(super) async fn publish(&mut self, replace: bool) -> io::Result<()> {
        let (file, staging, target) = (
            Arc::clone(&self.file),
            self.staging.clone(),
            self.target.clone(),
        );
        blocking(move || {
            file.sync_all()?;
            if replace {
                fs::rename(&staging, &target)?;
            } else {
                rename_new(&staging, &target)?;
            }
            sync_directory(parent_of(&target)?)
        })
        .await?;
        self.is_done = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let staging = std::mem::take(&mut self.staging);
        let remove = move || drop(fs::remove_file(staging));
        match tokio::runtime::Handle::try_current() {
            // A large file takes its time.
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

/// An error as the rest of the storage takes it.
pub(super) fn translated(path: &Path, error: io::Error) -> object_store::Error {
    let (path, kind) = (path.to_string(), error.kind());
    let source = Box::new(error);
    match kind {
        io::ErrorKind::AlreadyExists => object_store::Error::AlreadyExists { path, source },
        io::ErrorKind::NotFound => object_store::Error::NotFound { path, source },
        _ => object_store::Error::Generic {
            store: "LocalFileSystem",
            source,
        },
    }
}

fn parent_of(path: &FilePath) -> io::Result<&FilePath> {
    path.parent()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

/// Creates a directory and what is missing above it, so that all of them survive a power cut.
fn create_directories(path: &FilePath) -> io::Result<()> {
    let mut missing: Vec<&FilePath> = path
        .ancestors()
        .take_while(|it| !it.as_os_str().is_empty() && !it.exists())
        .collect();
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(path)?;
    // Each is an entry of the one above it.
    missing.extend(missing.last().and_then(|it| it.parent()));
    for directory in missing.into_iter().skip(1) {
        if !directory.as_os_str().is_empty() {
            sync_directory(directory)?;
        }
    }
    Ok(())
}

/// Writes a directory's entries to the disk, where the file system can: CIFS and FUSE may say that
/// a directory is nothing to be synced.
fn sync_directory(path: &FilePath) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        Err(error) if is_one_of(&error, &[Errno::EINVAL, Errno::EOPNOTSUPP, Errno::EBADF]) => {
            Ok(())
        }
        result => result,
    }
}

fn is_one_of(error: &io::Error, errors: &[Errno]) -> bool {
    let found = error.raw_os_error().map(Errno::from_raw);
    found.is_some_and(|found| errors.contains(&found))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}
