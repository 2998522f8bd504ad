//! `PgBouncer` before the database: its session mode works, its transaction mode is refused by name.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use url::Url;

use super::{KIB, add, archived, daemon, demand_ready, end};
use crate::harness::binary::Binary;
use crate::harness::eventually;
use crate::harness::world::World;

/// From Debian's package `pgbouncer`.
const PGBOUNCER: &str = "/usr/sbin/pgbouncer";

/// Whether it can be tried here; the gate installs it, and insists.
fn is_installed() -> bool {
    let installed = Path::new(PGBOUNCER).exists();
    assert!(
        installed || std::env::var_os("CI").is_none(),
        "{PGBOUNCER} is missing: install the package pgbouncer"
    );
    installed
}

struct Pooler {
    url: String,
    config: String,
    directory: TempDir,
    process: Child,
}

impl Pooler {
    async fn start(world: &World, mode: &str) -> Self {
        let options = world.database_options();
        let direct: Url = world.database_url().parse().unwrap();
        let host = options.get_socket().map_or_else(
            || options.get_host().to_owned(),
            |it| it.display().to_string(),
        );
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pgbouncer.ini");
        let password = direct
            .password()
            .map_or_else(String::new, |it| format!(" password={it}"));
        let config = format!(
            "[databases]\n* = host={host} port={} user={}{password}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\n\
             unix_socket_dir =\npool_mode = ",
            options.get_port(),
            options.get_username(),
        );
        fs::write(&file, format!("{config}{mode}\n")).unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new(PGBOUNCER);
        if Uid::effective().is_root() {
            // It refuses to be run by root.
            let user = User::from_name("postgres")
                .unwrap()
                .expect("Postgres is installed");
            chown(&file, Some(user.uid.as_raw()), None).unwrap();
            command.args(["-u", "postgres"]);
        }
        let process = command
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        eventually("the pooler listens", || async {
            tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .ok()
        })
        .await;
        Self {
            url: format!(
                "postgres://anybody@127.0.0.1:{port}/{}?sslmode=disable",
                options.get_database().unwrap()
            ),
            config,
            directory,
            process,
        }
    }

    /// Changes its mode, as an administrator does.
    fn reload(&self, mode: &str) {
        let file = self.directory.path().join("pgbouncer.ini");
        fs::write(file, format!("{}{mode}\n", self.config)).unwrap();
        let pid = self.process.id().expect("it runs");
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGHUP).unwrap();
    }
}

#[tokio::test]
async fn a_service_before_a_pooler_in_transaction_mode_says_so_and_waits_for_its_cure() {
    if !is_installed() {
        println!("skipped: {PGBOUNCER} is not installed");
        return;
    }
    let world = World::local().await;
    let id = add(&world, KIB).await;
    let pooler = Pooler::start(&world, "transaction").await;
    let daemon = daemon(&world, pooler.url.clone());
    let base = daemon.http().await;
    daemon.demand_log("pooler in transaction mode").await;
    demand_ready(&base, 503).await;
    pooler.reload("session");
    archived(&world, id).await;
    demand_ready(&base, 200).await;
    end(daemon).await;
}

#[tokio::test]
async fn a_pooler_in_transaction_mode_is_told_from_one_in_session_mode() {
    if !is_installed() {
        println!("skipped: {PGBOUNCER} is not installed");
        return;
    }
    let world = World::local().await;
    let pooler = Pooler::start(&world, "transaction").await;
    let binary = Binary::of(&world).with("DATABASE_URL", &pooler.url);
    let refused = binary.run(&["run", "--once"]).await.demand_code(2);
    refused.demand_error(&["pooler in transaction mode", "session mode", "database.url"]);

    let id = add(&world, KIB).await;
    let pooler = Pooler::start(&world, "session").await;
    let binary = Binary::of(&world).with("DATABASE_URL", &pooler.url);
    binary.run(&["run", "--once"]).await.demand_code(0);
    world.demand_archived(id).await;
}
