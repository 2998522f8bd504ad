//! The way back: an archived object becomes a file again, held against its row while it is written.
//!
//! The bytes go to a file beside the destination, which appears under its name only when size and
//! SHA-256 are right. What came before a break stays in that file and is gone on with.

use std::io;
use std::path::{Path, PathBuf};

use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use crate::digest::Fingerprinting;
use crate::error::ErrorKind;
use crate::progress::Progress;
use crate::queue::ArchivedObject;
use crate::storage::{KeyError, ObjectKey, Storage, StorageError, found_in_words};

mod file;

/// Large enough to be quick, small enough for several side by side.
const PIECE_BYTES: usize = 256 * 1024;

/// What a destination is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    Written,
    /// These very bytes were there.
    AlreadyThere,
}

/// Why an object was not restored. The destination is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(
        "the archived object is gone from {url}; `verify --repair` archives it again while the provider has it"
    )]
    Missing { url: String },
    #[error(
        "the archived object {url} has changed: {}, recorded are {size_bytes} and {sha256}; `verify --repair` archives it again while the provider has it",
        found_in_words(*found_bytes, found, *size_bytes)
    )]
    Damaged {
        url: String,
        found_bytes: u64,
        found: String,
        size_bytes: u64,
        sha256: String,
    },
    #[error("{refusal}: {thaw_command}; run `restore` again when it is done, after hours")]
    Cold {
        refusal: StorageError,
        thaw_command: String,
    },
    #[error("{operation} {path}")]
    File {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("write to the pipe")]
    Pipe(#[source] io::Error),
    #[error("{path} is there already, and is something else; --overwrite replaces it")]
    SomethingElse { path: PathBuf },
    #[error("{path} is no file; take `--to -` for a pipe, or --to-dir for a directory")]
    NoFile { path: PathBuf },
    #[error("another process restores to {path} at this moment")]
    Busy { path: PathBuf },
    #[error(
        "resume {path}: it is not a regular file that only this user may write; remove it, or restore into a directory of your own"
    )]
    NotOurs { path: PathBuf },
    #[error("told to stop; what came so far is kept, and gone on with next time")]
    Stopped,
}

impl From<KeyError> for RestoreError {
    fn from(error: KeyError) -> Self {
        Self::Storage(error.into())
    }
}

impl RestoreError {
    /// What kind of trouble of the store it was; `None` for everything else.
    pub fn trouble(&self) -> Option<ErrorKind> {
        match self {
            Self::Storage(error) => Some(error.kind()),
            Self::Stopped => Some(ErrorKind::Cancelled),
            Self::Missing { .. }
            | Self::Damaged { .. }
            | Self::Cold { .. }
            | Self::File { .. }
            | Self::Pipe(_)
            | Self::SomethingElse { .. }
            | Self::NoFile { .. }
            | Self::Busy { .. }
            | Self::NotOurs { .. } => None,
        }
    }

    fn file(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File {
            operation,
            path: path.to_owned(),
            source,
        }
    }
}

/// One object on its way back.
#[derive(Debug, Clone, Copy)]
pub struct Restore<'a> {
    pub storage: &'a Storage,
    pub object: &'a ArchivedObject,
    pub progress: &'a Progress,
    /// Ends it early; what was written is kept.
    pub stop: &'a CancellationToken,
}

impl Restore<'_> {
    /// Writes the object into a file. One that is there is kept if it is the same, else replaced
    /// if `overwrite` says so.
    pub async fn to_file(
        &self,
        destination: &Path,
        overwrite: bool,
    ) -> Result<Restored, RestoreError> {
        file::restore(self, destination, overwrite).await
    }

    /// Writes the object into a pipe.
    ///
    /// # Errors
    /// Also when the bytes that went through were wrong: whoever read them must not use them.
    pub async fn to_pipe(&self, pipe: &mut (impl AsyncWrite + Unpin)) -> Result<(), RestoreError> {
        let mut fingerprint = Fingerprinting::new();
        self.copy(&mut fingerprint, pipe, RestoreError::Pipe)
            .await?;
        pipe.flush().await.map_err(RestoreError::Pipe)?;
        self.demand_equal(fingerprint)
    }

    /// Copies the object from where the fingerprint has come to.
    async fn copy(
        &self,
        fingerprint: &mut Fingerprinting,
        out: &mut (impl AsyncWrite + Unpin),
        failed: impl Fn(io::Error) -> RestoreError,
    ) -> Result<(), RestoreError> {
        let (object, from) = (self.object, fingerprint.size_bytes());
        self.progress.start(Some(object.size_bytes), from);
        let key = ObjectKey::from_stored(object.object_key.clone())?;
        let copying = async {
            let opened = match self
                .storage
                .open_object(&key, from, object.size_bytes)
                .await
            {
                Err(refusal) if refusal.kind() == ErrorKind::ObjectArchivedCold => {
                    let thaw_command = self.storage.thaw_command(&key);
                    return Err(RestoreError::Cold {
                        refusal,
                        thaw_command,
                    });
                }
                opened => opened?,
            };
            let Some(mut bytes) = opened else {
                self.storage.demand_mounted().await?;
                let url = object.object_url.clone();
                return Err(RestoreError::Missing { url });
            };
            while let Some(mut bytes) = bytes.next().await? {
                let room = object.size_bytes.saturating_sub(fingerprint.size_bytes());
                fingerprint.update(&bytes);
                // A byte beyond the size counts as damage, and is written nowhere.
                bytes.truncate(usize::try_from(room).unwrap_or(usize::MAX));
                out.write_all(&bytes).await.map_err(&failed)?;
                self.progress.add(bytes.len() as u64);
            }
            Ok(())
        };
        match self.stop.run_until_cancelled(copying).await {
            Some(copied) => copied,
            None => Err(RestoreError::Stopped),
        }
    }

    /// Whether the object is as large as it should be: from any other one, no range fits.
    async fn has_its_size(&self) -> Result<bool, RestoreError> {
        let key = ObjectKey::from_stored(self.object.object_key.clone())?;
        Ok(self.storage.size_of(&key).await? == Some(self.object.size_bytes))
    }

    fn demand_equal(&self, fingerprint: Fingerprinting) -> Result<(), RestoreError> {
        let (found, object) = (fingerprint.finish(), self.object);
        if (found.size_bytes, found.sha256) == (object.size_bytes, object.sha256) {
            return Ok(());
        }
        Err(RestoreError::Damaged {
            url: object.object_url.clone(),
            found_bytes: found.size_bytes,
            found: found.sha256.to_string(),
            size_bytes: object.size_bytes,
            sha256: object.sha256.to_string(),
        })
    }
}

/// Takes the fingerprint of a file from where it stands to its end.
async fn read_file(file: &mut File, path: &Path) -> Result<Fingerprinting, RestoreError> {
    let mut fingerprint = Fingerprinting::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = file.read(&mut piece).await;
        match read.map_err(|error| RestoreError::file("read", path, error))? {
            0 => return Ok(fingerprint),
            length => fingerprint.update(&piece[..length]),
        }
    }
}
