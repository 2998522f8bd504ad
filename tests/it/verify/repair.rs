//! Repairs: moved aside, and home again.

use std::time::SystemTime;

use super::*;

/// The one object that is kept aside, and where the row says that it is.
async fn kept_aside(world: &World, id: Uuid) -> (Vec<u8>, String) {
    let kept: Vec<_> = files_below(&world.path_of(""))
        .into_iter()
        .filter(|path| {
            path.to_string_lossy()
                .contains(".recording-archiver-damaged/")
        })
        .collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    let url = "SELECT kept_aside_url FROM archiver.recordings WHERE recording_id = $1";
    let url = world.text(url, id).await.unwrap();
    let name = kept[0].file_name().unwrap().to_str().unwrap();
    assert!(url.ends_with(name), "{url} {name}");
    (fs::read(&kept[0]).unwrap(), url)
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
    // Not copied (a copy is a PUT); not removed (which is a POST).
    for (call, copies) in [(Call::Put, 0), (Call::Other, 1)] {
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
    let removals = server.count(Call::Other);
    server.inject_after(2, Call::Head, StoreFault::HoldUntil(go.clone()), 1);
    let mending = async {
        crate::harness::eventually("it is looked at before it is removed", || async {
            (server.count(Call::Head) == heads + 3).then_some(())
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
    assert_eq!(server.count(Call::Other), removals);
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
