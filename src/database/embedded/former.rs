//! Deals with what an earlier process left: a server still ending, an orphan, a stale pid file.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use super::error::EmbeddedError;
use super::places::Places;

/// A fast shutdown writes a checkpoint of at most the shared buffers; a slow and busy disk takes
/// its time to sync what was written since the last one.
pub(super) const ENDS_WITHIN: Duration = Duration::from_mins(2);
const ASK_EVERY: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Ends the cluster's former server, if one still runs, and waits for its end. The caller holds
/// the lock, so nobody answers for that server any more.
///
/// Gives the process id in the pid file if that now belongs to an unrelated process.
pub(super) async fn end(places: &Places) -> Result<Option<i32>, EmbeddedError> {
    let started_at = Instant::now();
    let mut asked_at: Option<Instant> = None;
    loop {
        let Some(pid) = recorded_pid(&places.cluster).filter(|pid| is_alive(*pid)) else {
            return Ok(None);
        };
        match serves(pid, &places.cluster) {
            Some(false) => return Ok(Some(pid)),
            // Nothing tells on this system; Postgres itself will refuse if it must.
            None => return Ok(None),
            Some(true) => {}
        }
        if asked_at.is_none() {
            tracing::info!(
                pid,
                "ending the Postgres that an earlier process left behind"
            );
        }
        // Asked again, since one that is only starting is deaf.
        if asked_at.is_none_or(|asked_at| asked_at.elapsed() > ASK_EVERY) {
            // It may have ended this moment, which is what we want.
            kill(Pid::from_raw(pid), Signal::SIGINT).ok();
            asked_at = Some(Instant::now());
        }
        if started_at.elapsed() > ENDS_WITHIN {
            return Err(EmbeddedError::FormerServerStays {
                cluster: places.cluster.clone(),
                pid,
            });
        }
        sleep(LOOK_EVERY).await;
    }
}

/// The process id that the cluster's pid file names.
pub(super) fn recorded_pid(cluster: &Path) -> Option<i32> {
    let text = fs::read_to_string(cluster.join("postmaster.pid")).ok()?;
    text.lines()
        .next()?
        .trim()
        .parse()
        .ok()
        .filter(|pid| *pid > 1)
}

fn is_alive(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)
}

/// Whether process `pid` is a server of this cluster, which is a server's working directory.
fn serves(pid: i32, cluster: &Path) -> Option<bool> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    match fs::read_link(format!("/proc/{pid}/cwd")) {
        Ok(directory) => Some(
            cluster
                .canonicalize()
                .is_ok_and(|cluster| cluster == directory),
        ),
        // A zombie has no directory, another user's process none that we may see.
        Err(_) => Some(false),
    }
}
