//! The database: where it runs, how it is reached, how its schema comes up to date.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, Executor, PgConnection, PgPool};

pub mod embedded;

use embedded::{EmbeddedError, EmbeddedPostgres};

static MIGRATOR: Migrator = sqlx::migrate!();

/// Waiting for a free connection longer than this means that something is stuck.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// What every session asks of the server: no statement and no idle transaction goes on for ever,
/// and a client that vanished is noticed. Set after connecting, because poolers refuse unknown
/// start-up parameters.
const SESSION: &str = "SET statement_timeout = '30s'; \
     SET lock_timeout = '10s'; \
     SET idle_in_transaction_session_timeout = '60s'; \
     SET TIME ZONE 'UTC'";
/// Others may be migrating: they get this long.
const MIGRATION_TIMEOUT: Duration = Duration::from_mins(5);
const MIGRATION_POLL: Duration = Duration::from_millis(200);
/// Where sqlx notes what was applied.
const MIGRATIONS_TABLE: &str = "public._sqlx_migrations";
/// Key of the advisory lock that migrations hold (the bytes of "recarch1").
const MIGRATION_LOCK: i64 = i64::from_be_bytes(*b"recarch1");

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
    #[error("connect to the database (check that it runs, and database.url)")]
    Unreachable(#[source] sqlx::Error),
    #[error("start the private Postgres")]
    Embedded(#[from] EmbeddedError),
    #[error("bring the schema up to date")]
    Migrate(#[source] MigrateError),
    #[error(
        "the database was migrated by a newer version (migration {0}); upgrade recording-archiver on this host"
    )]
    Newer(i64),
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
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(|connection, _| {
                Box::pin(async move { connection.execute(SESSION).await.map(drop) })
            })
            .connect_with(options.application_name("recording-archiver"))
            .await
            .map_err(DatabaseError::Unreachable)?;
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
        self.pool.close().await;
        if let Some(embedded) = self.embedded
            && let Err(error) = embedded.stop().await
        {
            tracing::warn!("stop the private Postgres: {}", crate::error::chain(&error));
        }
    }
}

/// Brings the schema up to date. Processes that start at once wait for each other.
pub async fn migrate(pool: &PgPool) -> Result<(), DatabaseError> {
    if is_current(pool).await {
        return Ok(());
    }
    let options = pool.connect_options();
    // A connection of its own: the lock must go with it, whatever happens, and building an index
    // takes longer than the pool's statements may.
    let mut connection = PgConnection::connect_with(&options)
        .await
        .map_err(DatabaseError::Unreachable)?;
    let result = migrate_locked(&mut connection).await;
    drop(connection.close().await);
    result
}

/// Whether exactly this version's migrations are applied: the usual case, which needs no lock and
/// no right to create anything.
async fn is_current(pool: &PgPool) -> bool {
    let applied: Result<Vec<(i64, Vec<u8>)>, _> = sqlx::query_as(
        "SELECT version, checksum FROM public._sqlx_migrations WHERE success ORDER BY version",
    )
    .fetch_all(pool)
    .await;
    applied.is_ok_and(|applied| {
        let known = MIGRATOR
            .iter()
            .map(|migration| (migration.version, migration.checksum.to_vec()));
        known.eq(applied)
    })
}

async fn migrate_locked(connection: &mut PgConnection) -> Result<(), DatabaseError> {
    // Polled, because a waiting lock call would block an index that is built concurrently.
    let locked = async {
        loop {
            let got: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
                .bind(MIGRATION_LOCK)
                .fetch_one(&mut *connection)
                .await
                .map_err(DatabaseError::Unreachable)?;
            if got {
                return Ok::<(), DatabaseError>(());
            }
            tokio::time::sleep(MIGRATION_POLL).await;
        }
    };
    tokio::time::timeout(MIGRATION_TIMEOUT, locked)
        .await
        .map_err(|_| DatabaseError::MigrationLocked(MIGRATION_TIMEOUT))??;
    let mut migrator = Migrator::with_migrations(MIGRATOR.migrations.to_vec());
    // Held above already.
    migrator.set_locking(false);
    // Unqualified, it would be looked for in the schema that has the role's name first: for the
    // role `archiver` that is ours, once it exists.
    migrator.dangerous_set_table_name(MIGRATIONS_TABLE);
    let result = migrator.run_direct(None, &mut *connection, false).await;
    // Behind a pooler the session outlives this connection, and the lock with it.
    drop(
        sqlx::query("SELECT pg_advisory_unlock($1)")
            .bind(MIGRATION_LOCK)
            .execute(connection)
            .await,
    );
    result.map_err(|error| match error {
        MigrateError::VersionMissing(version) => DatabaseError::Newer(version),
        error => DatabaseError::Migrate(error),
    })
}
