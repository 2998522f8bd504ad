//! Trouble of the database right at the start of the service, which time or an administrator cures.

use recording_archiver::database::migrate;
use recording_archiver::simulator::SimulatedRecording;
use url::Url;
use uuid::Uuid;

use super::limits::LimitedRole;
use crate::cli::{end, get};
use crate::harness::binary::{Binary, Running};
use crate::harness::eventually;
use crate::harness::world::World;
use crate::seed::execute;

async fn add(world: &World) -> Uuid {
    let recording = SimulatedRecording::new(Uuid::new_v4(), 1000);
    world.add(recording).await
}

/// Waits until the service says on its port and in its log why it waits.
async fn waits(daemon: &Running, cause: &str) {
    daemon.demand_log("waiting for the database").await;
    let ready = format!("{}/readyz", daemon.http().await);
    eventually("it says why it is not ready", || async {
        let (status, text) = get(&ready).await?;
        assert_eq!(status, 503, "{text}");
        text.contains(cause).then_some(())
    })
    .await;
}

async fn archives(world: &World, id: Uuid, daemon: Running) {
    eventually("it is archived", || async {
        (world.row(id).await.state == "archived").then_some(())
    })
    .await;
    let log = end(daemon).await;
    assert_eq!(log.matches("waiting for the database").count(), 1, "{log}");
}

#[tokio::test]
async fn service_waits_for_a_role_that_may_not_log_in() {
    let world = World::local().await;
    let id = add(&world).await;
    let role = LimitedRole::create(&world, 20).await;
    execute(&world.pool, &format!("ALTER ROLE {} NOLOGIN", role.name)).await;
    let binary = Binary::of(&world).with("DATABASE_URL", &role.url);
    // Who looks on corrects it at once.
    let once = binary.run(&["run", "--once"]).await.demand_code(2);
    once.demand_error(&["not permitted to log in"]);
    let daemon = binary.start(&["run"]);
    waits(&daemon, "not permitted to log in").await;
    execute(&world.pool, &format!("ALTER ROLE {} LOGIN", role.name)).await;
    archives(&world, id, daemon).await;
    role.drop(&world).await;
}

#[tokio::test]
async fn service_waits_for_a_database_that_does_not_exist_yet() {
    let world = World::local().await;
    let name = format!("archiver_test_{}", Uuid::new_v4().simple());
    let mut url: Url = world.database_url().parse().unwrap();
    url.set_path(&name);
    let daemon = Binary::of(&world)
        .with("DATABASE_URL", url.as_str())
        .start(&["run"]);
    waits(&daemon, "does not exist").await;
    execute(&world.pool, &format!("CREATE DATABASE {name}")).await;
    daemon.demand_log("ready").await;
    end(daemon).await;
    execute(&world.pool, &format!("DROP DATABASE {name}")).await;
}

#[tokio::test]
async fn service_waits_for_space_on_the_disk_of_the_database() {
    let world = World::local().await;
    let id = add(&world).await;
    execute(
        &world.pool,
        "CREATE FUNCTION public.fill() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             RAISE EXCEPTION 'could not extend file: No space left on device'
                 USING ERRCODE = 'disk_full';
         END $$;
         CREATE TRIGGER fill BEFORE INSERT ON archiver.projects
             FOR EACH ROW EXECUTE FUNCTION public.fill()",
    )
    .await;
    let binary = Binary::of(&world);
    let once = binary.run(&["run", "--once"]).await.demand_code(75);
    once.demand_error(&["No space left"]);
    let daemon = binary.start(&["run"]);
    waits(&daemon, "No space left").await;
    execute(&world.pool, "DROP TRIGGER fill ON archiver.projects").await;
    archives(&world, id, daemon).await;
}

#[tokio::test]
async fn service_waits_until_the_owner_has_migrated() {
    let world = World::local().await;
    let id = add(&world).await;
    let set_back = "DROP VIEW archiver.oldest_program;
                    DELETE FROM archiver._sqlx_migrations
                     WHERE version = (SELECT max(version) FROM archiver._sqlx_migrations)";
    execute(&world.pool, set_back).await;
    let daemon = Binary::of(&world).start(&["run"]);
    waits(&daemon, "as the owner of schema archiver").await;
    migrate(&world.pool).await.unwrap();
    archives(&world, id, daemon).await;
}
