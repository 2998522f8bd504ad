//! What breaks in the middle is made good within the attempt, each trouble by itself and in pairs.

use std::ops::RangeInclusive;

use recording_archiver::queue::Outcome;
use uuid::Uuid;

use super::{SIZE, add, archiver, archiver_with, inject};
use crate::harness::world::{MIB, PART, World};

/// A trouble, when it comes, how often, and whether it takes a fresh link to go on.
struct Trouble {
    fault: &'static str,
    schedule: &'static str,
    times: u64,
    kills_link: bool,
}

const fn breaks(fault: &'static str, schedule: &'static str, times: u64) -> Trouble {
    Trouble {
        fault,
        schedule,
        times,
        kills_link: false,
    }
}

const fn kills(fault: &'static str) -> Trouble {
    Trouble {
        kills_link: true,
        ..breaks(fault, ",after=2", 1)
    }
}

/// Positions within a part of 1 MiB, so that they are the middle of a larger one as well.
const TROUBLES: &[Trouble] = &[
    breaks("media-reset", "x2,after=1", 2),
    breaks("media-reset-after:700001", "", 1),
    breaks("media-reset-after:700001", ",after=2", 1),
    breaks("media-cut-after:700001", "", 1),
    breaks("media-cut-after:700001", "x3,after=1", 3),
    breaks("media-chunked-cut-after:700001", ",after=3", 1),
    breaks("media-stall-after:700001", ",after=1", 1),
    breaks("media-hang", ",after=2", 1),
    breaks("media-drip:500", ",after=1", 1),
    breaks("media-wrong-content-range", "x2,after=2", 2),
    breaks("media-short-range:1000", "x3", 3),
    breaks("media-ignore-range", ",after=2", 1),
    breaks("media-status:500", ",after=1", 1),
    breaks("media-status:503", "x2,after=3", 2),
    breaks("media-status:404", ",after=2", 1),
    breaks("media-throttled:1", ",after=1", 1),
    breaks("media-throttled", ",after=3", 1),
    breaks("media-redirect-loop", ",after=2", 1),
    kills("media-status:401"),
    kills("media-status:403"),
    kills("media-status:410"),
    kills("media-link-dies"),
    kills("media-bad-request-expired"),
    kills("media-html"),
    kills("media-xml-error"),
    kills("media-json-error"),
];

/// Works on the recording once, and demands all that must be true whatever went wrong.
async fn demand_made_good(
    world: &World,
    id: Uuid,
    part_bytes: u64,
    connections: u16,
    times: u64,
    links: RangeInclusive<u64>,
    about: &str,
) {
    let archiver = archiver_with(world, connections, |settings| {
        settings.storage.part_size_bytes = part_bytes;
    });
    let size_bytes = world.simulator.media_size_bytes(id).unwrap();
    let report = world.attempt(&archiver).await;
    assert_eq!(report.outcome, Outcome::Archived, "{about}: {report:?}");
    world.demand_archived(id).await;
    let row = world.row(id).await;
    assert_eq!((row.attempts, row.error_kind), (1, None), "{about}");
    let attempts = world.attempts(id).await;
    assert_eq!(attempts.len(), 1, "{about}");
    assert_eq!(attempts[0].outcome.as_deref(), Some("archived"), "{about}");
    assert_eq!(attempts[0].error_kind, None, "{about}");
    let fetched = attempts[0].bytes_fetched.unsigned_abs();
    assert_eq!(report.bytes_fetched, fetched, "{about}");
    let most = size_bytes + part_bytes * times;
    assert!((size_bytes..=most).contains(&fetched), "{about}: {fetched}");
    let counts = world.simulator.counts(id);
    assert!(links.contains(&counts.links_issued), "{about}: {counts:?}");
    // One request for each part, and one more for each trouble; beside those that a dead link cost.
    let dead = counts.media_refused;
    let requests = size_bytes.div_ceil(part_bytes) + times + dead;
    assert!(counts.media_requests <= requests, "{about}: {counts:?}");
}

/// Each trouble by itself, on a recording of 5 MiB parts.
async fn demand_each(world: World, connections: u16, every: usize) {
    for trouble in TROUBLES.iter().step_by(every) {
        let spelling = format!("{}{}", trouble.fault, trouble.schedule);
        let id = add(&world, SIZE).await;
        inject(&world, id, &spelling);
        // One fresh link for all connections.
        let links = 1 + u64::from(trouble.kills_link);
        let times = trouble.times;
        demand_made_good(
            &world,
            id,
            PART,
            connections,
            times,
            links..=links,
            &spelling,
        )
        .await;
    }
}

#[tokio::test]
async fn each_trouble_is_made_good_on_one_connection_into_a_bucket() {
    demand_each(World::s3().await, 1, 1).await;
}

#[tokio::test]
async fn each_trouble_is_made_good_on_four_connections_into_a_bucket() {
    demand_each(World::s3().await, 4, 1).await;
}

#[tokio::test]
async fn where_the_bytes_go_does_not_matter() {
    demand_each(World::local().await, 4, 3).await;
}

/// Two troubles in one transfer, each with several others. The parts are small: a directory takes
/// them so.
async fn demand_pairs(connections: u16, distances: [usize; 2]) {
    let world = World::local().await;
    for (index, one) in TROUBLES.iter().enumerate() {
        for distance in distances {
            let other = &TROUBLES[(index + distance) % TROUBLES.len()];
            let spellings = [one, other].map(|it| format!("{}{}", it.fault, it.schedule));
            let id = add(&world, 4 * MIB + 7).await;
            for spelling in &spellings {
                inject(&world, id, spelling);
            }
            let dying = u64::from(one.kills_link) + u64::from(other.kills_link);
            // Two at once may be made good by the same fresh link.
            let links = 1 + dying.min(1)..=1 + dying;
            let times = one.times + other.times;
            let about = spellings.join(" and ");
            demand_made_good(&world, id, MIB, connections, times, links, &about).await;
        }
    }
}

#[tokio::test]
async fn two_troubles_in_one_transfer_are_made_good_on_one_connection() {
    demand_pairs(1, [3, 8]).await;
}

#[tokio::test]
async fn two_troubles_in_one_transfer_are_made_good_on_four_connections() {
    demand_pairs(4, [1, 12]).await;
}

#[tokio::test]
async fn a_host_that_breaks_every_third_answer_costs_no_attempt_and_no_byte_twice() {
    for world in [World::local().await, World::s3().await] {
        for fault in ["media-cut-after:1000001", "media-reset-after:1000001"] {
            let id = add(&world, SIZE).await;
            inject(&world, id, &format!("{fault},every=3"));
            let report = world.attempt(&archiver(&world, 4)).await;
            assert_eq!(report.outcome, Outcome::Archived, "{fault}: {report:?}");
            assert_eq!(report.bytes_fetched, SIZE, "{fault}");
            world.demand_archived(id).await;
        }
    }
}

#[tokio::test]
async fn a_link_that_dies_again_and_again_is_renewed_as_long_as_bytes_come() {
    let world = World::s3().await;
    let id = add(&world, SIZE).await;
    // On one connection: part, refusal, part, refusal, and so on.
    inject(&world, id, "media-link-dies,every=2");
    let report = world.attempt(&archiver(&world, 1)).await;
    assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
    world.demand_archived(id).await;
    let counts = world.simulator.counts(id);
    // Five parts, and a death before each but the first.
    assert_eq!(counts.links_issued, 5, "{counts:?}");
    assert_eq!(counts.media_requests, 9, "{counts:?}");
}
