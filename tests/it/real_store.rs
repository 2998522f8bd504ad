//! The story on a real store: what `.ci/store` runs beside one.

use object_store::ObjectStoreExt as _;
use object_store::aws::AmazonS3;
use object_store::multipart::MultipartStore as _;
use object_store::path::Path;
use recording_archiver::archive::Archiver;
use recording_archiver::error::ErrorKind;
use recording_archiver::queue::Outcome;
use recording_archiver::simulator::{MediaFault, SimulatedRecording, Times};
use recording_archiver::storage::{ObjectKey, PartSizeAnswer};
use sha2::Digest as _;
use uuid::Uuid;

use crate::harness::real_store::RealStore;
use crate::harness::world::{MIB, PART, World};
use crate::rebuild::lose_the_database;

async fn settled() -> (World, RealStore, Archiver) {
    let (world, store) = (World::local().await, RealStore::of_the_environment());
    let archiver = world.archiver_with(|settings| store.settle_in(settings));
    (world, store, archiver)
}

async fn make_pending_again(world: &World, id: Uuid) {
    sqlx::query(
        "UPDATE archiver.recordings SET state = 'pending', finalized_at = NULL
          WHERE recording_id = $1",
    )
    .bind(id)
    .execute(&world.pool)
    .await
    .unwrap();
}

#[tokio::test]
#[ignore = "needs a real store: `.ci/store`"]
async fn real_store_enforces_what_is_known_of_it() {
    let (_world, store, archiver) = settled().await;
    let (known, found) = (store.known(), archiver.storage.enforcement().await);
    let found = found.unwrap().unwrap();
    for checksum in [
        found.put_crc64nvme,
        found.part_crc64nvme,
        found.object_checksum,
    ] {
        assert_eq!(checksum, known.checksums, "{found:?}");
    }
    assert_eq!(found.create_only, known.create_only, "{found:?}");
    assert_eq!(
        found.complete_create_only, known.complete_create_only,
        "{found:?}"
    );
    assert!(!found.object_size, "{found:?}");
    let part_size = archiver.storage.probe_part_size().await.unwrap();
    assert_eq!(part_size.answer, PartSizeAnswer::Taken);
}

#[tokio::test]
#[ignore = "needs a real store: `.ci/store`"]
async fn real_store_holds_every_size_whole_by_the_evidence_that_is_known_of_it() {
    let (world, store, archiver) = settled().await;
    for size_bytes in [100, PART, PART + 1, 4 * PART + MIB] {
        let id = world
            .add(SimulatedRecording::new(Uuid::new_v4(), size_bytes))
            .await;
        let cut = MediaFault::ResetAfter(MIB);
        world.simulator.inject(id, cut, Times::ONCE.after(1));
        let report = world.attempt(&archiver).await;
        assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
        let row = world.row(id).await;
        let evidence = row.evidence.as_deref();
        assert_eq!(evidence, Some(store.known().evidence), "{row:?}");
        let key = ObjectKey::from_stored(row.object_key.unwrap()).unwrap();
        let stored = archiver.storage.read_back(&key, size_bytes).await;
        let stored = stored.unwrap().unwrap();
        let expected = world.simulator.media_sha256(id).unwrap();
        assert_eq!(stored.sha256.as_bytes(), &expected, "{size_bytes}");

        // An equal object is kept.
        make_pending_again(&world, id).await;
        let report = world.attempt(&archiver).await;
        assert_eq!(report.outcome, Outcome::AlreadyArchived, "{report:?}");
    }
}

#[tokio::test]
#[ignore = "needs a real store: `.ci/store`"]
async fn real_store_keeps_another_object_that_stands_under_the_key() {
    let (world, store, archiver) = settled().await;
    let objects = store.client();
    for size_bytes in [100, 2 * PART + 1] {
        let id = world
            .add(SimulatedRecording::new(Uuid::new_v4(), size_bytes))
            .await;
        let place = Path::from(RealStore::key_of(id));
        objects.put(&place, "a stranger".into()).await.unwrap();
        let report = world.attempt(&archiver).await;
        let kind = report.failure.map(|failure| failure.kind);
        assert_eq!(kind, Some(ErrorKind::ObjectConflict));
        let there = objects.get(&place).await.unwrap().bytes().await.unwrap();
        assert_eq!(there, "a stranger");
        let key = ObjectKey::from_stored(RealStore::key_of(id)).unwrap();
        let unfinished = archiver.storage.unfinished_uploads(&key).await.unwrap();
        assert_eq!(unfinished, [""; 0]);
    }
}

#[tokio::test]
#[ignore = "needs a real store: `.ci/store`"]
async fn real_store_gets_a_damaged_object_back_and_keeps_the_bad_one_aside() {
    let (world, store, archiver) = settled().await;
    let (objects, binary) = (store.client(), store.binary(&world));
    for size_bytes in [100, 2 * PART + 1] {
        let id = world
            .add(SimulatedRecording::new(Uuid::new_v4(), size_bytes))
            .await;
        world.attempt(&archiver).await;
        let place = Path::from(RealStore::key_of(id));
        objects.put(&place, "rotten".into()).await.unwrap();
        binary.run(&["verify"]).await.demand_code(1);
        binary.run(&["verify", "--repair"]).await.demand_code(1);
        binary.run(&["verify"]).await.demand_code(0);
        let key = ObjectKey::from_stored(RealStore::key_of(id)).unwrap();
        let stored = archiver.storage.read_back(&key, size_bytes).await;
        let stored = stored.unwrap().unwrap();
        let expected = world.simulator.media_sha256(id).unwrap();
        assert_eq!(stored.sha256.as_bytes(), &expected, "{size_bytes}");
        let query = "SELECT kept_aside_url FROM archiver.recordings WHERE recording_id = $1";
        let url = world.text(query, id).await.unwrap();
        let (_, kept) = url.split_once(&format!("{}/", store.bucket())).unwrap();
        let kept = Path::from_url_path(kept).unwrap();
        let kept = objects.get(&kept).await.unwrap().bytes().await.unwrap();
        assert_eq!(kept, "rotten");
    }
}

/// Changes one byte of an object behind the program's back.
async fn flip_a_byte(objects: &AmazonS3, place: &Path) {
    let mut bytes = objects
        .get(place)
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap()
        .to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    objects.put(place, bytes.into()).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a real store: `.ci/store`"]
async fn real_store_recordings_survive_everything_the_commands_do() {
    const OWN_PREFIX: &str = "video/commands";
    let (world, store) = (World::local().await, RealStore::of_the_environment());
    let url = format!("s3://{}/{OWN_PREFIX}", store.bucket());
    let binary = store
        .binary(&world)
        .with("RECORDING_ARCHIVER_STORAGE_URL", url);
    let objects = store.client();
    let place = |id: Uuid| Path::from(format!("{OWN_PREFIX}/year=2022/month=01/day=01/{id}.mp4"));

    let sizes = [1, 100, PART - 1, PART, PART + 1, 4 * PART + MIB];
    let mut ids = Vec::new();
    for size_bytes in sizes {
        let id = Uuid::new_v4();
        ids.push(world.add(SimulatedRecording::new(id, size_bytes)).await);
    }
    binary.run(&["run", "--once"]).await.demand_code(0);
    binary.run(&["doctor"]).await.demand_code(0);

    for id in [ids[1], ids[5]] {
        flip_a_byte(&objects, &place(id)).await;
    }
    binary.run(&["verify"]).await.demand_code(1);
    // It found damage, and repaired it.
    binary.run(&["verify", "--repair"]).await.demand_code(1);
    binary.run(&["verify"]).await.demand_code(0);

    let upload = objects.create_multipart(&place(ids[0])).await.unwrap();
    let part = vec![0; 5 << 20].into();
    objects
        .put_part(&place(ids[0]), &upload, 0, part)
        .await
        .unwrap();
    let swept = binary.run(&["sweep"]).await;
    swept.demand_code(0);
    objects
        .put_part(&place(ids[0]), &upload, 1, "late".into())
        .await
        .expect_err("the orphaned upload is aborted");

    let manifest = Path::from(format!("{}.manifest.json", place(ids[2])));
    objects.delete(&manifest).await.unwrap();
    binary.run(&["reconcile"]).await.demand_code(1);
    binary.run(&["reconcile", "--fix"]).await;
    objects.head(&manifest).await.unwrap();
    binary.run(&["reconcile"]).await.demand_code(0);

    lose_the_database(&world).await;
    binary.run(&["rebuild"]).await.demand_code(0);
    binary.run(&["verify"]).await.demand_code(0);
    for (id, size_bytes) in ids.into_iter().zip(sizes) {
        assert_eq!(world.row(id).await.state, "archived");
        let file = binary.directory().join(id.to_string());
        let arguments = ["restore", "--id", &id.to_string(), "--to"];
        let arguments = [&arguments[..], &[file.to_str().unwrap()]].concat();
        binary.run(&arguments).await.demand_code(0);
        let bytes = std::fs::read(&file).unwrap();
        assert_eq!(bytes.len() as u64, size_bytes);
        assert_eq!(
            sha2::Sha256::digest(&bytes).as_slice(),
            world.simulator.media_sha256(id).unwrap()
        );
    }
}
