//! A time in the future hides nothing: some clock was wrong, and nobody has read the object since.

use super::*;

const FUTURE: [&str; 6] = [
    "verified_at = now() + interval '1 hour'",
    "verified_at = '9999-12-31'",
    "verified_at = 'infinity'",
    "verify_failed_at = '9999-12-31'",
    "finalized_at = '9999-12-31'",
    "verified_at = '9999-12-31', verify_failed_at = now() - interval '1 day'",
];

async fn set(world: &World, id: Uuid, change: &str) {
    let update = format!("UPDATE archiver.recordings SET {change} WHERE recording_id = '{id}'");
    execute(&world.pool, &update).await;
}

#[tokio::test]
async fn object_on_record_as_read_in_the_future_is_read() {
    let world = World::local().await;
    let archiver = world.archiver();
    for change in FUTURE {
        let sound = archived(&world, &archiver, KIB).await;
        let rotten = archived(&world, &archiver, KIB).await;
        rot(&world, rotten, 7);
        for id in [sound, rotten] {
            set(&world, id, change).await;
        }
        for round in 0..2 {
            let reading = Reading::of(&world, &archiver);
            let ahead = Unread::begin(&world.service, archiver.storage.url_root());
            let ahead = ahead.await.unwrap().ahead().await.unwrap();
            assert_eq!(ahead.recordings, 2, "{change} {round}");
            let (scrubbed, seen) = reading.all().await;
            let counts = (scrubbed.equal, scrubbed.damaged, seen.len());
            assert_eq!(counts, (1, 1, 2), "{change} {round}");
        }
        let past = "SELECT count(*) FROM archiver.recordings
                     WHERE verified_at > now() OR verify_failed_at > now()";
        assert_eq!(world.number(past).await, 0, "{change}");
        let gone = "UPDATE archiver.recordings SET object_url = 'file:///elsewhere'";
        execute(&world.pool, gone).await;
    }
}

#[tokio::test]
async fn binary_finds_a_rotten_object_whose_reading_is_in_the_future() {
    let world = World::local().await;
    let id = archived(&world, &world.archiver(), KIB).await;
    rot(&world, id, 7);
    set(&world, id, "verified_at = '2099-01-01'").await;
    let binary = crate::harness::binary::Binary::of(&world);
    let ended = binary.run(&["verify"]).await.demand_code(1);
    ended.demand_output(&["0 equal, 1 different"]);
}

#[tokio::test]
async fn reading_in_the_future_counts_as_none() {
    let world = World::local().await;
    let archiver = world.archiver();
    for _ in 0..3 {
        archived(&world, &archiver, KIB).await;
    }
    let within = Duration::from_hours(24 * 90);
    for change in ["now() + interval '1 second'", "now() + interval '400 days'"] {
        let update = format!(
            "UPDATE archiver.recordings SET verified_at = now() - interval '1 minute';
             UPDATE archiver.recordings SET verified_at = {change}
              WHERE recording_id = (SELECT min(recording_id::text)::uuid FROM archiver.recordings)"
        );
        let mut transaction = world.pool.begin().await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(update))
            .execute(&mut *transaction)
            .await
            .unwrap();
        // In the transaction, that second does not pass.
        let (all, read_again): (i64, i64) =
            sqlx::query_as("SELECT archived, read_again FROM archiver.coverage('90 days')")
                .fetch_one(&mut *transaction)
                .await
                .unwrap();
        assert_eq!((all, read_again), (3, 2), "{change}");
        transaction.rollback().await.unwrap();
    }
    assert_eq!(coverage(&world.pool, within).await.unwrap().recordings, 3);
}

#[tokio::test]
async fn lease_that_a_wrong_clock_wrote_hides_no_recording() {
    let world = World::local().await;
    let archiver = world.archiver();
    let id = world
        .add(SimulatedRecording::new(Uuid::new_v4(), KIB))
        .await;
    let held = crate::harness::world::claim(&archiver).await;
    set(&world, id, "lease_expires_at = now() + interval '6 days'").await;
    assert!(
        crate::harness::world::claim_due(&archiver, 1)
            .await
            .is_empty()
    );
    set(&world, id, "lease_expires_at = now() + interval '8 days'").await;
    world.attempt(&archiver).await;
    world.demand_archived(id).await;
    drop(held);
}
