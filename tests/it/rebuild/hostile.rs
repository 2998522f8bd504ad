//! Somebody else can write the bucket: what they plant is compared with the source, or marked.

use std::fs;

use chrono::{DateTime, Duration, Utc};
use recording_archiver::digest::{Fingerprint, Fingerprinting};
use recording_archiver::error::ErrorKind;
use recording_archiver::queue::{Outcome, database_time};
use recording_archiver::simulator::SimulatedRecording;
use recording_archiver::upkeep::Trust;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{lose_the_database, rebuilt};
use crate::harness::binary::Binary;
use crate::harness::s3::Call;
use crate::harness::world::{PREFIX, World};
use crate::seed::execute;

const SIZE: usize = 10_000;

fn fingerprint(bytes: &[u8]) -> Fingerprint {
    let mut fingerprint = Fingerprinting::new();
    fingerprint.update(bytes);
    fingerprint.finish()
}

/// A manifest that holds together, for whatever bytes.
fn manifest(id: Uuid, bytes: &[u8], archived_at: DateTime<Utc>) -> Value {
    let fingerprint = fingerprint(bytes);
    json!({
        "manifest_version": 1,
        "recording_id": id,
        "project_id": "another",
        "object_key": "any",
        "size_bytes": bytes.len(),
        "sha256": fingerprint.sha256.to_string(),
        "crc64nvme": fingerprint.crc64nvme.to_string(),
        "evidence": "full_object",
        "proof": {"algorithm": "crc64nvme", "value": fingerprint.crc64nvme.to_string()},
        "archived_at": archived_at.to_rfc3339(),
        "archiver_version": "1.0.0",
        "metadata": {
            "id": id, "status": "completed", "created_at": "2022-01-01T10:00:00Z",
            "format": "video/mp4", "cost_in_dollars": 0.05,
        },
    })
}

/// Puts an object and its manifest under a key.
fn plant(world: &World, key: &str, bytes: &[u8], manifest: &Value) {
    world.put_under(key, bytes);
    let path = world.path_of(&format!("{key}.manifest.json"));
    fs::write(path, manifest.to_string()).unwrap();
}

/// How many objects were read: the server counts lists too.
fn objects_read(world: &World) -> usize {
    let server = world.s3_server();
    let lists = server
        .keys_asked()
        .iter()
        .filter(|it| it.is_empty())
        .count();
    server.count(Call::Get) - lists
}

async fn yesterday(world: &World) -> DateTime<Utc> {
    database_time(&world.pool).await.unwrap() - Duration::days(1)
}

/// The true bytes, as another archiver has them.
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
async fn planted_object_with_manifest_is_compared_with_the_source() {
    for world in [World::local().await, World::s3().await] {
        let at = yesterday(&world).await;
        for planted in [vec![7; SIZE], vec![7; SIZE - 1]] {
            let id = Uuid::new_v4();
            world.add(SimulatedRecording::new(id, SIZE as u64)).await;
            plant(
                &world,
                &world.key_of(id),
                &planted,
                &manifest(id, &planted, at),
            );
            let report = world.attempt(&world.archiver()).await;
            assert_eq!(report.outcome, Outcome::Failed, "{report:?}");
            let kind = report.failure.map(|failure| failure.kind);
            assert_eq!(kind, Some(ErrorKind::ObjectConflict));
            assert_eq!(world.row(id).await.evidence, None);
            assert!(
                world.object(id) == Some(planted),
                "it is not ours to remove"
            );
        }
        let id = Uuid::new_v4();
        world.add(SimulatedRecording::new(id, SIZE as u64)).await;
        let bytes = media_of(&world, id).await;
        plant(&world, &world.key_of(id), &bytes, &manifest(id, &bytes, at));
        let report = world.attempt(&world.archiver()).await;
        assert_eq!(report.outcome, Outcome::AlreadyArchived, "{report:?}");
        assert_eq!(report.bytes_fetched, SIZE as u64, "the source was read");
        world.demand_archived(id).await;
    }
}

#[tokio::test]
async fn row_vouches_for_what_was_archived_before_without_the_source() {
    let world = World::s3().await;
    let id = world
        .add(SimulatedRecording::new(Uuid::new_v4(), SIZE as u64))
        .await;
    world.attempt(&world.archiver()).await;
    fs::remove_file(world.path_of(&format!("{}.manifest.json", world.key_of(id)))).unwrap();
    let again = "UPDATE archiver.recordings SET state = 'pending', finalized_at = NULL";
    execute(&world.pool, again).await;
    let report = world.attempt(&world.archiver()).await;
    assert_eq!(report.outcome, Outcome::AlreadyArchived, "{report:?}");
    assert_eq!(report.bytes_fetched, 0);
    world.demand_archived(id).await;
}

#[tokio::test]
async fn rebuild_names_each_manifest_that_does_not_fit_and_makes_no_row_of_it() {
    let world = World::s3().await;
    let at = yesterday(&world).await;
    let bytes = vec![7; SIZE];
    let mut refused = Vec::new();
    let mut add = |reason: &'static str, key: Option<String>, change: &dyn Fn(&mut Value)| {
        let id = Uuid::new_v4();
        let key = key.map_or_else(|| world.key_of(id), |it| it.replace("ID", &id.to_string()));
        let mut manifest = manifest(id, &bytes, at);
        change(&mut manifest);
        plant(&world, &key, &bytes, &manifest);
        refused.push((key, reason));
    };
    let other_layout = format!("{PREFIX}/elsewhere/ID.mp4");
    add("not of storage.layout", Some(other_layout), &|_| {});
    let other_name = format!("{PREFIX}/year=2022/month=01/day=01/ID-copy.mp4");
    add("not of storage.layout", Some(other_name), &|_| {});
    add("is about recording", None, &|it| {
        it["recording_id"] = json!(Uuid::new_v4());
    });
    add("two recordings", None, &|it| {
        it["metadata"]["id"] = json!(Uuid::new_v4());
    });
    for (field, at) in [
        ("archived_at", "9999-01-01T00:00:00Z"),
        ("archived_at", "0001-01-01T00:00:00Z"),
        ("metadata_observed_at", "9999-01-01T00:00:00Z"),
    ] {
        add("wrong", None, &|it| it[field] = json!(at));
    }
    add("SHA-256", None, &|it| it["sha256"] = json!("0".repeat(64)));
    add("CRC64NVME", None, &|it| {
        it["crc64nvme"] = json!("AAAAAAAAAAA=");
    });
    // Outside the prefix, nobody looks.
    let outside = manifest(Uuid::nil(), &bytes, at);
    let key = format!("other/year=2022/month=01/day=01/{}.mp4", Uuid::nil());
    plant(&world, &key, &bytes, &outside);
    let (result, told) = rebuilt(&world).await;
    assert_eq!((result.rebuilt, result.refused), (0, 9), "{told:?}");
    for (key, reason) in refused {
        let named = |it: &&String| it.contains(&key) && it.contains(reason);
        assert_eq!(
            told.iter().filter(named).count(),
            1,
            "{key} {reason}: {told:?}"
        );
    }
    let rows = "SELECT count(*) FROM archiver.recordings";
    assert_eq!(world.number(rows).await, 0);
}

#[tokio::test]
async fn cost_of_a_manifest_is_marked_and_provisional_until_the_provider_states_it() {
    let world = World::s3().await;
    let (id, bytes) = (Uuid::new_v4(), vec![7; SIZE]);
    let mut manifest = manifest(id, &bytes, yesterday(&world).await - Duration::days(300));
    manifest["metadata"]["cost_in_dollars"] = json!(-99999.99);
    manifest["project_id"] = json!(world.simulator.project_id());
    plant(&world, &world.key_of(id), &bytes, &manifest);
    let (result, told) = rebuilt(&world).await;
    assert_eq!((result.rebuilt, result.refused), (1, 0), "{told:?}");
    let state = "SELECT f.cost_state || ' ' || o.observed_by
                   FROM finance.recordings f JOIN archiver.cost_observations o
                  USING (recording_id) WHERE recording_id = $1";
    let marked = world.text(state, id).await;
    assert_eq!(marked.as_deref(), Some("provisional rebuild"));
    world
        .simulator
        .add(SimulatedRecording::new(id, SIZE as u64));
    Binary::of(&world).run(&["reprice"]).await.demand_code(0);
    let cost = "SELECT cost_usd::text FROM archiver.recordings WHERE recording_id = $1";
    assert_eq!(world.text(cost, id).await.as_deref(), Some("0.05"));
}

#[tokio::test]
async fn rebuild_reads_each_object_once_and_trust_is_on_record() {
    let world = World::s3().await;
    let at = yesterday(&world).await;
    let (sound, rotten) = (Uuid::new_v4(), Uuid::new_v4());
    let bytes = vec![7; SIZE];
    for id in [sound, rotten] {
        plant(&world, &world.key_of(id), &bytes, &manifest(id, &bytes, at));
    }
    world.put_object(rotten, &vec![8; SIZE]);
    let binary = Binary::of(&world);
    let ended = binary.run(&["rebuild", "--trust-manifests"]).await;
    ended.demand_code(0).demand_output(&["rows rebuilt: 2"]);
    assert_eq!(objects_read(&world), 0, "no object was read");
    for id in [sound, rotten] {
        assert_eq!(world.row(id).await.evidence.as_deref(), Some("manifest"));
        let verified = "SELECT verified_at::text FROM archiver.recordings WHERE recording_id = $1";
        assert_eq!(world.text(verified, id).await, None);
    }
    // Trusted again, nothing changes; without trust, the objects are read.
    let archiver = world.archiver();
    let storage = &archiver.storage;
    let told = |_: &recording_archiver::upkeep::NotRebuilt| Ok(());
    let again = recording_archiver::upkeep::rebuild(
        &world.service,
        storage,
        Trust::Manifests,
        told,
        |_| {},
    );
    assert_eq!(again.await.unwrap().known, 2);
    let (result, told) = rebuilt(&world).await;
    assert_eq!((result.rebuilt, result.refused), (1, 1), "{told:?}");
    assert!(told[0].contains("SHA-256"), "{told:?}");
    assert_eq!(world.row(sound).await.evidence.as_deref(), Some("found"));
    assert_eq!(
        world.row(rotten).await.evidence.as_deref(),
        Some("manifest")
    );
    assert_eq!(objects_read(&world), 2);
    // What was read is not read again.
    let (result, _) = rebuilt(&world).await;
    assert_eq!((result.known, result.refused), (1, 1));
    assert_eq!(objects_read(&world), 3);
    let ended = binary.run(&["verify"]).await.demand_code(1);
    ended.demand_output(&["1 equal, 1 different"]);
}

#[tokio::test]
async fn retire_never_rests_on_what_was_found_in_the_bucket() {
    let world = World::s3().await;
    let id = world
        .add(SimulatedRecording::new(Uuid::new_v4(), SIZE as u64))
        .await;
    world.attempt(&world.archiver()).await;
    world.demand_archived(id).await;
    let named = id.to_string();
    let binary = Binary::of(&world).with("RECORDING_ARCHIVER_RETIRE_ENABLED", "true");
    let retire = ["retire", "--older-than", "90d", "--id", &named];
    let age = "UPDATE archiver.recordings
                  SET archived_at = archived_at - interval '100 days',
                      cost_changed_at = cost_changed_at - interval '8 days'";
    for arguments in [&["rebuild"][..], &["rebuild", "--trust-manifests"]] {
        lose_the_database(&world).await;
        binary.run(arguments).await.demand_code(0);
        let reprice = binary.run(&["reprice"]).await;
        reprice.demand_code(0);
        execute(&world.pool, age).await;
        let ended = binary.run(&retire).await.demand_code(1);
        ended.demand_output(&["never compared with the source"]);
        assert!(world.simulator.media_size_bytes(id).is_some());
    }
    // Compared with the source, it may be retired.
    let fetched = world.simulator.counts(id).media_requests;
    let ended = binary.run(&["archive", "--id", &named, "--force"]).await;
    ended.demand_code(0).demand_output(&["already archived"]);
    assert!(world.simulator.counts(id).media_requests > fetched);
    assert_eq!(world.row(id).await.evidence.as_deref(), Some("read_back"));
    execute(&world.pool, age).await;
    binary.run(&retire).await.demand_code(0);
    assert!(world.simulator.media_size_bytes(id).is_none());
}

#[tokio::test]
async fn force_on_a_planted_object_is_a_conflict_with_the_source() {
    let world = World::s3().await;
    let (id, bytes) = (Uuid::new_v4(), vec![7; SIZE]);
    world
        .simulator
        .add(SimulatedRecording::new(id, SIZE as u64));
    let mut manifest = manifest(id, &bytes, yesterday(&world).await);
    manifest["project_id"] = json!(world.simulator.project_id());
    plant(&world, &world.key_of(id), &bytes, &manifest);
    assert_eq!(rebuilt(&world).await.0.rebuilt, 1);
    let arguments = ["archive", "--id", &id.to_string(), "--force"];
    let ended = Binary::of(&world).run(&arguments).await.demand_code(1);
    ended.demand_output(&["object_conflict"]);
    assert_eq!(world.row(id).await.state, "failed");
    assert!(world.object(id) == Some(bytes));
}
