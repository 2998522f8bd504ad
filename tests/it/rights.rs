//! The least rights: what the README tells operators to grant is enough, and none of it too much.

use recording_archiver::database::{Access, grant};
use recording_archiver::queue::Outcome;
use recording_archiver::simulator::{MediaFault, SimulatedRecording, Times};
use recording_archiver::storage::ObjectKey;
use recording_archiver::upkeep::sweep;
use sqlx::error::DatabaseError;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::harness::binary::Binary;
use crate::harness::s3::{Call, StoreFault};
use crate::harness::world::{MIB, PART, World};
use crate::seed::{execute, refused};

/// Everything else that the tests do with a bucket runs under the same policy.
#[tokio::test]
async fn each_action_of_the_policy_is_needed() {
    let world = World::s3().await;
    let server = world.s3_server();
    let archiver = world.archiver();
    let recording = SimulatedRecording::new(Uuid::new_v4(), 2 * PART + MIB);
    let id = world.add(recording).await;
    // Killed in the middle of its upload, and gone on with.
    let go = CancellationToken::new();
    server.inject_after(1, Call::PutPart, StoreFault::HoldUntil(go.clone()), 2);
    tokio::select! {
        report = world.attempt(&archiver) => panic!("{report:?}"),
        () = crate::harness::eventually("a part is on record", || async {
            (world.parts_on_record(id).await > 0).then_some(())
        }) => {}
    }
    go.cancel();
    server.clear_faults();
    world.make_due().await;
    let report = world.attempt(&archiver).await;
    assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
    // Damaged, moved aside and archived again; one that breaks is aborted.
    let key = ObjectKey::from_stored(world.key_of(id)).unwrap();
    let kept = archiver.storage.keep_aside(&key).await.unwrap().unwrap();
    archiver.storage.remove_original(&kept).await.unwrap();
    let broken = SimulatedRecording::new(Uuid::new_v4(), 2 * PART);
    let broken = world.add(broken).await;
    let fault = MediaFault::Status(404);
    assert!(
        world
            .simulator
            .inject(broken, fault, Times::Always.after(1))
    );
    world.attempt(&archiver).await;
    world.make_due().await;
    sweep(&world.service, &archiver.storage, false)
        .await
        .unwrap();
    assert!(archiver.storage.inventory().next().await.unwrap().is_some());
    assert_eq!(server.used_actions(), server.allowed_actions());
}

#[tokio::test]
async fn the_services_role_can_neither_forget_recordings_nor_rewrite_the_ledger() {
    let world = World::local().await;
    let archiver = world.archiver();
    let recording = SimulatedRecording::new(Uuid::new_v4(), 100);
    world.add(recording).await;
    world.attempt(&archiver).await;
    for statement in [
        "DELETE FROM archiver.recordings",
        "DELETE FROM archiver.attempts",
        "DELETE FROM archiver.retirements",
        "DELETE FROM archiver.cost_observations",
        "UPDATE archiver.cost_observations SET cost_usd = 0",
        "TRUNCATE archiver.recordings",
        "DELETE FROM archiver._sqlx_migrations",
        "CREATE TABLE archiver.mine ()",
        "CREATE TABLE finance.mine ()",
        "DROP TABLE archiver.uploads",
    ] {
        let error = refused(&world.service, statement).await;
        let code = error.as_database_error().and_then(DatabaseError::code);
        assert_eq!(code.as_deref(), Some("42501"), "{statement}: {error}");
    }
}

#[tokio::test]
async fn who_may_enqueue_may_do_nothing_else() {
    let world = World::local().await;
    let role = format!("webhook_{}", Uuid::new_v4().simple());
    execute(&world.pool, &format!("CREATE ROLE {role}")).await;
    let pool = world.pool_of(&role);
    let enqueue = "INSERT INTO archiver.recordings (recording_id)
                   VALUES ('c22d24f6-5a47-4597-9a23-c7d01e696b92') ON CONFLICT DO NOTHING";
    refused(&pool, enqueue).await;
    grant(&world.pool, Access::Enqueue, &role).await.unwrap();
    execute(&pool, enqueue).await;
    execute(&pool, enqueue).await;
    for statement in [
        "SELECT state FROM archiver.recordings",
        "UPDATE archiver.recordings SET recording_id = recording_id",
        "INSERT INTO archiver.recordings (recording_id, state) VALUES (gen_random_uuid(), 'archived')",
        "SELECT FROM archiver.attempts",
        "SELECT FROM finance.recordings",
    ] {
        refused(&pool, statement).await;
    }
    execute(
        &world.pool,
        &format!("DROP OWNED BY {role}; DROP ROLE {role}"),
    )
    .await;
}

#[tokio::test]
async fn a_role_that_may_not_migrate_is_told_who_has_to() {
    let world = World::local().await;
    execute(
        &world.pool,
        "DELETE FROM archiver._sqlx_migrations
          WHERE version = (SELECT max(version) FROM archiver._sqlx_migrations)",
    )
    .await;
    let ended = Binary::of(&world)
        .run(&["run", "--once"])
        .await
        .demand_code(2);
    ended.demand_error(&["as the owner of schema archiver", "migrate --grant-service"]);
}
