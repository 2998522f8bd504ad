//! Whether what was found by chance, in the current directory, may be obeyed.
//!
//! A user who can write there could make a process of root, or of another user, send its credentials
//! elsewhere. What is named by a flag or a variable is not checked: somebody decided for it.

use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid};

const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
/// In such a directory only the owner of an entry replaces it.
const STICKY: u32 = 0o1000;

/// Returns why the file `path` may not be obeyed: it, what it links to and their directories must
/// belong to root or this user, and nobody else may write them. `opened` describes the open file.
pub(super) fn distrust_file(path: &Path, opened: &Metadata) -> Option<String> {
    if !opened.is_file() && !opened.is_dir() {
        return Some("it is not a file".to_owned());
    }
    let entry = fs::symlink_metadata(path).ok()?;
    if entry.is_symlink() {
        if let Some(owner) = stranger(&entry) {
            return Some(format!("it is a symbolic link of {owner}"));
        }
        let target = path.canonicalize().ok()?;
        if let Some(reason) = of_entry(opened).or_else(|| of_parent(&target)) {
            return Some(format!("it leads to {}: {reason}", target.display()));
        }
    }
    of_entry(opened).or_else(|| of_parent(path))
}

/// Returns why the directory `path` may not be used, if there is one: it must belong to root or this
/// user, and nobody else may write it. Its parent does not matter: one put in its place by somebody
/// else has another owner.
pub(super) fn distrust_directory(path: &Path) -> Option<String> {
    let entry = fs::symlink_metadata(path).ok()?;
    if entry.is_symlink()
        && let Some(owner) = stranger(&entry)
    {
        return Some(format!("it is a symbolic link of {owner}"));
    }
    of_entry(&fs::metadata(path).ok()?)
}

/// The owner of what could not even be opened.
pub(super) fn strange_owner(path: &Path) -> Option<String> {
    let owner = stranger(&fs::symlink_metadata(path).ok()?)?;
    Some(belongs_to(&owner))
}

fn belongs_to(owner: &str) -> String {
    format!("it belongs to {owner}, neither to root nor to this user")
}

fn of_entry(found: &Metadata) -> Option<String> {
    if let Some(owner) = stranger(found) {
        return Some(belongs_to(&owner));
    }
    let writers = writers(found)?;
    Some(format!(
        "it may be written by {writers} (mode {:04o})",
        found.permissions().mode() & 0o7777
    ))
}

fn of_parent(path: &Path) -> Option<String> {
    let directory = path.parent()?;
    let shown = directory.display();
    let found = match fs::metadata(directory) {
        Ok(found) => found,
        Err(error) => return Some(format!("its directory {shown} cannot be checked: {error}")),
    };
    if let Some(owner) = stranger(&found) {
        return Some(format!(
            "its directory {shown} belongs to {owner}, who may replace it"
        ));
    }
    if found.permissions().mode() & STICKY != 0 {
        return None;
    }
    let writers = writers(&found)?;
    Some(format!(
        "its directory {shown} may be written by {writers}, who may replace it"
    ))
}

/// The owner's name if that is neither root nor this user.
fn stranger(found: &Metadata) -> Option<String> {
    let owner = Uid::from_raw(found.uid());
    if owner.is_root() || owner == geteuid() {
        return None;
    }
    let name = User::from_uid(owner).ok().flatten().map(|user| user.name);
    Some(name.map_or_else(
        || format!("the user with ID {owner}"),
        |name| format!("user {name} (ID {owner})"),
    ))
}

/// Who but the owner may write. An access control list shows in the bits of the group.
fn writers(found: &Metadata) -> Option<&'static str> {
    let mode = found.permissions().mode();
    if mode & OTHERS_WRITE != 0 {
        Some("every user")
    } else if mode & GROUP_WRITES != 0 && !is_own_group(found.gid()) {
        Some("its group")
    } else {
        None
    }
}

/// Whether a group holds nobody but this user, as distributions make one for each user, whose umask
/// then often is 002.
fn is_own_group(gid: u32) -> bool {
    if geteuid().is_root() || getegid().as_raw() != gid {
        return false;
    }
    let user = User::from_uid(geteuid()).ok().flatten();
    let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    let (Some(user), Some(group)) = (user, group) else {
        return false;
    };
    group.name == user.name && group.mem.iter().all(|member| *member == user.name)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// A private directory with a private file.
    fn found() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.toml");
        fs::write(&file, "").unwrap();
        chmod(&file, 0o644);
        (directory, file)
    }

    fn reason(path: &Path) -> String {
        distrust_file(path, &path.metadata().unwrap()).unwrap_or_default()
    }

    fn reason_of_directory(path: &Path) -> String {
        distrust_directory(path).unwrap_or_default()
    }

    #[test]
    fn distrust_names_who_may_write() {
        let (directory, file) = found();
        assert_eq!(reason(&file), "");
        chmod(&file, 0o664);
        let reason_of_group = "it may be written by its group (mode 0664)";
        let expected = if is_own_group(file.metadata().unwrap().gid()) {
            ""
        } else {
            reason_of_group
        };
        assert_eq!(reason(&file), expected);
        chmod(&file, 0o646);
        assert_eq!(reason(&file), "it may be written by every user (mode 0646)");
        chmod(&file, 0o600);
        chmod(directory.path(), 0o777);
        assert!(reason(&file).contains("may be written by every user, who may replace it"));
        assert!(reason_of_directory(directory.path()).contains("written by every user"));
        // As /tmp is.
        chmod(directory.path(), 0o1777);
        assert_eq!(reason(&file), "");
        assert_eq!(reason_of_directory(&directory.path().join("missing")), "");
    }

    #[test]
    fn distrust_follows_links() {
        let (directory, target) = found();
        let (_elsewhere, file) = found();
        fs::remove_file(&file).unwrap();
        symlink(&target, &file).unwrap();
        assert_eq!(reason(&file), "");
        chmod(directory.path(), 0o777);
        assert!(reason(&file).contains("it leads to "), "{}", reason(&file));
        chmod(directory.path(), 0o700);
        chmod(&target, 0o666);
        assert!(reason(&file).contains("it leads to "), "{}", reason(&file));
    }

    #[test]
    fn distrust_names_a_strange_owner() {
        if !geteuid().is_root() {
            tracing::warn!("skipped: only root can make a file of another user");
            return;
        }
        let stranger = Some(4711);
        let (directory, file) = found();
        std::os::unix::fs::chown(&file, stranger, None).unwrap();
        assert!(reason(&file).contains("belongs to the user with ID 4711, neither to root"));
        std::os::unix::fs::chown(&file, Some(0), None).unwrap();
        std::os::unix::fs::chown(directory.path(), stranger, None).unwrap();
        assert!(reason(&file).contains("belongs to the user with ID 4711, who may replace it"));

        assert!(reason_of_directory(directory.path()).contains("neither to root nor to this user"));
        assert!(strange_owner(directory.path()).is_some());

        let (_directory, file) = found();
        let target = file.with_extension("real");
        fs::rename(&file, &target).unwrap();
        symlink(&target, &file).unwrap();
        std::os::unix::fs::lchown(&file, stranger, None).unwrap();
        assert!(reason(&file).contains("a symbolic link of the user with ID 4711"));
    }
}
