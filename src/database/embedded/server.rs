//! Runs the server so that it ends with this process, however this process ends.

use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{Connection, PgConnection};
use tokio::process::{Child, ChildStdin};
use tokio::time::{Instant, sleep, timeout};

use super::account::Account;
use super::binaries::Binaries;
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

/// How long what is left of a former server may stand in the way.
const OBSTACLES_CLEAR_WITHIN: Duration = Duration::from_secs(15);
/// Crash recovery replays what was written since the last checkpoint.
const READY_WITHIN: Duration = Duration::from_mins(5);
const ENDS_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A running server. Dropping it tells the server to shut down, without waiting.
#[derive(Debug)]
pub(super) struct Server {
    supervisor: Child,
    /// Never written to: the server lives as long as this is open.
    lifeline: ChildStdin,
}

impl Server {
    /// Starts the server and waits until it answers. The caller holds the lock. The server is in
    /// `running` before it answers, so that a caller who gives up waiting can still stop it.
    pub(super) async fn start(
        running: &mut Option<Self>,
        places: &Places,
        account: &Account,
        binaries: &Binaries,
    ) -> Result<(), EmbeddedError> {
        let started_at = Instant::now();
        loop {
            let unrelated_pid = former::end(places).await?;
            let server = Self::spawn(places, account, binaries, unrelated_pid)
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
            if !passing || started_at.elapsed() > OBSTACLES_CLEAR_WITHIN {
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
        let lifeline = supervisor.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self {
            supervisor,
            lifeline,
        })
    }

    /// Waits for an answer; an early end is told as the reason.
    async fn until_ready(&mut self, places: &Places) -> Result<(), String> {
        let started_at = Instant::now();
        let options = connect_options(places);
        while started_at.elapsed() < READY_WITHIN {
            match self.supervisor.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => return Err(status.to_string()),
                Err(error) => return Err(error.to_string()),
            }
            if answers(&options).await {
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

    /// Shuts down fast: sessions are cut off, what was committed is on disk.
    pub(super) async fn stop(self, places: &Places) -> Result<(), EmbeddedError> {
        let Self {
            mut supervisor,
            lifeline,
        } = self;
        drop(lifeline);
        match timeout(ENDS_WITHIN, supervisor.wait()).await {
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
    match timeout(Duration::from_secs(5), PgConnection::connect_with(options)).await {
        Ok(Ok(connection)) => connection.close().await.is_ok(),
        _ => false,
    }
}
