//! Facts that a server reports right after connecting.

use sqlx::{Executor, PgConnection, Row};

/// Decides whether the server can be used.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) is_standby: bool,
    /// A standby, or a primary whose transactions are read-only by default.
    pub(super) is_read_only: bool,
    pub(super) encoding: String,
}

impl Facts {
    pub(super) async fn of(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let query = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on', \
                            current_setting('server_encoding')";
        let row = connection.fetch_one(query).await?;
        Ok(Self {
            is_standby: row.try_get(0)?,
            is_read_only: row.try_get(1)?,
            encoding: row.try_get(2)?,
        })
    }

    /// Says why, and what helps.
    pub(super) async fn why_read_only(&self, connection: &mut PgConnection) -> String {
        if self.is_standby {
            return "it is a standby; name the primary, or all hosts, in database.url".to_owned();
        }
        let query = "SELECT source FROM pg_settings WHERE name = 'default_transaction_read_only'";
        let row = connection.fetch_one(query).await;
        let source: String = row
            .and_then(|row| row.try_get(0))
            .unwrap_or_else(|_| "unknown".to_owned());
        format!(
            "default_transaction_read_only is on (set by: {source}); \
             reset it when writes are wanted again"
        )
    }
}
