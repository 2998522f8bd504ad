//! The hosts of the database: which of them is acceptable now, and following it after a failover.

use std::str::FromStr;
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, PgPool};

use super::facts::Facts;
use super::pool::Watch;
use super::{DatabaseError, SLOW_STATEMENT, greet, place};
use crate::config::{DatabaseUrl, SessionTarget};

/// Without news of the pool, the host in use is checked this often.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// What the sessions are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Only a server that accepts writes will do.
    Write,
    /// A server that accepts writes is preferred: commands that mostly read may run on a standby.
    Read,
}

/// Every host, in the order in which they are tried.
#[derive(Debug, Clone)]
pub(super) struct Hosts {
    options: Vec<PgConnectOptions>,
    target: SessionTarget,
    intent: Intent,
    /// How many the pool may open there.
    connections: u32,
}

/// The chosen host, and a connection to it.
#[derive(Debug)]
pub(super) struct Greeted {
    pub(super) options: PgConnectOptions,
    pub(super) connection: PgConnection,
}

impl Hosts {
    pub(super) fn of_url(
        url: &DatabaseUrl,
        intent: Intent,
        connections: u32,
    ) -> Result<Self, DatabaseError> {
        let is_contradiction = intent == Intent::Write
            && matches!(url.target, SessionTarget::Standby | SessionTarget::ReadOnly);
        if is_contradiction {
            return Err(DatabaseError::OnlyReads);
        }
        let parsed = url
            .hosts
            .iter()
            .map(|url| PgConnectOptions::from_str(url.expose_secret()));
        let options: Vec<PgConnectOptions> = parsed
            .collect::<Result<_, _>>()
            .map_err(DatabaseError::Url)?;
        Ok(Self {
            options: options.into_iter().map(prepared).collect(),
            target: url.target,
            intent,
            connections,
        })
    }

    pub(super) fn of_one(options: PgConnectOptions, intent: Intent, connections: u32) -> Self {
        Self {
            options: vec![prepared(options)],
            target: SessionTarget::Any,
            intent,
            connections,
        }
    }

    /// The only host, if it is the only one.
    pub(super) fn only(&self) -> Option<&PgConnectOptions> {
        match &*self.options {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Connects to the first host that is acceptable.
    pub(super) async fn choose(&self) -> Result<Greeted, DatabaseError> {
        let mut failed = Vec::new();
        let mut second_choice = None;
        for options in &self.options {
            match self.greet(options).await {
                Ok((greeted, true)) => return Ok(greeted),
                Ok((greeted, false)) => {
                    second_choice.get_or_insert(greeted);
                }
                Err(error) => failed.push(error),
            }
        }
        match second_choice {
            Some(greeted) => Ok(greeted),
            None if failed.len() == 1 => Err(failed.remove(0)),
            None => Err(DatabaseError::NoHost(failed)),
        }
    }

    /// Connects to one host, and returns whether it is the first choice.
    async fn greet(&self, options: &PgConnectOptions) -> Result<(Greeted, bool), DatabaseError> {
        let (connection, facts) = greet(options, self.connections).await?;
        if self.intent == Intent::Write && facts.encoding != "UTF8" {
            drop(connection.close().await);
            return Err(DatabaseError::Encoding {
                place: place(options),
                encoding: facts.encoding,
            });
        }
        let is_preferred = match self.target {
            SessionTarget::PreferStandby if self.intent == Intent::Read => facts.is_standby,
            _ => !facts.is_read_only,
        };
        let is_acceptable = match (self.intent, self.target) {
            (Intent::Write, SessionTarget::Primary) => !facts.is_standby && !facts.is_read_only,
            (Intent::Write, _) | (Intent::Read, SessionTarget::ReadWrite) => !facts.is_read_only,
            (Intent::Read, SessionTarget::Primary) => !facts.is_standby,
            (Intent::Read, SessionTarget::Standby) => facts.is_standby,
            (Intent::Read, SessionTarget::ReadOnly) => facts.is_read_only,
            (Intent::Read, SessionTarget::Any | SessionTarget::PreferStandby) => true,
        };
        if !is_acceptable {
            let error = unacceptable(options, connection, &facts).await;
            return Err(error);
        }
        let options = options.clone();
        let greeted = Greeted {
            options,
            connection,
        };
        Ok((greeted, is_preferred))
    }

    /// Directs the pool to another host whenever the present one is no longer acceptable.
    pub(super) async fn follow(self, pool: PgPool, watch: Watch) {
        loop {
            drop(tokio::time::timeout(CHECK_EVERY, watch.trouble.notified()).await);
            if let Some(mut idle) = pool.try_acquire()
                && watch.is_usable(&mut idle).await
            {
                continue;
            }
            let Ok(greeted) = self.choose().await else {
                continue;
            };
            let (before, now) = (place(&pool.connect_options()), place(&greeted.options));
            if before != now {
                tracing::warn!("database host changed from {before} to {now}");
                pool.set_connect_options(greeted.options);
            }
            drop(greeted.connection.close().await);
        }
    }
}

async fn unacceptable(
    options: &PgConnectOptions,
    mut connection: PgConnection,
    facts: &Facts,
) -> DatabaseError {
    let reason = if facts.is_read_only {
        facts.why_read_only(&mut connection).await
    } else {
        "it accepts writes, which target_session_attrs excludes".to_owned()
    };
    drop(connection.close().await);
    let place = place(options);
    if facts.is_read_only {
        DatabaseError::ReadOnly { place, reason }
    } else {
        DatabaseError::NotTarget { place, reason }
    }
}

fn prepared(options: PgConnectOptions) -> PgConnectOptions {
    use sqlx::ConnectOptions;
    options
        .application_name("recording-archiver")
        // Poolers refuse start-up parameters that they do not know; floats come in binary.
        .extra_float_digits(None)
        // Whole statements in the log would hide what matters.
        .log_slow_statements(log::LevelFilter::Debug, SLOW_STATEMENT)
}
