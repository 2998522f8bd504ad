//! The story on a real store: what `.ci/garage` runs beside a Garage.

use recording_archiver::queue::Outcome;
use recording_archiver::simulator::{MediaFault, SimulatedRecording, Times};
use recording_archiver::storage::{Enforcement, ObjectKey};
use uuid::Uuid;

use crate::harness::garage::Garage;
use crate::harness::world::{MIB, PART, World};

#[tokio::test]
#[ignore = "needs a Garage, which `.ci/garage` builds, starts and runs this beside"]
async fn garage_enforces_checksums_and_nothing_else() {
    let (world, garage) = (World::local().await, Garage::of_the_environment());
    let archiver = world.archiver_with(|settings| garage.settle_in(settings));
    let found = archiver.storage.enforcement().await.unwrap();
    let expected = Enforcement {
        put_checksum: true,
        part_checksum: true,
        create_only: false,
        object_checksum: true,
        object_size: false,
        complete_create_only: false,
    };
    assert_eq!(found, Some(expected));
}

#[tokio::test]
#[ignore = "needs a Garage, which `.ci/garage` builds, starts and runs this beside"]
async fn garage_holds_every_size_whole_and_says_its_checksum() {
    let (world, garage) = (World::local().await, Garage::of_the_environment());
    let archiver = world.archiver_with(|settings| garage.settle_in(settings));
    for size_bytes in [100, PART, PART + 1, 4 * PART + MIB] {
        let id = world
            .add(SimulatedRecording::new(Uuid::new_v4(), size_bytes))
            .await;
        let cut = MediaFault::ResetAfter(MIB);
        world.simulator.inject(id, cut, Times::ONCE.after(1));
        let report = world.attempt(&archiver).await;
        assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
        let row = world.row(id).await;
        assert_eq!(row.evidence.as_deref(), Some("full_object"), "{row:?}");
        let key = ObjectKey::from_stored(row.object_key.unwrap()).unwrap();
        let stored = archiver.storage.read_back(&key).await.unwrap().unwrap();
        let expected = world.simulator.media_sha256(id).unwrap();
        assert_eq!(stored.sha256.as_bytes(), &expected, "{size_bytes}");

        // An equal object is kept.
        sqlx::query(
            "UPDATE archiver.recordings SET state = 'pending', finalized_at = NULL
              WHERE recording_id = $1",
        )
        .bind(id)
        .execute(&world.pool)
        .await
        .unwrap();
        let report = world.attempt(&archiver).await;
        assert_eq!(report.outcome, Outcome::AlreadyArchived, "{report:?}");
    }
}
