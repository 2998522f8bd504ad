//! Creates the cluster: all of it appears at once, or nothing does.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use uuid::Uuid;

use super::account::Account;
use super::binaries::{Binaries, leading_number};
use super::error::EmbeddedError;
use super::places::{Places, last_lines};

/// The database, and the role that owns it.
pub(super) const NAME: &str = "recording_archiver";
const UNFINISHED: &str = "unfinished";

/// The major version that made the cluster, if there is one.
pub(super) fn major(places: &Places) -> Option<u32> {
    leading_number(
        fs::read_to_string(places.cluster.join("PG_VERSION"))
            .ok()?
            .trim(),
    )
}

/// Creates cluster, role and database. The caller holds the lock.
pub(super) async fn create(
    places: &Places,
    account: &Account,
    binaries: &Binaries,
) -> Result<(), EmbeddedError> {
    remove_unfinished(places);
    // A name of its own: an initdb whose parent was killed may still be writing to the last one.
    let unfinished = places
        .home
        .join(format!("cluster-{}.{UNFINISHED}", Uuid::new_v4().simple()));

    let mut initdb = account.command(binaries.initdb());
    initdb
        .arg("--pgdata")
        .arg(&unfinished)
        .args(["--username", NAME]);
    // Nobody but the owner and root reaches the socket; the network reaches nothing.
    initdb.args(["--auth-local=trust", "--auth-host=reject"]);
    initdb.args(["--encoding=UTF8", "--no-locale"]);
    run(initdb, "", places).await?;

    let mut single_user = account.command(binaries.postgres());
    single_user
        .args(["--single", "-c", "exit_on_error=on", "-D"])
        .arg(&unfinished)
        .arg("postgres");
    run(
        single_user,
        &format!("CREATE DATABASE {NAME} OWNER {NAME}\n"),
        places,
    )
    .await?;

    fs::rename(&unfinished, &places.cluster)
        .and_then(|()| File::open(&places.home)?.sync_all())
        .map_err(EmbeddedError::place(
            "put the new cluster in place at",
            &places.cluster,
        ))
}

async fn run(mut command: Command, input: &str, places: &Places) -> Result<(), EmbeddedError> {
    let program = Path::new(command.as_std().get_program()).to_owned();
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let conversation = async {
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).await?;
        }
        child.wait_with_output().await
    };
    let Output {
        status,
        stderr,
        stdout,
    } = conversation
        .await
        .map_err(EmbeddedError::place("run", &program))?;
    if status.success() {
        return Ok(());
    }
    let said = if stderr.is_empty() { stdout } else { stderr };
    let complaint = last_lines(&said);
    Err(EmbeddedError::CreationFailed {
        cluster: places.cluster.clone(),
        complaint,
    })
}

/// Clears away what a creation left behind that was killed half-way.
fn remove_unfinished(places: &Places) {
    for entry in fs::read_dir(&places.home).into_iter().flatten().flatten() {
        let path = entry.path();
        if path
            .extension()
            .is_some_and(|extension| extension == UNFINISHED)
            && let Err(error) = fs::remove_dir_all(&path)
        {
            tracing::warn!(path = %path.display(), %error, "an unfinished cluster stays behind");
        }
    }
}
