//! Runs the server so that it ends with this process, however this process ends.

use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{Connection, PgConnection};
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::account::Account;
use super::binaries::Binaries;
use super::claim::Claim;
use super::cluster::NAME;
use super::error::EmbeddedError;
use super::former;
use super::places::{PORT, Places};

/// Stands between us and Postgres. When our end of its standard input closes, be it by our
/// SIGKILL, Postgres is told to shut down fast, again and again since it is deaf until it has set
/// itself up. Signals meant for us are not its business.
const SUPERVISOR: &str = r#"
trap '' HUP INT TERM
exec 3<&0 </dev/null >"$1" 2>&1
shift
"$@" 3<&- &
server=$!
{
    while read -r _ <&3; do :; done
    while kill -INT "$server"; do sleep 1; done
} &
watch=$!
wait "$server"
status=$?
kill -KILL "$watch" 2>/dev/null
exit "$status"
"#;

/// A setting of our own, by which a server is known from a former one that still answers.
const START_ID: &str = "recording_archiver.start_id";
/// Crash recovery replays what was written since the last checkpoint.
const READY_WITHIN: Duration = Duration::from_mins(5);
const ENDS_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A running server, which lives until the claim is released.
#[derive(Debug)]
pub(super) struct Server {
    supervisor: Child,
    start_id: String,
}

impl Server {
    /// Starts the server and waits until it answers. The caller holds the lock. The server is in
    /// `running` before it answers, so that a caller who gives up waiting can still wait for its end.
    pub(super) async fn start(
        running: &mut Option<Self>,
        claim: &Claim,
        places: &Places,
        account: &Account,
        binaries: &Binaries,
    ) -> Result<(), EmbeddedError> {
        let started_at = Instant::now();
        loop {
            let unrelated_pid = former::end(places).await?;
            let server = Self::spawn(claim, places, account, binaries, unrelated_pid)
                .map_err(EmbeddedError::place("run", &binaries.postgres()))?;
            let ending = match running.insert(server).until_ready(places).await {
                Ok(()) => return Ok(()),
                Err(ending) => ending,
            };
            *running = None;
            let log_tail = places.log_tail();
            // What a killed server leaves behind goes away by itself in a moment.
            let obstacle = [
                "lock file",
                "shared memory block",
                "terminate any old server",
            ];
            let passing = obstacle.iter().any(|words| log_tail.contains(words));
            if !passing || started_at.elapsed() > former::ENDS_WITHIN {
                let (cluster, log_dir) = (places.cluster.clone(), places.log_dir.clone());
                return Err(EmbeddedError::StartFailed {
                    cluster,
                    ending,
                    log_dir,
                    log_tail,
                });
            }
            sleep(LOOK_EVERY * 4).await;
        }
    }

    fn spawn(
        claim: &Claim,
        places: &Places,
        account: &Account,
        binaries: &Binaries,
        unrelated_pid: Option<i32>,
    ) -> io::Result<Self> {
        let mut command = account.command("/bin/sh");
        command
            .args(["-c", SUPERVISOR, "sh"])
            .arg(places.log_dir.join("start.log"));
        command
            .arg(binaries.postgres())
            .arg("-D")
            .arg(&places.cluster);
        for (name, value) in settings(places) {
            let mut setting = OsString::from(format!("{name}="));
            setting.push(value);
            command.arg("-c").arg(setting);
        }
        let start_id = Uuid::new_v4().to_string();
        command.arg("-c").arg(format!("{START_ID}={start_id}"));
        if let Some(pid) = unrelated_pid {
            // Postgres would take the namesake of its dead predecessor for a living one. This says
            // that it is not; whether backends of that predecessor live is checked all the same.
            command.env("PG_GRANDPARENT_PID", pid.to_string());
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut supervisor = command.spawn()?;
        // Never written to: the server lives as long as this is open.
        claim.hold(supervisor.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?);
        Ok(Self {
            supervisor,
            start_id,
        })
    }

    /// Waits for this server's answer; an early end is returned as the reason.
    async fn until_ready(&mut self, places: &Places) -> Result<(), String> {
        let started_at = Instant::now();
        let options = connect_options(places);
        while started_at.elapsed() < READY_WITHIN {
            match self.supervisor.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => return Err(status.to_string()),
                Err(error) => return Err(error.to_string()),
            }
            if start_id(&options)
                .await
                .is_some_and(|id| id == self.start_id)
            {
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
        Err(format!("no answer within {} s", READY_WITHIN.as_secs()))
    }

    /// Waits until the server ends by itself, which it should not.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.supervisor.wait().await
    }

    /// Waits for the fast shutdown that the released claim began: sessions are terminated, what was
    /// committed is on disk.
    pub(super) async fn wait_for_end(mut self, places: &Places) -> Result<(), EmbeddedError> {
        match timeout(ENDS_WITHIN, self.supervisor.wait()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(EmbeddedError::place("stop", &places.cluster)(error)),
            Err(_) => Err(EmbeddedError::StopTimedOut {
                cluster: places.cluster.clone(),
                log_tail: places.log_tail(),
            }),
        }
    }
}

/// Small, private, and as durable as Postgres is by default. What is not named here
/// (`max_connections`, 100) an operator may change with `ALTER SYSTEM`.
fn settings(places: &Places) -> [(&'static str, OsString); 14] {
    // A list of directories; quoted, this one may hold commas and blanks.
    let mut socket_dir = OsString::from("\"");
    socket_dir.push(&places.socket_dir);
    socket_dir.push("\"");
    [
        ("listen_addresses", "".into()),
        ("unix_socket_directories", socket_dir),
        ("unix_socket_permissions", "0700".into()),
        ("port", PORT.to_string().into()),
        ("shared_buffers", "32MB".into()),
        // A hardened service may not write code at run time.
        ("jit", "off".into()),
        ("timezone", "UTC".into()),
        ("log_timezone", "UTC".into()),
        ("log_min_messages", "warning".into()),
        ("log_checkpoints", "off".into()),
        // One file per day of the week, each begun anew when its day comes round.
        ("logging_collector", "on".into()),
        ("log_directory", places.log_dir.clone().into()),
        ("log_filename", "postgres-%a.log".into()),
        ("log_truncate_on_rotation", "on".into()),
    ]
}

/// How to connect to the server of these places.
pub(super) fn connect_options(places: &Places) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(&places.socket_dir)
        .port(PORT)
        .username(NAME)
        .database(NAME)
        .ssl_mode(PgSslMode::Disable)
}

/// Whether a server takes connections there now.
pub(super) async fn answers(options: &PgConnectOptions) -> bool {
    start_id(options).await.is_some()
}

/// The start that the server there was started by, if one takes connections; empty for a server of
/// another version.
async fn start_id(options: &PgConnectOptions) -> Option<String> {
    let ask = async || -> sqlx::Result<String> {
        let mut connection = PgConnection::connect_with(options).await?;
        let id = sqlx::query_scalar("SELECT coalesce(current_setting($1, true), '')")
            .bind(START_ID)
            .fetch_one(&mut connection)
            .await?;
        connection.close().await?;
        Ok(id)
    };
    timeout(Duration::from_secs(5), ask()).await.ok()?.ok()
}
