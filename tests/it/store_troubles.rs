//! The troubles of a store, one by one: of which kind each is, what follows from it, and that the
//! recording is archived byte for byte once it is over.

use recording_archiver::archive::{Archiver, Report};
use recording_archiver::config::ChecksumMode;
use recording_archiver::error::ErrorKind;
use recording_archiver::queue::Outcome;
use recording_archiver::simulator::SimulatedRecording;
use uuid::Uuid;

use crate::harness::s3::{Call, StoreFault};
use crate::harness::world::{MIB, PART, World};

mod lock;

/// One PUT, and a multipart upload of three parts.
const SINGLE: u64 = MIB;
const PARTS: u64 = 2 * PART + 5;

/// For ever, as far as an attempt goes.
const STORM: u32 = 1000;

const WRITING: [Call; 4] = [Call::Put, Call::BeginUpload, Call::PutPart, Call::Complete];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// It is overcome within the attempt.
    None,
    /// An attempt is burnt, and the next one goes on.
    Retry,
    /// Claiming is halted, and nothing burnt.
    Halt,
    /// The same after a refusal for a reason that is not known, which any object meets.
    HaltRefused,
    /// Refused for this object only: an attempt is counted.
    Refused,
}

async fn add(world: &World, size_bytes: u64) -> Uuid {
    world
        .add(SimulatedRecording::new(Uuid::new_v4(), size_bytes))
        .await
}

/// An archiver that has got to know its store.
async fn knowing(world: &World) -> Archiver {
    let archiver = world.archiver();
    archiver.storage.enforcement().await.unwrap();
    archiver
}

/// Demands what follows from a trouble, and that the message says all of this.
async fn demand_effect(world: &World, id: Uuid, report: &Report, effect: Effect, says: &[&str]) {
    let row = world.row(id).await;
    let (outcome, kind, state, burnt) = match effect {
        Effect::None => (Outcome::Archived, None, "archived", 1),
        Effect::Retry => {
            let kind = Some(ErrorKind::StorageUnavailable);
            (Outcome::Retrying, kind, "pending", 1)
        }
        Effect::Halt => {
            let kind = Some(ErrorKind::StorageDenied);
            (Outcome::Released, kind, "pending", 0)
        }
        Effect::HaltRefused => {
            let kind = Some(ErrorKind::StorageRefused);
            (Outcome::Released, kind, "pending", 0)
        }
        Effect::Refused => {
            let kind = Some(ErrorKind::StorageRefused);
            (Outcome::Retrying, kind, "pending", 1)
        }
    };
    assert_eq!(report.outcome, outcome, "{report:?}");
    let failure = report.failure.as_ref();
    assert_eq!(failure.map(|failure| failure.kind), kind, "{report:?}");
    let halts = matches!(effect, Effect::Halt | Effect::HaltRefused);
    assert_eq!(report.halt, halts, "{report:?}");
    assert_eq!((row.state.as_str(), row.attempts), (state, burnt));
    let message = failure.map_or("", |failure| &failure.message);
    for said in says {
        assert!(message.contains(said), "{said}: {message}");
    }
    assert!(!message.contains("AKIA"), "{message}");
    if effect != Effect::None {
        assert_eq!(world.object(id).map(|object| object.len()), None);
    }
}

/// Ends the trouble. The same process then archives the recording, and fetches nothing that is
/// stored and on record.
async fn demand_recovery(world: &World, id: Uuid, archiver: &Archiver) {
    let (server, stored) = (world.s3_server(), world.parts_on_record(id).await);
    let begun = server.count(Call::BeginUpload);
    server.clear_faults();
    world.make_due().await;
    let report = world.attempt(archiver).await;
    assert!(report.failure.is_none(), "{report:?}");
    let size_bytes = world.simulator.media_size_bytes(id).unwrap();
    let rest = size_bytes.saturating_sub(PART * stored);
    assert_eq!(report.bytes_fetched, rest, "{stored}: {report:?}");
    if stored > 0 {
        assert_eq!(server.count(Call::BeginUpload), begun);
    }
    world.demand_archived(id).await;
}

/// Lets the next calls for a recording's own object meet the trouble, after the first `skip`, and
/// says how many of its parts were on record when it was met.
async fn demand(
    (call, skip, times): (Call, u32, u32),
    fault: StoreFault,
    effect: Effect,
    says: &[&str],
) -> u64 {
    let world = World::s3().await;
    let archiver = knowing(&world).await;
    let size_bytes = if call == Call::Put { SINGLE } else { PARTS };
    let id = add(&world, size_bytes).await;
    world.s3_server().inject_after(skip, call, fault, times);
    let report = world.attempt(&archiver).await;
    demand_effect(&world, id, &report, effect, says).await;
    let stored = world.parts_on_record(id).await;
    if effect == Effect::None {
        world.demand_archived(id).await;
        let asked = world.simulator.counts(id).media_requests;
        assert_eq!(asked, size_bytes.div_ceil(PART), "nothing is fetched twice");
    } else {
        demand_recovery(&world, id, &archiver).await;
    }
    stored
}

/// Lets all such calls meet the trouble, whatever they are about, in a process that knows the store
/// and in one that does not.
async fn demand_everywhere(calls: &[Call], fault: &StoreFault, effect: Effect, says: &[&str]) {
    let world = World::s3().await;
    for size_bytes in [SINGLE, PARTS] {
        for knows in [false, true] {
            let archiver = if knows {
                knowing(&world).await
            } else {
                world.archiver()
            };
            let id = add(&world, size_bytes).await;
            world.s3_server().inject_everywhere(calls, fault);
            let report = world.attempt(&archiver).await;
            demand_effect(&world, id, &report, effect, says).await;
            demand_recovery(&world, id, &archiver).await;
        }
    }
}

#[tokio::test]
async fn an_error_where_the_answer_to_complete_would_be() {
    let late = |code| StoreFault::Refuse(200, code);
    for code in ["InternalError", "SlowDown"] {
        demand((Call::Complete, 0, 2), late(code), Effect::None, &[]).await;
        let storm = (Call::Complete, 0, STORM);
        let stored = demand(storm, late(code), Effect::Retry, &[code]).await;
        assert_eq!(stored, 3, "only publishing is left");
    }
    let denied = (Call::Complete, 0, STORM);
    let stored = demand(
        denied,
        late("AccessDenied"),
        Effect::Refused,
        &["AccessDenied", "other objects are accepted"],
    );
    assert_eq!(stored.await, 3);
}

#[tokio::test]
async fn an_answer_that_is_cut_off_after_the_store_has_acted() {
    for call in [Call::Complete, Call::Put] {
        for fault in [
            StoreFault::LoseAnswer,
            StoreFault::CutAnswer,
            StoreFault::EmptyAnswer,
        ] {
            demand((call, 0, 1), fault, Effect::None, &[]).await;
        }
    }
}

/// A store that takes Complete and does nothing must not be believed.
#[tokio::test]
async fn a_success_without_a_result() {
    let says = ["neither a result nor an error"];
    let storm = (Call::Complete, 0, STORM);
    let stored = demand(storm, StoreFault::Pretend, Effect::Retry, &says).await;
    assert_eq!(stored, 3);
}

#[tokio::test]
async fn a_storm_of_slow_down() {
    for fault in [
        StoreFault::Refuse(503, "SlowDown"),
        StoreFault::RefuseFor(503, "SlowDown", 1),
    ] {
        for (call, skip, stored) in [
            (Call::Put, 0, 0),
            (Call::BeginUpload, 0, 0),
            (Call::Complete, 0, 3),
        ] {
            let storm = (call, skip, STORM);
            let met = demand(storm, fault.clone(), Effect::Retry, &["SlowDown"]).await;
            assert_eq!(met, stored, "{call:?}");
        }
        demand((Call::Complete, 0, 3), fault.clone(), Effect::None, &[]).await;
        demand((Call::PutPart, 1, 3), fault, Effect::None, &[]).await;
    }
}

#[tokio::test]
async fn a_request_that_came_too_slowly() {
    let timeout = StoreFault::Refuse(400, "RequestTimeout");
    demand((Call::Complete, 0, 2), timeout.clone(), Effect::None, &[]).await;
    let storm = (Call::Complete, 0, STORM);
    assert_eq!(demand(storm, timeout, Effect::Retry, &[]).await, 3);
}

#[tokio::test]
async fn a_clock_that_is_wrong() {
    let skewed = StoreFault::Refuse(403, "RequestTimeTooSkewed");
    let says = ["RequestTimeTooSkewed", "set this host's clock"];
    demand_everywhere(&Call::ALL, &skewed, Effect::Halt, &says).await;
}

#[tokio::test]
async fn session_credentials_that_have_ended() {
    let ended = StoreFault::Refuse(400, "ExpiredToken");
    let says = ["ExpiredToken", "give fresh ones"];
    demand_everywhere(&Call::ALL, &ended, Effect::Halt, &says).await;
}

/// What is stored by then is kept through every try with the old ones.
#[tokio::test]
async fn session_credentials_that_end_in_the_middle_of_an_upload() {
    for code in ["ExpiredToken", "InvalidToken"] {
        let world = World::s3().await;
        let (archiver, server) = (knowing(&world).await, world.s3_server());
        let id = add(&world, PARTS).await;
        let ended = StoreFault::Refuse(400, code);
        server.inject_on_part(3, ended.clone(), STORM);
        let report = world.attempt(&archiver).await;
        demand_effect(&world, id, &report, Effect::Halt, &[code]).await;
        assert_eq!(world.parts_on_record(id).await, 2);
        for calls in [&Call::ALL[..], &[Call::ListParts], &[Call::PutPart]] {
            server.clear_faults();
            server.inject_everywhere(calls, &ended);
            let report = world.attempt(&archiver).await;
            demand_effect(&world, id, &report, Effect::Halt, &[code]).await;
            assert_eq!(world.parts_on_record(id).await, 2, "{calls:?}");
        }
        demand_recovery(&world, id, &archiver).await;
        assert_eq!(server.upload_ids().len(), 1, "the one that was begun first");
    }
}

#[tokio::test]
async fn a_bucket_that_is_gone() {
    let gone = StoreFault::Refuse(404, "NoSuchBucket");
    let says = ["NoSuchBucket", "create the bucket, or correct storage.url"];
    demand_everywhere(&Call::ALL, &gone, Effect::Halt, &says).await;
    for call in [Call::PutPart, Call::ListParts] {
        let world = World::s3().await;
        let (archiver, server) = (knowing(&world).await, world.s3_server());
        let id = add(&world, PARTS).await;
        server.inject_on_part(3, gone.clone(), STORM);
        for _ in 0..2 {
            let report = world.attempt(&archiver).await;
            demand_effect(&world, id, &report, Effect::Halt, &says).await;
            assert_eq!(world.parts_on_record(id).await, 2);
            server.inject_everywhere(&[call], &gone);
        }
        demand_recovery(&world, id, &archiver).await;
        assert_eq!(server.upload_ids().len(), 1, "the one that was begun first");
    }
}

#[tokio::test]
async fn a_bucket_that_may_only_be_read() {
    let denied = StoreFault::Refuse(403, "AccessDenied");
    demand_everywhere(&WRITING, &denied, Effect::Halt, &["AccessDenied"]).await;
    let cure = ErrorKind::StorageDenied.cure();
    assert!(cure.contains("rights on the bucket"), "{cure}");
}

#[tokio::test]
async fn a_key_of_kms_that_is_disabled_or_not_ours() {
    let disabled = StoreFault::Refuse(400, "KMS.DisabledException");
    let says = ["KMS.DisabledException", "storage.kms_key_id", "is enabled"];
    demand_everywhere(&WRITING, &disabled, Effect::Halt, &says).await;
    let stored = demand((Call::Complete, 0, STORM), disabled, Effect::Halt, &says).await;
    assert_eq!(stored, 3);

    let denied = StoreFault::RefuseSaying(
        403,
        "AccessDenied",
        "User: arn:aws:iam::1:user/a is not authorized to perform: kms:GenerateDataKey on resource: \
         arn:aws:kms:eu-central-1:1:key/k",
    );
    let says = ["allow kms:GenerateDataKey and kms:Decrypt"];
    demand_everywhere(&WRITING, &denied, Effect::Halt, &says).await;
}

#[tokio::test]
async fn a_kms_that_cannot_keep_up() {
    for status in [503, 400] {
        let throttled = StoreFault::Refuse(status, "ThrottlingException");
        let says = ["ThrottlingException"];
        let storm = |call| (call, 0, STORM);
        for call in [Call::Put, Call::BeginUpload] {
            demand(storm(call), throttled.clone(), Effect::Retry, &says).await;
        }
        let short = (Call::Complete, 0, 2);
        demand(short, throttled.clone(), Effect::None, &[]).await;
        let stored = demand(storm(Call::Complete), throttled, Effect::Retry, &says).await;
        assert_eq!(stored, 3);
    }
}

/// What was read back is not damaged because its key cannot be used.
#[tokio::test]
async fn a_key_of_kms_that_is_disabled_while_an_object_is_read_back() {
    let world = World::s3().await;
    let archiver = world.archiver_with(|settings| settings.storage.checksum = ChecksumMode::None);
    archiver.storage.enforcement().await.unwrap();
    let id = add(&world, PARTS).await;
    let disabled = StoreFault::Refuse(400, "KMS.DisabledException");
    world.s3_server().inject(Call::Get, disabled, STORM);
    let report = world.attempt(&archiver).await;
    assert!(report.halt, "{report:?}");
    assert_eq!(world.row(id).await.attempts, 0);
    let object = world.object(id).map(|object| object.len() as u64);
    assert_eq!(object, Some(PARTS), "it is not removed");
    world.s3_server().clear_faults();
    world.make_due().await;
    let report = world.attempt(&archiver).await;
    assert_eq!(
        (report.bytes_fetched, report.halt),
        (0, false),
        "{report:?}"
    );
    world.demand_archived(id).await;
}
