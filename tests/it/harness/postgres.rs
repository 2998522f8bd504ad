//! A database of its own for each test, on one server per test process.
//!
//! The server is the one of `TEST_DATABASE_URL`, else a container, else a private one from
//! installed programs; `TEST_POSTGRES=url|container|installed` forces one of the three.

use std::env;
use std::error::Error;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, mpsc};
use std::time::Duration;

use recording_archiver::database::embedded::EmbeddedPostgres;
use sha2::{Digest as _, Sha256};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor as _, PgConnection, PgPool};
use testcontainers::core::IntoContainerPort;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::OnceCell;
use tokio::time::timeout;
use uuid::Uuid;

use super::eventually;

const IMAGE: (&str, &str) = ("postgres", "17-alpine");
const PASSWORD: &str = "test";
/// Pulling the image included.
const CONTAINER_STARTS_WITHIN: Duration = Duration::from_mins(3);
/// Sixteen tests at once may have this pool each, and run the real binary with its own.
const POOL_SIZE: u32 = 5;
const MAX_CONNECTIONS: &str = "300";

/// The server outlives the runtime of the test that happens to come first.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("start a runtime")
});
static SERVER: OnceCell<Result<Server, String>> = OnceCell::const_new();
/// The name of the migrated database that this process copies.
static TEMPLATE: OnceCell<Result<String, String>> = OnceCell::const_new();
static MIGRATIONS: Migrator = sqlx::migrate!();
/// Keeps two processes on one server from making the template at once.
const TEMPLATE_LOCK: &str = "SELECT pg_advisory_lock(7261953)";

/// An empty database for one test, dropped with this value.
#[derive(Debug)]
pub(crate) struct TestDatabase {
    name: String,
    options: PgConnectOptions,
    pool: PgPool,
}

/// Creates an empty database on the server of this test process.
pub(crate) async fn database() -> TestDatabase {
    create(None).await
}

/// Creates a database with the program's schema: a copy of one that was migrated once.
pub(crate) async fn migrated_database() -> TestDatabase {
    let template = RUNTIME.spawn(TEMPLATE.get_or_init(template));
    let template = template.await.expect("migrating does not panic");
    create(Some(
        template
            .as_ref()
            .unwrap_or_else(|reason| panic!("{reason}")),
    ))
    .await
}

async fn create(template: Option<&String>) -> TestDatabase {
    let name = format!("archiver_test_{}", Uuid::new_v4().simple());
    let template = template.map(|template| format!(" TEMPLATE {template}"));
    let statement = format!("CREATE DATABASE {name}{}", template.unwrap_or_default());
    let created = RUNTIME.spawn(async move {
        let admin = &server().await?.admin;
        execute(admin, statement)
            .await
            .map_err(|error| error.to_string())?;
        Ok::<_, String>(admin.clone())
    });
    let admin = created.await.expect("creating a database does not panic");
    let options = admin
        .unwrap_or_else(|reason| panic!("{reason}"))
        .database(&name);
    let pool = pool_with(options.clone());
    TestDatabase {
        name,
        options,
        pool,
    }
}

/// Returns the name of a database with the schema of these migrations. The first process that needs it
/// makes it; later ones on the same server find it.
async fn template() -> Result<String, String> {
    let admin = &server().await?.admin;
    migrated_template(admin)
        .await
        .map_err(|error| format!("migrate a template database: {error}"))
}

async fn migrated_template(
    admin: &PgConnectOptions,
) -> Result<String, Box<dyn Error + Send + Sync>> {
    let mut digest = Sha256::new();
    for migration in MIGRATIONS.iter() {
        digest.update(&migration.checksum);
    }
    let name = format!(
        "archiver_template_{}",
        &hex::encode(digest.finalize())[..16]
    );
    let mut connection = PgConnection::connect_with(admin).await?;
    connection.execute(TEMPLATE_LOCK).await?;
    let is_complete =
        sqlx::query_scalar("SELECT datistemplate FROM pg_database WHERE datname = $1")
            .bind(&name)
            .fetch_optional(&mut connection)
            .await?;
    if is_complete != Some(true) {
        // What a killed process left is no template yet.
        for statement in [
            format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
            format!("CREATE DATABASE {name}"),
        ] {
            connection.execute(AssertSqlSafe(statement)).await?;
        }
        let pool = pool_with(admin.clone().database(&name));
        recording_archiver::database::migrate(&pool).await?;
        pool.close().await;
        // Nobody can be connected to a database that is copied.
        let finished =
            format!("ALTER DATABASE {name} WITH IS_TEMPLATE true ALLOW_CONNECTIONS false");
        connection.execute(AssertSqlSafe(finished)).await?;
    }
    connection.close().await?;
    Ok(name)
}

/// A pool of as many connections as each test may have.
pub(crate) fn pool_with(options: PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(POOL_SIZE)
        .connect_lazy_with(options)
}

impl TestDatabase {
    pub(crate) fn pool(&self) -> PgPool {
        self.pool.clone()
    }

    pub(crate) fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// The form that `DATABASE_URL` takes.
    pub(crate) fn url(&self) -> String {
        self.options.to_url_lossy().to_string()
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let (done, dropped) = mpsc::channel();
        RUNTIME.spawn(async move {
            if let Ok(server) = server().await {
                execute(&server.admin, statement).await.ok();
            }
            done.send(()).ok();
        });
        // A database that stays is a nuisance at most, never a reason to fail.
        dropped.recv_timeout(Duration::from_secs(10)).ok();
    }
}

/// The one server of this process, and what must live as long as it.
struct Server {
    admin: PgConnectOptions,
    _keeper: Keeper,
}

enum Keeper {
    Url,
    Container {
        _container: Box<ContainerAsync<GenericImage>>,
        _lease: Box<PgConnection>,
    },
    Installed {
        _server: Box<EmbeddedPostgres>,
        _in_use: File,
    },
}

async fn server() -> Result<&'static Server, String> {
    let server = SERVER.get_or_init(|| async {
        let (server, choice) = choose().await?;
        eprintln!("Postgres for the tests: {choice}");
        Ok(server)
    });
    server.await.as_ref().map_err(String::clone)
}

async fn choose() -> Result<(Server, String), String> {
    let url = env::var("TEST_DATABASE_URL")
        .ok()
        .filter(|url| !url.is_empty());
    let forced = env::var("TEST_POSTGRES")
        .ok()
        .filter(|forced| !forced.is_empty());
    match (forced.as_deref(), url) {
        (Some("url"), None) => Err("TEST_POSTGRES=url needs TEST_DATABASE_URL".to_owned()),
        (None | Some("url"), Some(url)) => from_url(&url),
        (Some("container"), _) => in_container().await,
        (Some("installed"), _) => from_installed().await,
        (Some(other), _) => Err(format!(
            "TEST_POSTGRES is url, container or installed, not {other:?}"
        )),
        (None, None) => {
            let no_container = match in_container().await {
                Ok(chosen) => return Ok(chosen),
                Err(reason) => reason,
            };
            eprintln!("no container for the tests: {no_container}");
            from_installed().await.map_err(|not_installed| {
                format!(
                    "no Postgres to test with. Set TEST_DATABASE_URL to a server whose role may \
                     create databases, or start Docker ({no_container}), or install Postgres \
                     ({not_installed})"
                )
            })
        }
    }
}

fn from_url(url: &str) -> Result<(Server, String), String> {
    let admin: PgConnectOptions = url
        .parse()
        .map_err(|error| format!("read TEST_DATABASE_URL: {error}"))?;
    Ok((
        Server {
            admin,
            _keeper: Keeper::Url,
        },
        "TEST_DATABASE_URL".to_owned(),
    ))
}

/// Ends the container when for half a minute nobody was connected. Statics are not dropped and a
/// killed test run drops nothing, so nothing outside can be relied on to remove it.
const LEASED_SERVER: &str = r#"
docker-entrypoint.sh postgres -c fsync=off -c full_page_writes=off "$@" &
server=$!
idle=0
while [ "$idle" -lt 3 ] && kill -0 "$server"; do
    sleep 10
    sessions=$(psql -U postgres -d postgres -Atc "SELECT count(*) FROM pg_stat_activity
        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()") || sessions=0
    if [ "$sessions" -eq 0 ]; then idle=$((idle + 1)); else idle=0; fi
done
kill -INT "$server"
wait "$server"
"#;

async fn in_container() -> Result<(Server, String), String> {
    let (image, tag) = IMAGE;
    let max_connections = format!("max_connections={MAX_CONNECTIONS}");
    let request = GenericImage::new(image, tag)
        .with_exposed_port(5432.tcp())
        .with_env_var("POSTGRES_PASSWORD", PASSWORD)
        .with_cmd(["sh", "-c", LEASED_SERVER, "sh", "-c", &max_connections])
        .with_host_config_modifier(|host| host.auto_remove = Some(true));
    let container = timeout(CONTAINER_STARTS_WITHIN, request.start())
        .await
        .map_err(|_| format!("{image}:{tag} did not start in time"))?
        .map_err(|error| format!("{image}:{tag}: {error}"))?;
    let address = async {
        Ok((
            container.get_host().await?,
            container.get_host_port_ipv4(5432).await?,
        ))
    };
    let (host, port) = address
        .await
        .map_err(|error: testcontainers::TestcontainersError| format!("{image}:{tag}: {error}"))?;
    let admin = PgConnectOptions::new_without_pgpass()
        .host(&host.to_string())
        .port(port)
        .username("postgres")
        .password(PASSWORD)
        .database("postgres")
        .ssl_mode(PgSslMode::Disable);
    // While the image sets itself up its server listens on no port: an answer means ready.
    let connect = || async { PgConnection::connect_with(&admin).await.ok() };
    let lease = eventually("the container's Postgres answers", connect).await;
    let choice = format!("container {image}:{tag} on {host}:{port}");
    let keeper = Keeper::Container {
        _container: Box::new(container),
        _lease: Box::new(lease),
    };
    Ok((
        Server {
            admin,
            _keeper: keeper,
        },
        choice,
    ))
}

async fn from_installed() -> Result<(Server, String), String> {
    let parent = env::temp_dir();
    remove_abandoned(&parent);
    let (directory, in_use) =
        claim_directory(&parent).map_err(|error| format!("use {}: {error}", parent.display()))?;
    let data_dir = directory.join("data");
    let server = start_private(&data_dir)
        .await
        .map_err(|error| error.to_string())?;
    let admin = server.connect_options();
    let choice = format!(
        "private, from installed programs, in {}",
        directory.display()
    );
    let keeper = Keeper::Installed {
        _server: Box::new(server),
        _in_use: in_use,
    };
    Ok((
        Server {
            admin,
            _keeper: keeper,
        },
        choice,
    ))
}

/// What is good for tests is set from outside: the product knows no way to be less durable.
async fn start_private(data_dir: &Path) -> Result<EmbeddedPostgres, Box<dyn Error>> {
    let server = EmbeddedPostgres::start(data_dir).await?;
    let max_connections = format!("max_connections = {MAX_CONNECTIONS}");
    for setting in ["fsync = off", "full_page_writes = off", &max_connections] {
        execute(
            &server.connect_options(),
            format!("ALTER SYSTEM SET {setting}"),
        )
        .await?;
    }
    server.stop().await?;
    Ok(EmbeddedPostgres::start(data_dir).await?)
}

const DIRECTORY_PREFIX: &str = "recording-archiver-test-";
const IN_USE: &str = "in-use";

/// A directory for this process, and the lock that says that it is in use.
fn claim_directory(parent: &Path) -> std::io::Result<(PathBuf, File)> {
    let directory = parent.join(format!("{DIRECTORY_PREFIX}{}", Uuid::new_v4().simple()));
    fs::create_dir(&directory)?;
    // As root, the server runs as somebody else.
    fs::set_permissions(&directory, Permissions::from_mode(0o755))?;
    let data_dir = directory.join("data");
    fs::create_dir(&data_dir)?;
    fs::set_permissions(&data_dir, Permissions::from_mode(0o755))?;
    // Locked before it has its name, so that nobody finds it unlocked.
    let unnamed = directory.join("claiming");
    let in_use = File::create(&unnamed)?;
    in_use.lock()?;
    fs::rename(&unnamed, directory.join(IN_USE))?;
    Ok((directory, in_use))
}

/// Removes what test processes left that have ended: a static is never dropped.
fn remove_abandoned(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let ours = entry
            .file_name()
            .to_str()
            .is_some_and(|n| n.starts_with(DIRECTORY_PREFIX));
        let Ok(in_use) = File::open(entry.path().join(IN_USE)) else {
            continue;
        };
        if ours && in_use.try_lock().is_ok() {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}

async fn execute(admin: &PgConnectOptions, statement: String) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect_with(admin).await?;
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&mut connection)
        .await?;
    connection.close().await
}

#[tokio::test]
async fn each_test_has_an_empty_database_of_its_own() {
    let (one, other) = (database().await, database().await);
    sqlx::query("CREATE TABLE mine (id int)")
        .execute(&one.pool())
        .await
        .unwrap();
    let seen = "SELECT to_regclass('mine') IS NOT NULL";
    assert!(
        sqlx::query_scalar::<_, bool>(seen)
            .fetch_one(&one.pool())
            .await
            .unwrap()
    );
    assert!(
        !sqlx::query_scalar::<_, bool>(seen)
            .fetch_one(&other.pool())
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn the_server_takes_many_tests_at_once() {
    let database = database().await;
    let limit: i32 = sqlx::query_scalar("SELECT current_setting('max_connections')::int")
        .fetch_one(&database.pool())
        .await
        .unwrap();
    // A server of TEST_DATABASE_URL is whatever it is, but must take sixteen pools.
    assert!(
        limit >= 16 * POOL_SIZE.cast_signed(),
        "max_connections is {limit}"
    );
}

#[tokio::test]
async fn a_test_database_is_reached_by_its_url_and_gone_after_the_test() {
    let database = database().await;
    let (url, options) = (database.url(), database.options());
    let mut by_url = PgConnection::connect(&url).await.unwrap();
    let name: String = sqlx::query_scalar("SELECT current_database()::text")
        .fetch_one(&mut by_url)
        .await
        .unwrap();
    assert_eq!(Some(name.as_str()), options.get_database());
    drop(database);
    let error = PgConnection::connect_with(&options).await.unwrap_err();
    let code = error
        .as_database_error()
        .and_then(|error| error.code().map(String::from));
    assert_eq!(code.as_deref(), Some("3D000"), "{error}");
}
