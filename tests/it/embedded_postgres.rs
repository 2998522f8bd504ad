//! The private Postgres, with real processes: who runs it, who joins, and what a SIGKILL leaves.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use recording_archiver::database::embedded::{EmbeddedError, EmbeddedPostgres};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;

use crate::harness::eventually;

const HOLD_IN: &str = "RECORDING_ARCHIVER_TEST_HOLD_POSTGRES_IN";

/// A data directory that the server's user may enter even if this runs as root.
fn data_dir() -> TempDir {
    tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o755))
        .tempdir()
        .unwrap()
}

async fn start(data_dir: &Path) -> EmbeddedPostgres {
    EmbeddedPostgres::start(data_dir)
        .await
        .unwrap_or_else(|error| panic!("{error} ({error:?})"))
}

async fn ask(options: &PgConnectOptions, statement: &str) -> Result<String, sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    let answer = sqlx::query_scalar(AssertSqlSafe(statement))
        .fetch_one(&mut connection)
        .await?;
    connection.close().await?;
    Ok(answer)
}

async fn tell(options: &PgConnectOptions, statement: &str) {
    let mut connection = PgConnection::connect_with(options).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

/// Leaves something that a restart must still know.
async fn remember(options: &PgConnectOptions) {
    tell(options, "CREATE TABLE kept AS SELECT 'still here' AS what").await;
}

async fn remembered(options: &PgConnectOptions) -> Result<String, sqlx::Error> {
    ask(options, "SELECT what FROM kept").await
}

fn server_pid(data_dir: &Path) -> Pid {
    let file = data_dir.join("postgres/cluster/postmaster.pid");
    let text = fs::read_to_string(file).unwrap();
    Pid::from_raw(text.lines().next().unwrap().trim().parse().unwrap())
}

async fn has_ended(pid: Pid) {
    let gone = || async { (kill(pid, None) == Err(Errno::ESRCH)).then_some(()) };
    eventually("the server's process ends", gone).await;
}

#[tokio::test]
async fn a_fresh_start_gives_a_durable_database_that_only_its_socket_reaches() {
    let data_dir = data_dir();
    let postgres = start(data_dir.path()).await;
    let options = postgres.connect_options();
    let database = ask(&options, "SELECT current_database()::text")
        .await
        .unwrap();
    assert_eq!(database, "recording_archiver");
    let setting = |name: &'static str| {
        let options = options.clone();
        async move {
            ask(&options, &format!("SELECT current_setting('{name}')"))
                .await
                .unwrap()
        }
    };
    assert_eq!(setting("fsync").await, "on");
    assert_eq!(setting("synchronous_commit").await, "on");
    assert_eq!(setting("full_page_writes").await, "on");
    assert_eq!(setting("listen_addresses").await, "");
    assert_eq!(setting("server_encoding").await, "UTF8");
    let socket_dir = options.get_socket().unwrap().metadata().unwrap();
    assert_eq!(socket_dir.mode() & 0o777, 0o700);
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn the_psql_line_works_as_printed() {
    let parent = data_dir();
    // A blank in the path must survive the shell.
    let data_dir = parent.path().join("my archive");
    fs::create_dir(&data_dir).unwrap();
    fs::set_permissions(&data_dir, Permissions::from_mode(0o755)).unwrap();
    let postgres = start(&data_dir).await;
    let line = format!("{} -Atc 'SELECT 40 + 2'", postgres.psql_command());
    let output = tokio::process::Command::new("sh")
        .args(["-c", &line])
        .output()
        .await
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "42",
        "{line}: {output:?}"
    );
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn stopping_waits_for_the_end_and_what_was_written_is_there_again() {
    let data_dir = data_dir();
    let postgres = start(data_dir.path()).await;
    remember(&postgres.connect_options()).await;
    let pid = server_pid(data_dir.path());
    postgres.stop().await.unwrap();
    assert_eq!(
        kill(pid, None),
        Err(Errno::ESRCH),
        "stop() returned before the server's end"
    );
    let postgres = start(data_dir.path()).await;
    assert_eq!(
        remembered(&postgres.connect_options()).await.unwrap(),
        "still here"
    );
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn dropping_ends_the_server_and_a_start_right_after_succeeds() {
    let data_dir = data_dir();
    let postgres = start(data_dir.path()).await;
    remember(&postgres.connect_options()).await;
    let pid = server_pid(data_dir.path());
    drop(postgres);
    let postgres = start(data_dir.path()).await;
    assert_eq!(
        remembered(&postgres.connect_options()).await.unwrap(),
        "still here"
    );
    has_ended(pid).await;
    postgres.stop().await.unwrap();
}

/// A slow disk, as strong as can be: the server does not begin to end by itself.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn start_after_drop_does_not_join_the_ending_server() {
    let data_dir = data_dir();
    let postgres = start(data_dir.path()).await;
    let ending = server_pid(data_dir.path());
    let frozen = Frozen::supervisors_of(data_dir.path());
    drop(postgres);
    let postgres = start(data_dir.path()).await;
    assert_ne!(server_pid(data_dir.path()), ending);
    drop(frozen);
    postgres.stop().await.unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn start_during_stop_does_not_join_the_ending_server() {
    let data_dir = data_dir();
    let postgres = start(data_dir.path()).await;
    let ending = server_pid(data_dir.path());
    let frozen = Frozen::supervisors_of(data_dir.path());
    let stopping = tokio::spawn(postgres.stop());
    tokio::task::yield_now().await;
    let postgres = start(data_dir.path()).await;
    assert_ne!(server_pid(data_dir.path()), ending);
    drop(frozen);
    stopping.await.unwrap().unwrap();
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn two_starts_at_the_same_instant_share_one_server() {
    let data_dir = data_dir();
    let (one, other) = tokio::join!(start(data_dir.path()), start(data_dir.path()));
    let started = "SELECT pg_postmaster_start_time()::text";
    assert_eq!(
        ask(&one.connect_options(), started).await.unwrap(),
        ask(&other.connect_options(), started).await.unwrap()
    );
    one.stop().await.unwrap();
    other.stop().await.unwrap();
}

#[tokio::test]
async fn a_joiner_goes_on_after_the_owner_ended_and_leaves_the_owner_alone_when_it_ends() {
    let data_dir = data_dir();
    let owner = start(data_dir.path()).await;
    remember(&owner.connect_options()).await;
    let first_pid = server_pid(data_dir.path());

    let visitor = start(data_dir.path()).await;
    assert_eq!(
        server_pid(data_dir.path()),
        first_pid,
        "the second start must join"
    );
    visitor.stop().await.unwrap();
    assert_eq!(
        remembered(&owner.connect_options()).await.unwrap(),
        "still here"
    );

    let joiner = start(data_dir.path()).await;
    owner.stop().await.unwrap();
    let options = joiner.connect_options();
    let again = || async { remembered(&options).await.ok() };
    assert_eq!(
        eventually("the joiner takes over", again).await,
        "still here"
    );
    assert_ne!(server_pid(data_dir.path()), first_pid);
    let second_pid = server_pid(data_dir.path());
    joiner.stop().await.unwrap();
    assert_eq!(
        kill(second_pid, None),
        Err(Errno::ESRCH),
        "the successor owns what it started"
    );
}

#[tokio::test]
async fn a_killed_server_comes_back_by_itself_with_its_data() {
    let data_dir = data_dir();
    let postgres = start(data_dir.path()).await;
    let options = postgres.connect_options();
    remember(&options).await;
    let pid = server_pid(data_dir.path());
    kill(pid, Signal::SIGKILL).unwrap();
    has_ended(pid).await;
    let again = || async { remembered(&options).await.ok() };
    assert_eq!(
        eventually("the server is started again", again).await,
        "still here"
    );
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_start_right_after_server_and_archiver_were_killed_recovers() {
    let data_dir = data_dir();
    let mut owner = OtherProcess::holding(data_dir.path());
    let visitor = start(data_dir.path()).await;
    let options = visitor.connect_options();
    remember(&options).await;
    visitor.stop().await.unwrap();
    // Frozen, so that it does not repair what is broken here.
    owner.signal(Signal::SIGSTOP);
    kill(server_pid(data_dir.path()), Signal::SIGKILL).unwrap();
    owner.kill();
    let postgres = start(data_dir.path()).await;
    assert_eq!(remembered(&options).await.unwrap(), "still here");
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn the_server_ends_with_a_killed_archiver() {
    let data_dir = data_dir();
    let mut owner = OtherProcess::holding(data_dir.path());
    let pid = server_pid(data_dir.path());
    assert_eq!(kill(pid, None), Ok(()));
    owner.kill();
    has_ended(pid).await;
}

#[tokio::test]
async fn a_joiner_goes_on_after_the_owner_was_killed() {
    let data_dir = data_dir();
    let mut owner = OtherProcess::holding(data_dir.path());
    let joiner = start(data_dir.path()).await;
    let options = joiner.connect_options();
    remember(&options).await;
    let first_pid = server_pid(data_dir.path());
    owner.kill();
    has_ended(first_pid).await;
    let again = || async { remembered(&options).await.ok() };
    assert_eq!(
        eventually("the joiner takes over", again).await,
        "still here"
    );
    joiner.stop().await.unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_that_was_only_starting_ends_with_a_killed_archiver_too() {
    let data_dir = data_dir();
    start(data_dir.path()).await.stop().await.unwrap();
    let mut owner = OtherProcess::starting(data_dir.path());
    while supervisors_of(data_dir.path()).is_empty() {
        tokio::task::yield_now().await;
    }
    owner.kill();
    let gone = || async { supervisors_of(data_dir.path()).is_empty().then_some(()) };
    eventually("server and supervisor end", gone).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_orphaned_server_is_ended_and_replaced() {
    let data_dir = data_dir();
    let mut owner = OtherProcess::holding(data_dir.path());
    let orphan = server_pid(data_dir.path());
    // Frozen, so that it does not repair what is broken here.
    owner.signal(Signal::SIGSTOP);
    // Without its supervisor nobody tells the server that the archiver is gone.
    let supervisors = supervisors_of(data_dir.path());
    assert!(!supervisors.is_empty());
    for supervisor in supervisors {
        kill(supervisor, Signal::SIGKILL).unwrap();
    }
    owner.kill();
    assert_eq!(
        kill(orphan, None),
        Ok(()),
        "the test needs a server that lives on"
    );
    let postgres = start(data_dir.path()).await;
    assert_ne!(server_pid(data_dir.path()), orphan);
    has_ended(orphan).await;
    postgres.stop().await.unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_stranger_with_the_dead_servers_process_id_does_not_block_the_start() {
    let data_dir = data_dir();
    let postgres = start(data_dir.path()).await;
    let cluster = data_dir.path().join("postgres/cluster");
    let pid_file = cluster.join("postmaster.pid");
    let stale = fs::read_to_string(&pid_file).unwrap();
    postgres.stop().await.unwrap();

    // As after a container's restart: the same number, the same user, another program.
    let owner = cluster.metadata().unwrap();
    let mut stranger = Command::new("cat");
    stranger.stdin(Stdio::piped()).current_dir("/");
    if geteuid().is_root() {
        std::os::unix::process::CommandExt::uid(&mut stranger, owner.uid());
    }
    let mut stranger = stranger.spawn().unwrap();
    let rest = stale.split_once('\n').unwrap().1;
    fs::write(&pid_file, format!("{}\n{rest}", stranger.id())).unwrap();
    std::os::unix::fs::chown(&pid_file, Some(owner.uid()), Some(owner.gid())).unwrap();

    let postgres = start(data_dir.path()).await;
    assert_eq!(
        stranger.try_wait().unwrap(),
        None,
        "the stranger must be left alone"
    );
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_creation_killed_half_way_is_not_taken_for_a_whole_cluster() {
    let data_dir = data_dir();
    let home = data_dir.path().join("postgres");
    let left_over = home.join("cluster-0.unfinished");
    fs::create_dir_all(&left_over).unwrap();
    fs::write(left_over.join("PG_VERSION"), "15\n").unwrap();

    let mut creator = OtherProcess::starting(data_dir.path());
    let creating = || async {
        let mut entries = fs::read_dir(&home).unwrap().flatten();
        let new = |path: PathBuf| path != left_over && path.extension() == left_over.extension();
        entries.any(|entry| new(entry.path())).then_some(())
    };
    eventually("another process creates the cluster", creating).await;
    creator.kill();
    assert!(
        !home.join("cluster").exists(),
        "killed too late for this test"
    );

    let postgres = start(data_dir.path()).await;
    assert_eq!(
        ask(&postgres.connect_options(), "SELECT 'whole'")
            .await
            .unwrap(),
        "whole"
    );
    assert!(!left_over.exists());
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_data_directory_too_deep_for_a_socket_works_all_the_same() {
    let parent = data_dir();
    let deep = parent.path().join("deep".repeat(30));
    fs::create_dir(&deep).unwrap();
    fs::set_permissions(&deep, Permissions::from_mode(0o755)).unwrap();
    let postgres = start(&deep).await;
    let options = postgres.connect_options();
    let socket_dir = options.get_socket().unwrap().clone();
    assert_eq!(socket_dir.metadata().unwrap().mode() & 0o777, 0o700);
    assert_eq!(ask(&options, "SELECT 'deep'").await.unwrap(), "deep");
    postgres.stop().await.unwrap();
    fs::remove_dir(socket_dir).unwrap();
}

#[tokio::test]
async fn root_may_keep_its_data_where_the_servers_user_cannot_go() {
    if !geteuid().is_root() {
        eprintln!("skipped: only root runs Postgres as somebody else");
        return;
    }
    // 0700 and root's, as /root is.
    let data_dir = data_dir();
    fs::set_permissions(data_dir.path(), Permissions::from_mode(0o700)).unwrap();
    let postgres = start(data_dir.path()).await;
    remember(&postgres.connect_options()).await;
    let home = fs::read_link(data_dir.path().join("postgres")).unwrap();
    let found = home.metadata().unwrap();
    assert_ne!(found.uid(), 0);
    assert_eq!(found.mode() & 0o777, 0o700);
    postgres.stop().await.unwrap();
    let postgres = start(data_dir.path()).await;
    assert_eq!(
        remembered(&postgres.connect_options()).await.unwrap(),
        "still here"
    );
    postgres.stop().await.unwrap();
    fs::remove_dir_all(home).unwrap();
}

#[tokio::test]
async fn root_gives_the_server_to_the_owner_of_the_data_directory() {
    if !geteuid().is_root() {
        eprintln!("skipped: only root runs Postgres as somebody else");
        return;
    }
    let data_dir = data_dir();
    let owner = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let (uid, gid) = (Some(owner.uid.as_raw()), Some(owner.gid.as_raw()));
    std::os::unix::fs::chown(data_dir.path(), uid, gid).unwrap();
    let postgres = start(data_dir.path()).await;
    for part in [
        "postgres",
        "postgres/cluster",
        "postgres/socket",
        "postgres.lock",
    ] {
        let found = data_dir.path().join(part).metadata().unwrap();
        assert_eq!(Some(found.uid()), uid, "{part}");
    }
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_cluster_of_a_version_that_is_not_installed_names_the_package() {
    let data_dir = data_dir();
    let postgres = start(data_dir.path()).await;
    postgres.stop().await.unwrap();
    fs::write(data_dir.path().join("postgres/cluster/PG_VERSION"), "9.6\n").unwrap();
    let error = EmbeddedPostgres::start(data_dir.path()).await.unwrap_err();
    assert!(
        matches!(error, EmbeddedError::VersionMissing { needed: 9, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let data_dir = data_dir();
    let postgres = start(data_dir.path()).await;
    postgres.stop().await.unwrap();
    let settings = data_dir.path().join("postgres/cluster/postgresql.conf");
    fs::write(settings, "work_mem = 'plenty'\n").unwrap();
    let error = EmbeddedPostgres::start(data_dir.path()).await.unwrap_err();
    assert!(error.to_string().contains("work_mem"), "{error}");
}

/// Another process that runs a private Postgres until it is killed.
struct OtherProcess(Child);

impl OtherProcess {
    /// One that holds the running server when this returns.
    fn holding(data_dir: &Path) -> Self {
        let mut process = Self::starting(data_dir);
        let stdout = BufReader::new(process.0.stdout.take().unwrap());
        let ready = stdout
            .lines()
            .map_while(Result::ok)
            .any(|line| line.ends_with(READY));
        assert!(ready, "the other process ended early");
        process
    }

    fn starting(data_dir: &Path) -> Self {
        let mut test = Command::new(std::env::current_exe().unwrap());
        test.args([
            "--exact",
            "embedded_postgres::holds_a_postgres_until_killed",
            "--nocapture",
        ]);
        test.env(HOLD_IN, data_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        Self(test.spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().try_into().unwrap()), signal).unwrap();
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for OtherProcess {
    fn drop(&mut self) {
        // A failing test must not leave it behind; killed already is fine.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

const READY: &str = "the server runs";

/// Not a test of its own but what [`OtherProcess`] runs; alone it ends at once.
#[tokio::test]
async fn holds_a_postgres_until_killed() {
    if let Some(data_dir) = std::env::var_os(HOLD_IN) {
        let _postgres = start(Path::new(&data_dir)).await;
        println!("{READY}");
        std::future::pending::<()>().await;
    }
}

/// The supervisors of a server, stopped for as long as this lives.
#[cfg(target_os = "linux")]
struct Frozen(Vec<Pid>);

#[cfg(target_os = "linux")]
impl Frozen {
    fn supervisors_of(data_dir: &Path) -> Self {
        let supervisors = supervisors_of(data_dir);
        assert!(!supervisors.is_empty());
        for supervisor in &supervisors {
            kill(*supervisor, Signal::SIGSTOP).unwrap();
        }
        Self(supervisors)
    }
}

#[cfg(target_os = "linux")]
impl Drop for Frozen {
    fn drop(&mut self) {
        for supervisor in &self.0 {
            // The one whose server has ended may have been killed by the other.
            kill(*supervisor, Signal::SIGCONT).ok();
        }
    }
}

/// The shells that watch over the server of this data directory.
#[cfg(target_os = "linux")]
fn supervisors_of(data_dir: &Path) -> Vec<Pid> {
    let marker = data_dir.join("postgres/log/start.log");
    let watches = |arguments: &[u8]| {
        arguments.starts_with(b"/bin/sh\0")
            && String::from_utf8_lossy(arguments).contains(marker.to_str().unwrap())
    };
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let numbered = processes.filter_map(|process| {
        let pid = process.file_name().to_str()?.parse().ok()?;
        Some((pid, fs::read(process.path().join("cmdline")).ok()?))
    });
    let watching = numbered.filter(|(_, arguments)| watches(arguments));
    watching.map(|(pid, _)| Pid::from_raw(pid)).collect()
}
