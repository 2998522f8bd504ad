//! Killed at every place where it could hurt, by the real binary's own hand and SIGKILL.

mod panics;
mod paused;
mod random;

use recording_archiver::crash::CrashPoint;
use recording_archiver::simulator::{CostToken, SimulatedRecording};
use uuid::Uuid;

use crate::harness::binary::Binary;
use crate::harness::s3::Call;
use crate::harness::world::{MIB, PART, World};

/// Four parts and a bit.
const SIZE: u64 = 4 * PART + MIB + 7;

/// What a crash at one place may cost, and must not.
struct Case {
    at: &'static str,
    /// Outcomes of the attempts, in order.
    attempts: &'static [&'static str],
    /// The most of the media that may be fetched in all.
    fetched: u64,
    /// The most uploads that may be begun at the store.
    uploads: usize,
}

const LOST: &[&str] = &["lost", "archived"];

#[tokio::test]
async fn whatever_it_was_doing_when_it_was_killed_the_next_run_makes_good() {
    let cases = [
        Case {
            at: "after-claim",
            attempts: LOST,
            fetched: SIZE,
            uploads: 1,
        },
        Case {
            at: "after-create-upload",
            attempts: LOST,
            fetched: 2 * SIZE,
            uploads: 2,
        },
        Case {
            at: "after-remember-upload",
            attempts: LOST,
            fetched: 2 * SIZE,
            uploads: 2,
        },
        Case {
            at: "after-part",
            attempts: LOST,
            fetched: 2 * SIZE,
            uploads: 2,
        },
        Case {
            at: "after-part:3",
            attempts: LOST,
            // Whether anything was on record by then is a matter of moments.
            fetched: 2 * SIZE,
            uploads: 2,
        },
        Case {
            at: "before-complete",
            attempts: LOST,
            fetched: SIZE,
            uploads: 1,
        },
        Case {
            at: "after-complete",
            attempts: LOST,
            fetched: SIZE,
            uploads: 1,
        },
        Case {
            at: "after-manifest",
            attempts: LOST,
            fetched: SIZE,
            uploads: 1,
        },
        Case {
            at: "before-settle",
            attempts: LOST,
            fetched: SIZE,
            uploads: 1,
        },
        Case {
            at: "after-settle",
            attempts: &["archived"],
            fetched: SIZE,
            uploads: 1,
        },
    ];
    for point in CrashPoint::ALL {
        let name = point.as_str();
        assert!(
            cases.iter().any(|case| case.at == name),
            "{name} has no case"
        );
    }
    for case in cases {
        demand_made_good(&case).await;
    }
}

async fn demand_made_good(case: &Case) {
    let at = case.at;
    let world = World::s3().await;
    let mut recording = SimulatedRecording::new(Uuid::new_v4(), SIZE);
    recording.cost = CostToken::Json("0.0321".to_owned());
    let id = world.add(recording).await;
    let binary = Binary::of(&world);
    let doomed = Binary::of(&world).with("ARCHIVER_TEST_CRASH_AT", at);
    doomed.start(&["run", "--once"]).crashed().await;
    world.make_due().await;
    binary.run(&["run", "--once"]).await.demand_code(0);

    world.demand_archived(id).await;
    let attempts = world.attempts(id).await;
    let outcomes: Vec<_> = attempts
        .iter()
        .filter_map(|it| it.outcome.as_deref())
        .collect();
    assert_eq!(outcomes, case.attempts, "{at}: {attempts:?}");
    let row = world.row(id).await;
    assert_eq!(
        usize::try_from(row.attempts).unwrap(),
        case.attempts.len(),
        "{at}"
    );
    let costs = "SELECT count(*) FROM archiver.cost_observations";
    assert_eq!(world.number(costs).await, 1, "{at}: the cost was seen once");
    let server = world.s3_server();
    let begun = server.count(Call::BeginUpload);
    assert!(begun <= case.uploads, "{at}: {begun} uploads");
    let sent = world.simulator.counts(id).media_bytes_sent;
    assert!(sent <= case.fetched, "{at}: the source sent {sent} bytes");
}
