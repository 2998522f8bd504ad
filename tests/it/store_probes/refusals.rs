//! Each capability refused alone: the probe finds just it missing, and transfers do without.

use super::{HONEST, seen};
use crate::harness::s3::{Call, S3Server, StoreFault};
use crate::harness::world::{MIB, PART, World};
use futures_util::future::join_all;
use recording_archiver::queue::Outcome;
use recording_archiver::simulator::SimulatedRecording;
use recording_archiver::storage::Enforcement;
use uuid::Uuid;

/// The ways in which stores refuse what they do not know or allow.
const REFUSALS: [StoreFault; 5] = [
    StoreFault::Refuse(400, "InvalidRequest"),
    StoreFault::Refuse(400, "InvalidArgument"),
    StoreFault::Refuse(403, "AccessDenied"),
    StoreFault::Refuse(405, "MethodNotAllowed"),
    StoreFault::Refuse(501, "NotImplemented"),
];

struct Case {
    name: &'static str,
    refuse: fn(&S3Server, &StoreFault),
    change: fn(&mut Enforcement),
    /// Of a recording of one part, and of one of several.
    evidence: [&'static str; 2],
}

const FULL: [&str; 2] = ["full_object", "full_object"];
const READ_BACK: [&str; 2] = ["read_back", "read_back"];
const PARTS: [&str; 2] = ["parts", "parts"];

const CASES: [Case; 15] = [
    Case {
        name: "CRC64NVME of a PUT",
        refuse: |it, fault| {
            it.inject_on_header(Call::Put, ("x-amz-checksum-crc64nvme", None), fault);
        },
        change: |it| it.put_crc64nvme = false,
        evidence: READ_BACK,
    },
    Case {
        name: "SHA-256 of a PUT",
        refuse: |it, fault| it.inject_on_header(Call::Put, ("x-amz-checksum-sha256", None), fault),
        change: |it| it.put_sha256 = false,
        evidence: FULL,
    },
    Case {
        name: "algorithm of an upload",
        refuse: |it, fault| {
            it.inject_on_header(Call::BeginUpload, ("x-amz-checksum-algorithm", None), fault);
        },
        // All that rests on it.
        change: |it| {
            (it.part_crc64nvme, it.part_sha256, it.object_checksum) = (false, false, false);
        },
        evidence: READ_BACK,
    },
    Case {
        name: "CRC64NVME of a part",
        refuse: |it, fault| {
            it.inject_on_header(Call::PutPart, ("x-amz-checksum-crc64nvme", None), fault);
        },
        change: |it| (it.part_crc64nvme, it.object_checksum) = (false, false),
        evidence: READ_BACK,
    },
    Case {
        name: "SHA-256 of a part",
        refuse: |it, fault| {
            it.inject_on_header(Call::PutPart, ("x-amz-checksum-sha256", None), fault);
        },
        change: |it| it.part_sha256 = false,
        evidence: FULL,
    },
    Case {
        name: "unsigned bodies",
        refuse: |it, fault| {
            let unsigned = ("x-amz-content-sha256", Some("UNSIGNED-PAYLOAD"));
            it.inject_on_header(Call::Put, unsigned, fault);
            it.inject_on_header(Call::PutPart, unsigned, fault);
        },
        change: |it| {
            (it.put_crc64nvme, it.put_sha256) = (false, false);
            (it.part_crc64nvme, it.part_sha256) = (false, false);
        },
        evidence: READ_BACK,
    },
    Case {
        name: "metadata",
        refuse: |it, fault| {
            let metadata = ("x-amz-meta-archive-attempt", None);
            it.inject_on_header(Call::Put, metadata, fault);
            it.inject_on_header(Call::BeginUpload, metadata, fault);
        },
        change: |it| it.keeps_metadata = false,
        evidence: FULL,
    },
    Case {
        name: "create-only PUT",
        refuse: |it, fault| it.inject_on_header(Call::Put, ("if-none-match", None), fault),
        change: |it| it.create_only = false,
        evidence: FULL,
    },
    Case {
        name: "create-only Complete",
        refuse: |it, fault| it.inject_on_header(Call::Complete, ("if-none-match", None), fault),
        change: |it| it.complete_create_only = false,
        evidence: FULL,
    },
    Case {
        name: "size of the whole",
        refuse: |it, fault| {
            it.inject_on_header(Call::Complete, ("x-amz-mp-object-size", None), fault);
        },
        change: |it| it.object_size = false,
        evidence: FULL,
    },
    Case {
        name: "CRC64NVME of the whole",
        refuse: |it, fault| {
            it.inject_on_header(Call::Complete, ("x-amz-checksum-crc64nvme", None), fault);
        },
        change: |it| it.object_checksum = false,
        evidence: PARTS,
    },
    Case {
        name: "checksums on HEAD",
        refuse: |it, fault| it.inject_on_header(Call::Head, ("x-amz-checksum-mode", None), fault),
        change: |it| it.object_checksum = false,
        evidence: PARTS,
    },
    Case {
        name: "ListParts",
        refuse: |it, fault| it.inject_everywhere(&[Call::ListParts], fault),
        change: |it| it.lists_parts = false,
        evidence: FULL,
    },
    Case {
        name: "ListMultipartUploads",
        refuse: |it, fault| it.inject_everywhere(&[Call::ListUploads], fault),
        change: |it| it.lists_uploads = false,
        evidence: FULL,
    },
    Case {
        name: "removals",
        refuse: |it, fault| it.inject_everywhere(&[Call::Delete, Call::Abort], fault),
        change: |it| (it.removes_objects, it.aborts_uploads) = (false, false),
        evidence: FULL,
    },
];

async fn demand(case: &Case, fault: &StoreFault, transfers: bool) {
    let what = format!("{} {fault:?}", case.name);
    let world = World::s3().await;
    (case.refuse)(world.s3_server(), fault);
    let mut expected = HONEST;
    (case.change)(&mut expected);
    assert_eq!(seen(&world, |_| {}).await, expected, "{what}");
    if !transfers {
        return;
    }
    let archiver = world.archiver();
    for (size_bytes, evidence) in [MIB, 2 * PART + 5].into_iter().zip(case.evidence) {
        let recording = SimulatedRecording::new(Uuid::new_v4(), size_bytes);
        let id = world.add(recording).await;
        let report = world.attempt(&archiver).await;
        assert_eq!(report.outcome, Outcome::Archived, "{what}: {report:?}");
        world.demand_archived(id).await;
        let proven = world.row(id).await.evidence;
        assert_eq!(proven.as_deref(), Some(evidence), "{what}: {size_bytes}");
    }
}

#[tokio::test]
async fn refused_capability_costs_only_itself() {
    // Each case meets two of the refusals, one of them in transfers too; fifteen cases meet all.
    for (number, case) in CASES.iter().enumerate() {
        for (turn, transfers) in [(number, true), (number + 2, false)] {
            let fault = &REFUSALS[turn % REFUSALS.len()];
            Box::pin(demand(case, fault, transfers)).await;
        }
    }
}

/// A store that is busy now and then must not look like one that can do less.
#[tokio::test]
async fn probe_repeats_what_a_busy_store_refuses() {
    let world = World::s3().await;
    let server = world.s3_server();
    server.slow_down_first(true);
    assert_eq!(seen(&world, |_| {}).await, HONEST);
    server.slow_down_first(false);
    // One in twenty.
    server.slow_down_every(20);
    let runs = (0..20).map(|_| seen(&world, |_| {}));
    for found in join_all(runs).await {
        assert_eq!(found, HONEST);
    }
    world.demand_no_probes();
}
