//! The database goes away and comes back, in every way it can: the daemon lives through it.

use nix::sys::signal::Signal;
use recording_archiver::simulator::SimulatedRecording;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{KIB, get};
use crate::harness::binary::{Binary, Running};
use crate::harness::s3::{Call, StoreFault};
use crate::harness::wire::Wire;
use crate::harness::world::{MIB, PART, World};
use crate::harness::{eventually, within};
use crate::seed::execute;

mod pooler;

fn daemon(world: &World, database_url: String) -> Running {
    Binary::of(world)
        .with("DATABASE_URL", database_url)
        .with("RECORDING_ARCHIVER_WORKER_SCHEDULE", "* * * * * *")
        .start(&["run"])
}

async fn status(url: &str) -> Option<u16> {
    Some(get(url).await?.0)
}

async fn demand_ready(base: &str, status_wanted: u16) {
    eventually(&format!("/readyz answers {status_wanted}"), || async {
        (status(&format!("{base}/readyz")).await? == status_wanted).then_some(())
    })
    .await;
}

async fn add(world: &World, size_bytes: u64) -> Uuid {
    world
        .add(SimulatedRecording::new(Uuid::new_v4(), size_bytes))
        .await
}

async fn archived(world: &World, id: Uuid) {
    eventually("it is archived", || async {
        (world.row(id).await.state == "archived").then_some(())
    })
    .await;
    world.demand_archived(id).await;
}

async fn end(daemon: Running) -> String {
    daemon.signal(Signal::SIGTERM);
    daemon.ended().await.demand_code(0).stderr
}

#[tokio::test]
async fn a_transfer_outlives_a_cut_to_the_database_and_all_goes_on_by_itself() {
    let world = World::s3().await;
    let server = world.s3_server();
    let let_go = CancellationToken::new();
    server.inject_after(
        1,
        Call::PutPart,
        StoreFault::HoldUntil(let_go.clone()),
        1000,
    );
    let id = add(&world, 3 * PART + MIB).await;
    let wire = Wire::to_database(&world).await;
    let daemon = daemon(&world, wire.database_url(&world));
    let base = daemon.http().await;
    eventually("bytes move", || async {
        (server.count(Call::PutPart) > 1).then_some(())
    })
    .await;
    demand_ready(&base, 200).await;

    wire.cut();
    demand_ready(&base, 503).await;
    daemon
        .demand_log("nothing is claimed until the database is back")
        .await;
    let later = add(&world, KIB).await;
    let_go.cancel();
    server.clear_faults();
    eventually("the bytes are through", || async {
        (server.count(Call::PutPart) >= 4).then_some(())
    })
    .await;
    assert_eq!(status(&format!("{base}/livez")).await, Some(200));
    wire.mend();

    archived(&world, id).await;
    archived(&world, later).await;
    demand_ready(&base, 200).await;
    assert_eq!(world.attempts(id).await.len(), 1, "nothing was done twice");
    let log = end(daemon).await;
    assert_eq!(log.matches("nothing is claimed until").count(), 1, "{log}");
    assert_eq!(log.matches("claiming again").count(), 1, "{log}");
}

#[tokio::test]
async fn a_network_that_falls_silent_is_noticed_though_nobody_says_so() {
    let world = World::s3().await;
    let wire = Wire::to_database(&world).await;
    let daemon = daemon(&world, wire.database_url(&world));
    let base = daemon.http().await;
    demand_ready(&base, 200).await;
    wire.silence();
    demand_ready(&base, 503).await;
    // The next claim waits on a connection that nobody answers; new ones would get through.
    let id = add(&world, KIB).await;
    wire.mend();
    within(
        90,
        "a look at the queue gives up, and the next one gets through",
        || async { (world.row(id).await.state == "archived").then_some(()) },
    )
    .await;
    archived(&world, id).await;
    demand_ready(&base, 200).await;
    end(daemon).await;
}

#[tokio::test]
async fn terminated_sessions_cost_nothing_but_a_try() {
    let world = World::s3().await;
    let server = world.s3_server();
    let let_go = CancellationToken::new();
    server.inject(Call::PutPart, StoreFault::HoldUntil(let_go.clone()), 1000);
    let id = add(&world, PART + MIB).await;
    let daemon = daemon(&world, world.database_url());
    let base = daemon.http().await;
    eventually("bytes move", || async {
        (server.count(Call::PutPart) > 0).then_some(())
    })
    .await;
    // As an administrator does, or a failover.
    let terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                      WHERE datname = current_database()
                        AND application_name = 'recording-archiver'";
    assert!(world.number(terminate).await > 0);
    let_go.cancel();
    server.clear_faults();
    archived(&world, id).await;
    assert_eq!(world.attempts(id).await.len(), 1);
    let later = add(&world, KIB).await;
    archived(&world, later).await;
    demand_ready(&base, 200).await;
    end(daemon).await;
}

#[tokio::test]
async fn a_server_that_takes_no_more_connections_is_waited_for() {
    let world = World::local().await;
    let role = format!("limited_{}", Uuid::new_v4().simple());
    let mut url: url::Url = world.database_url().parse().unwrap();
    url.set_username(&role).unwrap();
    url.set_password(Some("limited")).unwrap();
    // A superuser is above all limits.
    let create = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'limited' CONNECTION LIMIT 0;
         GRANT ALL ON ALL TABLES IN SCHEMA archiver, finance TO {role};
         GRANT ALL ON ALL SEQUENCES IN SCHEMA archiver TO {role};
         GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA archiver, finance TO {role};
         GRANT USAGE ON SCHEMA archiver, finance TO {role}"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(create))
        .execute(&world.pool)
        .await
        .unwrap();
    let id = add(&world, KIB).await;
    let daemon = daemon(&world, url.into());
    daemon.demand_log("waiting for the database").await;
    let base = daemon.http().await;
    demand_ready(&base, 503).await;
    let widen = format!("ALTER ROLE {role} CONNECTION LIMIT 20");
    sqlx::raw_sql(sqlx::AssertSqlSafe(widen))
        .execute(&world.pool)
        .await
        .unwrap();
    archived(&world, id).await;
    demand_ready(&base, 200).await;
    end(daemon).await;
    let drop_role = format!("DROP OWNED BY {role}; DROP ROLE {role}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(drop_role))
        .execute(&world.pool)
        .await
        .unwrap();
    execute(&world.pool, "SELECT 1").await;
}
