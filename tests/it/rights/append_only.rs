//! Ledger and audit as the service's role finds them: rows are added, dated by the server, and stay.

use recording_archiver::database::{Access, grant};
use sqlx::PgPool;
use sqlx::error::DatabaseError;

use super::roles::Role;
use crate::seed::{Seed, execute, migrated_database, refused};

async fn is_true(pool: &PgPool, condition: &'static str) -> bool {
    sqlx::query_scalar(condition).fetch_one(pool).await.unwrap()
}

async fn code_of(pool: &PgPool, statement: &str) -> String {
    let error = refused(pool, statement).await;
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.unwrap_or_default().into_owned()
}

#[tokio::test]
async fn observation_of_service_role_is_dated_by_the_server() {
    let database = migrated_database().await;
    let pool = database.pool();
    let role = Role::create(&pool).await;
    grant(&pool, Access::Service, role.name()).await.unwrap();
    let service = role.pool(&database);
    let seed = Seed {
        number: 1,
        ..Seed::default()
    };
    seed.insert(&pool).await;
    for (date, by, condition) in [
        ("2001-01-01", "archive", "observed_at = now"),
        ("2030-01-01", "discover", "observed_at = now"),
        ("infinity", "reprice", "observed_at = now"),
        ("2022-01-01", "rebuild", "observed_at = '2022-01-01'"),
        ("2030-01-01", "rebuild", "observed_at = now"),
        ("-infinity", "rebuild", "observed_at = now"),
    ] {
        let dated: bool = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "INSERT INTO archiver.cost_observations (recording_id, observed_at, cost_usd, observed_by)
             VALUES ($1, '{date}', 1, '{by}') RETURNING {condition}{}",
            if condition.ends_with("now") { "()" } else { "" },
        )))
        .bind(seed.id())
        .fetch_one(&service)
        .await
        .unwrap();
        assert!(dated, "{date} {by}");
    }
    // The owner restores a dump with its dates.
    execute(
        &pool,
        "INSERT INTO archiver.cost_observations (recording_id, observed_at, cost_usd, observed_by)
         SELECT recording_id, '2001-01-01', 2, 'archive' FROM archiver.recordings",
    )
    .await;
    let kept =
        "SELECT observed_at = '2001-01-01' FROM archiver.cost_observations WHERE cost_usd = 2";
    assert!(is_true(&pool, kept).await);
    service.close().await;
    role.drop(&pool).await;
}

#[tokio::test]
async fn finished_audit_row_is_final_for_every_role() {
    let database = migrated_database().await;
    let pool = database.pool();
    let role = Role::create(&pool).await;
    grant(&pool, Access::Service, role.name()).await.unwrap();
    let service = role.pool(&database);
    let seed = Seed {
        number: 1,
        archived: true,
        cost_usd: Some("0.05"),
        ..Seed::default()
    };
    seed.insert(&pool).await;
    execute(
        &service,
        "INSERT INTO archiver.retirements
             (recording_id, retired_by, object_url, size_bytes, sha256, evidence, cost_usd)
         SELECT recording_id, 'host:1', object_url, size_bytes, sha256, evidence, cost_usd
           FROM archiver.recordings",
    )
    .await;
    let retake = "UPDATE archiver.retirements SET begun_at = now(), retired_by = 'host:2'";
    execute(&service, retake).await;
    let finish = "UPDATE archiver.retirements SET outcome = 'deleted', ended_at = now()";
    execute(&service, finish).await;
    for statement in [
        retake,
        finish,
        "UPDATE archiver.retirements SET outcome = 'refused', reason = 'no'",
    ] {
        assert_eq!(code_of(&service, statement).await, "P0001", "{statement}");
        assert_eq!(code_of(&pool, statement).await, "P0001", "{statement}");
    }
    for statement in [
        "DELETE FROM archiver.retirements",
        "TRUNCATE archiver.retirements",
    ] {
        assert_eq!(code_of(&service, statement).await, "42501", "{statement}");
        assert_eq!(code_of(&pool, statement).await, "P0001", "{statement}");
    }
    for statement in [
        "UPDATE archiver.retirements SET recording_id = gen_random_uuid()",
        "INSERT INTO archiver.retirements
             (recording_id, begun_at, retired_by, object_url, size_bytes, sha256, evidence, cost_usd)
         SELECT recording_id, '2001-01-01', '', '', 0, '', '', 0 FROM archiver.recordings",
        "UPDATE archiver.cost_observations SET observed_at = now()",
        "DELETE FROM archiver.cost_observations",
    ] {
        assert_eq!(code_of(&service, statement).await, "42501", "{statement}");
    }
    service.close().await;
    role.drop(&pool).await;
}

/// A role of a version before has rights that this one does not give, and lacks what it does.
#[tokio::test]
async fn granting_again_narrows_what_was_granted_before() {
    let database = migrated_database().await;
    let pool = database.pool();
    for (access, before) in [
        (
            Access::Service,
            "GRANT INSERT ON archiver.cost_observations TO",
        ),
        (Access::Service, "GRANT UPDATE ON archiver.retirements TO"),
        (
            Access::Enqueue,
            "GRANT SELECT (recording_id) ON archiver.recordings TO",
        ),
    ] {
        let (fresh, former) = (Role::create(&pool).await, Role::create(&pool).await);
        execute(&pool, &format!("{before} {}", former.name())).await;
        for role in [&fresh, &former] {
            grant(&pool, access, role.name()).await.unwrap();
        }
        assert_eq!(
            super::roles::rights_of(&pool, former.name()).await,
            super::roles::rights_of(&pool, fresh.name()).await,
            "{before}"
        );
        fresh.drop(&pool).await;
        former.drop(&pool).await;
    }
}
