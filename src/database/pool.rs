//! The pool, and the watch over its sessions: one that is broken, or that no longer accepts writes, is
//! closed instead of being used again.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Executor, PgConnection, PgPool, Row};
use tokio::sync::Notify;

use super::hosts::Intent;
use super::session;

/// Waiting for a free connection longer than this means that something is stuck.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that was used within this time is taken to be alive.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// A connection that does not answer within this time is dead.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Decides whether a session may be used again.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    intent: Intent,
    /// Notified of each session that may not.
    pub(super) trouble: Arc<Notify>,
}

impl Watch {
    pub(super) fn new(intent: Intent) -> Self {
        Self {
            intent,
            trouble: Arc::default(),
        }
    }

    /// Asks the server. Errors are only debug lines: they show again, and are reported, when a new
    /// connection fails.
    pub(super) async fn is_usable(&self, connection: &mut PgConnection) -> bool {
        let asked = connection.fetch_one("SHOW transaction_read_only");
        let reason = match tokio::time::timeout(ANSWERS_WITHIN, asked).await {
            Ok(Ok(row)) => match row.try_get::<&str, _>(0) {
                Ok("on") if self.intent == Intent::Write => "it is read-only".to_owned(),
                _ => return true,
            },
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it does not answer".to_owned(),
        };
        tracing::debug!("closing a database session: {reason}");
        self.trouble.notify_one();
        false
    }
}

/// Connects to `options` at once, and later to whatever the pool is directed to.
pub(super) async fn connect(
    options: PgConnectOptions,
    connections: u32,
    watch: &Watch,
) -> Result<PgPool, sqlx::Error> {
    let (before, after, fresh) = (watch.clone(), watch.clone(), watch.clone());
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A ping before every statement would double the round trips of a busy queue.
        .test_before_acquire(false)
        // Neither hook returns an error: the driver would log each one.
        .before_acquire(move |connection, idle| {
            let watch = before.clone();
            Box::pin(async move {
                Ok(idle.idle_for <= TRUSTED_FOR || watch.is_usable(connection).await)
            })
        })
        // The pool's own ping at this point would wait indefinitely where the network is gone.
        .after_release(move |connection, _| {
            let watch = after.clone();
            Box::pin(async move { Ok(watch.is_usable(connection).await) })
        })
        .after_connect(move |connection, _| {
            let watch = fresh.clone();
            Box::pin(async move {
                session::prepare_pooled(connection).await?;
                // A read-only session is handed out all the same: the first write says what is wrong,
                // where an error here would only make the pool try again until its time is up.
                watch.is_usable(connection).await;
                Ok(())
            })
        })
        .connect_with(options)
        .await
}
