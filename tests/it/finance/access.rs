//! `migrate --grant-finance ROLE`: the views and nothing else.

use recording_archiver::cli::report::CostsOutput;
use recording_archiver::database::{Access, grant};
use recording_archiver::finance::report::Grouping;
use sqlx::error::DatabaseError;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use super::report;
use crate::seed::{Seed, execute, migrated_database, refused};

/// A pool whose sessions have the rights of `role` only.
async fn pool_as(pool: &PgPool, role: &str) -> PgPool {
    let set_role = format!("SET ROLE \"{}\"", role.replace('"', "\"\""));
    PgPoolOptions::new()
        .max_connections(1)
        .after_connect(move |connection, _| {
            let set_role = AssertSqlSafe(set_role.clone());
            Box::pin(async move { sqlx::query(set_role).execute(connection).await.map(drop) })
        })
        .connect_with((*pool.connect_options()).clone())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_granted_role_reads_every_view_and_no_table() {
    let database = migrated_database().await;
    let pool = database.pool();
    let started_at = Some("2026-01-15T12:00:00Z");
    Seed {
        number: 1,
        started_at,
        cost_usd: Some("0.05"),
        ..Seed::default()
    }
    .insert(&pool)
    .await;
    // A name that needs quoting, and would do harm without.
    let role = format!("a\"; DROP SCHEMA finance; {}", Uuid::new_v4().simple());
    let quoted = format!("\"{}\"", role.replace('"', "\"\""));
    execute(&pool, &format!("CREATE ROLE {quoted}")).await;

    let reader = pool_as(&pool, &role).await;
    refused(&reader, "SELECT FROM finance.recordings").await;
    grant(&pool, Access::Finance, &role).await.unwrap();
    grant(&pool, Access::Finance, &role)
        .await
        .expect("granting again changes nothing");

    for view in [
        "recordings",
        "monthly_costs",
        "session_costs",
        "cost_changes",
    ] {
        execute(&reader, &format!("SELECT * FROM finance.{view}")).await;
    }
    let csv = report(&reader, Grouping::Month, CostsOutput::Csv).await;
    assert!(csv.contains("2026-01-01,,1,0,,,0.05,1,0"), "{csv}");
    report(&reader, Grouping::Session, CostsOutput::Table).await;

    for statement in [
        "SELECT FROM archiver.recordings",
        "SELECT FROM archiver.cost_observations",
        "SELECT FROM archiver.projects",
        "INSERT INTO archiver.recordings (recording_id) VALUES (gen_random_uuid())",
        "CREATE TABLE finance.mine ()",
    ] {
        let error = refused(&reader, statement).await;
        let code = error.as_database_error().and_then(DatabaseError::code);
        assert_eq!(code.as_deref(), Some("42501"), "{statement}: {error}");
    }
    // A view over one table is open to writing unless that is refused.
    for statement in [
        "DELETE FROM finance.recordings",
        "UPDATE finance.recordings SET cost_usd = 0",
    ] {
        refused(&reader, statement).await;
    }
    let rights: Vec<String> = sqlx::query_scalar(
        "SELECT held FROM
             (SELECT c.oid::regclass || ' ' || privilege_type AS held, grantee
                FROM pg_class c, aclexplode(relacl)
              UNION ALL
              SELECT nspname || ' ' || privilege_type, grantee
                FROM pg_namespace, aclexplode(nspacl)) rights
          WHERE grantee = (SELECT oid FROM pg_roles WHERE rolname = $1)
          ORDER BY held COLLATE \"C\"",
    )
    .bind(&role)
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(
        rights,
        [
            "finance USAGE",
            "finance.cost_changes SELECT",
            "finance.monthly_changes SELECT",
            "finance.monthly_costs SELECT",
            "finance.not_archived SELECT",
            "finance.provisional_costs SELECT",
            "finance.recordings SELECT",
            "finance.session_costs SELECT",
            "finance.unit_costs SELECT",
        ]
    );
    reader.close().await;
    execute(
        &pool,
        &format!("DROP OWNED BY {quoted}; DROP ROLE {quoted}"),
    )
    .await;
}

#[tokio::test]
async fn a_missing_role_is_refused_with_the_statement_that_creates_it() {
    let database = migrated_database().await;
    let pool = database.pool();
    let role = format!("no \"such\" role {}", Uuid::new_v4());
    let error = grant(&pool, Access::Finance, &role)
        .await
        .unwrap_err()
        .to_string();
    let cure = format!("`CREATE ROLE \"{}\" LOGIN`", role.replace('"', "\"\""));
    assert!(error.contains(&cure), "{error}");
    // PUBLIC is a word of SQL, not a role: it would open the views to everybody.
    assert!(grant(&pool, Access::Finance, "public").await.is_err());
}
