//! kill -9 near the end of a large transfer: another process goes on where the dead one stopped.

use std::time::Instant;

use recording_archiver::simulator::SimulatedRecording;
use recording_archiver::storage::ObjectKey;
use sqlx::Row as _;
use uuid::Uuid;

use crate::harness::binary::Binary;
use crate::harness::real_store::RealStore;
use crate::harness::within;
use crate::harness::world::{MIB, World};

const GIB: u64 = 1024 * MIB;

#[tokio::test]
async fn a_gibibyte_killed_at_nine_tenths_is_gone_on_with() {
    let world = World::s3().await;
    let id = kill_at_nine_tenths(&world, &Binary::of(&world)).await;
    world.demand_archived(id).await;
    assert_eq!(world.s3_server().upload_ids().len(), 1, "one upload only");
}

#[tokio::test]
#[ignore = "needs a real store: `.ci/store`"]
async fn real_store_goes_on_with_a_gibibyte_killed_at_nine_tenths() {
    let (world, store) = (World::local().await, RealStore::of_the_environment());
    let id = kill_at_nine_tenths(&world, &store.binary(&world)).await;
    let row = world.row(id).await;
    let archiver = world.archiver_with(|settings| store.settle_in(settings));
    let key = ObjectKey::from_stored(row.object_key.unwrap()).unwrap();
    let size_bytes = u64::try_from(row.size_bytes.unwrap()).unwrap();
    let stored = archiver.storage.read_back(&key, size_bytes).await;
    let stored = stored.unwrap().unwrap();
    let expected = world.simulator.media_sha256(id).unwrap();
    assert_eq!(stored.sha256.as_bytes(), &expected);
    assert_eq!(row.evidence.as_deref(), Some(store.known().evidence));
}

/// Archives a recording of a gibibyte by two processes: the first is killed when the provider has
/// sent nine tenths of it. The second one must fetch at most 15 % of it again.
async fn kill_at_nine_tenths(world: &World, binary: &Binary) -> Uuid {
    let mut recording = SimulatedRecording::new(Uuid::new_v4(), GIB);
    // Slow enough for the kill to hit.
    recording.bytes_per_second = Some(40 * MIB);
    let id = world.add(recording).await;
    let name = id.to_string();
    let running = binary.start(&["archive", "--id", &name]);
    within(120, "nine tenths are sent", || async {
        (world.simulator.counts(id).media_bytes_sent >= GIB / 10 * 9).then_some(())
    })
    .await;
    running.killed().await;
    let on_record: i64 = world
        .number("SELECT coalesce(sum(size_bytes), 0)::bigint FROM archiver.upload_parts")
        .await;

    world.make_due().await;
    let began = Instant::now();
    binary.run(&["archive", "--id", &name]).await.demand_code(0);
    let fetched = world.attempts(id).await[1].bytes_fetched;
    let fetched = u64::try_from(fetched).unwrap();
    println!(
        "killed with {on_record} bytes on record; {fetched} bytes ({} per mille) fetched by the second process in {} ms",
        fetched * 1000 / GIB,
        began.elapsed().as_millis(),
    );
    assert!(fetched <= GIB / 100 * 15, "{fetched}");
    assert_eq!(fetched + u64::try_from(on_record).unwrap(), GIB);
    let left: i64 = sqlx::query("SELECT count(*) FROM archiver.uploads")
        .fetch_one(&world.pool)
        .await
        .unwrap()
        .get(0);
    assert_eq!(left, 0, "uploads on record");
    id
}
