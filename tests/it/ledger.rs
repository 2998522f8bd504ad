//! What archiving and its chores write down of money, and the sweep of uploads left behind.

use std::num::NonZeroU16;
use std::time::Duration;

use recording_archiver::finance::ledger::{Observation, ObservedBy, observe};
use recording_archiver::queue::Outcome;
use recording_archiver::simulator::{CostToken, MetadataFault, SimulatedRecording, Times};
use recording_archiver::storage::ObjectKey;
use recording_archiver::upkeep::{Discovery, Repriced, reprice, sweep};
use recording_archiver::{finance, queue};
use uuid::Uuid;

use crate::harness::s3::{Call, StoreFault};
use crate::harness::world::{MIB, PART, World, begun, claim};
use crate::seed::execute;

/// The ledger of one recording, oldest first.
async fn ledger(world: &World, id: Uuid) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT cost_usd::text || ' ' || observed_by FROM archiver.cost_observations
          WHERE recording_id = $1 ORDER BY observed_at, observation_id",
    )
    .bind(id)
    .fetch_all(&world.pool)
    .await
    .unwrap()
}

async fn cost_state(world: &World, id: Uuid) -> String {
    let query = "SELECT cost_state FROM finance.recordings WHERE recording_id = $1";
    world.text(query, id).await.unwrap()
}

fn set_cost(world: &World, id: Uuid, cost: CostToken) {
    assert!(world.simulator.update(id, |it| it.cost = cost));
}

fn dollars(token: &str) -> CostToken {
    CostToken::Json(token.into())
}

#[tokio::test]
async fn only_a_changed_cost_becomes_a_row_and_a_missing_one_changes_nothing() {
    let world = World::local().await;
    let id = world
        .add(SimulatedRecording::new(Uuid::new_v4(), 100))
        .await;
    let archiver = world.archiver();
    let steps = [
        (dollars("null"), None, 0),
        (CostToken::Absent, None, 0),
        (dollars("0.050"), Some("0.050"), 1),
        // The same value by another spelling.
        (dollars("0.05"), Some("0.050"), 1),
        (dollars("\"5e-2\""), Some("0.050"), 1),
        (CostToken::Absent, Some("0.050"), 1),
        (
            dollars("0.0500000000000000001"),
            Some("0.0500000000000000001"),
            2,
        ),
        (dollars("0"), Some("0"), 3),
        (dollars("0.05"), Some("0.05"), 4),
    ];
    for (cost, known, rows) in steps {
        set_cost(&world, id, cost.clone());
        // An attempt that ends badly has seen the cost all the same.
        world
            .simulator
            .inject(id, MetadataFault::NotReady, Times::ONCE);
        let report = world.attempt(&archiver).await;
        assert_eq!(report.outcome, Outcome::Deferred, "{report:?}");
        let row = "SELECT cost_usd::text FROM archiver.recordings WHERE recording_id = $1";
        let written = world.text(row, id).await;
        let same = match (known, &written) {
            (None, None) => true,
            (Some(known), Some(written)) => amount(known) == amount(written),
            _ => false,
        };
        assert!(same, "{cost:?}: {written:?}");
        assert_eq!(ledger(&world, id).await.len(), rows, "{cost:?}");
        world.make_due().await;
    }
    let expected = ["0.050", "0.0500000000000000001", "0", "0.05"];
    let expected = expected.map(|cost| format!("{cost} archive"));
    assert_eq!(ledger(&world, id).await, expected);
    world.attempt(&archiver).await;
    world.demand_archived(id).await;
}

fn amount(text: &str) -> rust_decimal::Decimal {
    text.parse().unwrap()
}

#[tokio::test]
async fn what_was_heard_before_the_last_cost_changes_nothing() {
    let world = World::local().await;
    let id = world
        .add(SimulatedRecording::new(Uuid::new_v4(), 100))
        .await;
    let mut connection = world.pool.acquire().await.unwrap();
    let now = queue::database_time(&world.pool).await.unwrap();
    let minutes = chrono::TimeDelta::minutes;
    for (cost, at) in [
        ("0.05", now),
        // A page of a list that was asked for before.
        ("0.04", now - minutes(1)),
        ("0.06", now + minutes(1)),
        ("0.05", now),
    ] {
        let observation = Observation {
            recording_id: id.into(),
            cost: cost.parse().unwrap(),
            recording_status: None,
            observed_at: Some(at),
        };
        observe(&mut connection, None, &[observation], ObservedBy::Discover)
            .await
            .unwrap();
    }
    assert_eq!(ledger(&world, id).await, ["0.05 discover", "0.06 discover"]);
}

#[tokio::test]
async fn costs_are_asked_again_until_they_are_final() {
    let world = World::local().await;
    let archiver = world.archiver();
    let id = world
        .add(SimulatedRecording::new(Uuid::new_v4(), 100))
        .await;
    world.attempt(&archiver).await;
    assert_eq!(cost_state(&world, id).await, "provisional");
    finance::ledger::set_final_after(&world.pool, Duration::from_hours(24))
        .await
        .unwrap();
    let ask = || {
        reprice(
            &world.service,
            &archiver.signalwire,
            &archiver.storage,
            Duration::from_hours(1),
        )
    };
    let asked = |asked| Repriced {
        asked,
        ..Repriced::default()
    };

    // Seen a moment ago: not again within the pause.
    assert_eq!(ask().await.unwrap(), asked(0));
    let later = "UPDATE archiver.recordings
        SET cost_asked_at = cost_asked_at - interval '23 hours',
            cost_observed_at = cost_observed_at - interval '23 hours',
            cost_changed_at = cost_changed_at - interval '23 hours'";
    execute(&world.pool, later).await;
    set_cost(&world, id, dollars("0.07"));
    assert_eq!(ask().await.unwrap(), asked(1));
    assert_eq!(ledger(&world, id).await, ["0.05 archive", "0.07 reprice"]);
    assert_eq!(cost_state(&world, id).await, "provisional");

    // Changed, so the waiting begins anew; the same once more confirms it without a row.
    execute(&world.pool, later).await;
    assert_eq!(ask().await.unwrap(), asked(1));
    assert_eq!(cost_state(&world, id).await, "provisional");
    execute(
        &world.pool,
        "UPDATE archiver.recordings SET cost_asked_at = now() - interval '2 hours',
                cost_observed_at = now() - interval '2 hours',
                cost_changed_at = cost_changed_at - interval '2 hours'",
    )
    .await;
    assert_eq!(ask().await.unwrap(), asked(1));
    assert_eq!(cost_state(&world, id).await, "final");
    assert_eq!(ledger(&world, id).await.len(), 2);

    execute(&world.pool, later).await;
    set_cost(&world, id, dollars("99"));
    assert_eq!(ask().await.unwrap(), asked(0), "final is final");
    let metadata_requests = world.simulator.counts(id).metadata_requests;
    assert_eq!(metadata_requests, 4);
}

#[tokio::test]
async fn repricing_goes_on_past_one_that_is_gone_and_stops_where_all_would_be_refused() {
    let world = World::local().await;
    let archiver = world.archiver();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let recording = SimulatedRecording::new(Uuid::new_v4(), 100);
        ids.push(world.add(recording).await);
        world.attempt(&archiver).await;
    }
    world.simulator.remove(ids[0]);
    world
        .simulator
        .inject(ids[1], MetadataFault::Status(500), Times::ONCE);
    set_cost(&world, ids[2], dollars("1"));
    let ask = || {
        reprice(
            &world.service,
            &archiver.signalwire,
            &archiver.storage,
            Duration::ZERO,
        )
    };
    let (asked, gone, left) = (1, 1, 1);
    assert_eq!(ask().await.unwrap(), Repriced { asked, gone, left });
    assert_eq!(ledger(&world, ids[0]).await, ["0.05 archive"]);
    assert_eq!(ledger(&world, ids[2]).await, ["0.05 archive", "1 reprice"]);

    let wrong = world.archiver_with(|it| it.signalwire.api_token = "wrong".into());
    let refused = reprice(
        &world.service,
        &wrong.signalwire,
        &archiver.storage,
        Duration::ZERO,
    )
    .await;
    assert!(refused.is_err(), "{refused:?}");
}

#[tokio::test]
async fn one_that_is_gone_for_days_is_asked_for_no_more_until_it_is_seen_again() {
    let world = World::local().await;
    let archiver = world.archiver();
    let recording = SimulatedRecording::new(Uuid::new_v4(), 100);
    let id = world.add(recording.clone()).await;
    world.attempt(&archiver).await;
    world.simulator.remove(id);
    let ask = || {
        reprice(
            &world.service,
            &archiver.signalwire,
            &archiver.storage,
            Duration::ZERO,
        )
    };
    let is_marked = async || {
        let query =
            "SELECT source_deleted_at::text FROM archiver.recordings WHERE recording_id = $1";
        world.text(query, id).await.is_some()
    };
    let pass = "UPDATE archiver.recordings SET source_missing_since = source_missing_since - interval '71 hours'";
    let gone = Repriced {
        gone: 1,
        ..Repriced::default()
    };
    assert_eq!(ask().await.unwrap(), gone);
    execute(&world.pool, pass).await;
    assert_eq!(ask().await.unwrap(), gone, "not yet three days");
    assert!(!is_marked().await);
    // One answer that it is there begins anew.
    world.simulator.add(recording.clone());
    assert_eq!(ask().await.unwrap().asked, 1);
    world.simulator.remove(id);
    assert_eq!(ask().await.unwrap(), gone);
    execute(&world.pool, pass).await;
    assert_eq!(ask().await.unwrap(), gone);
    assert!(!is_marked().await);

    execute(&world.pool, pass).await;
    assert_eq!(ask().await.unwrap(), gone, "for the last time");
    assert!(is_marked().await);
    assert_eq!(ask().await.unwrap(), Repriced::default());
    assert_eq!(
        cost_state(&world, id).await,
        "final",
        "nothing can change it"
    );
    let provisional = "SELECT sum(provisional)::bigint FROM finance.monthly_costs";
    assert_eq!(world.number(provisional).await, 0);

    // It was a mistake after all: whoever lists it says so.
    world.simulator.add(recording);
    let discovery = Discovery {
        pool: &world.service,
        signalwire: &archiver.signalwire,
        storage: &archiver.storage,
        page_size: NonZeroU16::new(10).unwrap(),
    };
    assert_eq!(discovery.discover(false, |_| {}).await.unwrap().listed, 1);
    assert!(!is_marked().await);
    assert_eq!(cost_state(&world, id).await, "provisional");
    assert_eq!(world.number(provisional).await, 1);
    assert_eq!(ask().await.unwrap().asked, 1);
}

#[tokio::test]
async fn a_sweep_aborts_the_uploads_of_dead_leases_and_leaves_the_living() {
    let world = World::s3().await;
    let server = world.s3_server();
    let recording = SimulatedRecording::new(Uuid::new_v4(), PART + MIB);
    let id = world.add(recording).await;
    let go = tokio_util::sync::CancellationToken::new();
    server.inject(Call::PutPart, StoreFault::HoldUntil(go.clone()), 2);
    let archiver = world.archiver();

    // Dead: killed in the middle of its upload.
    {
        let attempt = world.attempt(&archiver);
        let sent = crate::harness::eventually("a part is sent", || async {
            (server.count(Call::PutPart) > 0).then_some(())
        });
        tokio::select! {
            report = attempt => panic!("{report:?}"),
            () = sent => {}
        }
    }
    assert!(!server.unfinished_uploads().is_empty());
    let uploads = "SELECT count(*) FROM archiver.uploads";
    assert_eq!(world.number(uploads).await, 1);

    // Its lease has not ended: it might live.
    let swept = sweep(&world.service, &archiver.storage, false)
        .await
        .unwrap();
    assert_eq!((swept.aborted, swept.left), (0, 0));
    assert_eq!(world.number(uploads).await, 1);

    world.make_due().await;
    let living = claim(&archiver).await;
    let living_upload = "another-upload";
    let key = world.key_of(id);
    let url = archiver
        .storage
        .object_url(&ObjectKey::from_stored(key.clone()).unwrap());
    archiver
        .queue
        .remember_upload(&living, &begun(&key, &url, living_upload))
        .await
        .unwrap();
    let swept = sweep(&world.service, &archiver.storage, false)
        .await
        .unwrap();
    assert_eq!((swept.aborted, swept.left), (1, 0));
    assert_eq!(server.unfinished_uploads(), Vec::<String>::new());
    let stale = queue::stale_uploads(&world.pool).await.unwrap();
    assert!(stale.is_empty(), "{stale:?}");
    assert_eq!(world.number(uploads).await, 1, "the living one's");

    // One that the store has forgotten already is simply forgotten.
    world.make_due().await;
    let swept = sweep(&world.service, &archiver.storage, false)
        .await
        .unwrap();
    assert_eq!((swept.aborted, swept.left), (1, 0));
    go.cancel();
    world.attempt(&archiver).await;
    world.demand_archived(id).await;
}
