//! Provider, queue and bucket held against each other.

use std::collections::BTreeSet;
use std::fs;

use recording_archiver::recording::RecordingId;
use recording_archiver::simulator::{MetadataFault, SimulatedRecording, Times};
use recording_archiver::upkeep::DifferenceKind::{
    FailedButThere, Lost, ManifestWithoutObject, NotQueued, ObjectGone, ObjectWithoutManifest,
    ObjectWithoutRow, SizeDiffers,
};
use recording_archiver::upkeep::{
    Difference, DifferenceKind, Listener, PAGE_SIZE, Reconciled, Reconciliation,
};
use serde_json::Value;
use uuid::Uuid;

use crate::harness::binary::Binary;
use crate::harness::s3::{BUCKET, Call, StoreFault};
use crate::harness::world::{PREFIX, World};
use crate::seed::execute;

const SIZE: usize = 7;
const WHOLE: [u8; SIZE] = [0; SIZE];

type Found = BTreeSet<(DifferenceKind, Option<Uuid>)>;

#[derive(Default)]
struct Heard(Found);

impl Listener for Heard {
    fn difference(&mut self, it: &Difference) -> std::io::Result<()> {
        let is_new = self
            .0
            .insert((it.kind, it.recording_id.map(RecordingId::uuid)));
        assert!(is_new, "told twice: {it:?}");
        Ok(())
    }
}

async fn reconcile(world: &World, fix: bool) -> (Reconciled, Found) {
    let archiver = world.archiver();
    let reconciliation = Reconciliation {
        pool: &world.service,
        signalwire: &archiver.signalwire,
        storage: &archiver.storage,
        page_size: PAGE_SIZE,
        fix,
    };
    let (mut compared, mut found) = (Reconciled::default(), Heard::default());
    reconciliation
        .provider(&mut compared, &mut found)
        .await
        .unwrap();
    reconciliation
        .bucket(&mut compared, &mut found)
        .await
        .unwrap();
    (compared, found.0)
}

/// Recordings by what they are to be, numbered on.
struct Planting<'a> {
    world: &'a World,
    next: u128,
    expected: Found,
}

impl Planting<'_> {
    fn ids(&mut self, count: u128) -> Vec<Uuid> {
        let ids = (self.next..self.next + count)
            .map(Uuid::from_u128)
            .collect();
        self.next += count;
        ids
    }

    fn expect(&mut self, kind: DifferenceKind, ids: &[Uuid]) {
        self.expected.extend(ids.iter().map(|id| (kind, Some(*id))));
    }

    fn at_provider(&self, ids: &[Uuid]) {
        for id in ids {
            self.world
                .simulator
                .add(SimulatedRecording::new(*id, SIZE as u64));
        }
    }

    async fn rows(&self, ids: &[Uuid], columns: &str, values: &str) {
        let project = self.world.simulator.project_id();
        let ids: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
        let statement = format!(
            "INSERT INTO archiver.recordings (recording_id, project_id, metadata, {columns})
             SELECT id, '{project}', '{{}}', {values} FROM unnest(ARRAY[{}]::uuid[]) AS id",
            ids.join(",")
        );
        execute(&self.world.pool, &statement).await;
    }

    async fn failed(&self, ids: &[Uuid], error_kind: &str) {
        let columns = "state, error_kind, error_message, finalized_at";
        let values = format!("'failed', '{error_kind}', 'in words', now()");
        self.rows(ids, columns, &values).await;
    }

    async fn archived(&self, ids: &[Uuid]) {
        self.archived_in(BUCKET, ids).await;
    }

    async fn archived_in(&self, bucket: &str, ids: &[Uuid]) {
        let columns = "state, object_key, object_url, size_bytes, sha256, crc64nvme, evidence,
                       archived_at, finalized_at";
        let key = format!("'{PREFIX}/year=2022/month=01/day=01/' || id || '.mp4'");
        let url = format!("'s3://{bucket}/{PREFIX}/year=2022/month=01/day=01/' || id || '.mp4'");
        let values = format!(
            "'archived', {key}, {url}, {SIZE}, sha256(''), 'AAAAAAAAAAA=', 'read_back', now(), now()"
        );
        self.rows(ids, columns, &values).await;
    }

    fn objects(&self, ids: &[Uuid], bytes: &[u8]) {
        for id in ids {
            self.world.put_object(*id, bytes);
        }
    }

    fn manifests(&self, ids: &[Uuid]) {
        for id in ids {
            let key = format!("{}.manifest.json", self.world.key_of(*id));
            self.world.put_under(&key, b"{}");
        }
    }
}

/// As it should be: archived, at the provider still or not any more; waiting; at work; in another
/// store; never seen at the provider. Returns the archived ones.
async fn plant_what_is_well(plant: &mut Planting<'_>) -> Vec<Uuid> {
    let well = plant.ids(1880);
    plant.at_provider(&well[..1700]);
    plant.archived(&well).await;
    plant.objects(&well, &WHOLE);
    plant.manifests(&well);
    let waiting = plant.ids(20);
    plant.at_provider(&waiting);
    plant.rows(&waiting, "state", "'pending'").await;
    let at_work = plant.ids(5);
    plant.at_provider(&at_work);
    let lease = "state, lease_token, lease_expires_at, leased_by";
    let held = "'in_progress', gen_random_uuid(), now() + interval '1 minute', 'somebody'";
    plant.rows(&at_work, lease, held).await;
    plant.objects(&at_work, &WHOLE);
    plant.manifests(&at_work[..2]);
    let elsewhere = plant.ids(5);
    plant.archived_in("elsewhere", &elsewhere).await;
    let wrong = plant.ids(5);
    plant.failed(&wrong, "not_found").await;
    execute(
        &plant.world.pool,
        "UPDATE archiver.recordings SET metadata = NULL, project_id = NULL
          WHERE error_kind = 'not_found'",
    )
    .await;
    well
}

async fn plant_between_provider_and_queue(plant: &mut Planting<'_>) {
    let ids = plant.ids(12);
    plant.at_provider(&ids);
    plant.expect(NotQueued, &ids);
    let ids = plant.ids(11);
    plant.at_provider(&ids);
    plant.failed(&ids, "object_conflict").await;
    plant.expect(FailedButThere, &ids);
    let ids = plant.ids(10);
    plant.rows(&ids, "state", "'pending'").await;
    plant.expect(Lost, &ids);
}

async fn plant_between_queue_and_bucket(plant: &mut Planting<'_>) {
    let ids = plant.ids(9);
    plant.archived(&ids).await;
    plant.manifests(&ids[..4]);
    plant.expect(ObjectGone, &ids);
    let ids = plant.ids(8);
    plant.archived(&ids).await;
    plant.objects(&ids, b"longer than it was");
    plant.manifests(&ids);
    plant.expect(SizeDiffers, &ids);
    let ids = plant.ids(13);
    plant.archived(&ids).await;
    plant.objects(&ids, &WHOLE);
    plant.expect(ObjectWithoutManifest, &ids);
    let ids = plant.ids(14);
    plant.objects(&ids, &WHOLE);
    plant.manifests(&ids[..7]);
    plant.expect(ObjectWithoutRow, &ids);
    let ids = plant.ids(8);
    plant.manifests(&ids);
    plant.expect(ManifestWithoutObject, &ids);
}

#[tokio::test]
async fn every_difference_among_two_thousand_recordings_is_named_and_no_other() {
    let world = World::s3().await;
    let mut plant = Planting {
        world: &world,
        next: 1,
        expected: Found::new(),
    };
    let well = plant_what_is_well(&mut plant).await;
    plant_between_provider_and_queue(&mut plant).await;
    plant_between_queue_and_bucket(&mut plant).await;
    assert_eq!(plant.next, 2001);
    // A stranger's object sorts between an object and its manifest; what is ours is no object.
    let between = format!("{}.bak", world.key_of(well[0]));
    world.put_under(&between, &WHOLE);
    plant.expect(ObjectWithoutRow, &well[..1]);
    for own in [
        ".recording-archiver-probe/x/object",
        ".recording-archiver-damaged/a.mp4",
    ] {
        world.put_under(&format!("{PREFIX}/{own}"), &WHOLE);
    }

    let (compared, found) = reconcile(&world, false).await;
    let missing: Vec<_> = plant.expected.difference(&found).collect();
    let wrong: Vec<_> = found.difference(&plant.expected).collect();
    assert_eq!((missing.as_slice(), wrong.as_slice()), (&[][..], &[][..]));
    let expected = Reconciled {
        listed: 1700 + 20 + 5 + 12 + 11,
        stored: 2 * 1880 + 5 + 2 + 4 + 16 + 13 + 14 + 7 + 8 + 1,
        archived: 1880 + 9 + 8 + 13,
        differences: plant.expected.len() as u64,
        ..Reconciled::default()
    };
    assert_eq!(compared, expected);
    demand_the_same_on_the_command_line(&world, &plant.expected).await;
}

async fn demand_the_same_on_the_command_line(world: &World, expected: &Found) {
    let binary = Binary::of(world);
    let json = binary.run(&["reconcile", "--output", "json"]).await;
    assert_eq!(json.code, Some(1), "{json:?}");
    let rows: Vec<Value> = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(rows.len(), expected.len());
    assert!(
        rows.iter()
            .all(|row| row["fixed"] == false && row["cure"].is_string())
    );
    let csv = binary
        .run(&["reconcile", "--output", "csv", "--only", "bucket"])
        .await;
    assert_eq!(
        csv.stdout.lines().count(),
        1 + 9 + 8 + 13 + 15 + 8,
        "{csv:?}"
    );
    let table = binary.run(&["reconcile", "--only", "provider"]).await;
    assert_eq!(table.code, Some(1));
    assert!(
        table
            .stdout
            .contains("\nlost                          10  "),
        "{table:?}"
    );
    assert!(
        table.stdout.contains("33 differences: 1748 recordings"),
        "{table:?}"
    );
}

#[tokio::test]
async fn what_is_safe_is_mended_and_then_nothing_differs() {
    let world = World::s3().await;
    let archived = world
        .add(SimulatedRecording::new(Uuid::from_u128(1), 100))
        .await;
    world.attempt(&world.archiver()).await;
    let before = world.manifest(archived).unwrap();
    let manifest = format!("{}.manifest.json", world.key_of(archived));
    fs::remove_file(world.path_of(&manifest)).unwrap();
    let unknown = Uuid::from_u128(2);
    world.simulator.add(SimulatedRecording::new(unknown, 100));

    let (compared, found) = reconcile(&world, false).await;
    assert_eq!((compared.differences, compared.fixed), (2, 0), "{found:?}");
    assert!(world.manifest(archived).is_none());
    let binary = Binary::of(&world);
    let run = binary.run(&["reconcile", "--fix"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(run.stdout.matches("(fixed)").count(), 2, "{run:?}");
    let run = binary.run(&["reconcile"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(
        run.stdout,
        "no difference: 2 recordings at the provider, 1 row archived, 2 objects in the\nbucket\n"
    );
    assert_eq!(world.row(unknown).await.state, "pending");
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let after = world.manifest(archived).unwrap();
    assert_eq!(read(&after), read(&before));

    // A manifest is written for the very bytes that were archived only.
    fs::remove_file(world.path_of(&manifest)).unwrap();
    let mut altered = world.object(archived).unwrap();
    altered[50] ^= 1;
    world.put_object(archived, &altered);
    let (compared, _) = reconcile(&world, true).await;
    assert_eq!((compared.differences, compared.fixed), (1, 0));
    assert!(world.manifest(archived).is_none());
}

#[tokio::test]
async fn a_directory_is_compared_like_a_bucket() {
    let world = World::local().await;
    let archived = world
        .add(SimulatedRecording::new(Uuid::from_u128(1), 100))
        .await;
    world.attempt(&world.archiver()).await;
    assert_eq!(reconcile(&world, false).await.1, Found::new());
    world.put_object(archived, b"short");
    let expected = [(SizeDiffers, Some(archived))];
    assert_eq!(reconcile(&world, false).await.1, Found::from(expected));
    fs::remove_file(world.path_of(&world.key_of(archived))).unwrap();
    let expected = [(ObjectGone, Some(archived))];
    assert_eq!(reconcile(&world, false).await.1, Found::from(expected));

    // A directory that holds nothing at all is not mounted.
    let root = world.path_of("");
    fs::remove_dir_all(&root).unwrap();
    fs::create_dir(&root).unwrap();
    let run = Binary::of(&world)
        .run(&["reconcile", "--only", "bucket"])
        .await;
    assert_eq!(run.code, Some(75), "{run:?}");
    assert!(run.stderr.contains("is it mounted?"), "{run:?}");
}

#[tokio::test]
async fn what_the_list_left_out_is_not_lost_while_the_provider_has_it() {
    let world = World::local().await;
    let there = world
        .add(SimulatedRecording::new(Uuid::from_u128(1), 100))
        .await;
    let gone = world
        .add(SimulatedRecording::new(Uuid::from_u128(2), 100))
        .await;
    for id in [there, gone] {
        let not_ready = MetadataFault::NotReady;
        assert!(world.simulator.inject(id, not_ready, Times::ONCE));
        world.attempt(&world.archiver()).await;
    }
    assert!(world.simulator.remove(gone));
    world
        .simulator
        .inject_for_all(MetadataFault::EmptyPage, Times::ONCE);
    let expected = [(Lost, Some(gone))];
    assert_eq!(reconcile(&world, false).await.1, Found::from(expected));
    // Who cannot be asked is not called lost either.
    assert!(
        world
            .simulator
            .inject(gone, MetadataFault::Status(500), Times::ONCE)
    );
    let (compared, found) = reconcile(&world, false).await;
    assert_eq!((compared.unsure, found), (1, Found::new()));
}

#[tokio::test]
async fn a_list_that_is_cut_off_without_saying_where_it_goes_on_is_no_end() {
    let world = World::s3().await;
    world.put_under(&format!("{PREFIX}/a.mp4"), &WHOLE);
    let archiver = world.archiver();
    world.s3_server().says_where_lists_go_on(false);
    let mut inventory = archiver.storage.inventory();
    let error = inventory.next().await.unwrap_err();
    let said = "the list is truncated and names no continuation token";
    assert!(error.to_string().contains(said), "{error}");
}

#[tokio::test]
async fn fix_writes_manifests_where_create_only_is_not_implemented() {
    let world = World::s3().await;
    let archived = world
        .add(SimulatedRecording::new(Uuid::from_u128(1), 100))
        .await;
    world.attempt(&world.archiver()).await;
    let before = world.manifest(archived).unwrap();
    let manifest = format!("{}.manifest.json", world.key_of(archived));
    fs::remove_file(world.path_of(&manifest)).unwrap();
    let unknown = StoreFault::Refuse(501, "NotImplemented");
    let server = world.s3_server();
    server.inject_on_header(Call::Put, ("if-none-match", None), &unknown);
    let (compared, found) = reconcile(&world, true).await;
    assert_eq!((compared.differences, compared.fixed), (1, 1), "{found:?}");
    assert!(world.manifest(archived).is_some(), "{before}");
}
