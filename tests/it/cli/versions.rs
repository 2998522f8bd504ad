//! Programs of other versions than the schema: upgrading and going back.

use recording_archiver::simulator::SimulatedRecording;
use uuid::Uuid;

use crate::harness::binary::Binary;
use crate::harness::postgres::database;
use crate::harness::world::World;
use crate::seed::execute;

const WORKING: [&[&str]; 5] = [
    &["enqueue", "--id", ID],
    &["discover"],
    &["archive", "--id", ID],
    &["run", "--once"],
    &["verify"],
];
const LOOKING: [&[&str]; 3] = [&["status"], &["report", "costs"], &["reconcile"]];
const ID: &str = "c22d24f6-5a47-4597-9a23-c7d01e696b92";

async fn world_with_recording() -> World {
    let world = World::local().await;
    let id: Uuid = ID.parse().unwrap();
    world.add(SimulatedRecording::new(id, 1000)).await;
    world
}

/// Takes the schema back to before its last migration, which adds a view alone.
async fn set_back(world: &World) {
    execute(
        &world.pool,
        "DROP VIEW archiver.oldest_program;
         DELETE FROM archiver._sqlx_migrations
          WHERE version = (SELECT max(version) FROM archiver._sqlx_migrations)",
    )
    .await;
}

async fn migrations(world: &World) -> i64 {
    let count = "SELECT count(*) FROM archiver._sqlx_migrations";
    world.number(count).await
}

#[tokio::test]
async fn older_schema_is_changed_by_migrate_and_the_service_only() {
    let world = world_with_recording().await;
    let binary = Binary::of(&world).with("DATABASE_URL", world.database_url());
    let all = migrations(&world).await;
    for upgrade in [&["migrate"][..], &["run", "--once"]] {
        set_back(&world).await;
        for command in WORKING.iter().chain(&LOOKING).filter(|it| it[0] != "run") {
            let ended = binary.run(command).await.demand_code(2);
            ended.demand_error(&["older than this program", "`recording-archiver migrate`"]);
        }
        let doctor = binary.run(&["doctor"]).await;
        doctor.demand_output(&["schema of an older version", "`migrate`"]);
        assert_eq!(migrations(&world).await, all - 1);
        binary.run(upgrade).await.demand_code(0);
        assert_eq!(migrations(&world).await, all);
    }
}

#[tokio::test]
async fn newer_schema_is_used_while_it_tolerates_this_program() {
    let world = world_with_recording().await;
    let binary = Binary::of(&world);
    execute(
        &world.pool,
        "ALTER TABLE archiver.recordings ADD COLUMN future text NOT NULL DEFAULT 'x';
         CREATE TABLE archiver.future (id bigint);
         INSERT INTO archiver._sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'future', true, '\\x00', 0)",
    )
    .await;
    for command in WORKING.iter().chain(&LOOKING) {
        binary.run(command).await.demand_code(0);
    }
    binary.run(&["migrate"]).await.demand_code(0);
    let doctor = binary.run(&["doctor"]).await;
    doctor.demand_output(&["schema of a newer version (migration 9999), compatible"]);

    execute(
        &world.pool,
        "CREATE OR REPLACE VIEW archiver.oldest_program AS SELECT 9999::bigint AS migration",
    )
    .await;
    for command in WORKING.iter().chain(&LOOKING).chain(&[&["migrate"][..]]) {
        let ended = binary.run(command).await.demand_code(2);
        ended.demand_error(&["migration 9999", "upgrade recording-archiver"]);
    }
    let doctor = binary.run(&["doctor"]).await.demand_code(1);
    doctor.demand_output(&["migration 9999", "upgrade recording-archiver"]);
}

#[tokio::test]
async fn altered_migration_is_named() {
    let world = world_with_recording().await;
    let alter = "UPDATE archiver._sqlx_migrations SET checksum = '\\x00' WHERE version = 3";
    execute(&world.pool, alter).await;
    for command in WORKING.iter().chain(&LOOKING).chain(&[&["migrate"][..]]) {
        let ended = Binary::of(&world).run(command).await.demand_code(2);
        ended.demand_error(&["migration 3 was applied with other contents"]);
    }
}

#[tokio::test]
async fn commands_that_look_name_migrate_where_no_schema_is() {
    let empty = database().await;
    let binary = Binary::unconfigured().with("DATABASE_URL", empty.url());
    for command in [&["status"][..], &["report", "costs"]] {
        let ended = binary.run(command).await.demand_code(2);
        ended.demand_error(&["no schema yet", "`recording-archiver migrate`"]);
    }
}
