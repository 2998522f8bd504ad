//! The database: where it runs, how it is reached, how its schema comes up to date.

use std::path::Path;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, Executor, PgConnection, PgPool, Postgres, Row, Transaction};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::config::DatabaseUrl;

pub mod embedded;
mod error;
mod facts;
mod grants;
mod hosts;
mod limits;
mod migrate;
mod outage;
mod pool;
mod schema;
mod session;

use embedded::EmbeddedPostgres;
pub use error::DatabaseError;
use facts::Facts;
pub use grants::{Access, GrantError, MissingRights, grant, missing_rights};
pub use hosts::Intent;
use hosts::{Greeted, Hosts};
use limits::{LEAST_CONNECTIONS, connections_left};
pub use migrate::migrate;
pub use outage::is_outage;
use pool::Watch;
pub use schema::{SchemaVersion, schema_version};

/// Statements that take longer are told, by those who want to know.
const SLOW_STATEMENT: Duration = Duration::from_secs(1);
/// Saying goodbye takes no longer than this.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// A server that does not greet within this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A pool of connections, and the private server behind it if there is one.
#[derive(Debug)]
pub struct Database {
    pool: PgPool,
    embedded: Option<EmbeddedPostgres>,
    wanted: u32,
    /// Of several hosts, the pool is directed to one that is acceptable.
    _following: Option<DropGuard>,
}

impl Database {
    /// Connects to the database at `url`, or to the private one under `data_dir`, which is
    /// started or joined. Keeps at most `connections` open.
    pub async fn open(
        url: Option<&DatabaseUrl>,
        data_dir: &Path,
        connections: u32,
        intent: Intent,
    ) -> Result<Self, DatabaseError> {
        let (hosts, embedded) = if let Some(url) = url {
            (Hosts::of_url(url, intent, connections)?, None)
        } else {
            let embedded = EmbeddedPostgres::start(data_dir).await?;
            let hosts = Hosts::of_one(embedded.connect_options(), intent, connections);
            (hosts, Some(embedded))
        };
        let watch = Watch::new(intent);
        // The pool would say only that it waited in vain: a connection beside it says the reason.
        let (mut greeted, pool) = if let Some(only) = hosts.only() {
            let pool = async { Ok(pool::connect(only.clone(), connections, &watch).await) };
            tokio::try_join!(hosts.choose(), pool)?
        } else {
            let greeted = hosts.choose().await?;
            let pool = pool::connect(greeted.options.clone(), connections, &watch).await;
            (greeted, pool)
        };
        let mut pool = match pool {
            Ok(pool) => pool,
            Err(error) => return Err(limited(greeted, connections, error).await),
        };
        if url.is_some() {
            let failed = |error| not_connected(&greeted.options, connections, error);
            let own = [
                session_of(&mut greeted.connection).await.map_err(failed)?,
                session_of(&pool).await.map_err(failed)?,
            ];
            if own[0] == own[1] {
                let place = place(&greeted.options);
                return Err(DatabaseError::Multiplexed { place });
            }
            let left = connections_left(&mut greeted.connection, &own).await;
            let left = left.map_err(failed)?.max(LEAST_CONNECTIONS);
            if left < connections {
                // More would be waited for in vain, and those that are there would not be used meanwhile.
                pool.close().await;
                pool = pool::connect(greeted.options.clone(), left, &watch)
                    .await
                    .map_err(failed)?;
            }
        }
        drop(greeted.connection.close().await);
        let following = hosts.only().is_none().then(|| {
            let stop = CancellationToken::new();
            let following = hosts.follow(pool.clone(), watch);
            tokio::spawn(stop.clone().run_until_cancelled_owned(following));
            stop.drop_guard()
        });
        Ok(Self {
            pool,
            embedded,
            wanted: connections,
            _following: following,
        })
    }

    pub const fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// The private server, if this process uses one.
    pub const fn embedded(&self) -> Option<&EmbeddedPostgres> {
        self.embedded.as_ref()
    }

    /// Says so if the pool is smaller than wanted, because the server allows no more connections.
    pub fn shortage(&self) -> Option<String> {
        let (allowed, wanted) = (self.pool.options().get_max_connections(), self.wanted);
        (allowed < wanted).then(|| {
            format!(
                "the server allows at most {allowed} connections, {wanted} are wanted \
                 (worker.concurrency + 4): statements wait for each other"
            )
        })
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

/// Connects once, and says what is wrong where that fails.
async fn greet(
    options: &PgConnectOptions,
    connections: u32,
) -> Result<(PgConnection, Facts), DatabaseError> {
    let connecting = async {
        let mut connection = PgConnection::connect_with(options).await?;
        session::prepare(&mut connection).await?;
        let facts = Facts::of(&mut connection).await?;
        Ok((connection, facts))
    };
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
    connected
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))
        .map_err(|error| not_connected(options, connections, error))
}

/// Says why the pool got no connection although another one was got.
async fn limited(mut greeted: Greeted, connections: u32, error: sqlx::Error) -> DatabaseError {
    let own = session_of(&mut greeted.connection)
        .await
        .unwrap_or_default();
    match connections_left(&mut greeted.connection, &[own]).await {
        Ok(left) if left < LEAST_CONNECTIONS => DatabaseError::TooManyConnections {
            place: place(&greeted.options),
            said: format!("too many connections: {left} of at least {LEAST_CONNECTIONS} allowed"),
            wanted: connections,
        },
        _ => not_connected(&greeted.options, connections, error),
    }
}

fn not_connected(
    options: &PgConnectOptions,
    connections: u32,
    error: sqlx::Error,
) -> DatabaseError {
    let place = place(options);
    match error {
        sqlx::Error::Database(error) if error.code().as_deref() == Some("53300") => {
            DatabaseError::TooManyConnections {
                place,
                said: error.message().to_owned(),
                wanted: connections,
            }
        }
        sqlx::Error::Database(error) if is_refusal(&*error) => DatabaseError::Refused {
            place,
            said: error.message().to_owned(),
        },
        source => DatabaseError::Unreachable { place, source },
    }
}

/// Says what keeps statements from being run. A pool that waited in vain does not know: a connection
/// beside it does.
pub async fn present_cause(
    pool: &PgPool,
    error: &(dyn std::error::Error + Send + Sync + 'static),
) -> String {
    let first: &(dyn std::error::Error + 'static) = error;
    let is_timeout = std::iter::successors(Some(first), |it| it.source())
        .any(|it| matches!(it.downcast_ref(), Some(sqlx::Error::PoolTimedOut)));
    if !is_timeout {
        return crate::error::chain(error);
    }
    let connections = pool.options().get_max_connections();
    match greet(&pool.connect_options(), connections).await {
        Ok((connection, _)) => {
            drop(connection.close().await);
            let (error, open) = (crate::error::chain(error), pool.size());
            format!("{error}; {open} of at most {connections} connections are open")
        }
        Err(cause) => crate::error::chain(&cause),
    }
}

/// The server process behind a connection. Two connections that are open at once and have the same one
/// go through a pooler that hands sessions on from transaction to transaction. Asked unprepared,
/// because prepared statements are what such a pooler loses.
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
