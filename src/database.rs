//! The database: where it runs, how it is reached, how its schema comes up to date.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{
    ConnectOptions, Connection, Executor, PgConnection, PgPool, Postgres, Row, Transaction,
};

pub mod embedded;
mod grants;
mod migrate;
mod outage;
mod schema;
mod session;

use embedded::{EmbeddedError, EmbeddedPostgres};
pub use grants::{Access, GrantError, MissingRights, grant, missing_rights};
pub use migrate::migrate;
pub use outage::is_outage;
pub use schema::{SchemaVersion, schema_version};

/// Waiting for a free connection longer than this means that something is stuck.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Statements that take longer are told, by those who want to know.
const SLOW_STATEMENT: Duration = Duration::from_secs(1);
/// A connection that was used within this time is taken to be alive.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// A connection that does not answer within this time is dead.
const PING_WITHIN: Duration = Duration::from_secs(5);
/// Saying goodbye takes no longer than this.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// A server that does not greet within this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A pool of connections, and the private server behind it if there is one.
#[derive(Debug)]
pub struct Database {
    pool: PgPool,
    embedded: Option<EmbeddedPostgres>,
}

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("database.url is no Postgres URL (postgres://user@host/name)")]
    Url(#[source] sqlx::Error),
    #[error("{place} refuses us: {said}; check user, password and database in database.url")]
    Refused { place: String, said: String },
    #[error("connect to {place} (check that it runs, and database.url)")]
    Unreachable {
        place: String,
        #[source]
        source: sqlx::Error,
    },
    #[error(
        "{place} is a pooler in transaction mode (PgBouncer's pool_mode = transaction), where \
         prepared statements, LISTEN and session settings get lost; use its session mode, or \
         connect to Postgres itself, in database.url"
    )]
    Multiplexed { place: String },
    #[error("start the private Postgres")]
    Embedded(#[from] EmbeddedError),
    #[error("bring the schema up to date")]
    Migrate(#[source] MigrateError),
    #[error(
        "the schema is not up to date, and this role may not change it; run `recording-archiver migrate` \
         as the owner of schema archiver, then `migrate --grant-service` for this role"
    )]
    MayNotMigrate(#[source] MigrateError),
    #[error("the database has no schema yet; run `recording-archiver migrate`")]
    NoSchema,
    #[error(
        "the schema is older than this program (migration {applied}, needed {needed}); run \
         `recording-archiver migrate`, or start the service of this version"
    )]
    Outdated { applied: i64, needed: i64 },
    #[error(
        "the schema needs a newer program (one that knows migration {0}); upgrade recording-archiver \
         on this host"
    )]
    Newer(i64),
    #[error(
        "migration {0} was applied with other contents than this program knows; use the program that \
         migrated this database, or another database"
    )]
    Altered(i64),
    #[error("another process has been migrating the database for {0:?}; look at pg_locks")]
    MigrationLocked(Duration),
}

impl Database {
    /// Connects to the database at `url`, or to the private one under `data_dir`, which is
    /// started or joined. Keeps at most `connections` open.
    pub async fn open(
        url: Option<&SecretString>,
        data_dir: &Path,
        connections: u32,
    ) -> Result<Self, DatabaseError> {
        let (options, embedded) = if let Some(url) = url {
            let options =
                PgConnectOptions::from_str(url.expose_secret()).map_err(DatabaseError::Url)?;
            (options, None)
        } else {
            let embedded = EmbeddedPostgres::start(data_dir).await?;
            (embedded.connect_options(), Some(embedded))
        };
        let options = options
            .application_name("recording-archiver")
            // Poolers refuse start-up parameters that they do not know; floats come in binary.
            .extra_float_digits(None)
            // Whole statements in the log would hide what matters.
            .log_slow_statements(log::LevelFilter::Debug, SLOW_STATEMENT);
        let place = place(&options);
        let greeting = greet(&options);
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // A ping before every statement would double the round trips of a busy queue.
            .test_before_acquire(false)
            .before_acquire(|connection, idle| {
                Box::pin(async move {
                    if idle.idle_for > TRUSTED_FOR {
                        ping(connection).await?;
                    }
                    Ok(true)
                })
            })
            // The pool's own ping at this point would wait for ever where the network is gone.
            .after_release(|connection, _| {
                Box::pin(async move {
                    match ping(connection).await {
                        // Nobody is there to say goodbye to.
                        Err(silence @ sqlx::Error::PoolTimedOut) => Err(silence),
                        pinged => Ok(pinged.is_ok()),
                    }
                })
            })
            .after_connect(|connection, _| Box::pin(session::prepare_pooled(connection)))
            .connect_with(options.clone());
        let failed = |error| not_connected(place.clone(), error);
        // The pool would say only that it waited in vain: a connection beside it says the reason.
        let pool = async { pool.await.map_err(failed) };
        let (mut greeted, pool) = tokio::try_join!(greeting, pool)?;
        if url.is_some() && shares_sessions(&mut greeted, &pool).await.map_err(failed)? {
            return Err(DatabaseError::Multiplexed { place });
        }
        drop(greeted.close().await);
        Ok(Self { pool, embedded })
    }

    pub const fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// The private server, if this process uses one.
    pub const fn embedded(&self) -> Option<&EmbeddedPostgres> {
        self.embedded.as_ref()
    }

    /// Closes all connections, then lets go of the private server.
    pub async fn close(self) {
        // A connection whose network is gone would be waited for.
        drop(tokio::time::timeout(CLOSE_WITHIN, self.pool.close()).await);
        if let Some(embedded) = self.embedded
            && let Err(error) = embedded.stop().await
        {
            tracing::warn!("stop the private Postgres: {}", crate::error::chain(&error));
        }
    }
}

/// Begins to look at the database as it is at one moment.
pub async fn snapshot(pool: &PgPool) -> sqlx::Result<Transaction<'static, Postgres>> {
    pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await
}

/// The same for somebody who waits: a statement that takes longer than `within` is ended by the
/// server, so that nobody who gave up leaves work behind. None is worth being compiled first.
///
/// # Errors
///
/// Those of the pool, which may wait longer.
pub async fn brief_snapshot(
    pool: &PgPool,
    within: Duration,
) -> sqlx::Result<Transaction<'static, Postgres>> {
    let mut snapshot = snapshot(pool).await?;
    sqlx::query!(
        r#"-- database::snapshot
        SELECT set_config('statement_timeout', $1, true) AS statement_timeout,
               set_config('jit', 'off', true) AS jit"#,
        format!("{}ms", within.as_millis()),
    )
    .fetch_one(&mut *snapshot)
    .await?;
    Ok(snapshot)
}

/// Asks whether anybody is there. A connection that does not answer is not used again.
async fn ping(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let answer = tokio::time::timeout(PING_WITHIN, connection.ping()).await;
    answer.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// Connects once, and says what is wrong where that fails.
async fn greet(options: &PgConnectOptions) -> Result<PgConnection, DatabaseError> {
    let connecting = async {
        let mut connection = PgConnection::connect_with(options).await?;
        session::prepare(&mut connection).await?;
        Ok(connection)
    };
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
    connected
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))
        .map_err(|error| not_connected(place(options), error))
}

fn not_connected(place: String, error: sqlx::Error) -> DatabaseError {
    match error {
        sqlx::Error::Database(error) if is_refusal(&*error) => DatabaseError::Refused {
            place,
            said: error.message().to_owned(),
        },
        source => DatabaseError::Unreachable { place, source },
    }
}

/// Whether two connections that are open at once have the same session behind them: then a pooler
/// hands sessions on from transaction to transaction.
async fn shares_sessions(
    connection: &mut PgConnection,
    pool: &PgPool,
) -> Result<bool, sqlx::Error> {
    Ok(session_of(connection).await? == session_of(pool).await?)
}

/// The server process behind a connection. Asked unprepared, because prepared statements are what
/// such a pooler loses.
async fn session_of(
    connection: impl Executor<'_, Database = Postgres>,
) -> Result<i32, sqlx::Error> {
    let session = sqlx::raw_sql("SELECT pg_backend_pid()");
    session.fetch_one(connection).await?.try_get(0)
}

/// Class 28 is a refused user or password, 3D000 a database that does not exist.
fn is_refusal(error: &dyn sqlx::error::DatabaseError) -> bool {
    error
        .code()
        .is_some_and(|code| code.starts_with("28") || code == "3D000")
}

/// Where the database is, without the password.
fn place(options: &PgConnectOptions) -> String {
    let host = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    format!("{host}/{}", options.get_database().unwrap_or_default())
}

/// Text as Postgres can hold it: without U+0000.
pub fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
