//! The database comes back from the bucket alone.

use std::fs;
use std::time::Duration;

use recording_archiver::database;
use recording_archiver::simulator::{CostToken, SimulatedRecording};
use recording_archiver::upkeep::{NotRebuilt, RebuildError, Rebuilt, Trust, rebuild, reprice};
use uuid::Uuid;

use crate::harness::binary::Binary;
use crate::harness::s3::{Call, StoreFault};
use crate::harness::world::World;
use crate::seed::execute;

mod found;
mod hostile;

/// Every fact about the archived recordings, and the last cost of each.
async fn facts(world: &World) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT (to_jsonb(r)
                 -- What only the queue knew.
                 - '{attempts,enqueued_at,finalized_at,next_attempt_at,cost_asked_at,
                     cost_observed_at,cost_changed_at}'::text[]
                 -- What is found in the bucket says so.
                 - '{evidence,evidence_algorithm,evidence_value,verified_at}'::text[]
                 || jsonb_build_object('last', (SELECT o.cost_usd::text || ' ' || recording_status
                      FROM archiver.cost_observations o WHERE o.recording_id = r.recording_id
                     ORDER BY observation_id DESC LIMIT 1)))::text
           FROM archiver.recordings r ORDER BY recording_id",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap()
}

pub(super) async fn rebuilt(world: &World) -> (Rebuilt, Vec<String>) {
    let archiver = world.archiver();
    let mut refused = Vec::new();
    let told = |refusal: &NotRebuilt| {
        refused.push(refusal.to_string());
        Ok(())
    };
    let storage = &archiver.storage;
    let result = rebuild(&world.service, storage, Trust::Nothing, told, |_| {}).await;
    (result.unwrap(), refused)
}

pub(super) async fn lose_the_database(world: &World) {
    execute(
        &world.pool,
        "DROP SCHEMA finance CASCADE; DROP SCHEMA archiver CASCADE;",
    )
    .await;
    database::migrate(&world.pool).await.unwrap();
    world.let_the_service_work().await;
}

async fn archive_some(world: &World) -> Vec<Uuid> {
    let archiver = world.archiver();
    let mut ids = Vec::new();
    let costs = ["0.050", "1e-7", "123456789.123456789", "\"0.05\"", "null"];
    for (number, cost) in (1_u64..).zip(costs) {
        let id = Uuid::from_u128(number.into());
        let mut recording = SimulatedRecording::new(id, 1000 * number);
        recording.cost = CostToken::Json(cost.to_owned());
        recording.extra_fields = vec![("note".to_owned(), r#""a \"b\" ü 🎥""#.to_owned())];
        ids.push(world.add(recording).await);
        world.attempt(&archiver).await;
    }
    for id in &ids {
        world.demand_archived(*id).await;
    }
    ids
}

#[tokio::test]
async fn after_the_schema_is_dropped_the_rows_are_equal_and_again_nothing_changes() {
    for world in [World::s3().await, World::local().await] {
        let ids = archive_some(&world).await;
        // A cost that changed after archiving survives too.
        assert!(world.simulator.update(ids[0], |it| {
            it.cost = CostToken::Json("0.0700".to_owned());
        }));
        let archiver = world.archiver();
        let (signalwire, storage) = (&archiver.signalwire, &archiver.storage);
        reprice(&world.service, signalwire, storage, Duration::ZERO)
            .await
            .unwrap();
        let before = facts(&world).await;
        assert!(
            before[0].contains(r#""last": "0.0700 completed""#),
            "{}",
            before[0]
        );

        lose_the_database(&world).await;
        let binary = Binary::of(&world);
        let run = binary.run(&["rebuild"]).await;
        assert_eq!(run.code, Some(0), "{run:?}");
        assert!(
            run.stdout.contains("rows rebuilt: 5, known already: 0"),
            "{run:?}"
        );
        assert_eq!(facts(&world).await, before);
        let found = "SELECT count(*) FROM archiver.recordings
                      WHERE evidence = 'found' AND evidence_value = encode(sha256, 'hex')
                        AND verified_at <= now() AND verified_at > archived_at";
        assert_eq!(world.number(found).await, 5);
        let ledger = "SELECT count(*) FROM archiver.cost_observations
                       WHERE observed_by = 'rebuild' AND observed_at <= now()";
        assert_eq!(world.number(ledger).await, 4);

        let versions = "SELECT sum(xmin::text::bigint)::bigint FROM archiver.recordings";
        let version = world.number(versions).await;
        let (again, refused) = rebuilt(&world).await;
        let expected = Rebuilt {
            manifests: 5,
            known: 5,
            ..Rebuilt::default()
        };
        assert_eq!((again, refused), (expected, Vec::new()));
        assert_eq!(world.number(versions).await, version);
        assert_eq!(world.number(ledger).await, 4);
    }
}

#[tokio::test]
async fn what_makes_no_row_is_named_and_the_others_come_back() {
    let world = World::s3().await;
    let ids = archive_some(&world).await;
    let manifest = |id: Uuid| world.path_of(&format!("{}.manifest.json", world.key_of(id)));
    let alter = |id: Uuid, from: &str, to: &str| {
        let text = fs::read_to_string(manifest(id)).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(manifest(id), text.replace(from, to)).unwrap();
    };
    alter(ids[0], "\"manifest_version\": 1", "\"manifest_version\": 2");
    fs::remove_file(world.path_of(&world.key_of(ids[1]))).unwrap();
    world.put_object(ids[2], b"short");
    fs::write(manifest(ids[3]), "no manifest").unwrap();
    lose_the_database(&world).await;
    let (result, refused) = rebuilt(&world).await;
    let expected = Rebuilt {
        manifests: 5,
        rebuilt: 1,
        refused: 4,
        read_bytes: 5000,
        ..Rebuilt::default()
    };
    assert_eq!(result, expected, "{refused:?}");
    for (id, reason) in [
        (ids[0], "manifest_version"),
        (ids[1], "the object is not"),
        (ids[2], "the object has 5 bytes, its manifest says 3000"),
        (ids[3], "cannot be read"),
    ] {
        let named = |it: &&String| it.contains(&id.to_string()) && it.contains(reason);
        assert_eq!(refused.iter().filter(named).count(), 1, "{refused:?}");
    }
    let run = Binary::of(&world).run(&["rebuild"]).await;
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(run.stdout.matches("not rebuilt  ").count(), 4, "{run:?}");
}

#[tokio::test]
async fn rebuild_counts_unreadable_objects_and_goes_on() {
    let world = World::s3().await;
    archive_some(&world).await;
    lose_the_database(&world).await;
    let server = world.s3_server();
    let codes = ["InvalidObjectState", "AccessDenied"];
    // The first GET is the listing.
    for (skip, code) in [1, 0].into_iter().zip(codes) {
        server.inject_after(skip, Call::Get, StoreFault::Refuse(403, code), 1);
    }
    let (result, refused) = rebuilt(&world).await;
    assert_eq!(
        (result.manifests, result.rebuilt, result.refused),
        (5, 3, 2)
    );
    for code in codes {
        assert_eq!(
            refused.iter().filter(|it| it.contains(code)).count(),
            1,
            "{refused:?}"
        );
    }
    // Credentials that have expired concern every object.
    let expired = StoreFault::Refuse(400, "ExpiredToken");
    server.inject_after(1, Call::Get, expired, 100);
    let storage = &world.archiver().storage;
    let ended = rebuild(&world.service, storage, Trust::Nothing, |_| Ok(()), |_| {}).await;
    assert!(matches!(ended, Err(RebuildError::Storage(_))), "{ended:?}");
    server.clear_faults();
    let (result, refused) = rebuilt(&world).await;
    assert_eq!(
        (result.known, result.rebuilt, result.refused),
        (3, 2, 0),
        "{refused:?}"
    );
}

#[tokio::test]
async fn rows_that_are_there_stay_as_they_are() {
    let world = World::s3().await;
    let ids = archive_some(&world).await;
    lose_the_database(&world).await;
    world.enqueue(ids[0]).await;
    rebuilt(&world).await;
    assert_eq!(world.row(ids[0]).await.state, "pending");
    execute(
        &world.pool,
        "UPDATE archiver.recordings SET sha256 = sha256('other') WHERE state = 'archived'
            AND recording_id = (SELECT max(recording_id::text)::uuid FROM archiver.recordings)",
    )
    .await;
    let before = facts(&world).await;
    let (result, refused) = rebuilt(&world).await;
    assert_eq!((result.known, result.unfinished, result.refused), (3, 1, 1));
    assert!(
        refused[0].contains("another object is its own"),
        "{refused:?}"
    );
    assert_eq!(facts(&world).await, before);
    // The one in the queue finds its object.
    world.attempt(&world.archiver()).await;
    world.demand_archived(ids[0]).await;
}
