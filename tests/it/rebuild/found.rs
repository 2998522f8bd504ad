//! A recording that the provider has no more: what is archived already is found again.

use std::fs;

use recording_archiver::queue::Outcome;
use recording_archiver::simulator::{MetadataFault, SimulatedRecording, Times};
use uuid::Uuid;

use super::{lose_the_database, rebuilt};
use crate::harness::binary::Binary;
use crate::harness::s3::Call;
use crate::harness::world::{World, claim};
use crate::seed::execute;

/// Archived whole; then the provider and the database forget it, and it is queued again, as after
/// a restore of an old dump.
async fn forgotten(world: &World) -> Uuid {
    let id = world
        .add(SimulatedRecording::new(Uuid::new_v4(), 5000))
        .await;
    world.attempt(&world.archiver()).await;
    assert!(world.object(id).is_some() && world.manifest(id).is_some());
    lose_the_database(world).await;
    world.simulator.remove(id);
    world.enqueue(id).await;
    id
}

async fn demand_found(world: &World, id: Uuid) {
    let row = world.row(id).await;
    assert_eq!(row.state, "archived", "{row:?}");
    assert_eq!(row.evidence.as_deref(), Some("found"));
    assert_eq!((row.error_kind, row.size_bytes), (None, Some(5000)));
    assert_eq!(
        row.project_id.as_deref(),
        Some(world.simulator.project_id())
    );
    let cost = "SELECT string_agg(cost_usd || ' ' || observed_by, ',')
                  FROM archiver.cost_observations WHERE recording_id = $1";
    assert_eq!(world.text(cost, id).await.as_deref(), Some("0.05 rebuild"));
    let created = "SELECT created_at::date::text FROM archiver.recordings WHERE recording_id = $1";
    assert_eq!(world.text(created, id).await.as_deref(), Some("2022-01-01"));
}

#[tokio::test]
async fn rebuild_takes_rows_that_failed_because_the_provider_has_no_such_recording() {
    for world in [World::s3().await, World::local().await] {
        let id = forgotten(&world).await;
        let report = world.attempt(&world.archiver()).await;
        assert_eq!(
            report.outcome,
            Outcome::Failed,
            "the row knows no place: {report:?}"
        );
        let known = format!(
            "UPDATE archiver.recordings SET metadata = '{{}}', project_id = '{}'",
            world.simulator.project_id()
        );
        execute(&world.pool, &known).await;
        let binary = Binary::of(&world);
        let lost = binary.run(&["reconcile", "--only", "provider"]).await;
        lost.demand_code(1).demand_output(&["lost", "`rebuild`"]);
        let ended = binary.run(&["rebuild"]).await.demand_code(0);
        ended.demand_output(&["rows rebuilt: 1"]);
        demand_found(&world, id).await;
        let again = binary.run(&["rebuild"]).await.demand_code(0);
        again.demand_output(&["rows rebuilt: 0, known already: 1"]);
        binary.run(&["verify"]).await.demand_code(0);
    }
}

#[tokio::test]
async fn waiting_row_learns_its_place_and_is_found_when_the_provider_has_it_no_more() {
    let world = World::s3().await;
    let id = forgotten(&world).await;
    let (result, refused) = rebuilt(&world).await;
    assert_eq!((result.unfinished, result.refused), (1, 0), "{refused:?}");
    assert_eq!(world.row(id).await.state, "pending");
    let report = world.attempt(&world.archiver()).await;
    assert_eq!(report.outcome, Outcome::AlreadyArchived, "{report:?}");
    demand_found(&world, id).await;
    assert_eq!(world.attempts(id).await.len(), 1);
}

#[tokio::test]
async fn single_not_found_answer_takes_nothing_from_the_bucket() {
    let world = World::s3().await;
    let recording = SimulatedRecording::new(Uuid::new_v4(), 5000);
    let id = world.add(recording).await;
    world.attempt(&world.archiver()).await;
    lose_the_database(&world).await;
    world.enqueue(id).await;
    let (result, refused) = rebuilt(&world).await;
    assert_eq!((result.unfinished, result.refused), (1, 0), "{refused:?}");
    let missing = MetadataFault::Status(404);
    assert!(world.simulator.inject(id, missing, Times::ONCE));
    let report = world.attempt(&world.archiver()).await;
    assert_eq!(report.outcome, Outcome::AlreadyArchived, "{report:?}");
    let row = world.row(id).await;
    assert_eq!(
        row.evidence.as_deref(),
        Some("read_back"),
        "compared with the source"
    );
}

#[tokio::test]
async fn row_that_was_listed_before_is_found_by_its_date() {
    let world = World::s3().await;
    let id = forgotten(&world).await;
    execute(
        &world.pool,
        "UPDATE archiver.recordings
            SET created_at = '2022-01-01T10:00:00Z', media_format = 'video/mp4'",
    )
    .await;
    let report = world.attempt(&world.archiver()).await;
    assert_eq!(report.outcome, Outcome::AlreadyArchived, "{report:?}");
    demand_found(&world, id).await;
}

#[tokio::test]
async fn nothing_is_found_of_a_recording_whose_object_or_manifest_is_not_whole() {
    for damage in ["object", "manifest", "bytes"] {
        let world = World::s3().await;
        let id = forgotten(&world).await;
        rebuilt(&world).await;
        match damage {
            "object" => fs::remove_file(world.path_of(&world.key_of(id))).unwrap(),
            "manifest" => {
                let manifest = format!("{}.manifest.json", world.key_of(id));
                fs::remove_file(world.path_of(&manifest)).unwrap();
            }
            _ => world.put_object(id, &[7; 5000]),
        }
        let report = world.attempt(&world.archiver()).await;
        assert_eq!(report.outcome, Outcome::Failed, "{damage}: {report:?}");
        let row = world.row(id).await;
        assert_eq!(row.error_kind.as_deref(), Some("not_found"), "{damage}");
    }
}

#[tokio::test]
async fn row_that_knows_no_place_costs_no_look_into_the_bucket() {
    let world = World::s3().await;
    let id = Uuid::new_v4();
    world.enqueue(id).await;
    let server = world.s3_server();
    world.attempt(&world.archiver()).await;
    assert_eq!(world.row(id).await.error_kind.as_deref(), Some("not_found"));
    assert_eq!((server.count(Call::Head), server.count(Call::Get)), (0, 0));
}

#[tokio::test]
async fn another_project_that_may_have_the_recording_is_asked_first() {
    let world = World::s3().await;
    let id = forgotten(&world).await;
    rebuilt(&world).await;
    let other = "INSERT INTO archiver.projects (project_id, space) VALUES ('another', 'space')";
    execute(&world.pool, other).await;
    world.attempt(&world.archiver()).await;
    let row = world.row(id).await;
    assert_eq!((row.state.as_str(), row.evidence), ("pending", None));
}

#[tokio::test]
async fn rebuild_touches_no_row_in_progress_and_none_that_failed_otherwise() {
    let world = World::s3().await;
    let id = forgotten(&world).await;
    let archiver = world.archiver();
    let held = claim(&archiver).await;
    let before = world.row(id).await;
    let (result, _) = rebuilt(&world).await;
    assert_eq!((result.unfinished, result.rebuilt), (1, 0));
    let after = world.row(id).await;
    assert_eq!((after.state, after.object_key), (before.state, None));
    drop(held);
    execute(
        &world.pool,
        "UPDATE archiver.recordings
            SET state = 'failed', finalized_at = now(), error_kind = 'object_conflict',
                error_message = 'x', lease_token = NULL, lease_expires_at = NULL, leased_by = NULL",
    )
    .await;
    let (result, _) = rebuilt(&world).await;
    assert_eq!((result.unfinished, result.rebuilt), (1, 0));
    // Another project's failure is another project's.
    execute(
        &world.pool,
        "UPDATE archiver.recordings SET error_kind = 'not_found', project_id = 'another'",
    )
    .await;
    let (result, refused) = rebuilt(&world).await;
    assert_eq!((result.refused, result.rebuilt), (1, 0), "{refused:?}");
    assert_eq!(world.row(id).await.state, "failed");
}
