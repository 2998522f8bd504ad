//! What commands share: the configuration, and how the parts are put together from it.

use anyhow::Context;
use indicatif::MultiProgress;
use sqlx::PgPool;

use super::exit::UsageError;
use crate::archive::{Archiver, Breaker, Policy};
use crate::config::Config;
use crate::database::{self, Database, DatabaseError, Intent};
use crate::memory::MemoryBudget;
use crate::queue::Queue;
use crate::signalwire::SignalWire;
use crate::storage::Storage;
use crate::transfer::{LinkPolicy, MediaClient};

/// Connections beside those of the running attempts: claiming, listening, chores, health.
const SPARE_CONNECTIONS: u32 = 4;

/// One command's configuration and terminal.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) config: Config,
    pub(super) progress: MultiProgress,
    /// Whether stdout may be coloured.
    pub(super) color: bool,
}

impl Session {
    pub(super) const fn new(config: Config, progress: MultiProgress, color: bool) -> Self {
        Self {
            config,
            progress,
            color,
        }
    }

    /// Connects, without touching the schema.
    pub(super) async fn connect(&self, intent: Intent) -> Result<Database, DatabaseError> {
        let workers = u32::try_from(self.config.worker.concurrency).unwrap_or(u32::MAX);
        Database::open(
            self.config.database.url.as_ref(),
            &self.config.data_dir,
            workers.saturating_add(SPARE_CONNECTIONS),
            intent,
        )
        .await
    }

    /// Connects for a command that only looks: nothing is created for it, because an empty answer
    /// from a database made just now would be taken for the truth.
    pub(super) async fn look(&self) -> anyhow::Result<Database> {
        if self.config.database.url.is_none() && !self.has_private_postgres() {
            return Err(UsageError(format!(
                "no database: database.url is not set, and there is no private Postgres under {}; \
                 set DATABASE_URL, or DATABASE_URL_FILE to the service's credential",
                self.config.data_dir.display()
            ))
            .into());
        }
        let database = self.connect(Intent::Read).await?;
        match usable(&database).await {
            Ok(()) => Ok(database),
            Err(error) => {
                database.close().await;
                Err(error.into())
            }
        }
    }

    /// Whether a private Postgres was ever made here.
    pub(super) fn has_private_postgres(&self) -> bool {
        self.config.data_dir.join("postgres").exists()
    }

    /// Connects for a command that works on the queue. Only `migrate` and the service change a schema
    /// that exists: hosts that are not upgraded yet use it too.
    pub(super) async fn database(&self) -> Result<Database, DatabaseError> {
        let database = self.connect(Intent::Write).await?;
        let ready = match usable(&database).await {
            Err(DatabaseError::NoSchema) => database::migrate(database.pool()).await,
            // The private one is this host's alone.
            Err(DatabaseError::Outdated { .. }) if database.embedded().is_some() => {
                database::migrate(database.pool()).await
            }
            usable => usable,
        };
        match ready {
            Ok(()) => Ok(database),
            Err(error) => {
                database.close().await;
                Err(error)
            }
        }
    }

    /// Connects and brings the schema up to date.
    pub(super) async fn migrated(&self) -> Result<Database, DatabaseError> {
        let database = self.connect(Intent::Write).await?;
        match database::migrate(database.pool()).await {
            Ok(()) => Ok(database),
            Err(error) => {
                database.close().await;
                Err(error)
            }
        }
    }

    /// Sets up the store.
    pub(super) fn storage(&self) -> anyhow::Result<Storage> {
        Ok(Storage::open(self.config.storage()?)?)
    }

    /// Sets up the store for a command that writes nothing.
    pub(super) fn storage_to_look_at(&self) -> anyhow::Result<Storage> {
        Ok(Storage::open_to_look(self.config.storage()?)?)
    }

    /// Sets up the client of the API.
    pub(super) fn signalwire(&self) -> anyhow::Result<SignalWire> {
        signalwire(&self.config)
    }

    /// Connects, and meanwhile sets up what else it takes to archive.
    pub(super) async fn ready(&self) -> anyhow::Result<(Database, Archiver)> {
        let config = self.config.clone();
        // Each of them reads the machine's certificates.
        let clients = tokio::task::spawn_blocking(move || Clients::new(&config));
        let (database, clients) = tokio::join!(self.database(), clients);
        let database = database?;
        match clients? {
            Ok(clients) => {
                let archiver = clients.archiver(&self.config, database.pool());
                Ok((database, archiver))
            }
            Err(error) => {
                database.close().await;
                Err(error)
            }
        }
    }

    /// Sets up all it takes to archive.
    pub(super) fn archiver(&self, pool: &PgPool) -> anyhow::Result<Archiver> {
        Ok(Clients::new(&self.config)?.archiver(&self.config, pool))
    }

    /// Fails now rather than after the database was started, if a section is missing.
    pub(super) fn demand_everything(&self) -> Result<(), crate::config::ConfigError> {
        self.config.signalwire()?;
        self.config.storage()?;
        Ok(())
    }
}

/// Demands a schema that this program works on.
async fn usable(database: &Database) -> Result<(), DatabaseError> {
    match database::schema_version(database.pool()).await {
        Ok(version) => version.demand_usable(),
        // A role of finance reads nothing of schema archiver.
        Err(error) if is_forbidden(&error) => Ok(()),
        Err(source) => Err(DatabaseError::Unreachable {
            place: "the database".to_owned(),
            source,
        }),
    }
}

/// Whether the role lacks a right (`insufficient_privilege`).
fn is_forbidden(error: &sqlx::Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    code.as_deref() == Some("42501")
}

/// The ways to the world outside.
struct Clients {
    project_id: String,
    signalwire: SignalWire,
    media: MediaClient,
    storage: Storage,
}

impl Clients {
    /// Reads everything that may be wrong in these sections of the configuration.
    fn new(config: &Config) -> anyhow::Result<Self> {
        let settings = config.signalwire()?;
        let policy = LinkPolicy {
            require_https: settings.require_https,
            allow_private: settings.allow_private_media,
        };
        Ok(Self {
            project_id: settings.project_id.clone(),
            signalwire: signalwire(config)?,
            media: MediaClient::new(&config.transfer, policy).context("set up the media client")?,
            storage: Storage::open(config.storage()?)?,
        })
    }

    fn archiver(self, config: &Config, pool: &PgPool) -> Archiver {
        let lease = config.worker.lease;
        Archiver {
            queue: Queue::new(pool.clone(), self.project_id, holder(), lease),
            signalwire: self.signalwire,
            media: self.media,
            storage: self.storage,
            memory: MemoryBudget::new(config.transfer.buffer_bytes()),
            policy: Policy {
                max_attempts: config.worker.max_attempts,
                not_ready_deadline: config.worker.not_ready_deadline,
                accept_size: false,
            },
            breaker: Breaker::default(),
        }
    }
}

fn signalwire(config: &Config) -> anyhow::Result<SignalWire> {
    SignalWire::new(config.signalwire()?).context("set up the API client")
}

/// This process's name in `leased_by` and in the audit.
pub(super) fn holder() -> String {
    let host = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "unknown-host".to_owned());
    format!("{host}:{}", std::process::id())
}
