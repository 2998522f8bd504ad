//! Where store, source or record no longer agree, the next attempt begins at the front and leaves
//! nothing of the old upload.

use recording_archiver::error::ErrorKind;
use recording_archiver::queue::Outcome;
use recording_archiver::simulator::{Media, MediaFault, Times};

use super::{SIZE, archiver, demand_fresh_start, demand_going_on, killed_in_the_middle};
use crate::harness::s3::{Call, StoreFault};
use crate::harness::world::{PART, World};
use crate::seed::execute;

#[tokio::test]
async fn a_store_that_forgot_the_upload_or_a_part_gets_all_of_it_again() {
    let world = World::s3().await;
    for (name, fault) in [
        ("the upload", StoreFault::ForgetUpload),
        ("a part", StoreFault::LosePart(1)),
        ("the call", StoreFault::Refuse(501, "NotImplemented")),
    ] {
        let id = killed_in_the_middle(&world).await;
        world.s3_server().inject(Call::ListParts, fault, 1);
        demand_fresh_start(&world, id, name).await;
    }
}

#[tokio::test]
async fn a_record_that_was_damaged_is_not_gone_on_from() {
    let world = World::s3().await;
    // Each by itself; the state of the hashes is 1 byte of version, 8 of size, 8 of CRC, and SHA-256.
    for damage in [
        "UPDATE archiver.uploads SET hash_state = 'garbage'",
        "UPDATE archiver.uploads SET hash_state = substr(hash_state, 1, 40)",
        "UPDATE archiver.uploads SET hash_state = set_byte(hash_state, 5, 1)",
        "UPDATE archiver.uploads
            SET hash_state = set_byte(hash_state, 12, get_byte(hash_state, 12) # 1)",
        "UPDATE archiver.uploads
            SET hash_state = set_byte(hash_state, 20, get_byte(hash_state, 20) # 1)",
        "UPDATE archiver.uploads SET hash_state = NULL",
        "UPDATE archiver.uploads SET attempt_token = NULL",
        "UPDATE archiver.uploads SET validator = NULL",
        "UPDATE archiver.uploads SET validator = '\"another\"'",
        "UPDATE archiver.uploads SET size_bytes = size_bytes + 1",
        "UPDATE archiver.uploads SET size_bytes = NULL",
        "UPDATE archiver.uploads SET part_bytes = part_bytes - 1",
        "DELETE FROM archiver.upload_parts WHERE part_number = 1",
        "UPDATE archiver.upload_parts SET part_number = 9 WHERE part_number = 1",
        "UPDATE archiver.upload_parts SET etag = 'another' WHERE part_number = 1",
        "UPDATE archiver.upload_parts SET size_bytes = size_bytes - 1 WHERE part_number = 1",
        "UPDATE archiver.upload_parts SET crc64nvme = 'AAAAAAAAAAA=' WHERE part_number = 1",
        "UPDATE archiver.upload_parts SET crc64nvme = 'nonsense' WHERE part_number = 1",
    ] {
        let id = killed_in_the_middle(&world).await;
        execute(&world.pool, damage).await;
        demand_fresh_start(&world, id, damage).await;
    }
}

#[tokio::test]
async fn a_source_that_changed_meanwhile_is_fetched_whole() {
    let world = World::s3().await;
    for change in ["bytes", "validator", "none any more"] {
        let id = killed_in_the_middle(&world).await;
        match change {
            "bytes" => {
                world.simulator.update(id, |recording| {
                    let Media::Generated { seed, .. } = &mut recording.media else {
                        panic!("{:?}", recording.media);
                    };
                    *seed += 1;
                });
            }
            "validator" => {
                let changes = MediaFault::EtagChanges;
                world.simulator.inject(id, changes, Times::ONCE);
            }
            _ => {
                let ignores = MediaFault::IgnoreRange;
                world.simulator.inject(id, ignores, Times::Always);
            }
        }
        demand_fresh_start(&world, id, change).await;
    }
}

#[tokio::test]
async fn a_recording_that_is_of_another_size_by_now_is_fetched_whole() {
    let world = World::s3().await;
    let id = killed_in_the_middle(&world).await;
    world.simulator.update(id, |recording| {
        let Media::Generated { size_bytes, .. } = &mut recording.media else {
            panic!("{:?}", recording.media);
        };
        *size_bytes -= 1;
    });
    let report = world.attempt(&archiver(&world)).await;
    assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
    assert_eq!(report.bytes_fetched, SIZE - 1, "{report:?}");
    world.demand_archived(id).await;
}

#[tokio::test]
async fn media_that_changes_in_the_middle_of_going_on_is_fetched_whole() {
    let world = World::s3().await;
    let id = killed_in_the_middle(&world).await;
    let rest = SIZE - PART * world.parts_on_record(id).await;
    let changes = MediaFault::MediaChanges;
    world.simulator.inject(id, changes, Times::ONCE.after(1));
    let report = world.attempt(&archiver(&world)).await;
    assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
    let most = SIZE + rest;
    assert!((SIZE..=most).contains(&report.bytes_fetched), "{report:?}");
    world.demand_archived(id).await;
    assert_eq!(world.s3_server().count(Call::BeginUpload), 2);
}

#[tokio::test]
async fn a_store_or_an_api_that_is_away_when_it_is_to_go_on_loses_nothing() {
    let world = World::s3().await;
    let id = killed_in_the_middle(&world).await;
    let stored = world.parts_on_record(id).await;
    let server = world.s3_server();
    let down = StoreFault::Refuse(503, "SlowDown");
    server.inject(Call::ListParts, down, 1000);
    let report = world.attempt(&archiver(&world)).await;
    assert_eq!(report.outcome, Outcome::Retrying, "{report:?}");
    let kind = report.failure.map(|failure| failure.kind);
    assert_eq!(kind, Some(ErrorKind::StorageUnavailable));
    assert_eq!(server.count(Call::Abort), 0);
    server.clear_faults();

    // The third attempt would be the last one.
    execute(&world.pool, "UPDATE archiver.recordings SET attempts = 1").await;
    world.make_due().await;
    let refused = MediaFault::Status(503);
    world.simulator.inject(id, refused, Times::ONCE);
    let report = world.attempt(&archiver(&world)).await;
    assert_eq!(report.outcome, Outcome::Retrying, "{report:?}");
    assert_eq!(report.bytes_fetched, 0, "{report:?}");

    assert_eq!(world.parts_on_record(id).await, stored);
    world.make_due().await;
    demand_going_on(&world, id).await;
}
