//! What can go wrong with the private Postgres, each with its place and its cure.

use std::io;
use std::path::{Path, PathBuf};

/// Why the private Postgres could not be started, joined or stopped.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    #[error(
        "find the Postgres programs initdb and postgres (looked in {looked_in}): {}, \
         or set database.url to a server of your own",
        install_hint(None)
    )]
    NotInstalled { looked_in: String },

    #[error(
        "open the private Postgres at {}: it was made by version {needed}, installed is {installed}: {}",
        cluster.display(),
        install_hint(Some(*needed))
    )]
    VersionMissing {
        cluster: PathBuf,
        needed: u32,
        installed: String,
    },

    #[error("{operation} {}: {cure}", path.display())]
    Place {
        operation: &'static str,
        path: PathBuf,
        cure: &'static str,
        source: io::Error,
    },

    #[error("use {} for the private Postgres: {trouble}: remove it, or choose another data_dir", path.display())]
    Untrusted {
        path: PathBuf,
        trouble: &'static str,
    },

    #[error(
        "enter {} as user {user}, as whom Postgres runs (it refuses root): allow it with \
         `chmod o+x` on each directory above, or choose another data_dir",
        path.display()
    )]
    Unreachable { path: PathBuf, user: String },

    #[error(
        "choose a user for Postgres, which refuses root: neither postgres nor nobody exists: create one with `useradd --system postgres`"
    )]
    NoAccount,

    #[error("create the private Postgres at {}: free what it complains about and start again: {complaint}", cluster.display())]
    CreationFailed { cluster: PathBuf, complaint: String },

    #[error("start the private Postgres at {} ({ending}): cure what its log in {} says and start again: {log_tail}", cluster.display(), log_dir.display())]
    StartFailed {
        cluster: PathBuf,
        ending: String,
        log_dir: PathBuf,
        log_tail: String,
    },

    #[error("end the former Postgres of {}: process {pid} goes on: look at it, then end it with `kill -INT {pid}`", cluster.display())]
    FormerServerStays { cluster: PathBuf, pid: i32 },

    #[error(
        "join the private Postgres that another process runs: {} is locked but nothing answers in {}: \
         see that process's log, or end it and start again",
        lock.display(),
        socket_dir.display()
    )]
    OwnerSilent { lock: PathBuf, socket_dir: PathBuf },

    #[error("stop the private Postgres at {}: it did not end in time: {log_tail}: it goes on ending by itself", cluster.display())]
    StopTimedOut { cluster: PathBuf, log_tail: String },
}

const AS_OWNER: &str = "run as the user that owns it, or as root, with room left on the disk";

impl EmbeddedError {
    pub(super) fn place(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Place {
            operation,
            path: path.to_owned(),
            cure: AS_OWNER,
            source,
        }
    }
}

/// The line that installs Postgres, of one major version or of any.
fn install_hint(major: Option<u32>) -> String {
    let version = |separator: &str| major.map(|m| format!("{separator}{m}")).unwrap_or_default();
    if cfg!(target_os = "macos") {
        format!(
            "install it with `brew install postgresql@{}`",
            major.unwrap_or(17)
        )
    } else {
        format!(
            "install it with `sudo apt-get install -y postgresql{}` (without sudo: as root)",
            version("-")
        )
    }
}
