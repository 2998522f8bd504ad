//! What the store may do: refuse, lose its answer, damage, lie.

use std::fs;

use recording_archiver::config::{ChecksumMode, StorageLocation, VerifyMode};
use recording_archiver::daemon::Ending;
use recording_archiver::error::ErrorKind;
use recording_archiver::queue::Outcome;
use recording_archiver::simulator::SimulatedRecording;
use recording_archiver::upkeep;
use uuid::Uuid;

use crate::harness::s3::{Call, S3Server, StoreFault};
use crate::harness::world::{MIB, PART, Settings, World};

/// One PUT, and a multipart upload of three parts.
const SIZES: [u64; 2] = [MIB, 2 * PART + 5];

async fn add(world: &World, size_bytes: u64) -> Uuid {
    world
        .add(SimulatedRecording::new(Uuid::new_v4(), size_bytes))
        .await
}

/// Makes the recording due again and demands that it is archived now, and that nothing of it is
/// fetched or sent that is in the store and on record.
async fn demand_recovery(world: &World, id: Uuid) {
    let (server, stored) = (world.s3_server(), world.parts_on_record(id).await);
    let (begun, sent) = (server.count(Call::BeginUpload), server.count(Call::PutPart));
    server.clear_faults();
    world.make_due().await;
    let report = world.attempt(&world.archiver()).await;
    assert!(report.failure.is_none(), "{report:?}");
    world.demand_archived(id).await;
    let size_bytes = world.simulator.media_size_bytes(id).unwrap();
    let rest = size_bytes.saturating_sub(PART * stored);
    assert_eq!(report.bytes_fetched, rest, "{stored}: {report:?}");
    if stored > 0 {
        assert_eq!(server.count(Call::BeginUpload), begun);
        let parts = sent + usize::try_from(rest.div_ceil(PART)).unwrap();
        assert_eq!(server.count(Call::PutPart), parts, "{stored}");
    }
}

#[tokio::test]
async fn a_short_outage_of_the_store_costs_no_attempt() {
    let world = World::s3().await;
    for (call, size_bytes) in [
        (Call::Head, SIZES[0]),
        (Call::Put, SIZES[0]),
        (Call::BeginUpload, SIZES[1]),
        (Call::PutPart, SIZES[1]),
        (Call::Complete, SIZES[1]),
    ] {
        let id = add(&world, size_bytes).await;
        world
            .s3_server()
            .inject(call, StoreFault::Refuse(503, "SlowDown"), 2);
        let report = world.attempt(&world.archiver()).await;
        assert_eq!(report.outcome, Outcome::Archived, "{call:?}: {report:?}");
        world.demand_archived(id).await;
        assert_eq!(world.row(id).await.attempts, 1);
    }
}

/// What a store that is down for one kind of call leads to, and that it is made good afterwards.
/// Gives how many parts were on record in between.
async fn demand_retry_after(call: Call, fault: StoreFault, skip: u32, size_bytes: u64) -> u64 {
    let world = World::s3().await;
    // There is a look right before publishing where that is not conditional itself.
    world.s3_server().honour_create_only(call != Call::Head);
    let about = format!("{call:?} {fault:?}");
    world.s3_server().inject_after(skip, call, fault, 1000);
    demand_retry(&world, size_bytes, &about).await
}

async fn demand_retry(world: &World, size_bytes: u64, fault: &str) -> u64 {
    let id = add(world, size_bytes).await;
    let report = world.attempt(&world.archiver()).await;
    let about = format!("{fault}: {report:?}");
    assert_eq!(report.outcome, Outcome::Retrying, "{about}");
    let kind = report.failure.map(|failure| failure.kind);
    assert_eq!(kind, Some(ErrorKind::StorageUnavailable), "{about}");
    assert!(world.object(id).is_none() && world.manifest(id).is_none());
    let row = world.row(id).await;
    assert_eq!(
        (row.state.as_str(), row.attempts),
        ("pending", 1),
        "{about}"
    );
    assert_eq!(row.error_kind.as_deref(), Some("storage_unavailable"));
    assert!(row.due_in_secs > 0.0, "{about}");
    let attempts = world.attempts(id).await;
    assert_eq!(attempts[0].outcome.as_deref(), Some("retrying"));
    assert_eq!(
        attempts[0].error_kind.as_deref(),
        Some("storage_unavailable")
    );
    let stored = world.parts_on_record(id).await;
    if stored == 0 {
        world.demand_nothing_unfinished().await;
    }
    demand_recovery(world, id).await;
    assert_eq!(world.row(id).await.error_kind, None);
    stored
}

/// A multipart upload that was cut off when all its parts were on record.
async fn demand_only_publishing_again_after(call: Call, fault: StoreFault, skip: u32) {
    assert_eq!(demand_retry_after(call, fault, skip, SIZES[1]).await, 3);
}

fn down() -> StoreFault {
    StoreFault::Refuse(503, "SlowDown")
}

#[tokio::test]
async fn an_outage_before_the_bytes_is_made_good() {
    demand_retry_after(Call::Head, down(), 0, SIZES[0]).await;
    demand_retry_after(Call::BeginUpload, down(), 0, SIZES[1]).await;
}

#[tokio::test]
async fn an_outage_while_the_bytes_move_is_gone_on_after_from_what_is_stored() {
    for part in 1..=3 {
        let world = World::s3().await;
        world.s3_server().inject_on_part(part, down(), 1000);
        let stored = demand_retry(&world, SIZES[1], &format!("part {part}")).await;
        assert_eq!(stored, u64::from(part) - 1, "what came before part {part}");
    }
}

#[tokio::test]
async fn an_outage_while_publishing_is_gone_on_after_without_a_byte_fetched_again() {
    demand_retry_after(Call::Put, down(), 0, SIZES[0]).await;
    demand_retry_after(Call::Put, StoreFault::Cut, 0, SIZES[0]).await;
    demand_only_publishing_again_after(Call::Complete, down(), 0).await;
    demand_only_publishing_again_after(Call::Complete, StoreFault::Cut, 0).await;
    // The look right before publishing.
    demand_only_publishing_again_after(Call::Head, down(), 1).await;
}

#[tokio::test]
async fn an_answer_lost_after_the_store_has_acted_is_recognized_as_our_own_object() {
    let world = World::s3().await;
    for (call, size_bytes) in [(Call::Put, SIZES[0]), (Call::Complete, SIZES[1])] {
        let id = add(&world, size_bytes).await;
        world.s3_server().inject(call, StoreFault::LoseAnswer, 1);
        let report = world.attempt(&world.archiver()).await;
        assert_eq!(report.outcome, Outcome::Archived, "{call:?}: {report:?}");
        let parts = size_bytes.div_ceil(PART);
        assert_eq!(world.simulator.counts(id).media_requests, parts);
        assert!(world.row(id).await.etag.is_some());
        world.demand_archived(id).await;
    }
}

#[tokio::test]
async fn an_upload_that_cannot_be_aborted_stays_on_record_until_the_sweep() {
    let world = World::s3().await;
    let server = world.s3_server();
    let id = add(&world, SIZES[1]).await;
    for call in [Call::PutPart, Call::Abort] {
        server.inject(call, StoreFault::Refuse(503, "SlowDown"), 1000);
    }
    let archiver = world.archiver();
    let report = world.attempt(&archiver).await;
    assert_eq!(report.outcome, Outcome::Retrying, "{report:?}");
    let uploads = "SELECT count(*) FROM archiver.uploads";
    assert_eq!(world.number(uploads).await, 1);
    assert!(!server.unfinished_uploads().is_empty());

    let failing = upkeep::sweep(&world.pool, &archiver.storage, false);
    let swept = failing.await.unwrap();
    assert_eq!((swept.aborted, swept.left), (0, 1));
    server.clear_faults();
    let dry = upkeep::sweep(&world.pool, &archiver.storage, true);
    let swept = dry.await.unwrap();
    assert_eq!((swept.aborted, swept.found.len()), (0, 1));
    let sweeping = upkeep::sweep(&world.pool, &archiver.storage, false);
    let swept = sweeping.await.unwrap();
    assert_eq!((swept.aborted, swept.left), (1, 0));
    world.demand_nothing_stored(id).await;
    demand_recovery(&world, id).await;
}

#[tokio::test]
async fn a_store_that_denies_halts_the_worker_and_burns_nothing() {
    for (call, size_bytes) in [
        (Call::Head, SIZES[0]),
        (Call::Put, SIZES[0]),
        (Call::BeginUpload, SIZES[1]),
        (Call::PutPart, SIZES[1]),
        (Call::Complete, SIZES[1]),
    ] {
        let world = World::s3().await;
        let archiver = world.archiver();
        archiver.storage.enforcement().await.unwrap();
        let denied = StoreFault::Refuse(403, "AccessDenied");
        world.s3_server().inject_everywhere(&[call], &denied);
        let ids = [add(&world, size_bytes).await, add(&world, size_bytes).await];
        let (ending, reports) = world.run_once(archiver, 1).await;
        let Ending::Halted { kind, message } = ending else {
            panic!("{call:?}: {ending:?}");
        };
        assert_eq!(kind, ErrorKind::StorageDenied);
        assert!(message.contains("403 "), "{message}");
        assert!(!message.contains("AKIA"), "{message}");
        assert_eq!(reports.len(), 1, "nothing more is claimed");
        for id in ids {
            assert!(world.object(id).is_none() && world.manifest(id).is_none());
            let row = world.row(id).await;
            assert_eq!((row.state.as_str(), row.attempts), ("pending", 0));
            assert!(row.due_in_secs <= 0.0, "{row:?}");
        }
        // What is stored by then is kept for when the operator has put it right.
        let met = reports[0].recording_id.uuid();
        let stored = if call == Call::Complete { 3 } else { 0 };
        assert_eq!(world.parts_on_record(met).await, stored, "{call:?}");
        if stored == 0 {
            world.demand_nothing_unfinished().await;
        }
        let attempts = world.attempts(met).await;
        assert_eq!(attempts[0].outcome.as_deref(), Some("released"));
        assert_eq!(attempts[0].error_kind.as_deref(), Some("storage_denied"));
        // What met the refusal has gone behind the others.
        assert_eq!(met, ids[0]);
        world.s3_server().clear_faults();
        let report = world.attempt(&world.archiver()).await;
        assert_eq!(report.recording_id.uuid(), ids[1]);
        demand_recovery(&world, met).await;
        world.demand_archived(ids[1]).await;
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there_halts_and_says_so() {
    for size_bytes in SIZES {
        let world = World::s3().await;
        let id = add(&world, size_bytes).await;
        let archiver = world.archiver_with(|settings| {
            settings.storage.location = StorageLocation::S3 {
                bucket: "nowhere".to_owned(),
                prefix: String::new(),
            };
        });
        let report = world.attempt(&archiver).await;
        assert!(report.halt, "{report:?}");
        let failure = report.failure.unwrap();
        assert_eq!(failure.kind, ErrorKind::StorageDenied);
        assert!(failure.message.contains("create the bucket"), "{failure:?}");
        assert_eq!(world.row(id).await.attempts, 0);
    }
}

#[tokio::test]
async fn a_byte_damaged_in_the_store_is_found_and_nothing_wrong_stays() {
    for (call, size_bytes) in [(Call::Put, SIZES[0]), (Call::Complete, SIZES[1])] {
        let world = World::s3().await;
        let id = add(&world, size_bytes).await;
        let fault = StoreFault::FlipByte(size_bytes / 2);
        world.s3_server().inject(call, fault, 1);
        let read_back = |settings: &mut Settings| settings.storage.verify = VerifyMode::ReadBack;
        let report = world.attempt(&world.archiver_with(read_back)).await;
        assert_eq!(report.outcome, Outcome::Retrying, "{report:?}");
        let kind = report.failure.map(|failure| failure.kind);
        assert_eq!(kind, Some(ErrorKind::ChecksumMismatch));
        world.demand_nothing_stored(id).await;
        world.make_due().await;
        let report = world.attempt(&world.archiver_with(read_back)).await;
        assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
        world.demand_archived(id).await;
        assert_eq!(world.row(id).await.evidence.as_deref(), Some("read_back"));
    }
}

#[tokio::test]
async fn a_part_damaged_on_its_way_is_refused_and_sent_again() {
    let world = World::s3().await;
    let id = add(&world, SIZES[1]).await;
    let server = world.s3_server();
    server.inject(Call::PutPart, StoreFault::DamageInTransit, 2);
    let report = world.attempt(&world.archiver()).await;
    assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
    let parts = SIZES[1].div_ceil(PART);
    assert_eq!(server.count(Call::PutPart) as u64, parts + 2);
    world.demand_archived(id).await;
}

#[tokio::test]
async fn parts_that_are_damaged_again_and_again_are_given_up_and_begun_anew() {
    let world = World::s3().await;
    let id = add(&world, SIZES[1]).await;
    let server = world.s3_server();
    server.inject(Call::PutPart, StoreFault::DamageInTransit, 1000);
    let report = world.attempt(&world.archiver()).await;
    assert_eq!(report.outcome, Outcome::Retrying, "{report:?}");
    let kind = report.failure.map(|failure| failure.kind);
    assert_eq!(kind, Some(ErrorKind::ChecksumMismatch));
    world.demand_nothing_stored(id).await;
    server.clear_faults();
    demand_recovery(&world, id).await;
}

#[tokio::test]
async fn the_evidence_is_as_good_as_the_store_is_honest() {
    type Dishonesty = fn(&S3Server);
    let stores: [(Dishonesty, &str); 4] = [
        (|_| {}, "full_object"),
        (|it| it.honour_object_checksum(false), "parts"),
        (|it| it.returns_checksums(false), "parts"),
        (|it| it.honour_part_checksums(false), "read_back"),
    ];
    for (dishonest, evidence) in stores {
        let world = World::s3().await;
        dishonest(world.s3_server());
        for size_bytes in SIZES {
            let id = add(&world, size_bytes).await;
            let report = world.attempt(&world.archiver()).await;
            assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
            world.demand_archived(id).await;
            assert_eq!(world.row(id).await.evidence.as_deref(), Some(evidence));
        }
        world.demand_no_probes();
    }
}

#[tokio::test]
async fn without_checksums_or_when_told_so_every_object_is_read_back() {
    let world = World::s3().await;
    let changes: [fn(&mut Settings); 2] = [
        |settings| settings.storage.checksum = ChecksumMode::None,
        |settings| settings.storage.verify = VerifyMode::ReadBack,
    ];
    for change in changes {
        for size_bytes in SIZES {
            let id = add(&world, size_bytes).await;
            let reads = world.s3_server().count(Call::Get);
            let report = world.attempt(&world.archiver_with(change)).await;
            assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
            world.demand_archived(id).await;
            assert_eq!(world.row(id).await.evidence.as_deref(), Some("read_back"));
            assert_eq!(world.s3_server().count(Call::Get), reads + 1);
        }
    }
    world.demand_no_probes();
}

#[tokio::test]
async fn what_a_killed_process_left_beside_the_file_is_cleared() {
    let world = World::local().await;
    for size_bytes in SIZES {
        let id = add(&world, size_bytes).await;
        let file = world.path_of(&world.key_of(id));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let staged = |suffix: &str| file.with_file_name(format!("{id}.mp4{suffix}"));
        for stale in ["#1", "#27"] {
            fs::write(staged(stale), "half").unwrap();
        }
        fs::write(staged(".notes"), "mine").unwrap();
        let report = world.attempt(&world.archiver()).await;
        assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
        world.demand_archived(id).await;
        assert_eq!(fs::read_to_string(staged(".notes")).unwrap(), "mine");
    }
}

#[tokio::test]
async fn a_directory_in_which_no_folder_can_be_made_is_no_reason_to_lose_a_recording() {
    let world = World::local().await;
    let id = add(&world, SIZES[0]).await;
    // Permissions do not hold root back; a file where a folder must be does.
    let blocker = world.path_of("year=2022");
    fs::write(&blocker, "in the way").unwrap();
    let report = world.attempt(&world.archiver()).await;
    assert_eq!(report.outcome, Outcome::Retrying, "{report:?}");
    let kind = report.failure.map(|failure| failure.kind);
    assert_eq!(kind, Some(ErrorKind::StorageUnavailable));
    fs::remove_file(&blocker).unwrap();
    world.make_due().await;
    world.attempt(&world.archiver()).await;
    world.demand_archived(id).await;
}
