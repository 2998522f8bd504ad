//! A server on which PUBLIC has no rights, and schemas that an administrator has created.

use recording_archiver::database::{Access, grant, migrate, missing_rights};
use recording_archiver::simulator::SimulatedRecording;
use uuid::Uuid;

use super::roles::Role;
use crate::harness::binary::Binary;
use crate::harness::postgres::database;
use crate::harness::world::World;
use crate::seed::{execute, refused};

#[tokio::test]
async fn migrate_uses_schemas_that_exist_without_create_on_the_database() {
    let database = database().await;
    let admin = database.pool();
    let (owner, service) = (Role::create(&admin).await, Role::create(&admin).await);
    let name = database.options().get_database().unwrap().to_owned();
    let owner_name = owner.name();
    execute(
        &admin,
        &format!(
            "REVOKE CREATE, TEMPORARY ON DATABASE {name} FROM PUBLIC;
             REVOKE ALL ON SCHEMA public FROM PUBLIC;
             ALTER DEFAULT PRIVILEGES FOR ROLE {owner_name} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
             CREATE SCHEMA archiver AUTHORIZATION {owner_name};
             CREATE SCHEMA finance AUTHORIZATION {owner_name};"
        ),
    )
    .await;
    let pool = owner.pool(&database);
    refused(&pool, "CREATE SCHEMA other").await;
    for _ in 0..2 {
        migrate(&pool).await.unwrap();
    }
    grant(&pool, Access::Service, service.name()).await.unwrap();
    let serving = service.pool(&database);
    let missing = missing_rights(&serving).await.unwrap().unwrap();
    let temporary = format!("GRANT TEMPORARY ON DATABASE {name} TO {};", service.name());
    assert_eq!(missing.grants, [temporary]);
    pool.close().await;
    serving.close().await;
    service.drop(&admin).await;
    owner.drop(&admin).await;
}

/// Each statement that `doctor` prints under its finding.
fn grants_of(stdout: &str) -> Vec<String> {
    let lines = stdout.lines().map(str::trim);
    lines
        .filter(|line| line.starts_with("GRANT "))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn doctor_names_missing_rights_with_the_statements_that_grant_them() {
    let world = World::local().await;
    let role = Role::create(&world.pool).await;
    let mut url: url::Url = world.database_url().parse().unwrap();
    let option = format!("-c role={}", role.name());
    url.query_pairs_mut().append_pair("options", &option);
    let binary = Binary::of(&world).with("DATABASE_URL", url.as_str());
    let name = url.path().trim_start_matches('/').to_owned();
    let revoke = format!("REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC");
    execute(&world.pool, &revoke).await;

    let ended = binary.run(&["doctor"]).await.demand_code(1);
    let all = grants_of(&ended.stdout);
    let fix = format!(
        "`recording-archiver migrate --grant-service {}`",
        role.name()
    );
    ended.demand_output(&["BAD   database", "lacks rights", &fix]);
    for statement in &all {
        execute(&world.pool, statement).await;
    }
    let ended = binary.run(&["doctor"]).await.demand_code(0);
    assert_eq!(grants_of(&ended.stdout), Vec::<String>::new());

    for (revoked, granted) in [
        (
            "UPDATE ON archiver.attempts",
            "GRANT INSERT, UPDATE ON archiver.attempts TO",
        ),
        (
            "EXECUTE ON FUNCTION archiver.coverage(interval)",
            "GRANT EXECUTE ON FUNCTION archiver.coverage(interval) TO",
        ),
        (
            "USAGE ON SCHEMA finance",
            "GRANT USAGE ON SCHEMA finance TO",
        ),
        (
            "UPDATE (reason) ON archiver.retirements",
            "GRANT UPDATE (begun_at, ended_at,",
        ),
    ] {
        let revoke = format!("REVOKE {revoked} FROM {}", role.name());
        execute(&world.pool, &revoke).await;
        let ended = binary.run(&["doctor"]).await.demand_code(1);
        let found = grants_of(&ended.stdout);
        assert_eq!(found.len(), 1, "{ended:?}");
        assert!(found[0].starts_with(granted), "{found:?}");
        execute(&world.pool, &found[0]).await;
    }
    role.drop(&world.pool).await;
}

#[tokio::test]
async fn service_role_of_a_hardened_server_runs_every_command() {
    let world = World::local().await;
    let id = Uuid::from_u128(7);
    world.add(SimulatedRecording::new(id, 1000)).await;
    let name = world.database_url();
    let name = name.split('?').next().unwrap().rsplit('/').next().unwrap();
    execute(
        &world.pool,
        &format!(
            "REVOKE TEMPORARY, CREATE ON DATABASE {name} FROM PUBLIC;
             REVOKE ALL ON SCHEMA public FROM PUBLIC;
             GRANT TEMPORARY ON DATABASE {name} TO archiver_test_service;"
        ),
    )
    .await;
    let binary = Binary::of(&world);
    let id = id.to_string();
    for command in [
        &["doctor"][..],
        &["discover"],
        &["run", "--once"],
        &["archive", "--id", &id],
        &["enqueue", "--id", &id],
        &["retry", "--failed"],
        &["status"],
        &["status", "--id", &id],
        &["verify"],
        &["reprice"],
        &["sweep"],
        &["reconcile"],
        &["rebuild"],
        &["report", "costs"],
        &["report", "changes", "--month", "2026-01"],
    ] {
        let ended = binary.run(command).await;
        assert!(!ended.stderr.contains("permission denied"), "{ended:?}");
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}
