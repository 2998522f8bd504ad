//! What stands under a recording's key already: kept when it is equal, never overwritten.

use std::fs;

use recording_archiver::error::ErrorKind;
use recording_archiver::queue::Outcome;
use recording_archiver::simulator::SimulatedRecording;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::harness::eventually;
use crate::harness::s3::{Call, StoreFault};
use crate::harness::world::{MIB, PART, World};

/// One PUT, and a multipart upload of three parts.
const SIZES: [u64; 2] = [MIB, 2 * PART + 5];

async fn add(world: &World, size_bytes: u64) -> Uuid {
    world
        .add(SimulatedRecording::new(Uuid::new_v4(), size_bytes))
        .await
}

#[tokio::test]
async fn another_object_under_the_key_is_a_conflict_and_stays_as_it_is() {
    for world in [World::local().await, World::s3().await] {
        for (size_bytes, stranger) in [
            (1000, vec![7; 1000]),
            (1000, vec![7; 999]),
            (PART + 1, vec![]),
        ] {
            let id = add(&world, size_bytes).await;
            world.put_object(id, &stranger);
            let report = world.attempt(&world.archiver()).await;
            assert_eq!(report.outcome, Outcome::Failed, "{report:?}");
            let kind = report.failure.map(|failure| failure.kind);
            assert_eq!(kind, Some(ErrorKind::ObjectConflict));
            assert_eq!(world.object(id), Some(stranger));
            assert_eq!(world.manifest(id), None);
            let row = world.row(id).await;
            assert_eq!(row.state, "failed");
            assert_eq!(row.error_kind.as_deref(), Some("object_conflict"));
            world.demand_nothing_unfinished().await;
        }
    }
}

#[tokio::test]
async fn an_object_that_appears_while_the_bytes_move_is_never_overwritten() {
    for (equal, create_only) in [(true, true), (true, false), (false, true), (false, false)] {
        for (size_bytes, publish) in [(1000, Call::Put), (PART + 9, Call::Complete)] {
            let world = World::s3().await;
            let server = world.s3_server();
            server.honour_create_only(create_only);
            let id = add(&world, size_bytes).await;
            let go = CancellationToken::new();
            // Publishing itself is conditional, or there is a second look right before it.
            let (last, before) = if create_only {
                (publish, 0)
            } else {
                (Call::Head, 1)
            };
            let hold = StoreFault::HoldUntil(go.clone());
            server.inject_after(before, last, hold, 1);
            let archiver = world.archiver();
            let attempt = world.attempt(&archiver);
            let stranger = async {
                eventually("it is about to be published", || async {
                    (server.count(last) > before as usize).then_some(())
                })
                .await;
                let bytes = if equal {
                    media_of(&world, id).await
                } else {
                    vec![1; usize::try_from(size_bytes).unwrap()]
                };
                world.put_object(id, &bytes);
                go.cancel();
                bytes
            };
            let (report, bytes) = tokio::join!(attempt, stranger);
            let expected = if equal {
                Outcome::AlreadyArchived
            } else {
                Outcome::Failed
            };
            assert_eq!(report.outcome, expected, "{report:?}");
            assert!(world.object(id) == Some(bytes));
            world.demand_nothing_unfinished().await;
            let evidence = world.row(id).await.evidence;
            assert_eq!(evidence.as_deref(), equal.then_some("read_back"));
        }
    }
}

/// The true bytes, fetched as the archiver would into another store.
async fn media_of(world: &World, id: Uuid) -> Vec<u8> {
    let other = World::local().await;
    other.enqueue(id).await;
    let archiver = other.archiver_with(|settings| {
        settings.signalwire = world.settings().signalwire;
    });
    other.attempt(&archiver).await;
    other.object(id).unwrap()
}

#[tokio::test]
async fn an_equal_object_without_a_manifest_is_compared_with_the_source_and_kept() {
    for world in [World::local().await, World::s3().await] {
        for size_bytes in SIZES {
            let id = add(&world, size_bytes).await;
            world.put_object(id, &media_of(&world, id).await);
            let before = fs::metadata(world.path_of(&world.key_of(id))).unwrap();
            let requests = world.simulator.counts(id).media_requests;
            let report = world.attempt(&world.archiver()).await;
            assert_eq!(report.outcome, Outcome::AlreadyArchived, "{report:?}");
            assert_eq!(report.bytes_fetched, size_bytes);
            // Once more, part by part.
            let again = size_bytes.div_ceil(PART);
            assert_eq!(world.simulator.counts(id).media_requests, requests + again);
            let after = fs::metadata(world.path_of(&world.key_of(id))).unwrap();
            assert_eq!(before.modified().unwrap(), after.modified().unwrap());
            world.demand_archived(id).await;
            assert_eq!(world.row(id).await.evidence.as_deref(), Some("read_back"));
        }
    }
}

#[tokio::test]
async fn an_archived_object_that_went_bad_is_a_conflict_and_is_not_removed() {
    for world in [World::local().await, World::s3().await] {
        let id = add(&world, SIZES[1]).await;
        world.attempt(&world.archiver()).await;
        let mut bytes = world.object(id).unwrap();
        bytes[12345] ^= 1;
        world.put_object(id, &bytes);
        sqlx::query("UPDATE archiver.recordings SET state = 'pending', finalized_at = NULL")
            .execute(&world.pool)
            .await
            .unwrap();
        let report = world.attempt(&world.archiver()).await;
        assert_eq!(report.outcome, Outcome::Failed, "{report:?}");
        let kind = report.failure.map(|failure| failure.kind);
        assert_eq!(kind, Some(ErrorKind::ObjectConflict));
        assert!(world.object(id) == Some(bytes), "it is evidence");
    }
}
