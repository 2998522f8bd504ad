//! A private Postgres for those who bring none: from installed programs, under the data
//! directory, ending with the process that started it.
//!
//! One process at a time holds `postgres.lock` and runs the server; others join it through its
//! socket. When the holder ends, one of the others starts the server again on the same socket,
//! after a break in which connections fail. The only way in is a Unix socket in a directory that
//! nobody but its owner and root may enter.

mod account;
mod binaries;
mod cluster;
mod error;
mod former;
mod places;
mod server;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use self::account::Account;
use self::binaries::{Binaries, SearchPlaces};
pub use self::error::EmbeddedError;
use self::places::{PORT, Places};
use self::server::Server;

/// An owner may be creating the cluster or recovering from a crash meanwhile.
const OWNER_ANSWERS_WITHIN: Duration = Duration::from_mins(5);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How soon a joiner notices that the owner has ended.
const TAKE_OVER_EVERY: Duration = Duration::from_millis(200);
const RESTART_AFTER_AT_MOST: Duration = Duration::from_secs(30);

/// The private Postgres, run by this process or joined.
///
/// Dropping it tells a server of ours to shut down, without waiting for that;
/// [`stop`](Self::stop) waits.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    places: Places,
    psql: PathBuf,
    let_go: CancellationToken,
    /// Empty only after `stop`.
    keeper: Option<JoinHandle<Result<(), EmbeddedError>>>,
}

impl EmbeddedPostgres {
    /// Starts the private cluster under `data_dir/postgres`, or joins the one another process
    /// already runs. On return it takes connections.
    ///
    /// A cluster is created on first use. As root the server runs as the owner of what is there,
    /// else as `postgres` or `nobody`; where that user may not enter `data_dir`, the cluster lies
    /// under `/var/lib` and `data_dir/postgres` is a link to it. A server that dies is started
    /// again as long as this value lives. Must be called within a Tokio runtime, which has to
    /// live as long as the value.
    ///
    /// # Errors
    ///
    /// When Postgres is not installed, or not in the version that made the cluster; when a
    /// directory cannot be used or is not trustworthy; when the server does not come up, or
    /// another process holds the lock but its server does not answer for five minutes.
    pub async fn start(data_dir: &Path) -> Result<Self, EmbeddedError> {
        let (places, account) = Places::settle(data_dir).await?;
        let holding = Holding::begin(&places, &account).await?;
        let psql = find_binaries(&places).map_or_else(|_| PathBuf::from("psql"), |b| b.psql());
        let let_go = CancellationToken::new();
        let keeper = tokio::spawn(keep(holding, places.clone(), account, let_go.clone()));
        Ok(Self {
            places,
            psql,
            let_go,
            keeper: Some(keeper),
        })
    }

    /// How to connect: Unix socket, role and database `recording_archiver`, which the role owns.
    pub fn connect_options(&self) -> PgConnectOptions {
        server::connect_options(&self.places)
    }

    /// A line to paste into a shell of the same user, to look inside while this runs.
    pub fn psql_command(&self) -> String {
        format!(
            "{} -h {} -p {PORT} -U {name} {name}",
            shell_word(&self.psql),
            shell_word(&self.places.socket_dir),
            name = cluster::NAME
        )
    }

    /// Shuts the server down fast and waits for its end; one that was joined is only let go.
    ///
    /// # Errors
    ///
    /// When the server does not end within 30 seconds. It has been told to, and goes on ending.
    pub async fn stop(mut self) -> Result<(), EmbeddedError> {
        self.let_go.cancel();
        match self.keeper.take() {
            // A keeper that was cut off with its runtime has dropped its server.
            Some(keeper) => keeper.await.unwrap_or(Ok(())),
            None => Ok(()),
        }
    }
}

impl Drop for EmbeddedPostgres {
    fn drop(&mut self) {
        if let Some(keeper) = &self.keeper {
            keeper.abort();
        }
    }
}

/// What this process has of the cluster. Fields drop in this order: a server is told to end
/// before closing the file releases the lock.
#[derive(Debug)]
struct Holding {
    /// None: another process runs it.
    server: Option<Server>,
    lock: File,
}

impl Holding {
    /// Whoever gets the lock starts the server; the others wait until it answers. An owner that
    /// ends while one waits leaves the lock, so that one of those waiting becomes the owner.
    async fn begin(places: &Places, account: &Account) -> Result<Self, EmbeddedError> {
        let lock = places.open_lock()?;
        let started_at = Instant::now();
        while started_at.elapsed() < OWNER_ANSWERS_WITHIN {
            if try_lock(&lock, places)? {
                let mut server = None;
                start_server(&mut server, places, account).await?;
                return Ok(Self { server, lock });
            }
            if server::answers(&server::connect_options(places)).await {
                return Ok(Self { server: None, lock });
            }
            sleep(LOOK_EVERY).await;
        }
        let (lock, socket_dir) = (places.lock.clone(), places.socket_dir.clone());
        Err(EmbeddedError::OwnerSilent { lock, socket_dir })
    }
}

fn try_lock(lock: &File, places: &Places) -> Result<bool, EmbeddedError> {
    match lock.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(EmbeddedError::place("lock", &places.lock)(error)),
    }
}

fn find_binaries(places: &Places) -> Result<Binaries, EmbeddedError> {
    Binaries::find(
        &SearchPlaces::of_this_machine(),
        &places.cluster,
        cluster::major(places),
    )
}

/// Creates the cluster if there is none, then starts its server. The caller holds the lock.
async fn start_server(
    running: &mut Option<Server>,
    places: &Places,
    account: &Account,
) -> Result<(), EmbeddedError> {
    let binaries = find_binaries(places)?;
    if cluster::major(places).is_none() {
        tracing::info!(cluster = %places.cluster.display(), "creating the private Postgres");
        cluster::create(places, account, &binaries).await?;
    }
    Server::start(running, places, account, &binaries).await
}

/// Keeps a server running until let go: restarts ours when it dies, takes over when its owner ends.
async fn keep(
    mut holding: Holding,
    places: Places,
    account: Account,
    let_go: CancellationToken,
) -> Result<(), EmbeddedError> {
    loop {
        if let Some(server) = &mut holding.server {
            let ending = tokio::select! {
                () = let_go.cancelled() => break,
                ending = server.ended() => ending,
            };
            let ending = ending.map_or_else(|error| error.to_string(), |status| status.to_string());
            tracing::warn!(ending, log = places.log_tail(), "the private Postgres died");
        } else {
            tokio::select! {
                () = let_go.cancelled() => break,
                () = until_locked(&holding.lock, &places) => {}
            }
            tracing::info!("taking over the private Postgres from a process that ended");
        }
        holding.server = None;
        tokio::select! {
            () = let_go.cancelled() => break,
            () = restart(&mut holding.server, &places, &account) => {}
        }
    }
    let Holding { server, lock } = holding;
    let stopped = match server {
        Some(server) => server.stop(&places).await,
        None => Ok(()),
    };
    // Only now may somebody else start it.
    drop(lock);
    stopped
}

/// Asks instead of blocking: a thread waiting in the kernel could not be called off.
async fn until_locked(lock: &File, places: &Places) {
    loop {
        match try_lock(lock, places) {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(error = %error, "the private Postgres has no successor yet");
            }
        }
        sleep(TAKE_OVER_EVERY).await;
    }
}

async fn restart(running: &mut Option<Server>, places: &Places, account: &Account) {
    let mut pause = Duration::from_millis(500);
    loop {
        match start_server(running, places, account).await {
            Ok(()) => return,
            Err(error) => tracing::error!(error = %error, "the private Postgres is down"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(RESTART_AFTER_AT_MOST);
    }
}

/// Quotes a path for a POSIX shell where it needs that.
fn shell_word(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
    if text.chars().all(plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_blanks_and_quotes_survives_the_shell() {
        assert_eq!(shell_word(Path::new("/srv/archive")), "/srv/archive");
        assert_eq!(shell_word(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
