//! How the schema comes up to date.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, Migrator};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, SqlSafeStr};

use super::schema::{SchemaVersion, schema_version};
use super::{DatabaseError, greet};

pub(super) static MIGRATOR: Migrator = sqlx::migrate!();

/// Others may be migrating: they get this long.
const MIGRATION_TIMEOUT: Duration = Duration::from_mins(5);
const MIGRATION_POLL: Duration = Duration::from_millis(200);
/// Where sqlx notes what was applied.
const SCHEMA: &str = "archiver";
/// The statements that create the schemas. They need `CREATE` on the database, even where the schema
/// exists.
const CREATE_SCHEMAS: [(&str, &str); 2] = [
    (SCHEMA, "CREATE SCHEMA IF NOT EXISTS archiver;"),
    ("finance", "CREATE SCHEMA finance;"),
];
const MIGRATIONS_TABLE: &str = "archiver._sqlx_migrations";
/// Key of the advisory lock that migrations hold (the bytes of "recarch1").
const MIGRATION_LOCK: i64 = i64::from_be_bytes(*b"recarch1");

/// Brings the schema up to date. Processes that start at once wait for each other. A schema that a later
/// version has changed is left as it is, if this program works on it.
pub async fn migrate(pool: &PgPool) -> Result<(), DatabaseError> {
    match schema_version(pool).await {
        Ok(SchemaVersion::Current) => return Ok(()),
        Ok(SchemaVersion::Newer { applied }) => {
            tracing::info!(applied, "schema is newer than this program, and compatible");
            return Ok(());
        }
        Ok(unusable @ (SchemaVersion::TooNew { .. } | SchemaVersion::Altered { .. })) => {
            return unusable.demand_usable();
        }
        // The migration says what is wrong.
        Ok(SchemaVersion::Missing | SchemaVersion::Older { .. }) | Err(_) => {}
    }
    let options = pool.connect_options();
    // A connection of its own: the lock must go with it, whatever happens, and building an index
    // takes longer than the pool's statements may.
    let (mut connection, _) = greet(&options, pool.options().get_max_connections()).await?;
    let result = migrate_locked(&mut connection).await;
    drop(connection.close().await);
    result
}

async fn migrate_locked(connection: &mut PgConnection) -> Result<(), DatabaseError> {
    // Polled, because a waiting lock call would block an index that is built concurrently.
    let locked = async {
        loop {
            let got: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
                .bind(MIGRATION_LOCK)
                .fetch_one(&mut *connection)
                .await
                .map_err(|source| DatabaseError::Unreachable {
                    place: "the database".to_owned(),
                    source,
                })?;
            if got {
                return Ok::<(), DatabaseError>(());
            }
            tokio::time::sleep(MIGRATION_POLL).await;
        }
    };
    tokio::time::timeout(MIGRATION_TIMEOUT, locked)
        .await
        .map_err(|_| DatabaseError::MigrationLocked(MIGRATION_TIMEOUT))??;
    let result = run(&mut *connection).await;
    // Behind a pooler the session outlives this connection, and the lock with it.
    drop(
        sqlx::query("SELECT pg_advisory_unlock($1)")
            .bind(MIGRATION_LOCK)
            .execute(connection)
            .await,
    );
    result.map_err(|error| match error {
        MigrateError::VersionMissing(version) => DatabaseError::Newer(version),
        MigrateError::VersionMismatch(version) => DatabaseError::Altered(version),
        error if is_forbidden(&error) => DatabaseError::MayNotMigrate(error),
        error => DatabaseError::Migrate(error),
    })
}

/// Runs what is not applied yet. A schema that an administrator has created is used as it is.
async fn run(connection: &mut PgConnection) -> Result<(), MigrateError> {
    let existing: Vec<String> =
        sqlx::query_scalar("SELECT nspname::text FROM pg_catalog.pg_namespace")
            .fetch_all(&mut *connection)
            .await?;
    let exists = |schema: &str| existing.iter().any(|it| it == schema);
    let without_creating = |migration: &Migration| {
        let mut sql = migration.sql.as_str().to_owned();
        for (schema, statement) in CREATE_SCHEMAS {
            if exists(schema) {
                sql = sql.replace(statement, "");
            }
        }
        // The checksum stays that of the file.
        Migration {
            sql: AssertSqlSafe(sql).into_sql_str(),
            ..migration.clone()
        }
    };
    let migrations = MIGRATOR.iter().map(without_creating).collect();
    let mut migrator = Migrator::with_migrations(migrations);
    // Held by the caller.
    migrator.set_locking(false);
    // In our own schema: others may share the database, and keep a table of that name too.
    if !exists(SCHEMA) {
        migrator.create_schema(SCHEMA);
    }
    migrator.dangerous_set_table_name(MIGRATIONS_TABLE);
    migrator.run_direct(None, connection, false).await
}

/// Whether the role lacks a right (`insufficient_privilege`).
fn is_forbidden(error: &MigrateError) -> bool {
    let (MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _)) = error else {
        return false;
    };
    let code = source
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    code.as_deref() == Some("42501")
}
