//! Why the database cannot be used, and who can do something about it.

use std::time::Duration;

use sqlx::migrate::MigrateError;

use super::embedded::EmbeddedError;

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
        "{place}: {said}; this process opens up to {wanted} (worker.concurrency + 4), and a command \
         beside it at least 2: raise the limit of the role, the database or the server \
         (max_connections), or lower worker.concurrency"
    )]
    TooManyConnections {
        place: String,
        said: String,
        wanted: u32,
    },
    #[error("{place} accepts no writes: {reason}")]
    ReadOnly { place: String, reason: String },
    #[error(
        "{place} has the encoding {encoding}, which cannot hold every text; use a database that was \
         created with `CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0`"
    )]
    Encoding { place: String, encoding: String },
    #[error("{place} is not used: {reason}")]
    NotTarget { place: String, reason: String },
    #[error(
        "target_session_attrs in database.url selects servers that accept no writes; \
         use read-write, or leave it out"
    )]
    OnlyReads,
    #[error("no host of database.url can be used: {}", each(.0))]
    NoHost(Vec<Self>),
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

impl DatabaseError {
    /// Whether waiting may help: the cause lies with the server or its network.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::TooManyConnections { .. }
            | Self::ReadOnly { .. }
            | Self::NotTarget { .. }
            | Self::MigrationLocked(_) => true,
            Self::NoHost(errors) => errors.iter().any(Self::is_outage),
            Self::Url(_)
            | Self::Refused { .. }
            | Self::OnlyReads
            | Self::Encoding { .. }
            | Self::Multiplexed { .. }
            | Self::Embedded(_)
            | Self::Migrate(_)
            | Self::MayNotMigrate(_)
            | Self::NoSchema
            | Self::Outdated { .. }
            | Self::Newer(_)
            | Self::Altered(_) => false,
        }
    }

    /// Whether a service should wait: besides outages, what an administrator corrects at the server,
    /// such as a password that is being rotated, or a schema that its owner has yet to migrate. No restart
    /// is needed then.
    pub fn is_curable(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::Multiplexed { .. } | Self::MayNotMigrate(_) => true,
            Self::Migrate(
                MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _),
            ) => super::is_outage(error),
            Self::NoHost(errors) => errors.iter().any(Self::is_curable),
            error => error.is_outage(),
        }
    }

    /// Whether the configuration, or who set up the database for it, must change.
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Url(_)
            | Self::Refused { .. }
            | Self::OnlyReads
            | Self::Encoding { .. }
            | Self::Multiplexed { .. }
            | Self::MayNotMigrate(_)
            | Self::NoSchema
            | Self::Outdated { .. }
            | Self::Newer(_)
            | Self::Altered(_) => true,
            Self::NoHost(errors) => errors.iter().all(Self::is_configuration),
            Self::Unreachable { .. }
            | Self::TooManyConnections { .. }
            | Self::ReadOnly { .. }
            | Self::NotTarget { .. }
            | Self::Embedded(_)
            | Self::Migrate(_)
            | Self::MigrationLocked(_) => false,
        }
    }
}

/// The reasons, one for each host.
fn each(errors: &[DatabaseError]) -> String {
    let texts: Vec<String> = errors
        .iter()
        .map(|error| crate::error::chain(error))
        .collect();
    texts.join("; ")
}
