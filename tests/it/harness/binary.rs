//! The real binary as a person or systemd starts it: in an environment and a directory of its own.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::s3::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};
use super::world::{PREFIX, Store, World};

/// A command that takes longer hangs.
const ENDS_WITHIN: Duration = Duration::from_mins(2);
const SAYS_WITHIN: Duration = Duration::from_secs(30);

/// The binary, and what its processes find around them.
#[derive(Debug)]
pub(crate) struct Binary {
    directory: Arc<TempDir>,
    variables: BTreeMap<&'static str, OsString>,
    /// Soft and hard limit on open files; `None`: those of the tests.
    open_files: Option<(u32, u32)>,
}

impl Binary {
    /// Knows nothing but where programs are.
    pub(crate) fn unconfigured() -> Self {
        let directory = tempfile::tempdir().unwrap();
        // As root, the private Postgres runs as somebody else.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let path = env::var_os("PATH").unwrap_or_default();
        Self {
            directory: Arc::new(directory),
            variables: BTreeMap::from([("PATH", path)]),
            open_files: None,
        }
    }

    /// Knows the simulator, the store and the database of this world.
    pub(crate) fn of(world: &World) -> Self {
        let configured = Self::unconfigured()
            .with("DATABASE_URL", world.service_url())
            .with("SIGNALWIRE_SPACE", world.simulator.base_url())
            .with("SIGNALWIRE_PROJECT_ID", world.simulator.project_id())
            .with("SIGNALWIRE_API_TOKEN", world.simulator.api_token())
            .with("RECORDING_ARCHIVER_SIGNALWIRE_REQUESTS_PER_SECOND", "1000")
            .with("RECORDING_ARCHIVER_STORAGE_PART_SIZE", "5MiB")
            .with("RECORDING_ARCHIVER_HTTP_LISTEN", "127.0.0.1:0");
        match &world.store {
            Store::Directory(directory) => configured.with(
                "RECORDING_ARCHIVER_STORAGE_URL",
                format!("file://{}", directory.path().display()),
            ),
            Store::S3(server) => configured
                .with(
                    "RECORDING_ARCHIVER_STORAGE_URL",
                    format!("s3://{}/{PREFIX}", super::s3::BUCKET),
                )
                .with("AWS_ENDPOINT_URL", server.endpoint())
                .with("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
                .with("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.variables.insert(name, value.into());
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.variables.remove(name);
        self
    }

    /// With this soft and this hard limit on open files.
    pub(crate) const fn with_open_files(mut self, soft: u32, hard: u32) -> Self {
        self.open_files = Some((soft, hard));
        self
    }

    /// The current directory of its processes.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).ended().await
    }

    /// Runs a command that reads `input` from its stdin.
    pub(crate) async fn run_with_input(&self, arguments: &[&str], input: &str) -> Ended {
        let mut running = self.spawn(arguments, Stdio::piped());
        let mut stdin = running.child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
        running.ended().await
    }

    /// Starts a command that a test wants to do something to.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        self.spawn(arguments, Stdio::null())
    }

    fn spawn(&self, arguments: &[&str], stdin: Stdio) -> Running {
        let mut child = self
            .command(arguments)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Running {
            stdout: Captured::from(child.stdout.take().unwrap()),
            stderr: Captured::from(child.stderr.take().unwrap()),
            command: arguments.join(" "),
            child,
            _directory: Arc::clone(&self.directory),
        }
    }

    /// A shell in the same world, for commands that the program prints.
    pub(crate) fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", line])
            .env_clear()
            .envs(&self.variables)
            .current_dir(self.directory.path())
            .kill_on_drop(true);
        command
    }

    /// For what the other ways to start it do not offer.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        // Tests may run under nohup, which the program would rightly take for itself.
        let mut command = Command::new("/usr/bin/env");
        if let Some((soft, hard)) = self.open_files {
            let limited = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$@\"");
            command.args(["sh", "-c", &limited, "sh", "/usr/bin/env"]);
        }
        command
            .arg("--default-signal=HUP")
            .arg(env!("CARGO_BIN_EXE_recording-archiver"))
            .args(arguments)
            .env_clear()
            .envs(&self.variables)
            .current_dir(self.directory.path())
            .kill_on_drop(true);
        command
    }
}

/// A process of the binary.
pub(crate) struct Running {
    command: String,
    child: Child,
    stdout: Captured,
    stderr: Captured,
    _directory: Arc<TempDir>,
}

impl Running {
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.id().expect("it runs");
        kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Waits until it has written this to stderr.
    pub(crate) async fn demand_log(&self, part: &str) {
        self.demand(&self.stderr, |log| log.contains(part).then_some(()), part)
            .await;
    }

    /// Waits until it has written this to stdout, and gives all that came so far.
    pub(crate) async fn demand_output(&self, part: &str) -> String {
        let found = |text: &str| text.contains(part).then(|| text.to_owned());
        self.demand(&self.stdout, found, part).await
    }

    /// Where it answers over HTTP: `http://127.0.0.1:PORT`.
    pub(crate) async fn http(&self) -> String {
        let part = "health and metrics on ";
        let address = |log: &str| {
            let (_, rest) = log.split_once(part)?;
            // A quote ends it where the log is JSON.
            Some(rest.split_once(['\n', '"'])?.0.to_owned())
        };
        self.demand(&self.stderr, address, part).await
    }

    async fn demand<T>(&self, pipe: &Captured, find: impl Fn(&str) -> Option<T>, part: &str) -> T {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        let searched = async {
            loop {
                ticks.tick().await;
                if let Some(found) = find(&pipe.text()) {
                    return found;
                }
            }
        };
        timeout(SAYS_WITHIN, searched).await.unwrap_or_else(|_| {
            let (said, log) = (self.stdout.text(), self.stderr.text());
            panic!(
                "{} never said {part:?}\n-- stdout\n{said}\n-- stderr\n{log}",
                self.command
            )
        })
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(mut self) -> Ended {
        let waited = timeout(ENDS_WITHIN, self.child.wait()).await;
        if waited.is_err() {
            self.child.kill().await.unwrap();
        }
        let ended = Ended {
            command: self.command,
            code: waited.ok().and_then(|status| status.unwrap().code()),
            stdout: self.stdout.all().await,
            stderr: self.stderr.all().await,
        };
        assert!(
            ended.code.is_some(),
            "it hung or was killed by a signal\n{ended:?}"
        );
        ended
    }

    /// Waits until it has killed itself, as a test told it to.
    pub(crate) async fn crashed(mut self) {
        let status = timeout(ENDS_WITHIN, self.child.wait())
            .await
            .unwrap()
            .unwrap();
        let signal = status.signal();
        let log = self.stderr.text();
        assert_eq!(
            signal,
            Some(Signal::SIGKILL as i32),
            "{}\n{log}",
            self.command
        );
    }

    /// Kills it as the kernel does when memory is short.
    pub(crate) async fn killed(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// What one of its pipes gave so far.
struct Captured {
    bytes: Arc<Mutex<Vec<u8>>>,
    reading: JoinHandle<()>,
}

impl Captured {
    fn from(mut pipe: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&bytes);
        let reading = tokio::spawn(async move {
            let mut chunk = vec![0; 16 * 1024];
            while let Ok(length @ 1..) = pipe.read(&mut chunk).await {
                written.lock().unwrap().extend_from_slice(&chunk[..length]);
            }
        });
        Self { bytes, reading }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    async fn all(self) -> String {
        self.reading.await.unwrap();
        String::from_utf8(self.bytes.lock().unwrap().clone()).expect("it writes UTF-8")
    }
}

/// How a process ended, and all it said.
#[derive(Clone)]
pub(crate) struct Ended {
    pub(crate) command: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl std::fmt::Debug for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            command,
            code,
            stdout,
            stderr,
        } = self;
        write!(
            f,
            "{command} ended with {code:?}\n-- stdout\n{stdout}\n-- stderr\n{stderr}"
        )
    }
}

impl Ended {
    #[track_caller]
    pub(crate) fn demand_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// Demands that stderr tells of an error with all these parts.
    #[track_caller]
    pub(crate) fn demand_error(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is missing: {self:?}");
        }
        self
    }

    /// Demands all these parts in stdout.
    #[track_caller]
    pub(crate) fn demand_output(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stdout.contains(part), "{part:?} is missing: {self:?}");
        }
        self
    }

    /// Stdout as one JSON value for each line.
    #[track_caller]
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        let lines = self.stdout.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {self:?}")))
            .collect()
    }

    /// The only line of stdout.
    #[track_caller]
    pub(crate) fn json_line(&self) -> Value {
        let mut lines = self.json_lines();
        assert_eq!(lines.len(), 1, "{self:?}");
        lines.remove(0)
    }
}
