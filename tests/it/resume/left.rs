//! How long an unfinished upload is left for others to go on with.

use std::time::Duration;

use recording_archiver::error::ErrorKind;
use recording_archiver::queue::{Outcome, database_time};
use recording_archiver::storage::{ObjectKey, UploadPlan};
use recording_archiver::upkeep::{self, Swept};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{archiver, demand_fresh_start, demand_going_on, kill_when, killed_in_the_middle};
use crate::harness::eventually;
use crate::harness::s3::{Call, StoreFault};
use crate::harness::world::{PART, PREFIX, World, claim};
use crate::seed::execute;

async fn sweep(world: &World) -> Swept {
    let storage = archiver(world).storage;
    upkeep::sweep(&world.pool, &storage, false).await.unwrap()
}

const NOTHING: Swept = Swept {
    aborted: 0,
    left: 0,
    found: Vec::new(),
};
const ONE: Swept = Swept {
    aborted: 1,
    left: 0,
    found: Vec::new(),
};

async fn given_back(world: &World) -> Uuid {
    let id = killed_in_the_middle(world).await;
    let give_back = "UPDATE archiver.recordings
        SET state = 'pending', lease_token = NULL, lease_expires_at = NULL, leased_by = NULL";
    execute(&world.pool, give_back).await;
    id
}

#[tokio::test]
async fn the_sweep_leaves_what_somebody_will_go_on_with() {
    let world = World::s3().await;
    // Its lease is over, and nobody has claimed it again.
    let id = killed_in_the_middle(&world).await;
    assert_eq!(sweep(&world).await, NOTHING);
    demand_going_on(&world, id).await;

    let world = World::s3().await;
    let id = given_back(&world).await;
    let nearly_too_old = "UPDATE archiver.uploads
        SET checkpoint_at = now() - interval '7 days' + interval '1 minute'";
    execute(&world.pool, nearly_too_old).await;
    assert_eq!(sweep(&world).await, NOTHING);
    demand_going_on(&world, id).await;
}

#[tokio::test]
async fn the_sweep_aborts_what_nobody_will_go_on_with() {
    for hopeless in [
        "UPDATE archiver.uploads SET checkpoint_at = now() - interval '7 days 1 minute'",
        "UPDATE archiver.uploads SET checkpoint_at = NULL",
        "UPDATE archiver.recordings SET state = 'failed', finalized_at = now(),
                error_kind = 'truncated', error_message = 'given up'",
    ] {
        let world = World::s3().await;
        let id = given_back(&world).await;
        execute(&world.pool, hopeless).await;
        assert_eq!(sweep(&world).await, ONE, "{hopeless}");
        world.demand_nothing_stored(id).await;
        let again = "UPDATE archiver.recordings SET state = 'pending', finalized_at = NULL";
        execute(&world.pool, again).await;
        demand_fresh_start(&world, id, hopeless).await;
    }
}

#[tokio::test]
async fn a_claim_that_has_not_come_to_the_upload_yet_does_not_make_it_hopeless_for_long() {
    let world = World::s3().await;
    let id = killed_in_the_middle(&world).await;
    // Claimed by one that dies before it has looked: the next one goes on all the same.
    drop(claim(&archiver(&world)).await);
    world.make_due().await;
    assert_eq!(sweep(&world).await, NOTHING);
    demand_going_on(&world, id).await;
}

#[tokio::test]
async fn of_several_uploads_one_is_gone_on_with_and_none_is_left() {
    let world = World::s3().await;
    let server = world.s3_server();
    let id = killed_in_the_middle(&world).await;
    let stored = world.parts_on_record(id).await;
    // An attempt that could not tell, began anew, could not abort, and died early.
    let unknown = StoreFault::Refuse(501, "NotImplemented");
    server.inject(Call::ListParts, unknown, 1);
    server.inject(Call::Abort, StoreFault::Refuse(500, "InternalError"), 1000);
    let hold = StoreFault::HoldUntil(CancellationToken::new());
    server.inject(Call::PutPart, hold, 1000);
    let sent = server.count(Call::PutPart);
    let second = archiver(&world);
    let claimed = claim(&second).await;
    kill_when(&second, claimed, async {
        eventually("the second upload is begun", || async {
            (server.count(Call::PutPart) > sent).then_some(())
        })
        .await;
    })
    .await;
    server.clear_faults();
    assert_eq!(server.unfinished_uploads().len(), 2);
    world.make_due().await;
    // With the one that got further.
    assert_eq!(world.parts_on_record(id).await, stored);
    demand_going_on(&world, id).await;
    assert_eq!(server.unfinished_uploads(), Vec::<String>::new());
}

/// Without create-only writes, the worker of that upload could still publish it.
#[tokio::test]
async fn store_without_create_only_publishes_nothing_while_an_older_upload_stays() {
    let world = World::s3().await;
    let server = world.s3_server();
    let id = killed_in_the_middle(&world).await;
    server.honour_create_only(false);
    let unknown = StoreFault::Refuse(501, "NotImplemented");
    server.inject(Call::ListParts, unknown, 1);
    server.inject(Call::Abort, StoreFault::Refuse(500, "InternalError"), 1000);
    let report = world.attempt(&archiver(&world)).await;
    assert_eq!(report.outcome, Outcome::Retrying, "{report:?}");
    let kind = report.failure.map(|failure| failure.kind);
    assert_eq!(kind, Some(ErrorKind::StorageUnavailable));
    assert!(world.object(id).is_none());
    assert_eq!(server.unfinished_uploads().len(), 1);
    server.clear_faults();
    world.make_due().await;
    demand_going_on(&world, id).await;
}

#[tokio::test]
async fn what_a_killed_process_left_of_a_probe_is_removed_when_it_is_old() {
    let world = World::s3().await;
    let storage = world.archiver().storage;
    let folder = format!("{PREFIX}/.recording-archiver-probe/killed");
    let probe = |name: &str| ObjectKey::from_stored(format!("{folder}/{name}")).unwrap();
    let plan = UploadPlan {
        parts: storage.part_plan(Some(2 * PART)),
        content_type: None,
        attempt_token: Uuid::new_v4(),
    };
    let _left = storage.begin_upload(&probe("parts"), &plan).await.unwrap();
    world.put_under(&format!("{folder}/object"), b"probe");
    let recording = ObjectKey::from_stored(world.key_of(Uuid::new_v4())).unwrap();
    let _alive = storage.begin_upload(&recording, &plan).await.unwrap();
    let server = world.s3_server();
    assert_eq!(server.unfinished_of_any_kind(), 2);

    let now = database_time(&world.pool).await.unwrap();
    let (yesterday, soon) = (now - Duration::from_hours(24), now + Duration::from_mins(1));
    assert_eq!(
        storage.remove_old_probes(yesterday).await.unwrap(),
        0,
        "it may be alive"
    );
    assert_eq!(storage.remove_old_probes(soon).await.unwrap(), 2);
    assert_eq!(server.unfinished_of_any_kind(), 1, "the recording's");
    assert!(!world.path_of(&format!("{folder}/object")).exists());
}
