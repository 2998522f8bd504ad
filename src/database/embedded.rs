//! A private Postgres for those who bring none: from installed programs, under the data
//! directory, ending with the process that started it.
//!
//! One process at a time holds `postgres.lock` and runs the server; others join it through its
//! socket. The holder releases the lock before it ends the server, so whoever sees the lock held
//! sees a server that stays; whoever acquires the lock waits until the former server has ended.
//! When the holder ends, one of the others starts the server again on the same socket,
//! after a break in which connections fail. The only way in is a Unix socket in a directory that
//! nobody but its owner and root may enter.

mod account;
mod binaries;
mod claim;
mod cluster;
mod error;
mod former;
mod places;
mod server;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use self::account::Account;
use self::binaries::{Binaries, SearchPlaces};
use self::claim::Claim;
pub use self::error::EmbeddedError;
use self::places::{PORT, Places};
use self::server::Server;
use crate::printable::shell_word;

/// An owner may be creating the cluster or recovering from a crash meanwhile.
const OWNER_ANSWERS_WITHIN: Duration = Duration::from_mins(5);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How soon a joiner notices that the owner has ended.
const TAKE_OVER_EVERY: Duration = Duration::from_millis(200);
const RESTART_AFTER_AT_MOST: Duration = Duration::from_secs(30);

/// The private Postgres, run by this process or joined.
///
/// Dropping it tells a server of ours to shut down, without waiting for that;
/// [`stop`](Self::stop) waits. Either way a start right afterwards does not join that server.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    places: Places,
    psql: PathBuf,
    claim: Arc<Claim>,
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
        let (claim, server) = own_or_join(&places, &account).await?;
        let psql = find_binaries(&places).map_or_else(|_| PathBuf::from("psql"), |b| b.psql());
        let claim = Arc::new(claim);
        let keeper = tokio::spawn(keep(Arc::clone(&claim), server, places.clone(), account));
        Ok(Self {
            places,
            psql,
            claim,
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
            shell_word(&self.psql.to_string_lossy()),
            shell_word(&self.places.socket_dir.to_string_lossy()),
            name = cluster::NAME
        )
    }

    /// Shuts the server down fast and waits for its end; one that was joined is only let go.
    ///
    /// # Errors
    ///
    /// When the server does not end within 30 seconds. It has been told to, and goes on ending.
    pub async fn stop(mut self) -> Result<(), EmbeddedError> {
        self.claim.release();
        match self.keeper.take() {
            // A keeper that was cut off with its runtime has dropped its server.
            Some(keeper) => keeper.await.unwrap_or(Ok(())),
            None => Ok(()),
        }
    }
}

impl Drop for EmbeddedPostgres {
    fn drop(&mut self) {
        // Before the keeper ends, which may be later: a start after this must not join.
        self.claim.release();
        if let Some(keeper) = &self.keeper {
            keeper.abort();
        }
    }
}

/// Whoever gets the lock starts the server; the others wait until it answers. An owner that
/// ends while one waits leaves the lock, so that one of those waiting becomes the owner.
async fn own_or_join(
    places: &Places,
    account: &Account,
) -> Result<(Claim, Option<Server>), EmbeddedError> {
    let claim = Claim::open(places)?;
    let started_at = Instant::now();
    while started_at.elapsed() < OWNER_ANSWERS_WITHIN {
        let answers = server::answers(&server::connect_options(places)).await;
        // Only now: a lock that is held after the answer says that the server stays.
        if claim.try_acquire()? {
            let mut server = None;
            start_server(&mut server, &claim, places, account).await?;
            return Ok((claim, server));
        }
        if answers {
            return Ok((claim, None));
        }
        sleep(LOOK_EVERY).await;
    }
    let (lock, socket_dir) = (places.lock.clone(), places.socket_dir.clone());
    Err(EmbeddedError::OwnerSilent { lock, socket_dir })
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
    claim: &Claim,
    places: &Places,
    account: &Account,
) -> Result<(), EmbeddedError> {
    let binaries = find_binaries(places)?;
    if cluster::major(places).is_none() {
        tracing::info!(cluster = %places.cluster.display(), "creating the private Postgres");
        cluster::create(places, account, &binaries).await?;
    }
    Server::start(running, claim, places, account, &binaries).await
}

/// Keeps a server running until the claim is released: restarts ours when it dies, takes over when
/// its owner ends.
async fn keep(
    claim: Arc<Claim>,
    mut server: Option<Server>,
    places: Places,
    account: Account,
) -> Result<(), EmbeddedError> {
    loop {
        if let Some(running) = &mut server {
            let ending = tokio::select! {
                biased;
                () = claim.released() => break,
                ending = running.ended() => ending,
            };
            let ending = ending.map_or_else(|error| error.to_string(), |status| status.to_string());
            tracing::warn!(ending, log = places.log_tail(), "the private Postgres died");
        } else {
            tokio::select! {
                () = claim.released() => break,
                () = until_acquired(&claim) => {}
            }
            tracing::info!("taking over the private Postgres from a process that ended");
        }
        server = None;
        tokio::select! {
            () = claim.released() => break,
            () = restart(&mut server, &claim, &places, &account) => {}
        }
    }
    match server {
        Some(server) => server.wait_for_end(&places).await,
        None => Ok(()),
    }
}

/// Asks instead of blocking: a thread waiting in the kernel could not be called off.
async fn until_acquired(claim: &Claim) {
    loop {
        match claim.try_acquire() {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(error = %error, "the private Postgres has no successor yet");
            }
        }
        sleep(TAKE_OVER_EVERY).await;
    }
}

async fn restart(running: &mut Option<Server>, claim: &Claim, places: &Places, account: &Account) {
    let mut pause = Duration::from_millis(500);
    loop {
        match start_server(running, claim, places, account).await {
            Ok(()) => return,
            Err(error) => tracing::error!(error = %error, "the private Postgres is down"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(RESTART_AFTER_AT_MOST);
    }
}
