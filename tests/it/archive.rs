//! The straight road: from a queued ID to an object that is proven and explained.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use object_store::ObjectStoreExt;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use recording_archiver::digest::Fingerprinting;
use recording_archiver::queue::Outcome;
use recording_archiver::simulator::{MediaFault, SimulatedRecording, Times};
use serde_json::Value;
use sqlx::Row as _;
use uuid::Uuid;

use crate::harness::s3::{ACCESS_KEY_ID, BUCKET, Call, SECRET_ACCESS_KEY};
use crate::harness::world::{PART, PREFIX, Store, World};

const EXAMPLE_SIZE: u64 = 20_971_520;

async fn both_stores() -> [World; 2] {
    [World::local().await, World::s3().await]
}

#[tokio::test]
async fn the_documented_example_is_archived_whole_with_row_attempt_cost_and_manifest() {
    for world in both_stores().await {
        let mut recording = SimulatedRecording::documented_example();
        recording.cost = recording_archiver::simulator::CostToken::Json("0.050".into());
        recording.extra_fields = vec![("future".into(), "1.0e-3".into())];
        let id = world.add(recording).await;
        let archiver = world.archiver();

        let report = world.attempt(&archiver).await;

        assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
        assert_eq!(report.bytes_fetched, EXAMPLE_SIZE);
        world.demand_archived(id).await;
        demand_the_row(&world, id).await;
        demand_the_ledger(&world, id).await;
        demand_the_manifest(&world, id).await;

        let attempts = world.attempts(id).await;
        assert_eq!(attempts.len(), 1);
        assert_eq!(attempts[0].outcome.as_deref(), Some("archived"));
        assert_eq!(attempts[0].bytes_fetched, 20_971_520);
        assert_eq!(attempts[0].error_kind, None);
    }
}

async fn demand_the_row(world: &World, id: Uuid) {
    let row = world.row(id).await;
    let key = world.key_of(id);
    let evidence = row.evidence.as_deref().unwrap();
    let url = match &world.store {
        Store::Directory(root) => {
            let path = root.path().join(&key);
            assert_eq!(evidence, "read_back");
            url::Url::from_file_path(path).unwrap().to_string()
        }
        Store::S3(_) => {
            // By the store's own checksums: which of them is for the tests of the store to say.
            assert!(["full_object", "parts"].contains(&evidence), "{evidence}");
            format!("s3://{BUCKET}/{key}")
        }
    };
    assert_eq!(row.object_url, Some(url));
    assert_eq!(row.object_key, Some(key));
    assert_eq!(
        row.project_id.as_deref(),
        Some(world.simulator.project_id())
    );
    assert_eq!(
        (row.attempts, row.error_kind, row.lease_token),
        (1, None, None)
    );
    let mut fingerprint = Fingerprinting::new();
    fingerprint.update(&world.object(id).unwrap());
    let fingerprint = fingerprint.finish();
    assert_eq!(row.crc64nvme, Some(fingerprint.crc64nvme.to_string()));
    assert!(row.etag.is_some());

    let told = sqlx::query(
        "SELECT room_session_id::text, recording_status, started_at::text, finished_at::text,
                created_at::text, updated_at::text, duration_secs::text,
                declared_size_bytes::text, media_format, cost_usd::text,
                billing_month::text, (metadata ->> 'future')
           FROM archiver.recordings WHERE recording_id = $1",
    )
    .bind(id)
    .fetch_one(&world.pool)
    .await
    .unwrap();
    let told: Vec<String> = (0..told.len()).map(|column| told.get(column)).collect();
    assert_eq!(
        told,
        [
            "a1b2c3d4-5e6f-7890-abcd-ef1234567890",
            "completed",
            "2022-01-01 10:00:00+00",
            "2022-01-01 11:00:00+00",
            "2022-01-01 10:00:00+00",
            "2022-01-01 11:00:00+00",
            "120",
            "20971520",
            "video/mp4",
            "0.050",
            "2022-01-01",
            "0.0010",
        ]
    );
}

async fn demand_the_ledger(world: &World, id: Uuid) {
    let ledger = world
        .text(
            "SELECT string_agg(cost_usd || ' ' || recording_status || ' ' || observed_by, ';')
               FROM archiver.cost_observations WHERE recording_id = $1",
            id,
        )
        .await;
    assert_eq!(ledger.as_deref(), Some("0.050 completed archive"));
    let exact: bool = sqlx::query_scalar(
        "SELECT cost_usd = 0.05::numeric FROM finance.recordings WHERE recording_id = $1",
    )
    .bind(id)
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert!(exact);
}

async fn demand_the_manifest(world: &World, id: Uuid) {
    let row = world.row(id).await;
    let text = world.manifest(id).unwrap();
    for token in [
        r#""cost_in_dollars": 0.050"#,
        r#""future": 1.0e-3"#,
        r#""size_in_bytes": 20971520"#,
    ] {
        assert!(text.contains(token), "{token} in {text}");
    }
    assert!(!text.contains("uri") && !text.contains("X-Amz"), "{text}");
    let manifest: Value = serde_json::from_str(&text).unwrap();
    let fields: Vec<&str> = manifest
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let mut expected = [
        "manifest_version",
        "recording_id",
        "project_id",
        "object_key",
        "size_bytes",
        "sha256",
        "crc64nvme",
        "evidence",
        "proof",
        "archived_at",
        "archiver_version",
        "metadata",
    ];
    let mut found = fields.clone();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(manifest["manifest_version"], 1);
    assert_eq!(manifest["recording_id"], id.to_string());
    assert_eq!(manifest["project_id"], world.simulator.project_id());
    assert_eq!(manifest["object_key"], world.key_of(id));
    assert_eq!(manifest["size_bytes"], EXAMPLE_SIZE);
    assert_eq!(
        manifest["sha256"],
        hex::encode(row.sha256.as_deref().unwrap())
    );
    assert_eq!(manifest["crc64nvme"], row.crc64nvme.as_deref().unwrap());
    assert_eq!(manifest["evidence"], row.evidence.as_deref().unwrap());
    // What it rests on: reading back compares SHA-256, all else here the CRC64NVME.
    let (algorithm, value) = match row.evidence.as_deref() {
        Some("read_back") => ("sha256", &manifest["sha256"]),
        _ => ("crc64nvme", &manifest["crc64nvme"]),
    };
    assert_eq!(manifest["proof"]["algorithm"], algorithm);
    assert_eq!(&manifest["proof"]["value"], value);
    assert_eq!(manifest["proof"].as_object().unwrap().len(), 2);
    assert_eq!(row.evidence_algorithm.as_deref(), Some(algorithm));
    assert_eq!(row.evidence_value.as_deref(), value.as_str());
    assert_eq!(manifest["archiver_version"], env!("CARGO_PKG_VERSION"));
    let archived_at = manifest["archived_at"].as_str().unwrap();
    let archived_at = chrono::DateTime::parse_from_rfc3339(archived_at).unwrap();
    assert_eq!(Some(archived_at.to_utc()), row.archived_at);
    let digest = BASE64.decode(manifest["crc64nvme"].as_str().unwrap());
    assert_eq!(digest.unwrap().len(), 8);
}

#[tokio::test]
async fn the_object_in_a_bucket_has_its_content_type_and_the_prefix() {
    let world = World::s3().await;
    for size_bytes in [100, PART + 1] {
        let id = Uuid::new_v4();
        world.add(SimulatedRecording::new(id, size_bytes)).await;
        let archiver = world.archiver();
        world.attempt(&archiver).await;
        world.demand_archived(id).await;
        assert!(world.key_of(id).starts_with(PREFIX));
        let store = AmazonS3Builder::new()
            .with_bucket_name(BUCKET)
            .with_endpoint(world.s3_server().endpoint())
            .with_allow_http(true)
            .with_access_key_id(ACCESS_KEY_ID)
            .with_secret_access_key(SECRET_ACCESS_KEY)
            .build()
            .unwrap();
        let found = store.get(&Path::from(world.key_of(id))).await.unwrap();
        let content_type = found.attributes.get(&object_store::Attribute::ContentType);
        assert_eq!(content_type.unwrap().as_ref(), "video/mp4");
        let manifest = Path::from(format!("{}.manifest.json", world.key_of(id)));
        let manifest = store.get(&manifest).await.unwrap();
        let content_type = manifest
            .attributes
            .get(&object_store::Attribute::ContentType);
        assert_eq!(content_type.unwrap().as_ref(), "application/json");
    }
}

#[tokio::test]
async fn an_archived_recording_that_is_archived_again_asks_for_no_media() {
    for world in both_stores().await {
        let id = world
            .add(SimulatedRecording::new(Uuid::new_v4(), PART + 7))
            .await;
        let archiver = world.archiver();
        world.attempt(&archiver).await;
        world.demand_archived(id).await;
        // One for each part.
        assert_eq!(world.simulator.counts(id).media_requests, 2);

        // The row still vouches for the object by its SHA-256.
        sqlx::query("UPDATE archiver.recordings SET state = 'pending', finalized_at = NULL")
            .execute(&world.pool)
            .await
            .unwrap();
        let report = world.attempt(&archiver).await;

        assert_eq!(report.outcome, Outcome::AlreadyArchived, "{report:?}");
        assert_eq!(report.bytes_fetched, 0);
        assert_eq!(world.simulator.counts(id).media_requests, 2);
        world.demand_archived(id).await;
        // It was read back just now, whatever the store would verify while it is written.
        assert_eq!(world.row(id).await.evidence.as_deref(), Some("read_back"));
        let attempts = world.attempts(id).await;
        assert_eq!(attempts[1].outcome.as_deref(), Some("already_archived"));
    }
}

#[tokio::test]
async fn every_size_around_the_part_size_arrives_whole() {
    for world in both_stores().await {
        let archiver = world.archiver();
        // A recording of less than 16 bytes has no place for the box that begins an MP4 file.
        for size_bytes in [
            0,
            1,
            15,
            16,
            PART - 1,
            PART,
            PART + 1,
            2 * PART,
            3 * PART + 11,
        ] {
            let mut recording = SimulatedRecording::new(Uuid::new_v4(), size_bytes);
            if size_bytes < 16 {
                recording.format = Some("application/octet-stream".into());
            }
            recording.media = recording_archiver::simulator::Media::Generated {
                size_bytes,
                seed: size_bytes,
                container: recording_archiver::simulator::Container::Mp4,
            };
            let id = world.add(recording).await;
            let report = world.attempt(&archiver).await;
            assert_eq!(
                report.outcome,
                Outcome::Archived,
                "{size_bytes}: {report:?}"
            );
            let object = report.object.unwrap();
            let path = world.path_of(&object.object_key);
            assert_eq!(std::fs::metadata(path).unwrap().len(), size_bytes);
            let sha256 = world.simulator.media_sha256(id).unwrap();
            assert_eq!(
                object.fingerprint.sha256.as_bytes(),
                &sha256,
                "{size_bytes}"
            );
            world.demand_nothing_unfinished().await;
            if let Store::S3(server) = &world.store {
                let in_parts = server.count(Call::Complete) > 0;
                assert_eq!(in_parts, size_bytes > PART, "{size_bytes}");
            }
        }
    }
}

#[tokio::test]
async fn a_body_without_content_length_is_archived_when_it_has_the_declared_size() {
    for world in both_stores().await {
        for size_bytes in [1000, PART, 2 * PART + 3] {
            let id = world
                .add(SimulatedRecording::new(Uuid::new_v4(), size_bytes))
                .await;
            let whole = MediaFault::ChunkedCutAfter(size_bytes);
            // Without Range too, as a host that knows no length answers.
            world.simulator.inject(id, whole, Times::Always);
            let report = world.attempt(&world.archiver()).await;
            assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
            world.demand_archived(id).await;
        }
    }
}
