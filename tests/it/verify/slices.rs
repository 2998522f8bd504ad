//! The daemon's slices, with the time passing by UPDATE.

use super::*;

const DAY: Duration = Duration::from_hours(24);

/// Lets one host have its turn at a slice.
async fn turn(world: &World, archiver: &Archiver, within: Duration) -> (Sliced, Vec<Uuid>) {
    let chore = Chore {
        name: "verify",
        scope: archiver.storage.location().to_string(),
    };
    let reading = Reading::of(world, archiver);
    let board = Board::default();
    let scrub = Scrub {
        // So that the order is that in which they are begun.
        side_by_side: 1,
        ..reading.scrub(&board)
    };
    let mut read = Vec::new();
    let slicing = slice(&scrub, &chore, within, |object, _| {
        read.push(object.recording_id.uuid());
    });
    let sliced = archiver.queue.in_turn(&chore, slicing).await.unwrap();
    (sliced.expect("it is this host's turn").unwrap(), read)
}

/// So much time passes for everything that has happened so far.
async fn pass(world: &World, time: &str) {
    for update in [
        "UPDATE archiver.recordings SET archived_at = archived_at - $1::text::interval,
                verified_at = verified_at - $1::text::interval",
        "UPDATE archiver.chores SET kept_pace_until = kept_pace_until - $1::text::interval,
                begun_at = begun_at - $1::text::interval, lease_expires_at = now()",
    ] {
        sqlx::query(update)
            .bind(time)
            .execute(&world.pool)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn slices_cover_the_whole_archive_within_the_time() {
    let world = World::s3().await;
    let archiver = world.archiver();
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(archived(&world, &archiver, 1000).await);
    }
    let within = 10 * DAY;
    // The first one stands for a day.
    let (sliced, mut read) = turn(&world, &archiver, within).await;
    assert_eq!((sliced.due_bytes, read.len()), (2000, 2));
    for _ in 0..9 {
        pass(&world, "24 hours").await;
        let (sliced, more) = turn(&world, &archiver, within).await;
        // The clock went on a little between the turns.
        assert!((2000..=2001).contains(&sliced.due_bytes), "{sliced:?}");
        assert!((2..=3).contains(&more.len()), "{more:?}");
        read.extend(more);
    }
    let covered: HashSet<_> = read.iter().collect();
    assert_eq!(covered.len(), ids.len());
    let seen = coverage(&world.pool, within).await.unwrap();
    assert_eq!((seen.read_again, seen.recordings), (20, 20));
}

#[tokio::test]
async fn a_long_pause_is_made_up_for_once_and_a_short_one_reads_one_object() {
    let world = World::local().await;
    let archiver = world.archiver();
    for _ in 0..6 {
        archived(&world, &archiver, 1000).await;
    }
    execute(
        &world.pool,
        "UPDATE archiver.recordings SET verified_at = NULL",
    )
    .await;
    turn(&world, &archiver, 60 * DAY).await;
    pass(&world, "1000 days").await;
    let (sliced, read) = turn(&world, &archiver, 60 * DAY).await;
    assert_eq!((sliced.due_bytes, read.len()), (6000, 6));
    pass(&world, "1 second").await;
    let (sliced, read) = turn(&world, &archiver, 60 * DAY).await;
    assert!(sliced.due_bytes < 1000, "{sliced:?}");
    assert_eq!(read.len(), 1);
}

#[tokio::test]
async fn a_slice_that_was_cut_short_does_not_count() {
    let world = World::s3().await;
    let archiver = world.archiver();
    for _ in 0..20 {
        archived(&world, &archiver, 1000).await;
    }
    turn(&world, &archiver, 20 * DAY).await;
    pass(&world, "10 days").await;
    let denied = StoreFault::Refuse(403, "AccessDenied");
    world.s3_server().inject(Call::Get, denied, 1000);
    let (sliced, read) = turn(&world, &archiver, 20 * DAY).await;
    assert!(sliced.scrubbed.cut_short && read.len() == 5, "{sliced:?}");
    world.s3_server().clear_faults();
    execute(
        &world.pool,
        "UPDATE archiver.chores SET lease_expires_at = now()",
    )
    .await;
    let (sliced, _) = turn(&world, &archiver, 20 * DAY).await;
    assert_eq!(sliced.scrubbed.equal, 11, "{sliced:?}");
}

#[tokio::test]
async fn slice_counts_cold_objects_against_its_bytes() {
    let world = World::s3().await;
    let archiver = world.archiver();
    for _ in 0..20 {
        archived(&world, &archiver, 1000).await;
    }
    let cold = StoreFault::Refuse(403, "InvalidObjectState");
    world.s3_server().inject(Call::Get, cold, 1000);
    let (sliced, tried) = turn(&world, &archiver, 10 * DAY).await;
    assert_eq!((sliced.due_bytes, tried.len()), (2000, 2));
    assert_eq!(sliced.scrubbed, Scrubbed { cold: 2, ..ALL });
}

#[tokio::test]
async fn nothing_archived_is_nothing_to_read() {
    let world = World::local().await;
    let (sliced, read) = turn(&world, &world.archiver(), DAY).await;
    assert_eq!((sliced.due_bytes, sliced.scrubbed), (0, ALL));
    assert!(read.is_empty());
}

#[tokio::test]
async fn what_is_damaged_or_cannot_be_read_goes_to_the_end_and_is_tried_again_a_day_later() {
    let world = World::s3().await;
    let archiver = world.archiver();
    for _ in 0..20 {
        archived(&world, &archiver, 1000).await;
    }
    // By the row: two that follow each other closely may be the other way round in it.
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "SELECT recording_id FROM archiver.recordings ORDER BY archived_at, recording_id",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    let within = 10 * DAY;
    rot(&world, ids[0], 9);
    let denied = StoreFault::Refuse(403, "AccessDenied");
    world.s3_server().inject_after(2, Call::Get, denied, 1);
    // Two are due: the damaged one, read twice, and another instead of the one that is refused.
    let (sliced, read) = turn(&world, &archiver, within).await;
    assert_eq!(read, ids[..3]);
    let scrubbed = sliced.scrubbed;
    assert_eq!((scrubbed.damaged, scrubbed.left, scrubbed.equal), (1, 1, 1));

    pass(&world, "23 hours").await;
    let (_, read) = turn(&world, &archiver, within).await;
    assert_eq!(read, ids[3..5], "the others' turn");

    execute(
        &world.pool,
        "UPDATE archiver.recordings SET verify_failed_at = verify_failed_at - interval '1 day'",
    )
    .await;
    pass(&world, "1 hour").await;
    let (sliced, read) = turn(&world, &archiver, within).await;
    assert_eq!(read, [ids[5], ids[0], ids[1]], "at the end of a slice");
    let scrubbed = sliced.scrubbed;
    assert_eq!((scrubbed.damaged, scrubbed.left, scrubbed.equal), (1, 0, 2));
}

#[tokio::test]
async fn no_more_than_five_of_those_are_tried_again_by_one_slice() {
    let world = World::local().await;
    let archiver = world.archiver();
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(archived(&world, &archiver, 1000).await);
    }
    for id in &ids[..7] {
        lose(&world, *id);
    }
    Reading::of(&world, &archiver).all().await;
    let day =
        "UPDATE archiver.recordings SET verify_failed_at = verify_failed_at - interval '1 day'";
    execute(&world.pool, day).await;
    // One is due, and no more; the longest untried come first.
    let (sliced, read) = turn(&world, &archiver, 100 * DAY).await;
    assert_eq!(sliced.scrubbed.damaged, 6, "{sliced:?}");
    assert_eq!(read.len(), 6);
}
