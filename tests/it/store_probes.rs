//! What a store is seen to do with throw-away objects, and what becomes of that knowledge.

use recording_archiver::archive::Archiver;
use recording_archiver::config::{ChecksumMode, VerifyMode};
use recording_archiver::error::ErrorKind;
use recording_archiver::storage::{Assurance, Enforcement, Evidence, PartSizeAnswer};
use recording_archiver::upkeep::{Acquainted, look};
use serde_json::Value;

use crate::harness::binary::Binary;
use crate::harness::s3::{Call, S3Server, StoreFault};
use crate::harness::world::{MIB, PART, Settings, World};

mod refusals;
mod told;

const HONEST: Enforcement = Enforcement {
    checksum: ChecksumMode::Auto,
    put_crc64nvme: true,
    put_sha256: true,
    part_crc64nvme: true,
    part_sha256: true,
    create_only: true,
    object_checksum: true,
    object_size: true,
    complete_create_only: true,
    lists_uploads: true,
    lists_parts: true,
    aborts_uploads: true,
    keeps_metadata: true,
    removes_objects: true,
};

/// What a new process sees of the store as it is now.
async fn seen(world: &World, change: impl FnOnce(&mut Settings)) -> Enforcement {
    let archiver = world.archiver_with(change);
    assert_eq!(archiver.storage.known_enforcement(), None);
    let found = archiver.storage.enforcement().await.unwrap();
    assert_eq!(archiver.storage.known_enforcement(), found);
    found.expect("it is a bucket")
}

#[tokio::test]
async fn each_thing_that_a_store_does_not_do_is_seen() {
    type Fault = (fn(&S3Server), fn(&mut Enforcement));
    let refused = |server: &S3Server, call| {
        let refusal = StoreFault::Refuse(403, "AccessDenied");
        server.inject_everywhere(&[call], &refusal);
    };
    let faults: [Fault; 11] = [
        (|_| {}, |_| {}),
        (
            |it| it.honour_put_checksums(false),
            |it| (it.put_crc64nvme, it.put_sha256) = (false, false),
        ),
        (
            |it| it.honour_part_checksums(false),
            |it| (it.part_crc64nvme, it.part_sha256) = (false, false),
        ),
        (
            |it| it.honour_sha256(false),
            |it| (it.put_sha256, it.part_sha256) = (false, false),
        ),
        (
            |it| it.honour_create_only(false),
            |it| (it.create_only, it.complete_create_only) = (false, false),
        ),
        (
            |it| it.honour_object_checksum(false),
            |it| it.object_checksum = false,
        ),
        (
            |it| it.honour_object_size(false),
            |it| it.object_size = false,
        ),
        (
            |it| it.returns_checksums(false),
            |it| it.object_checksum = false,
        ),
        (
            |it| it.supports_list_parts(false),
            |it| it.lists_parts = false,
        ),
        (
            |it| it.lists_uploads_by_prefix(false),
            |it| it.lists_uploads = false,
        ),
        (
            |it| it.keeps_metadata(false),
            |it| it.keeps_metadata = false,
        ),
    ];
    for (number, (dishonest, change)) in faults.into_iter().enumerate() {
        let world = World::s3().await;
        dishonest(world.s3_server());
        let mut expected = HONEST;
        change(&mut expected);
        assert_eq!(seen(&world, |_| {}).await, expected, "{number}");
        world.demand_no_probes();
    }
    let world = World::s3().await;
    refused(world.s3_server(), Call::ListUploads);
    let found = seen(&world, |_| {}).await;
    assert!(!found.lists_uploads && found.aborts_uploads && found.lists_parts);
    world.s3_server().clear_faults();
    refused(world.s3_server(), Call::Abort);
    let found = seen(&world, |_| {}).await;
    assert!(found.lists_uploads && !found.aborts_uploads, "{found:?}");
}

#[tokio::test]
async fn probe_sees_whether_objects_can_be_removed() {
    for (fault, removes_objects) in [
        (StoreFault::Refuse(403, "AccessDenied"), false),
        (StoreFault::Refuse(400, "InvalidRequest"), false),
        (StoreFault::Refuse(405, "MethodNotAllowed"), false),
        (StoreFault::Refuse(501, "NotImplemented"), false),
        (StoreFault::Pretend, false),
        (StoreFault::LoseAnswer, true),
        (StoreFault::RefuseLate(403, "AccessDenied"), true),
    ] {
        let world = World::s3().await;
        let server = world.s3_server();
        server.inject_everywhere(&[Call::Delete], &fault);
        let found = seen(&world, |_| {}).await;
        let expected = Enforcement {
            removes_objects,
            ..HONEST
        };
        assert_eq!(found, expected, "{fault:?}");
        if removes_objects {
            world.demand_no_probes();
        }
    }
}

#[tokio::test]
async fn no_checksum_is_asked_about_that_is_not_to_be_sent() {
    let world = World::s3().await;
    let none = |settings: &mut Settings| settings.storage.checksum = ChecksumMode::None;
    let found = seen(&world, none).await;
    let expected = Enforcement {
        checksum: ChecksumMode::None,
        put_crc64nvme: false,
        put_sha256: false,
        part_crc64nvme: false,
        part_sha256: false,
        object_checksum: false,
        ..HONEST
    };
    assert_eq!(found, expected);
    world.demand_no_probes();
}

/// Otherwise a process would prove less for all its life because of one bad moment at its start.
#[tokio::test]
async fn a_trouble_while_probing_is_no_finding() {
    let world = World::s3().await;
    let server = world.s3_server();
    for (call, fault, kind) in [
        (
            Call::BeginUpload,
            StoreFault::Refuse(503, "SlowDown"),
            ErrorKind::StorageUnavailable,
        ),
        (
            Call::BeginUpload,
            StoreFault::Refuse(400, "ExpiredToken"),
            ErrorKind::StorageDenied,
        ),
        (
            Call::PutPart,
            StoreFault::Refuse(400, "ExpiredToken"),
            ErrorKind::StorageDenied,
        ),
        (
            Call::PutPart,
            StoreFault::Refuse(503, "SlowDown"),
            ErrorKind::StorageUnavailable,
        ),
    ] {
        let archiver = world.archiver();
        server.inject_everywhere(&[call], &fault);
        let error = archiver.storage.enforcement().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{call:?} {fault:?}: {error}");
        server.clear_faults();
        let found = archiver.storage.enforcement().await.unwrap();
        assert_eq!(found, Some(HONEST), "{call:?} {fault:?}");
    }
}

async fn assurance(world: &World, change: impl FnOnce(&mut Settings)) -> Assurance {
    let archiver = world.archiver_with(change);
    archiver.storage.assurance().await.unwrap()
}

#[tokio::test]
async fn why_evidence_is_no_stronger_is_said_and_whose_doing_it_is() {
    type Change = fn(&mut Settings);
    type Case = (fn(&S3Server), Change, Evidence, &'static str, bool);
    let sha256: Change = |settings| settings.storage.checksum = ChecksumMode::Sha256;
    let none: Change = |settings| settings.storage.checksum = ChecksumMode::None;
    let read_back: Change = |settings| settings.storage.verify = VerifyMode::ReadBack;
    let cases: [Case; 9] = [
        (|_| {}, |_| {}, Evidence::FullObject, "", false),
        (|_| {}, sha256, Evidence::Parts, "do not combine", false),
        (|_| {}, none, Evidence::ReadBack, "storage.checksum", false),
        (
            |_| {},
            read_back,
            Evidence::ReadBack,
            "storage.verify",
            false,
        ),
        (
            |it| it.honour_object_checksum(false),
            |_| {},
            Evidence::Parts,
            "of the whole",
            true,
        ),
        (
            |it| it.honour_put_checksums(false),
            |_| {},
            Evidence::ReadBack,
            "on PUT",
            true,
        ),
        (
            |it| it.honour_part_checksums(false),
            |_| {},
            Evidence::ReadBack,
            "of a part",
            true,
        ),
        (
            |it| it.honour_sha256(false),
            sha256,
            Evidence::ReadBack,
            "neither",
            true,
        ),
        (
            |it| it.honour_part_checksums(false),
            read_back,
            Evidence::ReadBack,
            "storage.verify",
            false,
        ),
    ];
    for (dishonest, change, evidence, reason, is_degraded) in cases {
        let world = World::s3().await;
        dishonest(world.s3_server());
        let found = assurance(&world, change).await;
        assert_eq!(found.evidence, evidence, "{found:?}");
        assert_eq!(found.is_degraded, is_degraded, "{found:?}");
        assert_eq!(found.reason.is_none(), reason.is_empty(), "{found:?}");
        let said = found.reason.unwrap_or_default();
        assert!(said.contains(reason), "{reason}: {said}");
    }
    let directory = assurance(&World::local().await, |_| {}).await;
    assert_eq!(directory.evidence, Evidence::ReadBack);
    assert!(!directory.is_degraded && directory.reason.is_some());
}

/// A new process gets to know the store.
async fn known(world: &World, probed_by: &str) -> Acquainted {
    let known = acquainted(world, &world.archiver(), probed_by).await;
    assert_eq!(known.unrecorded, None);
    known
}

async fn acquainted(world: &World, archiver: &Archiver, probed_by: &str) -> Acquainted {
    let known = look(&archiver.storage).await.unwrap();
    known.on_record(&world.service, probed_by).await
}

async fn on_record(world: &World) -> Value {
    let ended = Binary::of(world)
        .run(&["status", "--output", "json"])
        .await
        .demand_code(0);
    ended.json_line()["stores"].clone()
}

#[tokio::test]
async fn a_store_that_gets_worse_is_held_against_its_record() {
    let world = World::s3().await;
    let server = world.s3_server();
    assert_eq!(on_record(&world).await, serde_json::json!([]));
    for host in ["one:1", "two:2"] {
        let known = known(&world, host).await;
        assert!(known.worse.is_none(), "{known:?}");
    }
    let stores = on_record(&world).await;
    assert_eq!(stores.as_array().unwrap().len(), 1, "{stores}");
    let store = &stores[0];
    for (key, value) in [
        ("store", "s3://recordings/video/archive".into()),
        ("probed_by", "two:2".into()),
        ("checksum", "auto".into()),
        ("evidence", "full_object".into()),
        ("evidence_reason", Value::Null),
        ("part_sha256", true.into()),
        ("object_checksum", true.into()),
        ("keeps_metadata", true.into()),
    ] {
        assert_eq!(store[key], value, "{key}: {store}");
    }

    server.honour_object_checksum(false);
    let degraded = known(&world, "three:3").await;
    let worse = degraded.worse.expect("it got worse").to_string();
    for said in [
        "(two:2)",
        "it does not refuse a wrong checksum of the whole",
        "evidence degrades from `full_object` to `parts`",
    ] {
        assert!(worse.contains(said), "{said}: {worse}");
    }
    let store = on_record(&world).await[0].clone();
    assert_eq!(store["evidence"], "parts", "{store}");
    assert_eq!(store["object_checksum"], false, "{store}");
    assert!(store["evidence_reason"].is_string(), "{store}");

    // It is told once, and what leaves the evidence as it is as well.
    server.supports_list_parts(false);
    let worse = known(&world, "four:4").await.worse.unwrap().to_string();
    let (lists, stays) = (
        "it does not list parts any more; ",
        "evidence stays `parts`",
    );
    assert!(worse.contains(lists) && worse.contains(stays), "{worse}");
    assert!(known(&world, "five:5").await.worse.is_none());
    server.honour_object_checksum(true);
    server.supports_list_parts(true);
    let better = known(&world, "six:6").await;
    assert!(better.worse.is_none(), "{better:?}");
    assert_eq!(on_record(&world).await[0]["evidence"], "full_object");
}

#[tokio::test]
async fn what_was_not_asked_is_no_loss() {
    let world = World::s3().await;
    known(&world, "one:1").await;
    let none = |settings: &mut Settings| settings.storage.checksum = ChecksumMode::None;
    let known = acquainted(&world, &world.archiver_with(none), "two:2").await;
    assert!(known.worse.is_none(), "{known:?}");
    let store = on_record(&world).await[0].clone();
    assert_eq!(store["put_crc64nvme"], Value::Null, "{store}");
    assert_eq!(store["object_checksum"], Value::Null, "{store}");
}

#[tokio::test]
async fn a_database_that_does_not_take_it_is_told_and_stops_nothing() {
    let world = World::s3().await;
    let drop = "ALTER TABLE archiver.store_probes RENAME TO elsewhere";
    crate::seed::execute(&world.pool, drop).await;
    let known = acquainted(&world, &world.archiver(), "one:1").await;
    let error = known.unrecorded.expect("it is not on record");
    assert!(error.contains("store_probes"), "{error}");
    assert_eq!(known.found, Some(HONEST));
}

async fn part_size(world: &World, change: impl FnOnce(&mut Settings)) -> PartSizeAnswer {
    let storage = world.archiver_with(change).storage;
    let found = storage.probe_part_size().await.expect("it is a bucket");
    world.demand_no_probes();
    found.answer
}

#[tokio::test]
async fn whether_whole_parts_get_through_is_tried() {
    type Change = fn(&mut Settings);
    let world = World::s3().await;
    let server = world.s3_server();
    let settings: [Change; 4] = [
        |_| {},
        |settings| settings.storage.checksum = ChecksumMode::Sha256,
        |settings| settings.storage.checksum = ChecksumMode::None,
        |settings| settings.storage.part_size_bytes = PART + MIB,
    ];
    for (number, change) in settings.into_iter().enumerate() {
        server.takes_parts_up_to(PART + MIB);
        let answer = part_size(&world, change).await;
        assert_eq!(answer, PartSizeAnswer::Taken, "{number}");
        server.takes_parts_up_to(PART - 1);
        match part_size(&world, change).await {
            PartSizeAnswer::Refused(said) => assert!(said.contains("EntityTooLarge"), "{said}"),
            other => panic!("{number}: {other:?}"),
        }
    }
    // S3 itself takes no smaller ones than 5 MiB, and says so at the very end.
    let small = |settings: &mut Settings| settings.storage.part_size_bytes = MIB;
    match part_size(&world, small).await {
        PartSizeAnswer::Refused(said) => assert!(said.contains("EntityTooSmall"), "{said}"),
        other => panic!("{other:?}"),
    }
    // A trouble is no finding.
    let archiver = world.archiver();
    archiver.storage.enforcement().await.unwrap();
    let slow = StoreFault::Refuse(503, "SlowDown");
    server.inject_everywhere(&[Call::PutPart], &slow);
    match archiver.storage.probe_part_size().await.unwrap().answer {
        PartSizeAnswer::Untold(error) => assert!(error.contains("SlowDown"), "{error}"),
        other => panic!("{other:?}"),
    }
    server.clear_faults();
    world.demand_no_probes();
    let directory = World::local().await.archiver();
    assert_eq!(directory.storage.probe_part_size().await, None);
}

#[tokio::test]
async fn a_part_size_stays_on_record_until_one_is_tried_again() {
    let world = World::s3().await;
    assert_eq!(known(&world, "one:1").await.part_size, None);
    let on_record = || async { on_record(&world).await[0]["part_size"].clone() };
    assert_eq!(on_record().await, Value::Null);
    for (most, is_taken) in [(PART, true), (PART - 1, false)] {
        world.s3_server().takes_parts_up_to(most);
        let storage = world.archiver().storage;
        let known_well = look(&storage).await.unwrap().with_part_size(&storage).await;
        let known_well = known_well.on_record(&world.service, "two:2").await;
        assert_eq!(known_well.unrecorded, None, "{known_well:?}");
        let expected = serde_json::json!({ "bytes": PART, "is_taken": is_taken });
        assert_eq!(on_record().await, expected);
        known(&world, "three:3").await;
        assert_eq!(on_record().await, expected, "nobody asked since");
    }
}
