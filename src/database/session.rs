//! Session settings. A database, a role or `database.url` may have defaults of their own, so each
//! session sets what the program relies on. Set after connecting, because poolers refuse unknown
//! start-up parameters.

use sqlx::{Executor, PgConnection};

/// Settings of every session. Whether a session may write is not among them: an operator who made
/// the database read-only, for a migration to another host for example, is not overruled.
///
/// `default_transaction_*`: the fenced statements rely on READ COMMITTED, where a concurrent change
/// is seen instead of being an error.
///
/// Formats, `search_path`, `standard_conforming_strings`: decide what a statement means and how a
/// value is written as text. All are Postgres' own defaults: a pooler in transaction mode, before it
/// is recognized and refused, would pass them on to others.
///
/// Time limits: a long migration must not be ended by the default of a role. `exit_on_error` would
/// end the session with any error. `client_min_messages`: statements with their values, logged by
/// the server, stay out of our log.
const EVERY_SESSION: &str = "SET default_transaction_isolation = 'read committed'; \
     SET default_transaction_deferrable = off; \
     SET search_path = \"$user\", public; \
     SET standard_conforming_strings = on; \
     SET client_encoding = 'UTF8'; \
     SET TIME ZONE 'UTC'; \
     SET DateStyle = 'ISO, MDY'; \
     SET IntervalStyle = 'postgres'; \
     SET bytea_output = 'hex'; \
     SET extra_float_digits = 1; \
     SET array_nulls = on; \
     SET transform_null_equals = off; \
     SET quote_all_identifiers = off; \
     SET row_security = on; \
     SET exit_on_error = off; \
     SET client_min_messages = 'notice'; \
     SET statement_timeout = 0; \
     SET lock_timeout = 0; \
     SET idle_in_transaction_session_timeout = 0; ";

/// Settings that not every server or role may set: newer ones; `synchronous_commit`, whose other
/// values promise at least a flush to the server's own disk, without which an archived recording
/// may be forgotten; and `session_replication_role`, without which no trigger keeps the sums.
const WHERE_NEEDED: &str = "SELECT set_config(name, value, false) \
       FROM (VALUES ('idle_session_timeout', '0', NULL), \
                    ('transaction_timeout', '0', NULL), \
                    ('restrict_nonsystem_relation_kind', '', NULL), \
                    ('synchronous_commit', 'on', 'off'), \
                    ('session_replication_role', 'origin', 'replica')) AS s (name, value, unless) \
      WHERE CASE WHEN unless IS NULL THEN current_setting(name, true) IS NOT NULL \
                 ELSE current_setting(name) = unless END";

/// Settings of the pool's sessions: no statement and no idle transaction lasts indefinitely, and the
/// server notices a client that vanished.
const POOLED: &str = "SET statement_timeout = '30s'; \
     SET lock_timeout = '10s'; \
     SET idle_in_transaction_session_timeout = '60s'";

/// Prepares a session that runs statements of any length.
pub(super) async fn prepare(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    connection.execute(EVERY_SESSION).await?;
    connection.execute(WHERE_NEEDED).await?;
    Ok(())
}

/// Prepares a session of the pool.
pub(super) async fn prepare_pooled(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    prepare(connection).await?;
    connection.execute(POOLED).await?;
    Ok(())
}
