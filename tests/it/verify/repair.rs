//! Repairs: moved aside, and home again.

use std::path::PathBuf;
use std::time::SystemTime;

use recording_archiver::error::ErrorKind;
use recording_archiver::queue::{Direct, Outcome, Wish};
use recording_archiver::simulator::Media;
use recording_archiver::storage::{ObjectKey, Storage};
use sqlx::AssertSqlSafe;

use super::*;

fn places_aside(world: &World) -> Vec<PathBuf> {
    let is_aside = |path: &PathBuf| {
        path.to_string_lossy()
            .contains(".recording-archiver-damaged/")
    };
    let mut places = files_below(&world.path_of(""));
    places.retain(is_aside);
    places
}

/// The one object that is kept aside, and where the row says that it is.
async fn kept_aside(world: &World, id: Uuid) -> (Vec<u8>, String) {
    let kept = places_aside(world);
    assert_eq!(kept.len(), 1, "{kept:?}");
    let url = "SELECT kept_aside_url FROM archiver.recordings WHERE recording_id = $1";
    let url = world.text(url, id).await.unwrap();
    let name = kept[0].file_name().unwrap().to_str().unwrap();
    assert!(url.ends_with(name), "{url} {name}");
    (fs::read(&kept[0]).unwrap(), url)
}

/// The bytes of all that is kept aside.
fn aside(world: &World) -> Vec<Vec<u8>> {
    places_aside(world)
        .iter()
        .map(|path| fs::read(path).unwrap())
        .collect()
}

fn nothing_aside(world: &World) -> bool {
    !world.path_of(".recording-archiver-damaged").exists()
        && !world
            .path_of("video/archive/.recording-archiver-damaged")
            .exists()
}

#[tokio::test]
async fn a_repair_brings_the_bytes_home_and_keeps_the_bad_object_aside() {
    for (world, store) in [
        (World::local().await, "file:///"),
        (World::s3().await, "s3://"),
    ] {
        let archiver = world.archiver();
        let id = archived(&world, &archiver, PART + 7).await;
        let bystander = archived(&world, &archiver, 10).await;
        let bad = rot(&world, id, 0);
        let (scrubbed, seen) = Reading::of(&world, &archiver).repairing().all().await;
        let counts = (scrubbed.equal, scrubbed.damaged, scrubbed.repaired);
        assert_eq!(counts, (1, 1, 1), "{seen:?}");
        world.demand_archived(id).await;
        world.demand_archived(bystander).await;
        let (kept, url) = kept_aside(&world, id).await;
        assert!(kept == bad, "the bad object is kept as it was");
        assert!(url.starts_with(store), "{url}");
        // The row is about the new object, which was never read again.
        let row = world.row(id).await;
        assert_eq!((row.error_kind, row.error_message), (None, None));
        let (kind, damaged, _) = standing(&world, id).await;
        assert_eq!((kind.as_str(), damaged), ("", false));
        let outcomes: Vec<_> = world.attempts(id).await;
        let outcomes: Vec<_> = outcomes.iter().map(|it| it.outcome.as_deref()).collect();
        assert_eq!(outcomes, [Some("archived"), Some("archived")]);
        assert_eq!(Reading::of(&world, &archiver).all().await.0.equal, 2);
    }
}

#[tokio::test]
async fn a_missing_object_is_archived_again() {
    let world = World::s3().await;
    let archiver = world.archiver();
    let id = archived(&world, &archiver, KIB).await;
    lose(&world, id);
    let (scrubbed, seen) = Reading::of(&world, &archiver).repairing().all().await;
    assert_eq!((scrubbed.damaged, scrubbed.repaired), (1, 1), "{seen:?}");
    world.demand_archived(id).await;
    assert!(nothing_aside(&world));
    assert_eq!(standing(&world, id).await, (String::new(), false, false));
}

#[tokio::test]
async fn without_the_provider_all_stays_in_its_place() {
    type Spoil = fn(&World, Uuid);
    let cases: [(Spoil, &str); 3] = [
        (
            |world, id| assert!(world.simulator.remove(id)),
            "the provider has it no more",
        ),
        (
            |world, id| {
                assert!(
                    world
                        .simulator
                        .inject(id, MetadataFault::NotReady, Times::ONCE)
                );
            },
            "the provider says that it is not ready",
        ),
        (
            |world, id| {
                let fault = MetadataFault::Status(500);
                assert!(world.simulator.inject(id, fault, Times::Always));
            },
            "the provider cannot be asked",
        ),
    ];
    for (spoil, reason) in cases {
        let world = World::s3().await;
        let archiver = world.archiver();
        let id = archived(&world, &archiver, KIB).await;
        let bad = rot(&world, id, 9);
        spoil(&world, id);
        let (scrubbed, seen) = Reading::of(&world, &archiver).repairing().all().await;
        assert_eq!((scrubbed.damaged, scrubbed.repaired), (1, 0), "{seen:?}");
        assert!(world.object(id).unwrap() == bad, "it is where it was");
        assert!(nothing_aside(&world));
        let expected = ("checksum_mismatch".to_owned(), true, false);
        assert_eq!(standing(&world, id).await, expected);
        let message = world.row(id).await.error_message.unwrap();
        assert!(message.contains(reason), "{message}");
    }
}

#[tokio::test]
async fn a_bad_object_that_cannot_be_moved_aside_stays_and_so_does_its_row() {
    // Not copied (a copy is a PUT); not removed.
    for (call, copies) in [(Call::Put, 0), (Call::Delete, 1)] {
        let world = World::s3().await;
        let archiver = world.archiver();
        let id = archived(&world, &archiver, KIB).await;
        let bad = rot(&world, id, 9);
        let denied = StoreFault::Refuse(403, "AccessDenied");
        world.s3_server().inject(call, denied, 1);
        let (scrubbed, seen) = Reading::of(&world, &archiver).repairing().all().await;
        assert_eq!((scrubbed.damaged, scrubbed.repaired), (1, 0), "{seen:?}");
        assert!(world.object(id).unwrap() == bad, "it is where it was");
        let expected = ("checksum_mismatch".to_owned(), true, false);
        assert_eq!(standing(&world, id).await, expected);
        let message = world.row(id).await.error_message.unwrap();
        assert!(message.contains("AccessDenied"), "{message}");
        assert_eq!(nothing_aside(&world), copies == 0);

        // The next one gets through.
        let (scrubbed, seen) = Reading::of(&world, &archiver).repairing().all().await;
        assert_eq!((scrubbed.damaged, scrubbed.repaired), (1, 1), "{seen:?}");
        world.demand_archived(id).await;
    }
}

#[tokio::test]
async fn what_was_replaced_meanwhile_is_not_removed() {
    let world = World::s3().await;
    let server = world.s3_server();
    let archiver = world.archiver();
    let id = archived(&world, &archiver, KIB).await;
    let good = world.object(id).unwrap();
    rot(&world, id, 9);
    // Somebody mends it by hand after the copy, before it would be removed.
    let go = CancellationToken::new();
    let heads = server.count(Call::Head);
    let removals = server.count(Call::Delete);
    server.inject_after(3, Call::Head, StoreFault::HoldUntil(go.clone()), 1);
    let mending = async {
        crate::harness::eventually("it is looked at before it is removed", || async {
            (server.count(Call::Head) == heads + 4).then_some(())
        })
        .await;
        world.put_object(id, &good);
        let file = fs::File::options()
            .write(true)
            .open(world.path_of(&world.key_of(id)));
        let later = SystemTime::now() + Duration::from_mins(1);
        file.unwrap().set_modified(later).unwrap();
        go.cancel();
    };
    let reading = Reading::of(&world, &archiver).repairing();
    let ((scrubbed, seen), ()) = tokio::join!(reading.all(), mending);
    assert_eq!((scrubbed.damaged, scrubbed.repaired), (1, 1), "{seen:?}");
    world.demand_archived(id).await;
    let outcomes = world.attempts(id).await;
    assert_eq!(outcomes[1].outcome.as_deref(), Some("already_archived"));
    assert_eq!(server.count(Call::Delete), removals);
}

#[tokio::test]
async fn another_projects_recording_is_told_of_and_left() {
    let world = World::local().await;
    let archiver = world.archiver();
    let id = archived(&world, &archiver, KIB).await;
    rot(&world, id, 9);
    execute(
        &world.pool,
        "UPDATE archiver.recordings SET project_id = 'another'",
    )
    .await;
    let (scrubbed, _) = Reading::of(&world, &archiver).repairing().all().await;
    assert_eq!((scrubbed.damaged, scrubbed.repaired), (1, 0));
    let message = world.row(id).await.error_message.unwrap();
    assert!(message.contains("project another"), "{message}");
    assert!(nothing_aside(&world));
}

#[tokio::test]
async fn a_bad_object_that_cannot_be_removed_is_copied_once() {
    let world = World::s3().await;
    let server = world.s3_server();
    let archiver = world.archiver();
    let id = archived(&world, &archiver, KIB).await;
    rot(&world, id, 9);
    let denied = StoreFault::Refuse(403, "AccessDenied");
    server.inject(Call::Delete, denied, 3);
    let puts = server.count(Call::Put);
    for _ in 0..3 {
        let (scrubbed, seen) = Reading::of(&world, &archiver).repairing().all().await;
        assert_eq!((scrubbed.damaged, scrubbed.repaired), (1, 0), "{seen:?}");
    }
    assert_eq!(server.count(Call::Put), puts + 1);
}

/// Whatever the store says of it: the object is looked for.
#[tokio::test]
async fn repair_proceeds_once_the_bad_object_is_missing() {
    let faults = [
        StoreFault::LoseAnswer,
        StoreFault::CutAnswer,
        StoreFault::RefuseLate(403, "AccessDenied"),
        StoreFault::RefuseLate(400, "InvalidRequest"),
        StoreFault::RefuseLate(500, "InternalError"),
        StoreFault::RefuseLate(501, "NotImplemented"),
    ];
    for fault in faults {
        let world = World::s3().await;
        let archiver = world.archiver();
        let id = archived(&world, &archiver, KIB).await;
        let bad = rot(&world, id, 9);
        world.s3_server().inject(Call::Delete, fault.clone(), 1);
        let (scrubbed, seen) = Reading::of(&world, &archiver).repairing().all().await;
        let counts = (scrubbed.damaged, scrubbed.repaired);
        assert_eq!(counts, (1, 1), "{fault:?}: {seen:?}");
        world.demand_archived(id).await;
        assert_eq!(aside(&world), [bad]);
    }
}

#[tokio::test]
async fn repair_looks_for_an_object_whose_removal_is_not_answered() {
    let world = World::s3().await;
    let archiver = world.archiver_with(|settings| settings.lease = Duration::from_secs(4));
    let id = archived(&world, &archiver, KIB).await;
    rot(&world, id, 9);
    let never = CancellationToken::new();
    let silent = StoreFault::StaySilent(never);
    world.s3_server().inject(Call::Delete, silent, 1);
    let (scrubbed, seen) = Reading::of(&world, &archiver).repairing().all().await;
    assert_eq!((scrubbed.damaged, scrubbed.repaired), (1, 1), "{seen:?}");
    world.demand_archived(id).await;
}

#[tokio::test]
async fn a_bad_object_too_large_for_one_copy_is_copied_in_parts() {
    let world = World::s3().await;
    let server = world.s3_server();
    let mut archiver = world.archiver();
    let small = Storage::open(&world.settings().storage).unwrap();
    archiver.storage = small.copying_at_most(PART);
    let id = archived(&world, &archiver, 2 * PART + 7).await;
    let bad = rot(&world, id, 0);
    // A part that is refused leaves all as it was, and nothing begun.
    let denied = StoreFault::Refuse(403, "AccessDenied");
    server.inject_after(1, Call::PutPart, denied, 1);
    let (scrubbed, seen) = Reading::of(&world, &archiver).repairing().all().await;
    assert_eq!((scrubbed.damaged, scrubbed.repaired), (1, 0), "{seen:?}");
    let message = world.row(id).await.error_message.unwrap();
    assert!(message.contains("AccessDenied"), "{message}");
    assert!(world.object(id).unwrap() == bad);
    assert!(nothing_aside(&world));
    world.demand_nothing_unfinished().await;

    let (scrubbed, seen) = Reading::of(&world, &archiver).repairing().all().await;
    assert_eq!((scrubbed.damaged, scrubbed.repaired), (1, 1), "{seen:?}");
    assert!(kept_aside(&world, id).await.0 == bad);
    world.demand_archived(id).await;
    world.demand_nothing_unfinished().await;
}

/// A repair's process that dies right after its claim.
async fn claim_and_die(world: &World, archiver: &Archiver, id: Uuid) {
    let claim = archiver.queue.claim_direct(id.into(), Wish::EvenArchived);
    let claim = claim.await.unwrap();
    assert!(matches!(claim, Direct::Claimed(_)), "{claim:?}");
    world.make_due().await;
}

#[tokio::test]
async fn a_repair_that_was_killed_before_the_removal_is_finished_by_the_next_attempt() {
    let world = World::s3().await;
    let archiver = world.archiver();
    let id = archived(&world, &archiver, KIB).await;
    let bad = rot(&world, id, 9);
    Reading::of(&world, &archiver).all().await;
    let key = ObjectKey::from_stored(world.key_of(id)).unwrap();
    let kept = archiver.storage.keep_aside(&key).await.unwrap();
    assert!(kept.is_some());
    claim_and_die(&world, &archiver, id).await;

    let report = world.attempt(&archiver).await;
    assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
    world.demand_archived(id).await;
    assert!(aside(&world)[..] == [bad], "the copy stays");
}

#[tokio::test]
async fn what_is_whole_is_kept_even_where_a_copy_of_it_was_put_aside() {
    let world = World::s3().await;
    let archiver = world.archiver();
    let id = archived(&world, &archiver, KIB).await;
    let good = world.object(id).unwrap();
    let key = ObjectKey::from_stored(world.key_of(id)).unwrap();
    assert!(archiver.storage.keep_aside(&key).await.unwrap().is_some());
    // Somebody mended it, and nobody has told the row.
    let damaged = "UPDATE archiver.recordings
                      SET error_kind = 'checksum_mismatch', error_message = '', damage_found_at = now()";
    execute(&world.pool, damaged).await;
    claim_and_die(&world, &archiver, id).await;
    let removals = world.s3_server().count(Call::Delete);
    let report = world.attempt(&archiver).await;
    assert_eq!(report.outcome, Outcome::AlreadyArchived, "{report:?}");
    assert!(world.object(id).unwrap() == good);
    assert_eq!(world.s3_server().count(Call::Delete), removals);
    assert_eq!(standing(&world, id).await, (String::new(), false, false));
}

#[tokio::test]
async fn what_differs_from_a_damaged_one_is_no_leftover_and_stays() {
    let world = World::s3().await;
    let archiver = world.archiver();
    let id = archived(&world, &archiver, KIB).await;
    let bad = rot(&world, id, 9);
    Reading::of(&world, &archiver).all().await;
    // Nothing was copied: what stands there may be the only one of its kind.
    claim_and_die(&world, &archiver, id).await;
    let report = world.attempt(&archiver).await;
    assert_eq!(report.failure.unwrap().kind, ErrorKind::ObjectConflict);
    assert!(world.object(id).unwrap() == bad);
}

#[tokio::test]
async fn a_repair_says_that_the_provider_sends_other_bytes_than_before() {
    let world = World::s3().await;
    let archiver = world.archiver();
    let id = archived(&world, &archiver, KIB).await;
    let before: String = sha256_of(&world, id, "sha256").await.unwrap();
    rot(&world, id, 9);
    assert!(world.simulator.update(id, |it| {
        let Media::Generated { seed, .. } = &mut it.media else {
            panic!("{it:?}");
        };
        *seed += 1;
    }));
    let (scrubbed, seen) = Reading::of(&world, &archiver).repairing().all().await;
    assert_eq!((scrubbed.damaged, scrubbed.repaired), (1, 1), "{seen:?}");
    let told = format!("{seen:?}");
    assert!(told.contains("other bytes than before"), "{told}");
    assert!(told.contains(&before), "{told}");
    assert_eq!(
        sha256_of(&world, id, "previous_sha256").await,
        Some(before.clone())
    );
    assert_ne!(sha256_of(&world, id, "sha256").await, Some(before));
}

#[tokio::test]
async fn what_stands_there_again_is_left_for_the_next_reading() {
    let world = World::s3().await;
    let server = world.s3_server();
    let archiver = world.archiver();
    let id = archived(&world, &archiver, KIB).await;
    let good = world.object(id).unwrap();
    lose(&world, id);
    // Somebody brings it back by hand after it was missed, before it would be archived again.
    let go = CancellationToken::new();
    let heads = server.count(Call::Head);
    server.inject(Call::Head, StoreFault::HoldUntil(go.clone()), 1);
    let mending = async {
        crate::harness::eventually("it is looked for once more", || async {
            (server.count(Call::Head) > heads).then_some(())
        })
        .await;
        world.put_object(id, &good);
        go.cancel();
    };
    let reading = Reading::of(&world, &archiver).repairing();
    let ((scrubbed, seen), ()) = tokio::join!(reading.all(), mending);
    assert_eq!((scrubbed.damaged, scrubbed.repaired), (1, 0), "{seen:?}");
    let message = world.row(id).await.error_message.unwrap();
    assert!(message.contains("stands there again"), "{message}");
    assert_eq!(world.attempts(id).await.len(), 1);
    let (scrubbed, _) = Reading::of(&world, &archiver).all().await;
    assert_eq!(scrubbed.equal, 1);
}

async fn sha256_of(world: &World, id: Uuid, column: &str) -> Option<String> {
    let query =
        format!("SELECT encode({column}, 'hex') FROM archiver.recordings WHERE recording_id = $1");
    sqlx::query_scalar(AssertSqlSafe(query))
        .bind(id)
        .fetch_one(&world.pool)
        .await
        .unwrap()
}
