//! An attempt that ends while the database is in trouble: what it did is written all the same.

use recording_archiver::simulator::SimulatedRecording;
use sqlx::{Connection, Executor, PgConnection};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::harness::binary::{Binary, Ended, Running};
use crate::harness::eventually;
use crate::harness::s3::{Call, StoreFault};
use crate::harness::wire::Wire;
use crate::harness::world::{MIB, PART, World};
use crate::seed::execute;

const REPEATING: &str = "repeating while the lease lasts";

/// A world with a recording that goes by multipart upload.
async fn world_with_one() -> (World, Uuid) {
    let world = World::s3().await;
    let recording = SimulatedRecording::new(Uuid::new_v4(), PART + MIB);
    let id = world.add(recording).await;
    (world, id)
}

/// Starts the archiver and returns when it has begun to send bytes, which a token lets go on.
async fn started(world: &World, binary: Binary) -> (Running, CancellationToken) {
    let let_go = CancellationToken::new();
    let held = StoreFault::HoldUntil(let_go.clone());
    world.s3_server().inject(Call::PutPart, held, 1000);
    let running = binary.start(&["run", "--once"]);
    eventually("bytes move", || async {
        (world.s3_server().count(Call::PutPart) > 0).then_some(())
    })
    .await;
    (running, let_go)
}

async fn demand_archived_at_once(world: &World, id: Uuid, ended: &Ended) {
    world.demand_archived(id).await;
    assert_eq!(world.row(id).await.attempts, 1, "{ended:?}");
    let attempts = world.attempts(id).await;
    let outcomes: Vec<_> = attempts.iter().map(|it| it.outcome.as_deref()).collect();
    assert_eq!(outcomes, [Some("archived")], "{ended:?}");
}

/// Makes the server end each session that does `what`, the first `times` times.
async fn terminate(world: &World, what: &str, times: u32) {
    execute(
        &world.pool,
        &format!(
            "CREATE SEQUENCE public.terminated;
             CREATE FUNCTION public.terminate() RETURNS trigger LANGUAGE plpgsql
             SECURITY DEFINER AS $$
             BEGIN
                 IF nextval('public.terminated') <= {times} THEN
                     PERFORM pg_terminate_backend(pg_backend_pid());
                 END IF;
                 RETURN NULL;
             END $$;
             CREATE TRIGGER terminate AFTER {what}
                 FOR EACH ROW EXECUTE FUNCTION public.terminate()"
        ),
    )
    .await;
}

#[tokio::test]
async fn terminated_sessions_repeat_the_statement_and_cost_no_attempt() {
    for what in [
        "UPDATE OF outcome ON archiver.attempts",
        "INSERT ON archiver.uploads",
    ] {
        let (world, id) = world_with_one().await;
        terminate(&world, what, 6).await;
        let ended = Binary::of(&world).run(&["run", "--once"]).await;
        let ended = ended.demand_code(0).demand_error(&[REPEATING]);
        assert_eq!(ended.stderr.matches(REPEATING).count(), 1, "{ended:?}");
        demand_archived_at_once(&world, id, &ended).await;
    }
}

#[tokio::test]
async fn settling_outlasts_a_table_lock_that_outlasts_the_lock_timeout() {
    let (world, id) = world_with_one().await;
    let (running, let_go) = started(&world, Binary::of(&world)).await;
    let mut migration = PgConnection::connect_with(&world.database_options())
        .await
        .unwrap();
    let lock = "BEGIN; LOCK TABLE archiver.recordings IN ACCESS EXCLUSIVE MODE";
    migration.execute(lock).await.unwrap();
    let_go.cancel();
    world.s3_server().clear_faults();
    running.demand_log(REPEATING).await;
    migration.execute("ROLLBACK").await.unwrap();
    let ended = running.ended().await.demand_code(0);
    demand_archived_at_once(&world, id, &ended).await;
}

#[tokio::test]
async fn commit_whose_answer_is_lost_is_recognized() {
    let (world, id) = world_with_one().await;
    let wire = Wire::to_database(&world).await;
    let url = format!("{}?sslmode=disable", wire.database_url(&world));
    let binary = Binary::of(&world).with("DATABASE_URL", url);
    let (running, let_go) = started(&world, binary).await;
    wire.lose_answer(b"COMMIT\0");
    let_go.cancel();
    world.s3_server().clear_faults();
    let ended = running.ended().await.demand_code(0);
    assert!(
        wire.has_lost_it(),
        "the only commit is that of the settlement"
    );
    demand_archived_at_once(&world, id, &ended).await;
    assert!(!ended.stderr.contains("lease is lost"), "{ended:?}");
    let archived = format!("archived {id}");
    assert_eq!(ended.stderr.matches(&archived).count(), 1, "{ended:?}");
}
