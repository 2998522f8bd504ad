//! The least rights: what the README tells operators to grant is enough, and none of it too much.

use recording_archiver::database::{Access, grant};
use recording_archiver::queue::Outcome;
use recording_archiver::simulator::SimulatedRecording;
use recording_archiver::storage::ObjectKey;
use recording_archiver::upkeep::sweep;
use sqlx::error::DatabaseError;
use uuid::Uuid;

use crate::harness::binary::Binary;
use crate::harness::world::{PREFIX, World};
use crate::resume::killed_in_the_middle;
use crate::seed::{execute, refused};

mod append_only;
mod escalation;
mod granted;
mod hardened;
mod roles;

/// Everything else that the tests do with a bucket runs under the same policy.
#[tokio::test]
async fn each_action_of_the_policy_is_needed() {
    let world = World::s3().await;
    let server = world.s3_server();
    server.confine_to_prefix();
    let archiver = world.archiver();
    // Killed in the middle of its upload, and gone on with.
    let id = killed_in_the_middle(&world).await;
    let report = world.attempt(&archiver).await;
    assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
    // Moved aside, as for a repair.
    let key = ObjectKey::from_stored(world.key_of(id)).unwrap();
    let kept = archiver.storage.keep_aside(&key).await.unwrap().unwrap();
    archiver.storage.remove_original(&kept).await.unwrap();
    // Killed, and given up.
    killed_in_the_middle(&world).await;
    let give_up = "UPDATE archiver.recordings SET state = 'failed', finalized_at = now(),
                          error_kind = 'internal', error_message = 'given up', lease_token = NULL, lease_expires_at = NULL,
                          leased_by = NULL
                    WHERE state <> 'archived'";
    execute(&world.pool, give_up).await;
    sweep(&world.service, &archiver.storage, false)
        .await
        .unwrap();
    assert!(archiver.storage.inventory().next().await.unwrap().is_some());
    assert_eq!(server.used_actions(), server.allowed_actions());
    // All of it under the prefix, as the policy's second resource has it.
    let keys = server.keys_asked();
    let outside: Vec<_> = keys
        .iter()
        .filter(|key| !key.is_empty() && !key.starts_with(&format!("{PREFIX}/")))
        .collect();
    assert_eq!(outside, Vec::<&String>::new());
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
        "DELETE FROM archiver.store_probes",
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
