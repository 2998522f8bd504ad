//! A database that accepts no writes: it is waited for, and named.

use recording_archiver::simulator::SimulatedRecording;
use uuid::Uuid;

use crate::cli::{demand_status, end};
use crate::harness::binary::Binary;
use crate::harness::eventually;
use crate::harness::world::World;
use crate::seed::execute;

async fn set_read_only(world: &World, value: &str) {
    execute(
        &world.pool,
        &format!(
            "DO $$ BEGIN EXECUTE format(
                 'ALTER DATABASE %I SET default_transaction_read_only = {value}', current_database());
             END $$"
        ),
    )
    .await;
}

async fn add(world: &World) -> Uuid {
    let recording = SimulatedRecording::new(Uuid::new_v4(), 1000);
    world.add(recording).await
}

async fn archived(world: &World, id: Uuid) {
    eventually("it is archived", || async {
        (world.row(id).await.state == "archived").then_some(())
    })
    .await;
    world.demand_archived(id).await;
    assert_eq!(world.row(id).await.attempts, 1);
}

#[tokio::test]
async fn read_only_database_is_waited_for_and_named() {
    let world = World::local().await;
    let id = add(&world).await;
    set_read_only(&world, "on").await;
    let words = [
        "accepts no writes",
        "default_transaction_read_only",
        "database",
    ];
    let binary = Binary::of(&world);
    let once = binary.run(&["run", "--once"]).await.demand_code(75);
    once.demand_error(&words);
    let doctor = binary.run(&["doctor"]).await.demand_code(1);
    doctor.demand_output(&["BAD   database", words[0], words[1]]);
    // Reading needs no writes.
    binary.run(&["status"]).await.demand_code(0);
    binary.run(&["report", "costs"]).await.demand_code(0);

    let daemon = binary.start(&["run"]);
    daemon.demand_log("waiting for the database").await;
    demand_status(&format!("{}/readyz", daemon.http().await), 503).await;
    set_read_only(&world, "off").await;
    archived(&world, id).await;
    end(daemon).await;
}

#[tokio::test]
async fn sessions_that_become_read_only_are_dropped_from_the_pool() {
    let world = World::local().await;
    // As a failover, or a change of the server's settings, does to sessions that are open.
    execute(
        &world.pool,
        "CREATE SEQUENCE public.demoted;
         CREATE FUNCTION public.demote() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
         BEGIN
             IF nextval('public.demoted') <= 20 THEN
                 PERFORM set_config('default_transaction_read_only', 'on', false);
             END IF;
             RETURN NULL;
         END $$;
         CREATE TRIGGER demote AFTER INSERT ON archiver.attempts
             FOR EACH ROW EXECUTE FUNCTION public.demote()",
    )
    .await;
    let binary = Binary::of(&world).with("RECORDING_ARCHIVER_WORKER_SCHEDULE", "* * * * * *");
    let daemon = binary.start(&["run"]);
    demand_status(&format!("{}/readyz", daemon.http().await), 200).await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(add(&world).await);
    }
    for id in &ids {
        eventually("it is archived", || async {
            (world.row(*id).await.state == "archived").then_some(())
        })
        .await;
        assert_eq!(world.row(*id).await.attempts, 1);
    }
    let log = end(daemon).await;
    assert!(!log.contains("before_acquire"), "{log}");
}
