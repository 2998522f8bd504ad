//! A role of `migrate --grant-enqueue` gets no further: nothing it writes runs as the owner.

use recording_archiver::database::{Access, grant};
use sqlx::error::DatabaseError;
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use uuid::Uuid;

use super::roles::Role;
use crate::seed::migrated_database;

/// Runs a statement; the SQLSTATE if it is refused.
async fn attempt(connection: &mut PgConnection, statement: &str) -> Result<(), String> {
    let run = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(connection)
        .await;
    run.map(drop).map_err(|error| {
        let code = error.as_database_error().and_then(DatabaseError::code);
        code.unwrap_or_default().into_owned()
    })
}

async fn number(pool: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}

/// A table of the role's own may have a column whose cast is the role's code, and a trigger whose
/// function is the owner's: the cast must not run as the owner.
#[tokio::test]
async fn temp_table_with_owner_trigger_is_refused() {
    let database = migrated_database().await;
    let pool = database.pool();
    let role = Role::create(&pool).await;
    grant(&pool, Access::Enqueue, role.name()).await.unwrap();
    let webhook = role.pool(&database);
    let mut session = webhook.acquire().await.unwrap();
    let prepared = attempt(
        &mut session,
        "CREATE TEMP TABLE seen (who text);
         CREATE TYPE pg_temp.month AS (day text);
         CREATE FUNCTION pg_temp.as_date(pg_temp.month) RETURNS date LANGUAGE plpgsql AS $$
         BEGIN
             INSERT INTO pg_temp.seen VALUES (current_user);
             RETURN '2022-01-01';
         END $$;
         CREATE CAST (pg_temp.month AS date) WITH FUNCTION pg_temp.as_date(pg_temp.month)
             AS ASSIGNMENT;
         CREATE TEMP TABLE forged (recording_id uuid, state text, project_id text,
             billing_month pg_temp.month, started_at timestamptz, duration_secs bigint,
             size_bytes bigint, cost_usd numeric, recording_status text,
             cost_observed_at timestamptz, cost_changed_at timestamptz,
             source_deleted_at timestamptz, verified_at timestamptz, final_after interval);",
    )
    .await;
    assert_eq!(prepared, Ok(()));

    let functions: Vec<(String,)> = sqlx::query_as(
        "SELECT oid::regproc::text FROM pg_proc
          WHERE pronamespace IN ('archiver'::regnamespace, 'finance'::regnamespace)
            AND prorettype = 'trigger'::regtype ORDER BY 1",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert!(functions.len() >= 2, "{functions:?}");
    let mut taken = Vec::new();
    for (function,) in functions {
        for (event, level, new_table) in [
            (
                "AFTER INSERT",
                "STATEMENT",
                "REFERENCING NEW TABLE AS new_rows",
            ),
            ("AFTER INSERT OR UPDATE OR DELETE", "ROW", ""),
            ("BEFORE INSERT OR UPDATE OR DELETE", "ROW", ""),
        ] {
            let trigger = format!(
                "CREATE TRIGGER forged {event} ON forged {new_table}
                 FOR EACH {level} EXECUTE FUNCTION {function}()"
            );
            let created = attempt(&mut session, &trigger).await;
            if created == Err("42501".to_owned()) {
                continue;
            }
            // What it comes to.
            for statement in [
                "INSERT INTO forged (state, billing_month, cost_usd, final_after)
                 VALUES ('archived', row('x')::pg_temp.month, 1000000, '1 day')",
                "UPDATE forged SET final_after = '2 days', cost_usd = 2000000",
                "DROP TRIGGER IF EXISTS forged ON forged",
            ] {
                drop(attempt(&mut session, statement).await);
            }
            taken.push((trigger, created));
        }
    }
    let seen: Vec<String> = sqlx::query_scalar("SELECT who FROM pg_temp.seen")
        .fetch_all(&mut *session)
        .await
        .unwrap();
    assert_eq!(seen, Vec::<String>::new());
    // Here rather than when the session ends, which the role's removal would race with.
    assert_eq!(attempt(&mut session, "DISCARD TEMP").await, Ok(()));
    drop(session);
    assert_eq!(
        number(&pool, "SELECT count(*) FROM finance.monthly_costs").await,
        0
    );
    assert_eq!(taken, Vec::new());
    webhook.close().await;
    role.drop(&pool).await;
}

/// A row of such a function on the list needs a reason there.
const EXECUTABLE_DEFINERS: [(&str, &str); 0] = [];

#[tokio::test]
async fn no_security_definer_function_is_executable_by_others() {
    let database = migrated_database().await;
    let pool = database.pool();
    let granted = [Access::Service, Access::Enqueue, Access::Finance];
    let mut roles = Vec::new();
    for access in granted {
        let role = Role::create(&pool).await;
        grant(&pool, access, role.name()).await.unwrap();
        roles.push(role);
    }
    let names: Vec<&str> = roles.iter().map(Role::name).chain(["public"]).collect();
    let open: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT p.oid::regprocedure::text
           FROM pg_proc p, unnest($1::text[]) AS role(name)
          WHERE p.pronamespace IN ('archiver'::regnamespace, 'finance'::regnamespace)
            AND p.prosecdef AND has_function_privilege(role.name, p.oid, 'EXECUTE')",
    )
    .bind(&names)
    .fetch_all(&pool)
    .await
    .unwrap();
    let listed: Vec<&str> = EXECUTABLE_DEFINERS.iter().map(|(name, _)| *name).collect();
    assert_eq!(open, listed);
    // Whatever a role could name, its definer looks only where it says.
    let unpinned: Vec<String> = sqlx::query_scalar(
        "SELECT oid::regprocedure::text FROM pg_proc
          WHERE pronamespace IN ('archiver'::regnamespace, 'finance'::regnamespace)
            AND prosecdef AND NOT ('search_path=pg_catalog, pg_temp' = ANY (proconfig)) IS TRUE",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(unpinned, Vec::<String>::new());
    for role in roles {
        role.drop(&pool).await;
    }
}

/// A migration that adds a function revokes it from PUBLIC, and `grants.rs` names who needs it.
#[tokio::test]
async fn no_function_is_executable_by_public() {
    let database = migrated_database().await;
    let open: Vec<String> = sqlx::query_scalar(
        "SELECT oid::regprocedure::text FROM pg_proc
          WHERE pronamespace IN ('archiver'::regnamespace, 'finance'::regnamespace)
            AND has_function_privilege('public', oid, 'EXECUTE') ORDER BY 1",
    )
    .fetch_all(&database.pool())
    .await
    .unwrap();
    assert_eq!(open, Vec::<String>::new());
}

#[tokio::test]
async fn revoked_execute_leaves_enqueueing_whole() {
    let database = migrated_database().await;
    let pool = database.pool();
    let role = Role::create(&pool).await;
    grant(&pool, Access::Enqueue, role.name()).await.unwrap();
    let webhook = role.pool(&database);
    for _ in 0..2 {
        sqlx::query(
            "INSERT INTO archiver.recordings (recording_id) VALUES ($1) ON CONFLICT DO NOTHING",
        )
        .bind(Uuid::from_u128(1))
        .execute(&webhook)
        .await
        .unwrap();
    }
    let counted = "SELECT sum(recordings)::bigint FROM finance.monthly_costs";
    assert_eq!(number(&pool, counted).await, 1);
    webhook.close().await;
    role.drop(&pool).await;
}
