//! Giving up: how often, how long and for whom a recording is tried, and what is said at the end.

use recording_archiver::archive::Archiver;
use recording_archiver::daemon::Ending;
use recording_archiver::error::ErrorKind;
use recording_archiver::queue::Outcome;
use recording_archiver::simulator::{
    Fault, MediaFault, MetadataFault, RetryAfter, SimulatedRecording, Simulator, SimulatorConfig,
    Times,
};
use uuid::Uuid;

use crate::harness::world::{World, claim, claim_due, signalwire_config};
use crate::seed::execute;

async fn add(world: &World) -> Uuid {
    world
        .add(SimulatedRecording::new(Uuid::new_v4(), 1000))
        .await
}

async fn demand_row(world: &World, id: Uuid, state: &str, attempts: i32, kind: &str) -> String {
    let row = world.row(id).await;
    let found = (row.state.as_str(), row.attempts, row.error_kind.as_deref());
    assert_eq!(found, (state, attempts, Some(kind)), "{row:?}");
    row.error_message.unwrap()
}

#[tokio::test]
async fn the_last_attempt_fails_with_its_kind_and_the_count() {
    let world = World::local().await;
    let id = add(&world).await;
    let archiver = world.archiver();
    let faults: [Fault; 3] = [
        MediaFault::Status(500).into(),
        // As often as it is asked for: one break alone would cost no attempt.
        MediaFault::CutAfter(100).into(),
        MetadataFault::Status(500).into(),
    ];
    let mut waits = Vec::new();
    for (made, fault) in (1..).zip(faults) {
        world.simulator.clear_faults();
        world.simulator.inject(id, fault, Times::Always);
        let report = world.attempt(&archiver).await;
        assert_eq!(report.attempt, made);
        waits.push(report.delay);
        world.make_due().await;
    }
    assert!(waits[0].is_some() && waits[1].is_some() && waits[2].is_none());
    let message = demand_row(&world, id, "failed", 3, "api_unavailable").await;
    assert!(
        message.ends_with("(given up after 3 attempts)"),
        "{message}"
    );
    let outcomes: Vec<_> = world
        .attempts(id)
        .await
        .into_iter()
        .map(|attempt| (attempt.outcome.unwrap(), attempt.error_kind.unwrap()))
        .collect();
    let expected = [
        ("retrying", "media_unavailable"),
        ("retrying", "truncated"),
        ("failed", "api_unavailable"),
    ]
    .map(|(outcome, kind)| (outcome.to_owned(), kind.to_owned()));
    assert_eq!(outcomes, expected);
}

/// Claims as often as may be tried, each time by a worker that dies.
async fn die_at_every_attempt(world: &World, archiver: &Archiver) {
    for _ in 0..archiver.policy.max_attempts {
        drop(claim(archiver).await);
        world.make_due().await;
    }
}

#[tokio::test]
async fn a_recording_whose_workers_die_again_and_again_fails_without_another_try() {
    let world = World::local().await;
    let id = add(&world).await;
    let archiver = world.archiver();
    die_at_every_attempt(&world, &archiver).await;
    let report = world.attempt(&archiver).await;
    assert_eq!(report.outcome, Outcome::Failed, "{report:?}");
    let message = demand_row(&world, id, "failed", 4, "internal").await;
    assert!(message.contains("3 attempts ended without"), "{message}");
    assert_eq!(world.simulator.counts(id).metadata_requests, 0);
    let attempts = world.attempts(id).await;
    let outcomes: Vec<_> = attempts.iter().map(|it| it.outcome.as_deref()).collect();
    let lost = Some("lost");
    assert_eq!(outcomes, [lost, lost, lost, Some("failed")]);
}

#[tokio::test]
async fn what_was_wrong_before_the_workers_died_stays_the_reason_if_it_was_one() {
    let world = World::local().await;
    let throttled = MetadataFault::Throttled(RetryAfter::Absent);
    let cases: [(Fault, &str, i32); 4] = [
        (MediaFault::Status(500).into(), "media_unavailable", 5),
        // A wait is no reason: it would be put off for ever, and never tried again.
        (throttled.into(), "internal", 4),
        (MetadataFault::NotReady.into(), "internal", 4),
        (MetadataFault::NullUri.into(), "internal", 4),
    ];
    for (fault, kind, attempts) in cases {
        let archiver = world.archiver();
        let id = add(&world).await;
        world.simulator.inject(id, fault, Times::ONCE);
        world.attempt(&archiver).await;
        world.make_due().await;
        die_at_every_attempt(&world, &archiver).await;
        let report = world.attempt(&archiver).await;
        assert_eq!(report.outcome, Outcome::Failed, "{report:?}");
        demand_row(&world, id, "failed", attempts, kind).await;
        assert_eq!(world.simulator.counts(id).metadata_requests, 1);
    }
}

#[tokio::test]
async fn what_is_not_ready_is_waited_for_until_the_deadline() {
    let world = World::local().await;
    let archiver = world.archiver();
    for (fault, kind) in [
        (MetadataFault::NotReady, "not_ready"),
        (MetadataFault::NullUri, "no_media"),
    ] {
        let id = add(&world).await;
        world.simulator.inject(id, fault, Times::Always);
        for _ in 0..5 {
            let report = world.attempt(&archiver).await;
            assert_eq!(report.outcome, Outcome::Deferred, "{report:?}");
            demand_row(&world, id, "pending", 0, kind).await;
            assert!((20.0..=30.0).contains(&world.row(id).await.due_in_secs));
            world.make_due().await;
        }
        // It counts from the first time, not from the last.
        execute(
            &world.pool,
            "UPDATE archiver.recordings SET not_ready_since = now() - interval '59 minutes'
              WHERE state = 'pending'",
        )
        .await;
        let report = world.attempt(&archiver).await;
        assert_eq!(report.outcome, Outcome::Deferred, "{report:?}");
        let in_minutes = world.row(id).await.due_in_secs / 60.0;
        assert!((14.0..=15.0).contains(&in_minutes), "{in_minutes}");
        execute(
            &world.pool,
            "UPDATE archiver.recordings SET not_ready_since = not_ready_since - interval '1 minute'
              WHERE state = 'pending'",
        )
        .await;
        world.make_due().await;
        let report = world.attempt(&archiver).await;
        assert_eq!(report.outcome, Outcome::Failed, "{report:?}");
        let message = demand_row(&world, id, "failed", 1, kind).await;
        assert!(message.ends_with("not ready for 1h)"), "{message}");
        world.demand_nothing_stored(id).await;
    }
}

#[tokio::test]
async fn the_same_wrong_size_twice_in_a_row_fails_another_one_is_tried_again() {
    let world = World::local().await;
    let archiver = world.archiver_with(|settings| settings.policy.max_attempts = 10);
    let shorter = |bytes| Fault::from(MediaFault::ShorterBy(bytes));
    let between = Fault::from(MediaFault::Status(500));
    for (faults, last) in [
        (vec![shorter(5), shorter(5)], Outcome::Failed),
        (vec![shorter(5), shorter(6)], Outcome::Retrying),
        (vec![shorter(5), between, shorter(5)], Outcome::Retrying),
        (vec![shorter(5), shorter(6), shorter(6)], Outcome::Failed),
    ] {
        let id = add(&world).await;
        let (count, mut outcome) = (faults.len(), Outcome::Retrying);
        for fault in faults {
            assert_eq!(outcome, Outcome::Retrying);
            world.simulator.inject(id, fault, Times::ONCE);
            outcome = world.attempt(&archiver).await.outcome;
            world.make_due().await;
        }
        assert_eq!(outcome, last);
        let (state, attempts) = match last {
            Outcome::Failed => ("failed", i32::try_from(count).unwrap()),
            _ => ("pending", i32::try_from(count).unwrap()),
        };
        let message = demand_row(&world, id, state, attempts, "size_mismatch").await;
        let said = message.ends_with("(the same twice in a row)");
        assert_eq!(said, last == Outcome::Failed, "{message}");
        world.demand_nothing_stored(id).await;
        if last == Outcome::Retrying {
            world.attempt(&archiver).await;
            world.demand_archived(id).await;
        }
    }
}

const OTHER_PROJECT: &str = "5a8b1c2d-0000-4000-8000-00000000000b";

/// A second project in the same database, with an archiver of its own.
async fn other_project(world: &World) -> (Simulator, Archiver) {
    let config = SimulatorConfig {
        project_id: OTHER_PROJECT.to_owned(),
        ..SimulatorConfig::default()
    };
    let simulator = Simulator::start(config).await.unwrap();
    let archiver = world.archiver_with(|settings| {
        settings.signalwire = signalwire_config(&simulator);
    });
    archiver.queue.register_project("other").await.unwrap();
    (simulator, archiver)
}

#[tokio::test]
async fn a_recording_of_an_unknown_project_is_handed_on_to_the_one_that_has_it() {
    let world = World::local().await;
    let own = world.archiver();
    own.queue.register_project("own").await.unwrap();
    let (simulator, other) = other_project(&world).await;
    let recording = SimulatedRecording::new(Uuid::new_v4(), 1000);
    let id = recording.id;
    simulator.add(recording);
    world.enqueue(id).await;

    let report = world.attempt(&own).await;
    assert_eq!(report.outcome, Outcome::Deferred, "{report:?}");
    demand_row(&world, id, "pending", 0, "not_found").await;
    assert!(claim_due(&own, 1).await.is_empty());

    let report = world.attempt(&other).await;
    assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
    let row = world.row(id).await;
    assert_eq!(row.project_id.as_deref(), Some(OTHER_PROJECT));
    let manifest = world.manifest(id).unwrap();
    assert!(manifest.contains(OTHER_PROJECT), "{manifest}");
}

#[tokio::test]
async fn a_recording_that_no_project_has_fails_when_all_have_been_asked() {
    let world = World::local().await;
    let own = world.archiver();
    own.queue.register_project("own").await.unwrap();
    let (_simulator, other) = other_project(&world).await;
    // Long gone, so nobody waits for it.
    execute(
        &world.pool,
        "INSERT INTO archiver.projects (project_id, space, last_seen_at)
         VALUES ('gone', 'gone', now() - interval '31 days')",
    )
    .await;
    let id = Uuid::new_v4();
    world.enqueue(id).await;
    assert_eq!(world.attempt(&own).await.outcome, Outcome::Deferred);
    let report = world.attempt(&other).await;
    assert_eq!(report.outcome, Outcome::Failed, "{report:?}");
    demand_row(&world, id, "failed", 1, "not_found").await;
    assert_eq!(world.attempts(id).await.len(), 2);
}

#[tokio::test]
async fn a_recording_of_another_project_is_never_claimed() {
    let world = World::local().await;
    let id = add(&world).await;
    execute(
        &world.pool,
        "UPDATE archiver.recordings SET project_id = 'another'",
    )
    .await;
    let own = world.archiver();
    assert!(claim_due(&own, 1).await.is_empty());
    execute(
        &world.pool,
        "UPDATE archiver.recordings SET project_id = NULL",
    )
    .await;
    assert_eq!(world.attempt(&own).await.outcome, Outcome::Archived);
    world.demand_archived(id).await;
}

#[tokio::test]
async fn wrong_credentials_halt_the_worker_and_burn_nothing() {
    let world = World::local().await;
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(add(&world).await);
    }
    for concurrency in [1, 4] {
        let archiver = world.archiver_with(|settings| {
            settings.signalwire.api_token = "wrong".into();
        });
        let (ending, reports) = world.run_once(archiver, concurrency).await;
        let Ending::Halted { kind, message } = ending else {
            panic!("{ending:?}");
        };
        assert_eq!(kind, ErrorKind::Unauthorized);
        assert!(message.contains("refuses the credentials"), "{message}");
        assert_eq!(reports.len(), concurrency, "what ran, and no more");
        for id in &ids {
            let row = world.row(*id).await;
            assert_eq!((row.state.as_str(), row.attempts), ("pending", 0));
            assert_eq!(row.error_kind, None);
            assert!(row.due_in_secs <= 0.0);
        }
    }
    let (ending, reports) = world.run_once(world.archiver(), 4).await;
    assert!(matches!(ending, Ending::Done), "{ending:?}");
    assert_eq!(reports.len(), 10);
    for id in ids {
        world.demand_archived(id).await;
    }
}

#[tokio::test]
async fn api_outage_halts_the_worker_and_counts_no_attempt() {
    let world = World::local().await;
    for _ in 0..20 {
        add(&world).await;
    }
    world
        .simulator
        .inject_for_all(MetadataFault::Status(503), Times::Always);
    let (ending, _) = world.run_once(world.archiver(), 1).await;
    assert!(
        matches!(
            ending,
            Ending::Halted {
                kind: ErrorKind::ApiUnavailable,
                ..
            }
        ),
        "{ending:?}"
    );
    let burnt = "SELECT sum(attempts) FROM archiver.recordings";
    assert_eq!(world.number(burnt).await, 0);
    let pending = "SELECT count(*) FROM archiver.recordings WHERE state = 'pending'";
    assert_eq!(world.number(pending).await, 20);

    world.simulator.clear_faults();
    world.make_due().await;
    let (ending, _) = world.run_once(world.archiver(), 4).await;
    assert!(matches!(ending, Ending::Done), "{ending:?}");
    assert_eq!(world.number(pending).await, 0);
}

#[tokio::test]
async fn a_429_keeps_the_whole_process_from_asking_for_others() {
    let world = World::local().await;
    let archiver = world.archiver();
    let throttled = add(&world).await;
    let late = MetadataFault::Throttled(RetryAfter::Seconds(600));
    world.simulator.inject(throttled, late, Times::ONCE);
    let report = world.attempt(&archiver).await;
    assert_eq!(report.outcome, Outcome::Deferred);

    let other = add(&world).await;
    let report = world.attempt(&archiver).await;
    assert_eq!(report.recording_id.uuid(), other);
    assert_eq!(report.outcome, Outcome::Deferred);
    assert!(report.delay.unwrap().as_secs() > 500, "{report:?}");
    assert_eq!(world.simulator.counts(other).metadata_requests, 0);
    demand_row(&world, other, "pending", 0, "throttled").await;
}

#[tokio::test]
async fn a_429_costs_a_run_once_no_claim_and_it_goes_on_afterwards() {
    let world = World::local().await;
    for _ in 0..5 {
        add(&world).await;
    }
    let later = MetadataFault::Throttled(RetryAfter::Seconds(1));
    world.simulator.inject_for_all(later, Times::ONCE);
    let (ending, reports) = world.run_once(world.archiver(), 1).await;
    assert!(matches!(ending, Ending::Done), "{ending:?}");
    let given_back = reports.iter().filter(|it| it.outcome != Outcome::Archived);
    assert_eq!(given_back.count(), 1, "{reports:?}");
    let archived = "SELECT count(*) FROM archiver.recordings WHERE state = 'archived'";
    assert!(world.number(archived).await >= 4, "{reports:?}");
}
