//! A bucket with Object Lock: it takes nothing without a checksum, and lets nothing be removed.

use recording_archiver::config::ChecksumMode;
use recording_archiver::queue::Outcome;

use super::{Effect, PARTS, SINGLE, add, demand_effect, demand_recovery};
use crate::harness::s3::{Call, StoreFault};
use crate::harness::world::World;

#[tokio::test]
async fn all_that_is_written_carries_a_checksum() {
    let world = World::s3().await;
    let server = world.s3_server();
    server.demands_checksums(true);
    let denied = StoreFault::RefuseSaying(
        403,
        "AccessDenied",
        "Access Denied because object protected by object lock.",
    );
    server.inject_everywhere(&[Call::Delete, Call::Abort], &denied);
    for (checksum, evidence) in [
        (ChecksumMode::Auto, "full_object"),
        (ChecksumMode::Crc64Nvme, "full_object"),
        (ChecksumMode::Sha256, "parts"),
    ] {
        for size_bytes in [SINGLE, PARTS] {
            let archiver = world.archiver_with(|settings| settings.storage.checksum = checksum);
            archiver.storage.check_access().await.unwrap();
            let id = add(&world, size_bytes).await;
            let report = world.attempt(&archiver).await;
            assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
            world.demand_archived(id).await;
            if size_bytes == PARTS {
                assert_eq!(world.row(id).await.evidence.as_deref(), Some(evidence));
            }
        }
    }
}

#[tokio::test]
async fn one_that_is_to_get_no_checksums_is_told_what_helps() {
    let world = World::s3().await;
    let server = world.s3_server();
    server.demands_checksums(true);
    for size_bytes in [SINGLE, PARTS] {
        let id = add(&world, size_bytes).await;
        let without =
            world.archiver_with(|settings| settings.storage.checksum = ChecksumMode::None);
        let report = world.attempt(&without).await;
        let says = ["Object Lock", "set storage.checksum to \"auto\""];
        demand_effect(&world, id, &report, Effect::HaltRefused, &says).await;
        let access = without.storage.check_access().await.unwrap_err();
        assert!(access.to_string().contains(says[1]), "{access}");
        demand_recovery(&world, id, &world.archiver()).await;
    }
}
