//! What cannot be gone on with: another file, answers that nothing joins, links that never live.

use recording_archiver::error::ErrorKind;
use recording_archiver::queue::Outcome;

use uuid::Uuid;

use super::{SIZE, add, archiver, inject};
use crate::harness::s3::Call;
use crate::harness::world::{PART, World};

#[tokio::test]
async fn media_that_changes_in_the_middle_is_begun_anew_in_the_same_attempt() {
    for connections in [1, 4] {
        for fault in [
            "media-changes,after=2",
            "media-etag-changes,after=2",
            // The bytes of another file, as far as anybody can tell.
            "media-html-as-media,after=2",
            "media-zero-bytes,after=2",
            "media-shorter-by:5,after=2",
        ] {
            let world = World::s3().await;
            let server = world.s3_server();
            let id = add(&world, SIZE).await;
            let before = world.simulator.media_sha256(id);
            inject(&world, id, fault);
            let report = world.attempt(&archiver(&world, connections)).await;
            let about = format!("{fault} on {connections}: {report:?}");
            assert_eq!(report.outcome, Outcome::Archived, "{about}");
            // With the bytes that are there now, and nothing of the first upload.
            world.demand_archived(id).await;
            let changed = world.simulator.media_sha256(id) != before;
            assert_eq!(changed, fault.starts_with("media-changes"), "{about}");
            assert_eq!(server.count(Call::BeginUpload), 2, "{about}");
            assert_eq!(server.count(Call::Abort), 1, "{about}");
            assert_eq!(world.simulator.counts(id).metadata_requests, 2, "{about}");
            let attempts = world.attempts(id).await;
            assert_eq!(attempts.len(), 1, "{about}");
            assert_eq!(attempts[0].error_kind, None, "{about}");
            let most = 2 * SIZE;
            assert!((SIZE..=most).contains(&report.bytes_fetched), "{about}");
        }
    }
}

#[tokio::test]
async fn media_that_changes_with_every_answer_is_archived_by_one_plain_get() {
    for world in [World::local().await, World::s3().await] {
        let id = add(&world, SIZE).await;
        let before = world.simulator.media_sha256(id);
        inject(&world, id, "media-changesxalways,after=1");
        let report = world.attempt(&archiver(&world, 1)).await;
        assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
        // The first part of the first version, and all of the last one.
        assert_eq!(report.bytes_fetched, PART + SIZE);
        let counts = world.simulator.counts(id);
        assert_eq!(counts.media_requests, 3, "{counts:?}");
        assert_eq!(counts.ranges.len(), 2, "{counts:?}");
        assert_ne!(world.simulator.media_sha256(id), before);
        world.demand_archived(id).await;
        assert_eq!(world.attempts(id).await.len(), 1);
    }
}

#[tokio::test]
async fn media_that_changes_does_not_lower_the_rung_of_its_host() {
    let world = World::s3().await;
    let archiver = archiver(&world, 4);
    for fault in ["media-changes,after=2", "media-shorter-by:5,after=2"] {
        let id = add(&world, SIZE).await;
        inject(&world, id, fault);
        let report = world.attempt(&archiver).await;
        assert_eq!(report.outcome, Outcome::Archived, "{fault}: {report:?}");
        world.demand_archived(id).await;
    }
    let id = add(&world, SIZE).await;
    world.attempt(&archiver).await;
    world.demand_archived(id).await;
    assert_eq!(world.simulator.counts(id).ranges.len(), 5);
}

#[tokio::test]
async fn answers_that_no_strong_validator_joins_are_never_joined() {
    for world in [World::local().await, World::s3().await] {
        for validator in ["media-weak-etag", "media-no-validator"] {
            let id = add(&world, SIZE).await;
            inject(&world, id, validator);
            // The plain request that follows, in the middle of its third part.
            let broken = 2 * PART + 1000;
            inject(&world, id, &format!("media-cut-after:{broken},after=1"));
            let report = world.attempt(&archiver(&world, 4)).await;
            assert_eq!(report.outcome, Outcome::Retrying, "{report:?}");
            let kind = report.failure.map(|failure| failure.kind);
            assert_eq!(kind, Some(ErrorKind::Truncated), "{validator}");
            assert_eq!(report.bytes_fetched, broken, "{validator}");
            let ranges = world.simulator.counts(id).ranges;
            assert_eq!(ranges, ["bytes=0-5242879"], "{validator}");
            world.demand_nothing_stored(id).await;

            world.make_due().await;
            let report = world.attempt(&archiver(&world, 4)).await;
            assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
            assert_eq!(report.bytes_fetched, SIZE, "{validator}");
            world.demand_archived(id).await;
        }
    }
}

#[tokio::test]
async fn a_file_without_a_strong_validator_comes_in_one_plain_stream() {
    for world in [World::local().await, World::s3().await] {
        for validator in ["media-weak-etagxalways", "media-no-validatorxalways"] {
            let id = add(&world, SIZE).await;
            inject(&world, id, validator);
            let report = world.attempt(&archiver(&world, 4)).await;
            assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
            assert_eq!(report.bytes_fetched, SIZE, "{validator}");
            world.demand_archived(id).await;
            let counts = world.simulator.counts(id);
            assert_eq!(counts.media_requests, 2, "{validator}: {counts:?}");
        }
    }
}

#[tokio::test]
async fn links_that_never_live_are_not_asked_for_for_ever() {
    for connections in [1, 4] {
        let world = World::s3().await;
        let id = add(&world, SIZE).await;
        // The first part comes, and every link is dead from then on.
        inject(&world, id, "media-link-diesxalways,after=1");
        let report = world.attempt(&archiver(&world, connections)).await;
        assert_eq!(report.outcome, Outcome::Retrying, "{report:?}");
        let kind = report.failure.as_ref().map(|failure| failure.kind);
        assert_eq!(kind, Some(ErrorKind::LinkExpired), "{report:?}");
        assert_eq!(report.bytes_fetched, PART, "{report:?}");
        let links = world.simulator.counts(id).links_issued;
        if connections == 1 {
            assert_eq!(links, 1 + 3);
        } else {
            // While the first part comes, a link may still be worth its while.
            assert!((1 + 3..=1 + 6).contains(&links), "{links}");
        }

        demand_going_on(&world, id).await;
    }
}

#[tokio::test]
async fn a_host_that_wants_to_be_left_alone_for_long_ends_the_attempt_unburnt() {
    let world = World::s3().await;
    let id = add(&world, SIZE).await;
    inject(&world, id, "media-throttled:90xalways,after=1");
    let report = world.attempt(&archiver(&world, 1)).await;
    assert_eq!(report.outcome, Outcome::Deferred, "{report:?}");
    let row = world.row(id).await;
    assert_eq!((row.state.as_str(), row.attempts), ("pending", 0));
    assert!((80.0..=90.0).contains(&row.due_in_secs), "{row:?}");
    assert_eq!(world.simulator.counts(id).media_requests, 2);

    demand_going_on(&world, id).await;
}

/// What is on record is not fetched again. It may be nothing: what was on its way when the attempt
/// ended need not have come to the store.
async fn demand_going_on(world: &World, id: Uuid) {
    let stored = world.parts_on_record(id).await;
    assert!(stored <= 1, "{stored}");
    world.simulator.clear_faults();
    world.make_due().await;
    let report = world.attempt(&archiver(world, 1)).await;
    assert_eq!(report.bytes_fetched, SIZE - stored * PART, "{report:?}");
    world.demand_archived(id).await;
}
