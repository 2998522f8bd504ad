//! A file appears under a name, unless something is there.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::errno::Errno;

use super::is_one_of;

/// What file systems answer to what they do not have.
const UNSUPPORTED: [Errno; 4] = [
    Errno::EINVAL,
    Errno::ENOSYS,
    Errno::EOPNOTSUPP,
    // To `link`; also of a system call that a sandbox does not know.
    Errno::EPERM,
];

/// Renames a file, and replaces nothing.
///
/// # Errors
/// `AlreadyExists` if something is there.
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rename_no_replace(from, to) {
        Err(error) if is_one_of(&error, &UNSUPPORTED) => {}
        result => return result,
    }
    match fs::hard_link(from, to) {
        Err(error) if is_one_of(&error, &UNSUPPORTED) => {}
        // NFS may repeat a request whose answer was lost.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !is_same(from, to) => {
            return Err(error);
        }
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        // The staging name is removed later if it is not now.
        Ok(()) | Err(_) => {
            drop(fs::remove_file(from));
            return Ok(());
        }
    }
    // The file system (CIFS, FUSE) has neither. The lease keeps other workers away between these
    // two calls, unless this one stands still in between for longer than that.
    match fs::symlink_metadata(to) {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
        Err(error) => Err(error),
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn rename_no_replace(from: &Path, to: &Path) -> io::Result<()> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

    let renamed = renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE);
    renamed.map_err(io::Error::from)
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn rename_no_replace(_: &Path, _: &Path) -> io::Result<()> {
    Err(Errno::ENOSYS.into())
}

fn is_same(one: &Path, other: &Path) -> bool {
    let file = |path| fs::symlink_metadata(path).map(|it| (it.dev(), it.ino()));
    matches!((file(one), file(other)), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rename_new_existing_name_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("a"), directory.path().join("b"));
        fs::write(&from, "new").unwrap();
        rename_new(&from, &to).unwrap();
        fs::write(&from, "newer").unwrap();
        let error = rename_new(&from, &to).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&to).unwrap(), "new");
    }
}
