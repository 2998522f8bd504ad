//! An object becomes a file: beside its name first, and under it when it is whole and right.

use std::fs::{OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use tokio::fs::{self, File};
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

use super::{Restore, RestoreError, Restored, read_file};
use crate::digest::Fingerprinting;

/// Recordings are confidential, and umask 022 is common: the user may open them to others.
const FILE_MODE: u32 = 0o600;

/// What came so far, in a file that nobody else writes.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    file: File,
}

pub(super) async fn restore(
    restore: &Restore<'_>,
    destination: &Path,
    overwrite: bool,
) -> Result<Restored, RestoreError> {
    if already_there(restore, destination, overwrite).await? {
        return Ok(Restored::AlreadyThere);
    }
    let mut part = Part::open(restore, destination)?;
    match part.fill(restore).await {
        Ok(()) => {}
        Err(error @ (RestoreError::Damaged { .. } | RestoreError::Missing { .. })) => {
            part.remove().await;
            return Err(error);
        }
        Err(error) => return Err(error),
    }
    let failed = |error| RestoreError::file("write", &part.path, error);
    part.file.sync_all().await.map_err(failed)?;
    // It may have appeared meanwhile.
    if !overwrite && fs::try_exists(destination).await.unwrap_or(true) {
        let path = destination.to_owned();
        return Err(RestoreError::SomethingElse { path });
    }
    let renamed = fs::rename(&part.path, destination).await;
    renamed.map_err(|error| RestoreError::file("write", destination, error))?;
    let folder = folder_of(destination);
    let synced = async { File::open(folder).await?.sync_all().await };
    let synced = synced.await;
    synced.map_err(|error| RestoreError::file("write", folder, error))?;
    Ok(Restored::Written)
}

/// Whether the destination is this very object; an error if it is something that must stay.
async fn already_there(
    restore: &Restore<'_>,
    destination: &Path,
    overwrite: bool,
) -> Result<bool, RestoreError> {
    let path = destination.to_owned();
    let failed = |error| RestoreError::file("look at", destination, error);
    let there = match fs::metadata(destination).await {
        Ok(there) if there.is_file() => there,
        Ok(_) => return Err(RestoreError::NoFile { path }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    if there.len() == restore.object.size_bytes {
        let mut file = File::open(destination).await.map_err(failed)?;
        let found = read_file(&mut file, destination).await?;
        if restore.demand_equal(found).is_ok() {
            return Ok(true);
        }
    }
    if overwrite {
        return Ok(false);
    }
    Err(RestoreError::SomethingElse { path })
}

impl Part {
    /// Opens what an earlier try left, or a new file.
    fn open(restore: &Restore<'_>, destination: &Path) -> Result<Self, RestoreError> {
        let path = path_of(restore, destination);
        let failed = |error| RestoreError::file("write", &path, error);
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let file = match options.clone().create_new(true).mode(FILE_MODE).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Others may write to the directory: neither a link nor a pipe of theirs is opened.
                let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
                let opened = options.custom_flags(flags.bits()).open(&path);
                let file = opened.map_err(|error| not_ours(&path, error))?;
                demand_ours(&file, &path)?;
                file
            }
            opened => opened.map_err(failed)?,
        };
        match file.try_lock() {
            // Some network file systems know no locks; then nobody is kept out.
            Ok(()) | Err(TryLockError::Error(_)) => {}
            Err(TryLockError::WouldBlock) => {
                let path = destination.to_owned();
                return Err(RestoreError::Busy { path });
            }
        }
        Ok(Self {
            file: File::from_std(file),
            path,
        })
    }

    /// Completes the file, from where it ends. If that turns out wrong, what was there before may
    /// be to blame: then once more from its first byte.
    async fn fill(&mut self, restore: &Restore<'_>) -> Result<(), RestoreError> {
        let failed = |error| RestoreError::file("read", &self.path, error);
        let length = self.file.metadata().await.map_err(failed)?.len();
        if length > 0 && length <= restore.object.size_bytes && restore.has_its_size().await? {
            let begun = read_file(&mut self.file, &self.path).await?;
            match self.go_on(restore, begun).await {
                Err(RestoreError::Damaged { .. }) => {}
                ended => return ended,
            }
        }
        let failed = |error| RestoreError::file("write", &self.path, error);
        self.file.set_len(0).await.map_err(failed)?;
        self.file.rewind().await.map_err(failed)?;
        self.go_on(restore, Fingerprinting::new()).await
    }

    /// Copies what is missing behind what there is.
    async fn go_on(
        &mut self,
        restore: &Restore<'_>,
        mut begun: Fingerprinting,
    ) -> Result<(), RestoreError> {
        let Self { path, file } = self;
        let failed = |error| RestoreError::file("write", path, error);
        if begun.size_bytes() < restore.object.size_bytes || begun.size_bytes() == 0 {
            let copied = restore.copy(&mut begun, file, failed).await;
            // What came is worth keeping, however it ended.
            file.flush().await.map_err(failed)?;
            copied?;
        }
        restore.demand_equal(begun)
    }

    async fn remove(&self) {
        if let Err(error) = fs::remove_file(&self.path).await {
            tracing::warn!("remove {}: {error}", self.path.display());
        }
    }
}

/// Demands a regular file that only this user can have written, and that has no other name.
fn demand_ours(file: &std::fs::File, path: &Path) -> Result<(), RestoreError> {
    let failed = |error| RestoreError::file("look at", path, error);
    let found = file.metadata().map_err(failed)?;
    let writable_by_others = found.mode() & 0o022 != 0;
    let is_ours = found.is_file() && found.nlink() == 1 && found.uid() == geteuid().as_raw();
    if !is_ours || writable_by_others {
        let path = path.to_owned();
        return Err(RestoreError::NotOurs { path });
    }
    let private = Permissions::from_mode(FILE_MODE);
    file.set_permissions(private).map_err(failed)
}

fn not_ours(path: &Path, error: io::Error) -> RestoreError {
    // A symlink (ELOOP), a pipe without a reader (ENXIO), or a stranger's file.
    let is_link = std::fs::symlink_metadata(path).is_ok_and(|found| !found.is_file());
    if is_link || error.kind() == io::ErrorKind::PermissionDenied {
        let path = path.to_owned();
        return RestoreError::NotOurs { path };
    }
    RestoreError::file("write", path, error)
}

/// `.<name>.<recording id>.part`, beside the destination.
fn path_of(restore: &Restore<'_>, destination: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(destination.file_name().unwrap_or_default());
    name.push(format!(".{}.part", restore.object.recording_id));
    destination.with_file_name(name)
}

fn folder_of(destination: &Path) -> &Path {
    match destination.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}
