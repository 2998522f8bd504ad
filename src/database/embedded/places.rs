//! Decides where the private Postgres lies, the same for every process that asks.
//!
//! ```text
//! data_dir/postgres.lock     held by the process that runs the server
//! data_dir/postgres/         the home, 0700, or a link to it
//!   cluster/  log/  socket/
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{
    DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown, symlink,
};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::account::Account;
use super::error::EmbeddedError;

/// Part of the socket's name; no port is listened on.
pub(super) const PORT: u16 = 5432;
/// What every system takes as a socket's path: macOS 103 bytes, Linux 107.
const SOCKET_PATH_MAX_BYTES: usize = 103;
/// Homes of data directories that the server's user may not enter. Not a service's state
/// directory, whose owner systemd changes.
const ELSEWHERE: &str = "/var/lib/recording-archiver-postgres";

/// Where the parts lie; every directory here exists, is private and belongs to the account.
#[derive(Debug, Clone)]
pub(super) struct Places {
    pub(super) home: PathBuf,
    pub(super) cluster: PathBuf,
    pub(super) log_dir: PathBuf,
    pub(super) socket_dir: PathBuf,
    pub(super) lock: PathBuf,
}

impl Places {
    /// Finds or makes the directories. Safe to run in several processes at once.
    pub(super) async fn settle(data_dir: &Path) -> Result<(Self, Account), EmbeddedError> {
        let data_dir = &DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data_dir)
            .and_then(|()| data_dir.canonicalize())
            .map_err(EmbeddedError::place("create the data directory", data_dir))?;
        let data_dir_owner = data_dir
            .metadata()
            .map_err(EmbeddedError::place("look at the data directory", data_dir))?
            .uid();

        let entrance = data_dir.join("postgres");
        let known_home = known_home(&entrance)?;
        let home_owner = known_home
            .as_ref()
            .and_then(|home| fs::metadata(home).ok())
            .map_or(0, |home| home.uid());
        let account = Account::choose(&[home_owner, data_dir_owner])?;

        let home = match known_home {
            Some(home) => home,
            None if account.switches() && !account.may_enter(data_dir).await => {
                let home = make_elsewhere(&entrance, &account)?;
                tracing::info!(
                    home = %home.display(),
                    "the private Postgres lies outside the data directory, which its user may not enter"
                );
                home
            }
            None => entrance,
        };
        private_directory(&home, &account)?;
        if account.switches() && !account.may_enter(&home).await {
            let user = account.name().to_owned();
            return Err(EmbeddedError::Unreachable { path: home, user });
        }
        let socket_dir = socket_dir(&home);
        let log_dir = home.join("log");
        private_directory(&socket_dir, &account)?;
        private_directory(&log_dir, &account)?;
        let lock = data_dir.join("postgres.lock");
        let cluster = home.join("cluster");
        Ok((
            Self {
                home,
                cluster,
                log_dir,
                socket_dir,
                lock,
            },
            account,
        ))
    }

    /// Opens the lock's file for everyone who may use this data directory.
    pub(super) fn open_lock(&self) -> Result<File, EmbeddedError> {
        let open = || {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .custom_flags(OFlag::O_NOFOLLOW.bits())
                .open(&self.lock)?;
            if geteuid().is_root() {
                // Root's visit must not lock out the user the directory belongs to.
                let directory = fs::metadata(self.lock.parent().unwrap_or(&self.lock))?;
                fchown(&file, Some(directory.uid()), Some(directory.gid()))?;
            }
            Ok(file)
        };
        open().map_err(EmbeddedError::place("open the lock", &self.lock))
    }

    /// The end of the newest log, in one line, for an error message.
    pub(super) fn log_tail(&self) -> String {
        let logs = fs::read_dir(&self.log_dir).into_iter().flatten().flatten();
        let newest = logs
            .filter_map(|entry| Some((entry.metadata().ok()?, entry.path())))
            .filter(|(metadata, _)| metadata.is_file() && metadata.len() > 0)
            .max_by_key(|(metadata, _)| metadata.modified().ok())
            .map(|(_, path)| path);
        newest
            .and_then(|path| fs::read(path).ok())
            .map_or_else(|| "the log is empty".to_owned(), |bytes| last_lines(&bytes))
    }
}

/// The last few lines of what a program said, joined to one.
pub(super) fn last_lines(output: &[u8]) -> String {
    const LINES: usize = 5;
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(LINES)..].join(" | ")
}

/// The home if there is one already: the directory itself, or where our link leads.
fn known_home(entrance: &Path) -> Result<Option<PathBuf>, EmbeddedError> {
    let found = match fs::symlink_metadata(entrance) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(EmbeddedError::place("look at", entrance)(error)),
    };
    if !found.is_symlink() {
        return Ok(Some(entrance.to_owned()));
    }
    // Root follows no one else's link: it is about to change owners behind it.
    if found.uid() != 0 && found.uid() != geteuid().as_raw() {
        let trouble = "it is somebody else's link";
        return Err(EmbeddedError::Untrusted {
            path: entrance.to_owned(),
            trouble,
        });
    }
    fs::read_link(entrance)
        .map(|target| Some(entrance.parent().unwrap_or(entrance).join(target)))
        .map_err(EmbeddedError::place("follow", entrance))
}

/// Makes a home elsewhere and links it from the data directory. The link alone says which home is
/// whose: a data directory that was deleted and made again begins with a new one.
fn make_elsewhere(entrance: &Path, account: &Account) -> Result<PathBuf, EmbeddedError> {
    // Passable for every account, readable for none.
    DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(ELSEWHERE)
        .map_err(EmbeddedError::place("create", Path::new(ELSEWHERE)))?;
    let made = Path::new(ELSEWHERE).join(Uuid::new_v4().to_string());
    private_directory(&made, account)?;
    link(&made, entrance)?;
    let home = known_home(entrance)?.unwrap_or_else(|| made.clone());
    if home != made {
        // Another process was first.
        fs::remove_dir(&made).map_err(EmbeddedError::place("remove", &made))?;
    }
    Ok(home)
}

fn link(home: &Path, entrance: &Path) -> Result<(), EmbeddedError> {
    match symlink(home, entrance) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(EmbeddedError::place(
            "link the private Postgres at",
            entrance,
        )(error)),
        _ => Ok(()),
    }
}

/// Beside the cluster, or under `/tmp` where that path would be too long for a socket.
fn socket_dir(home: &Path) -> PathBuf {
    let beside = home.join("socket");
    let socket = beside.join(format!(".s.PGSQL.{PORT}"));
    if socket.as_os_str().len() <= SOCKET_PATH_MAX_BYTES {
        beside
    } else {
        Path::new("/tmp").join(format!("recording-archiver-{}", short_hash(home)))
    }
}

/// Creates `path` for the account alone, or checks that it is so. Whoever may enter the socket's
/// directory is trusted by the server, hence nothing is taken over from a stranger.
fn private_directory(path: &Path, account: &Account) -> Result<(), EmbeddedError> {
    let created = DirBuilder::new().mode(0o700).create(path);
    if let Err(error) = created
        && error.kind() != ErrorKind::AlreadyExists
    {
        return Err(EmbeddedError::place("create", path)(error));
    }
    let untrusted = |trouble| EmbeddedError::Untrusted {
        path: path.to_owned(),
        trouble,
    };
    // Checked and changed through one handle, so that nobody can swap the directory in between.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY;
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path);
    let directory = match opened {
        Ok(directory) => directory,
        Err(_) if fs::symlink_metadata(path).is_ok_and(|found| !found.is_dir()) => {
            return Err(untrusted(
                "it is a link or a file where a directory should be",
            ));
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Err(untrusted("it belongs to somebody else"));
        }
        Err(error) => return Err(EmbeddedError::place("open", path)(error)),
    };
    let owner = directory
        .metadata()
        .map_err(EmbeddedError::place("look at", path))?
        .uid();
    let half_made_by_root = owner == 0 && account.switches();
    if owner != account.uid && !half_made_by_root {
        return Err(untrusted("it belongs to somebody else"));
    }
    let hand_over = || -> io::Result<()> {
        if half_made_by_root {
            fchown(&directory, Some(account.uid), Some(account.gid))?;
        }
        if directory.metadata()?.mode() & 0o777 != 0o700 {
            directory.set_permissions(Permissions::from_mode(0o700))?;
        }
        Ok(())
    };
    hand_over().map_err(EmbeddedError::place("make private", path))
}

/// Names a path in 16 characters, the same in every release.
fn short_hash(path: &Path) -> String {
    hex::encode(&Sha256::digest(path.as_os_str().as_bytes())[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody_in_particular() -> Account {
        Account::choose(&[]).unwrap()
    }

    #[test]
    fn a_socket_directory_is_never_taken_over_through_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("squatted");
        symlink("/etc", &link).unwrap();
        let error = private_directory(&link, &nobody_in_particular()).unwrap_err();
        assert!(matches!(error, EmbeddedError::Untrusted { .. }), "{error}");
    }

    #[test]
    fn a_socket_directory_of_somebody_else_is_refused() {
        if !geteuid().is_root() {
            tracing::warn!("skipped: only root can make a directory of somebody else");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let squatted = directory.path().join("squatted");
        fs::create_dir(&squatted).unwrap();
        std::os::unix::fs::chown(&squatted, Some(4711), None).unwrap();
        let error = private_directory(&squatted, &nobody_in_particular()).unwrap_err();
        assert!(error.to_string().contains("somebody else"), "{error}");
    }

    #[test]
    fn a_private_directory_is_closed_again_when_it_stood_open() {
        let directory = tempfile::tempdir().unwrap();
        let open = directory.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
        private_directory(&open, &nobody_in_particular()).unwrap();
        assert_eq!(open.metadata().unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_home_too_deep_for_a_socket_gets_one_elsewhere() {
        assert_eq!(
            socket_dir(Path::new("/srv/postgres")),
            Path::new("/srv/postgres/socket")
        );
        let deep = PathBuf::from("/").join("d".repeat(90));
        assert!(socket_dir(&deep).starts_with("/tmp"));
        assert_eq!(socket_dir(&deep), socket_dir(&deep));
    }
}
