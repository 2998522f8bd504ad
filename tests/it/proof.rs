//! Between hashing and Complete: parts that are not what was read never become an object.

use bytes::Bytes;
use recording_archiver::archive::Archiver;
use recording_archiver::config::ChecksumMode;
use recording_archiver::digest::{Crc64Nvme, Fingerprint, Fingerprinting};
use recording_archiver::error::ErrorKind;
use recording_archiver::queue::Outcome;
use recording_archiver::simulator::SimulatedRecording;
use recording_archiver::storage::{
    AnswerClass, ObjectKey, PartPlan, StorageError, Upload, UploadPlan,
};
use uuid::Uuid;

use crate::harness::s3::{Call, StoreFault};
use crate::harness::world::{MIB, PART, World};

/// Three parts and a bit.
const SIZE: u64 = 3 * PART + MIB;

async fn add(world: &World) -> Uuid {
    world
        .add(SimulatedRecording::new(Uuid::new_v4(), SIZE))
        .await
}

#[tokio::test]
async fn what_the_store_lost_swapped_or_altered_is_refused_and_begun_anew() {
    for fault in [
        StoreFault::LosePart(2),
        StoreFault::SwapParts(1, 2),
        StoreFault::AlterPart(3),
        StoreFault::Refuse(400, "InvalidPart"),
    ] {
        let world = World::s3().await;
        let (id, server) = (add(&world).await, world.s3_server());
        server.inject(Call::Complete, fault.clone(), 1);
        let report = world.attempt(&world.archiver()).await;
        assert_eq!(report.outcome, Outcome::Retrying, "{fault:?}: {report:?}");
        let kind = report.failure.map(|failure| failure.kind);
        assert_eq!(kind, Some(ErrorKind::ChecksumMismatch), "{fault:?}");
        // What was refused once would be refused again: nothing is left to go on with.
        world.demand_nothing_stored(id).await;
        world.make_due().await;
        let report = world.attempt(&world.archiver()).await;
        assert_eq!(report.outcome, Outcome::Archived, "{fault:?}: {report:?}");
        assert_eq!(server.upload_ids().len(), 2, "{fault:?}");
        world.demand_archived(id).await;
    }
}

#[tokio::test]
async fn complete_of_a_forgotten_upload_begins_another() {
    let world = World::s3().await;
    let (id, server) = (add(&world).await, world.s3_server());
    server.inject(Call::Complete, StoreFault::ForgetUpload, 1);
    let report = world.attempt(&world.archiver()).await;
    assert_eq!(report.outcome, Outcome::Retrying, "{report:?}");
    let kind = report.failure.map(|failure| failure.kind);
    assert_eq!(kind, Some(ErrorKind::StorageUnavailable));
    world.make_due().await;
    let report = world.attempt(&world.archiver()).await;
    assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
    assert_eq!(server.upload_ids().len(), 2);
    world.demand_archived(id).await;
}

#[tokio::test]
async fn complete_in_conflict_is_retried_within_the_attempt() {
    for code in ["ConditionalRequestConflict", "OperationAborted"] {
        let world = World::s3().await;
        let (id, server) = (add(&world).await, world.s3_server());
        server.inject(Call::Complete, StoreFault::Refuse(409, code), 2);
        let report = world.attempt(&world.archiver()).await;
        assert_eq!(report.outcome, Outcome::Archived, "{code}: {report:?}");
        assert_eq!(server.upload_ids().len(), 1, "{code}");
        world.demand_archived(id).await;
    }
}

/// An upload of parts of 5 MiB, and what was read of them.
async fn begin(archiver: &Archiver) -> (Upload, ObjectKey) {
    let key = ObjectKey::from_stored(format!("{}.mp4", Uuid::new_v4())).unwrap();
    let plan = UploadPlan {
        parts: PartPlan {
            part_bytes: PART,
            single: false,
        },
        content_type: None,
        attempt_token: Uuid::new_v4(),
    };
    let upload = archiver.storage.begin_upload(&key, &plan).await.unwrap();
    (upload, key)
}

fn parts() -> [Bytes; 3] {
    [b'a', b'b', b'c'].map(|byte| vec![byte; usize::try_from(PART).unwrap()].into())
}

fn read(parts: &[Bytes]) -> Fingerprint {
    let mut fingerprint = Fingerprinting::new();
    for part in parts {
        fingerprint.update(part);
    }
    fingerprint.finish()
}

async fn send(upload: &mut Upload, number: u32, bytes: &Bytes) -> Result<(), StorageError> {
    let read = Crc64Nvme::of(bytes);
    upload.send(number, bytes.clone(), read).await
}

#[tokio::test]
async fn a_part_that_was_altered_after_it_was_read_is_refused() {
    let [a, b, _] = parts();
    let altered = Bytes::from([&b[1..], b"!"].concat());
    let sound = read(&[a.clone(), b.clone()]);
    for (world, checksum, compared_by_store) in [
        (World::s3().await, ChecksumMode::Auto, true),
        (World::s3().await, ChecksumMode::Sha256, false),
        (World::s3().await, ChecksumMode::None, false),
        (World::local().await, ChecksumMode::Auto, false),
    ] {
        let archiver = world.archiver_with(|settings| settings.storage.checksum = checksum);
        let (mut upload, key) = begin(&archiver).await;
        send(&mut upload, 1, &a).await.unwrap();
        let as_read = Crc64Nvme::of(&b);
        upload.send(2, altered.clone(), as_read).await.unwrap();
        let published = match upload.finish_parts().await {
            Ok(()) => upload.publish(&archiver.storage, &sound).await,
            Err(error) => Err(error),
        };
        let refused = match &published {
            Err(error @ StorageError::Answer { .. }) => {
                compared_by_store && error.class() == Some(AnswerClass::Damaged)
            }
            Err(StorageError::PartsDiffer { .. }) => !compared_by_store,
            _ => false,
        };
        assert!(refused, "{checksum:?}: {published:?}");
        upload.abort().await.unwrap();
        let found = archiver.storage.size_of(&key).await.unwrap();
        assert_eq!(found, None);
    }
}

#[tokio::test]
async fn parts_that_are_not_what_was_read_are_never_published() {
    for world in [World::s3().await, World::local().await] {
        let archiver = world.archiver();
        let [a, b, c] = parts();
        let sound = read(&[a.clone(), b.clone(), c.clone()]);
        let altered = Bytes::from([&c[1..], b"!"].concat());
        for (name, sent) in [
            ("lost", vec![(1, &a), (3, &c)]),
            ("lost at the end", vec![(1, &a), (2, &b)]),
            ("doubled", vec![(1, &a), (2, &a), (3, &c)]),
            ("swapped", vec![(1, &b), (2, &a), (3, &c)]),
            ("altered", vec![(1, &a), (2, &b), (3, &altered)]),
            ("one too many", vec![(1, &a), (2, &b), (3, &c), (4, &c)]),
        ] {
            let (mut upload, key) = begin(&archiver).await;
            for (number, bytes) in sent {
                send(&mut upload, number, bytes).await.unwrap();
            }
            upload.finish_parts().await.unwrap();
            let published = upload.publish(&archiver.storage, &sound).await;
            let refused = matches!(published, Err(StorageError::PartsDiffer { .. }));
            assert!(refused, "{name}: {published:?}");
            upload.abort().await.unwrap();
            let found = archiver.storage.size_of(&key).await.unwrap();
            assert_eq!(found, None, "{name}");
        }
        // And those that are, are.
        let (mut upload, key) = begin(&archiver).await;
        for (number, bytes) in (1..).zip([&a, &b, &c]) {
            send(&mut upload, number, bytes).await.unwrap();
        }
        upload.finish_parts().await.unwrap();
        upload.publish(&archiver.storage, &sound).await.unwrap();
        let found = archiver.storage.read_back(&key, sound.size_bytes);
        let found = found.await.unwrap();
        assert_eq!(found, Some(sound));
    }
}

#[tokio::test]
async fn each_way_of_verifying_parts_says_by_which_algorithm() {
    for (checksum, evidence, algorithm) in [
        (ChecksumMode::Auto, "full_object", "crc64nvme"),
        (ChecksumMode::Crc64Nvme, "full_object", "crc64nvme"),
        (ChecksumMode::Sha256, "parts", "sha256"),
        (ChecksumMode::None, "read_back", "sha256"),
    ] {
        let world = World::s3().await;
        let id = add(&world).await;
        let archiver = world.archiver_with(|settings| settings.storage.checksum = checksum);
        let report = world.attempt(&archiver).await;
        assert_eq!(
            report.outcome,
            Outcome::Archived,
            "{checksum:?}: {report:?}"
        );
        world.demand_archived(id).await;
        let said = "SELECT concat_ws(' ', evidence, evidence_algorithm, evidence_value)
                      FROM archiver.recordings WHERE recording_id = $1";
        let row = world.row(id).await;
        let value = match evidence {
            "full_object" => row.crc64nvme,
            "read_back" => row.sha256.map(hex::encode),
            _ => None,
        };
        let expected = [Some(evidence.to_owned()), Some(algorithm.to_owned()), value];
        let expected = expected.into_iter().flatten().collect::<Vec<_>>().join(" ");
        assert_eq!(world.text(said, id).await, Some(expected));
    }
}
