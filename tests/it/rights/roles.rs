//! Roles that live as long as a test, and what each can do, computed by Postgres.

use sqlx::PgPool;
use uuid::Uuid;

use crate::harness::postgres::{TestDatabase, pool_with};
use crate::seed::execute;

/// A role of one test. Roles belong to the whole server, which other tests use too.
pub(super) struct Role(String);

impl Role {
    pub(super) async fn create(pool: &PgPool) -> Self {
        let name = format!("archiver_test_{}", Uuid::new_v4().simple());
        execute(pool, &format!("CREATE ROLE {name}")).await;
        Self(name)
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }

    /// Sessions with the rights of this role only.
    pub(super) fn pool(&self, database: &TestDatabase) -> PgPool {
        pool_with(database.options().options([("role", self.name())]))
    }

    pub(super) async fn drop(self, pool: &PgPool) {
        let name = self.0;
        execute(pool, &format!("DROP OWNED BY {name}; DROP ROLE {name}")).await;
    }
}

/// What a role can do in the schemas, one line an object: `archiver.attempts: SELECT, INSERT`. A
/// right on some columns only names them.
pub(super) async fn rights_of(pool: &PgPool, role: &str) -> Vec<String> {
    sqlx::query_scalar(
        "WITH ours AS (
             SELECT oid FROM pg_namespace WHERE nspname IN ('archiver', 'finance')
         ), held AS (
             SELECT 'schema ' || nspname AS object, privilege, place
               FROM pg_namespace,
                    unnest(ARRAY['USAGE', 'CREATE']) WITH ORDINALITY AS p(privilege, place)
              WHERE oid IN (SELECT oid FROM ours) AND has_schema_privilege($1, oid, privilege)
              UNION ALL
             SELECT c.oid::regclass::text,
                    CASE WHEN has_table_privilege($1, c.oid, privilege) THEN privilege
                         ELSE privilege || ' (' || columns || ')' END, place
               FROM pg_class c,
                    unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES',
                                 'TRIGGER']) WITH ORDINALITY AS p(privilege, place),
                    LATERAL (SELECT string_agg(attname, ', ' ORDER BY attnum) AS columns
                               FROM pg_attribute
                              WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
                                AND privilege NOT IN ('DELETE', 'TRUNCATE', 'TRIGGER')
                                AND has_column_privilege($1, c.oid, attnum,
                                        CASE WHEN privilege IN ('DELETE', 'TRUNCATE', 'TRIGGER')
                                             THEN 'SELECT' ELSE privilege END)) named
              WHERE relnamespace IN (SELECT oid FROM ours) AND relkind IN ('r', 'p', 'v', 'm', 'f')
                AND (has_table_privilege($1, c.oid, privilege) OR columns IS NOT NULL)
              UNION ALL
             SELECT c.oid::regclass::text, privilege, place
               FROM pg_class c,
                    unnest(ARRAY['USAGE', 'SELECT', 'UPDATE']) WITH ORDINALITY AS p(privilege, place)
              WHERE relnamespace IN (SELECT oid FROM ours) AND relkind = 'S'
                AND has_sequence_privilege($1, c.oid, privilege)
              UNION ALL
             SELECT oid::regprocedure::text, 'EXECUTE', 1 FROM pg_proc
              WHERE pronamespace IN (SELECT oid FROM ours)
                AND has_function_privilege($1, oid, 'EXECUTE')
         )
         SELECT object || ': ' || string_agg(privilege, ', ' ORDER BY place)
           FROM held GROUP BY object ORDER BY object COLLATE \"C\"",
    )
    .bind(role)
    .fetch_all(pool)
    .await
    .unwrap()
}
