//! Decides as which user the private Postgres runs, and starts programs as that user.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;

use nix::unistd::{Uid, User, geteuid};
use tokio::process::Command;

use super::error::EmbeddedError;

/// The user the server runs as: ourselves, unless we are root, whom Postgres refuses.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
    name: String,
    switches: bool,
}

impl Account {
    /// As root: the owner of what is already there, else `postgres`, else `nobody`.
    pub(super) fn choose(owner_uids: &[u32]) -> Result<Self, EmbeddedError> {
        let own = geteuid();
        if !own.is_root() {
            let name = own.to_string();
            let gid = nix::unistd::getegid().as_raw();
            return Ok(Self {
                uid: own.as_raw(),
                gid,
                name,
                switches: false,
            });
        }
        let owners = owner_uids.iter().filter(|uid| **uid != 0);
        owners
            .filter_map(|uid| User::from_uid(Uid::from_raw(*uid)).ok().flatten())
            .chain(
                ["postgres", "nobody"]
                    .iter()
                    .filter_map(|name| User::from_name(name).ok()?),
            )
            .find(|user| !user.uid.is_root())
            .map(|user| Self {
                uid: user.uid.as_raw(),
                gid: user.gid.as_raw(),
                name: user.name,
                switches: true,
            })
            .ok_or(EmbeddedError::NoAccount)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether programs run as somebody else than this process.
    pub(super) fn switches(&self) -> bool {
        self.switches
    }

    /// A command run as this account in its own process group, so that a terminal's Ctrl-C reaches only us.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        // Our PG* variables, locale and working directory are not the server's business.
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C");
        command
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null());
        if self.switches {
            // As root this clears the supplementary groups too.
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Whether this account may enter `directory`, asked of the kernel so that every rule counts.
    pub(super) async fn may_enter(&self, directory: &Path) -> bool {
        let mut shell = self.command("/bin/sh");
        shell.args(["-c", r#"cd -- "$1""#, "sh"]).arg(directory);
        shell.stdout(Stdio::null()).stderr(Stdio::null());
        shell.status().await.is_ok_and(|status| status.success())
    }
}
