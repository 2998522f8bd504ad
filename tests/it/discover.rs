//! What nobody queued is found in the provider's list.

use std::num::NonZeroU16;

use nix::sys::signal::Signal;
use recording_archiver::archive::Archiver;
use recording_archiver::recording::RecordingId;
use recording_archiver::signalwire::Catalogue;
use recording_archiver::simulator::{
    CostToken, MediaFault, MetadataFault, RetryAfter, SimulatedRecording, Times,
};
use recording_archiver::upkeep::{DiscoverError, Discovered, Discovery, WalkError};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::harness::binary::Binary;
use crate::harness::eventually;
use crate::harness::world::World;
use crate::seed::execute;

fn discovery<'a>(world: &'a World, archiver: &'a Archiver, page_size: u16) -> Discovery<'a> {
    Discovery {
        pool: &world.service,
        signalwire: &archiver.signalwire,
        storage: &archiver.storage,
        page_size: NonZeroU16::new(page_size).unwrap(),
    }
}

async fn discover(world: &World, archiver: &Archiver, page_size: u16) -> Discovered {
    let discovery = discovery(world, archiver, page_size);
    discovery.discover(false, |_| {}).await.unwrap()
}

fn add(world: &World, number: u128) -> Uuid {
    let id = Uuid::from_u128(number);
    world.simulator.add(SimulatedRecording::new(id, 100));
    id
}

/// How many times the provider was asked for a page of its list.
fn pages_asked(world: &World) -> usize {
    let requests = world.simulator.requests();
    let pages = requests
        .iter()
        .filter(|it| it.path.ends_with("/room_recordings"));
    pages.count()
}

const QUEUED: &str = "SELECT count(*) FROM archiver.recordings";

#[tokio::test]
async fn what_is_unknown_is_queued_with_its_metadata_and_first_cost() {
    let world = World::local().await;
    let archiver = world.archiver();
    for number in 1..=25 {
        add(&world, number);
    }
    let found = discover(&world, &archiver, 10).await;
    let expected = Discovered {
        pages: 3,
        listed: 25,
        queued: 25,
        ..Discovered::default()
    };
    assert_eq!(found, expected);
    let whole = "SELECT count(*) FROM archiver.recordings r
                   JOIN archiver.cost_observations o USING (recording_id)
                  WHERE state = 'pending' AND project_id IS NOT NULL AND created_at IS NOT NULL
                    AND declared_size_bytes = 100 AND r.recording_status = 'completed'
                    AND metadata ? 'cost_in_dollars' AND NOT metadata ? 'uri'
                    AND o.cost_usd = r.cost_usd AND observed_by = 'discover'";
    assert_eq!(world.number(whole).await, 25);

    // Again: nothing is news, and not a row is written anew.
    let versions = "SELECT sum(xmin::text::bigint)::bigint FROM archiver.recordings
                     WHERE cost_observed_at - cost_changed_at >= '1 day'";
    execute(
        &world.pool,
        "UPDATE archiver.finance_rules SET final_after = '1 day';
         UPDATE archiver.recordings SET cost_changed_at = cost_changed_at - interval '2 days'",
    )
    .await;
    let before = world.number(versions).await;
    let found = discover(&world, &archiver, 10).await;
    assert_eq!((found.listed, found.queued, found.changed), (25, 0, 0));
    assert_eq!(world.number(versions).await, before);
    let ledger = "SELECT count(*) FROM archiver.cost_observations";
    assert_eq!(world.number(ledger).await, 25);
}

#[tokio::test]
async fn known_ones_get_newer_status_and_cost_and_what_waited_for_it_is_due() {
    let world = World::local().await;
    let archiver = world.archiver();
    let id = add(&world, 1);
    let running = |it: &mut SimulatedRecording| it.status = Some("processing".to_owned());
    assert!(world.simulator.update(id, running));
    discover(&world, &archiver, 10).await;
    let report = world.attempt(&archiver).await;
    assert_eq!(report.failure.unwrap().kind.as_str(), "not_ready");
    assert!(world.row(id).await.due_in_secs > 1.0);

    assert!(world.simulator.update(id, |it| {
        it.status = Some("completed".to_owned());
        it.updated_at = "2022-01-01T12:00:00Z".to_owned();
        it.cost = CostToken::Json("0.07".to_owned());
    }));
    let found = discover(&world, &archiver, 10).await;
    assert_eq!((found.queued, found.changed), (0, 1));
    assert!(world.row(id).await.due_in_secs <= 0.0);
    let now = "SELECT recording_status || ' ' || cost_usd::text || ' ' ||
                      (metadata->>'cost_in_dollars') FROM archiver.recordings
                WHERE recording_id = $1";
    assert_eq!(world.text(now, id).await.unwrap(), "completed 0.07 0.07");

    // A list that is older than what is known changes nothing.
    assert!(world.simulator.update(id, |it| {
        it.status = Some("paused".to_owned());
        it.updated_at = "2022-01-01T11:00:00Z".to_owned();
    }));
    assert_eq!(discover(&world, &archiver, 10).await.changed, 0);
    assert_eq!(world.text(now, id).await.unwrap(), "completed 0.07 0.07");
}

#[tokio::test]
async fn the_manifest_of_an_archived_recording_follows_its_cost() {
    let world = World::s3().await;
    let archiver = world.archiver();
    let id = add(&world, 1);
    discover(&world, &archiver, 10).await;
    world.attempt(&archiver).await;
    assert!(world.simulator.update(id, |it| {
        it.cost = CostToken::Json("0.0700".to_owned());
    }));
    assert_eq!(discover(&world, &archiver, 10).await.left, 0);
    let manifest = world.manifest(id).unwrap();
    assert!(
        manifest.contains(r#""cost_in_dollars": 0.0700"#),
        "{manifest}"
    );
    assert!(manifest.contains("metadata_observed_at"), "{manifest}");
    world.demand_archived(id).await;

    // While the store is away, the cost is left for the next time, and nothing else is.
    let newcomer = add(&world, 2);
    assert!(world.simulator.update(id, |it| {
        it.cost = CostToken::Json("0.08".to_owned());
    }));
    let elsewhere = world.archiver_with(|settings| {
        settings.storage.endpoint = Some("http://127.0.0.1:9".parse().unwrap());
    });
    // Its clients ask again for a while; the test does not wait for that.
    let storage = &elsewhere.storage;
    let refused = Discovery {
        storage,
        ..discovery(&world, &archiver, 10)
    };
    let found = refused.discover(false, |_| {}).await.unwrap();
    assert_eq!((found.left, found.queued), (1, 1));
    assert!(world.row_if_there(newcomer).await.is_some());
    let cost = "SELECT cost_usd::text FROM archiver.recordings WHERE recording_id = $1";
    assert_eq!(world.text(cost, id).await.unwrap(), "0.0700");
    assert_eq!(discover(&world, &archiver, 10).await.left, 0);
    assert_eq!(world.text(cost, id).await.unwrap(), "0.08");
    assert!(
        world
            .manifest(id)
            .unwrap()
            .contains(r#""cost_in_dollars": 0.08"#)
    );
}

#[tokio::test]
async fn no_trap_on_the_way_hides_a_recording() {
    for fault in [
        MetadataFault::EmptyPage,
        MetadataFault::RepeatedNext,
        MetadataFault::Throttled(RetryAfter::Seconds(1)),
        MetadataFault::Status(500),
        MetadataFault::Reset,
        MetadataFault::Html,
        MetadataFault::TruncatedJson,
        MetadataFault::EmptyBody,
    ] {
        let world = World::local().await;
        let archiver = world.archiver();
        for number in 1..=7 {
            add(&world, number);
        }
        let is_empty = fault == MetadataFault::EmptyPage;
        world
            .simulator
            .inject_for_all(fault.clone(), Times::ONCE.after(1));
        let found = discover(&world, &archiver, 3).await;
        // An empty page takes the place of three; the next walk finds them.
        let expected = if is_empty { 4 } else { 7 };
        assert_eq!((found.pages, found.queued), (3, expected), "{fault:?}");
        assert_eq!(discover(&world, &archiver, 3).await.queued, 7 - expected);
        assert_eq!(world.number(QUEUED).await, 7, "{fault:?}");
    }
}

#[tokio::test]
async fn a_list_that_leads_in_a_circle_or_refuses_us_ends_the_walk_with_its_reason() {
    let world = World::local().await;
    let archiver = world.archiver();
    for number in 1..=7 {
        add(&world, number);
    }
    let all = || discovery(&world, &archiver, 3);
    world
        .simulator
        .inject_for_all(MetadataFault::RepeatedNext, Times::Always);
    let error = all().discover(false, |_| {}).await.unwrap_err();
    assert!(
        matches!(error, DiscoverError::Walk(WalkError::Circle { .. })),
        "{error:?}"
    );
    world.simulator.clear_faults();
    world
        .simulator
        .inject_for_all(MetadataFault::Status(401), Times::Always);
    let before = pages_asked(&world);
    let error = all().discover(false, |_| {}).await.unwrap_err();
    assert!(
        matches!(error, DiscoverError::Walk(WalkError::Api(_))),
        "{error:?}"
    );
    assert_eq!(pages_asked(&world), before + 1, "it is asked once");
}

#[tokio::test]
async fn what_appears_and_vanishes_meanwhile_spoils_nothing() {
    let world = World::local().await;
    let archiver = world.archiver();
    for number in 1..=9 {
        add(&world, number);
    }
    let all = discovery(&world, &archiver, 3);
    let change = |found: &Discovered| match found.pages {
        // Everything that follows moves up by one: the next page begins one too late.
        1 => assert!(world.simulator.remove(Uuid::from_u128(1))),
        2 => drop(add(&world, 10)),
        _ => {}
    };
    let found = all.discover(false, change).await.unwrap();
    assert_eq!(found.queued, 9, "{found:?}");
    let found = discover(&world, &archiver, 3).await;
    assert_eq!((found.listed, found.queued), (9, 1), "{found:?}");
    assert_eq!(world.number(QUEUED).await, 10);
}

#[tokio::test]
async fn a_walk_that_was_cut_off_goes_on_where_it_was() {
    let world = World::local().await;
    let archiver = world.archiver();
    for number in 1..=9 {
        add(&world, number);
    }
    let cut_off = async || {
        let all = discovery(&world, &archiver, 2);
        let break_off = |found: &Discovered| {
            if found.pages == 2 {
                world
                    .simulator
                    .inject_for_all(MetadataFault::Status(403), Times::Always);
            }
        };
        all.discover(true, break_off).await.unwrap_err();
        world.simulator.clear_faults();
    };
    cut_off().await;
    assert_eq!(world.number(QUEUED).await, 4);
    let before = pages_asked(&world);
    let found = discover(&world, &archiver, 2).await;
    assert_eq!(pages_asked(&world) - before, 3);
    let counts = (found.pages, found.resumed_pages, found.listed, found.queued);
    assert_eq!(counts, (5, 2, 9, 9));
    assert_eq!(world.number(QUEUED).await, 9);
    let whole = "SELECT count(*) FROM archiver.discoveries
                  WHERE ended_at IS NOT NULL AND next_page IS NULL
                    AND last_whole_walk_at = begun_at";
    assert_eq!(world.number(whole).await, 1);

    // What is too old to go on with, or no page any more, is walked from the start.
    for spoil in [
        "UPDATE archiver.discoveries SET walked_at = now() - interval '25 hours'",
        "UPDATE archiver.discoveries
            SET next_page = 'page_number=2&page_size=2&page_token=PA00'",
    ] {
        cut_off().await;
        execute(&world.pool, spoil).await;
        let found = discover(&world, &archiver, 2).await;
        assert_eq!((found.pages, found.resumed_pages), (5, 0), "{spoil}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_overtaken_stops_and_writes_no_more() {
    let world = World::local().await;
    let archiver = world.archiver();
    for number in 1..=9 {
        add(&world, number);
    }
    let taken = |found: &Discovered| {
        if found.pages == 1 {
            let pool = world.pool.clone();
            let other = "UPDATE archiver.discoveries SET walk_token = gen_random_uuid()";
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(execute(&pool, other));
            });
        }
    };
    let all = discovery(&world, &archiver, 2);
    let error = all.discover(false, taken).await.unwrap_err();
    assert!(error.to_string().contains("another process"), "{error}");
    assert_eq!(world.number(QUEUED).await, 2);
}

#[tokio::test]
async fn an_entry_that_cannot_be_understood_is_queued_by_its_id() {
    let world = World::local().await;
    let archiver = world.archiver();
    let odd = add(&world, 1);
    add(&world, 2);
    assert!(world.simulator.update(odd, |it| it.extra_fields =
        vec![("uri".into(), "17".into())]));
    let found = discover(&world, &archiver, 10).await;
    assert_eq!((found.listed, found.queued, found.unreadable), (2, 2, 1));
    assert_eq!(world.row(odd).await.project_id, None);
    let report = world.attempt(&archiver).await;
    assert!(report.failure.is_some() || world.attempt(&archiver).await.failure.is_some());
}

#[tokio::test]
async fn one_session_is_walked_by_itself_and_a_dry_run_writes_nothing() {
    let world = World::local().await;
    let session = Uuid::from_u128(77);
    for number in 1..=5 {
        let id = add(&world, number);
        if number < 3 {
            assert!(
                world
                    .simulator
                    .update(id, |it| it.room_session_id = session)
            );
        }
    }
    let binary = Binary::of(&world);
    let run = binary.run(&["discover", "--dry-run"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(run.stdout.lines().count(), 5, "{run:?}");
    assert!(
        run.stderr
            .contains("5 recordings listed, of these 5 unknown"),
        "{run:?}"
    );
    assert_eq!(world.number(QUEUED).await, 0);

    let run = binary
        .run(&["discover", "--session", &session.to_string()])
        .await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(
        run.stdout,
        "2 recordings listed on 1 page: 2 queued, 0 known that have changed\n"
    );
    let run = binary.run(&["discover"]).await;
    assert_eq!(
        run.stdout,
        "5 recordings listed on 1 page: 3 queued, 0 known that have changed\n"
    );
    assert_eq!(world.number(QUEUED).await, 5);
}

#[tokio::test]
async fn the_ids_of_a_dry_run_are_those_that_are_unknown() {
    let world = World::local().await;
    let archiver = world.archiver();
    let known = add(&world, 1);
    let unknown = add(&world, 2);
    world.enqueue(known).await;
    let mut ids = Vec::new();
    let told = |id: RecordingId| {
        ids.push(id.uuid());
        Ok(())
    };
    let found = discovery(&world, &archiver, 1)
        .unknown(Catalogue::All, told, |_| {})
        .await
        .unwrap();
    assert_eq!(ids, [unknown]);
    assert_eq!((found.pages, found.listed, found.queued), (2, 2, 1));
}

#[tokio::test]
async fn the_service_finds_by_schedule_what_nobody_queued() {
    let world = World::local().await;
    let service = Binary::of(&world)
        .with("RECORDING_ARCHIVER_DISCOVERY_SCHEDULE", "* * * * * *")
        .start(&["run"]);
    let id = add(&world, 1);
    eventually("it is found and archived", || async {
        let row = world.row_if_there(id).await?;
        (row.state == "archived").then_some(())
    })
    .await;
    world.demand_archived(id).await;
    service.signal(Signal::SIGTERM);
    service.ended().await.demand_code(0);
}

#[tokio::test]
async fn what_a_long_transfer_was_told_at_its_start_is_not_written_over_later_news() {
    let world = World::local().await;
    let archiver = world.archiver();
    let id = add(&world, 1);
    world.enqueue(id).await;
    assert!(world.simulator.inject(id, MediaFault::Hang, Times::ONCE));
    let (other, stop) = (world.archiver(), CancellationToken::new());
    let news = async {
        eventually("the attempt has asked", || async {
            (world.simulator.counts(id).media_requests > 0).then_some(())
        })
        .await;
        assert!(world.simulator.update(id, |it| {
            it.cost = CostToken::Json("0.06".to_owned());
        }));
        execute(
            &world.pool,
            "UPDATE archiver.recordings SET project_id = 'p'",
        )
        .await;
        let project = "UPDATE archiver.recordings SET project_id = NULL";
        execute(&world.pool, project).await;
        // Who holds a recording that is nobody's yet may be about to hand it on.
        assert_eq!(discover(&world, &other, 10).await.changed, 0);
        assert_eq!(world.row(id).await.project_id, None);
        stop.cancel();
    };
    // However it ends, it settles with what it was told at its start.
    let (report, ()) = tokio::join!(world.attempt_until(&archiver, &stop), news);
    assert_eq!(report.cost.unwrap().to_string(), "0.05");
    let ledger = "SELECT string_agg(cost_usd::text || ' ' || observed_by, ', '
                                    ORDER BY observation_id)
                    FROM archiver.cost_observations WHERE recording_id = $1";
    assert_eq!(world.text(ledger, id).await.unwrap(), "0.06 discover");
}

#[tokio::test]
async fn what_is_described_while_the_bytes_move_stays_described() {
    let world = World::local().await;
    let archiver = world.archiver();
    let id = add(&world, 1);
    world.enqueue(id).await;
    sqlx::query("UPDATE archiver.recordings SET project_id = $1")
        .bind(archiver.queue.project_id())
        .execute(&world.pool)
        .await
        .unwrap();
    assert!(world.simulator.inject(id, MediaFault::Hang, Times::ONCE));
    let (other, stop) = (world.archiver(), CancellationToken::new());
    let news = async {
        eventually("the attempt has asked", || async {
            (world.simulator.counts(id).media_requests > 0).then_some(())
        })
        .await;
        assert!(world.simulator.update(id, |it| {
            it.cost = CostToken::Json("0.06".to_owned());
        }));
        assert_eq!(discover(&world, &other, 10).await.changed, 1);
        stop.cancel();
    };
    tokio::join!(world.attempt_until(&archiver, &stop), news);
    let described = "SELECT (metadata->'cost_in_dollars')::text || ' ' || cost_usd::text
                       FROM archiver.recordings WHERE recording_id = $1";
    assert_eq!(world.text(described, id).await.unwrap(), "0.06 0.06");
}

#[tokio::test]
async fn what_passes_ends_with_75_and_what_is_refused_with_2() {
    let world = World::s3().await;
    add(&world, 1);
    world
        .simulator
        .inject_for_all(MetadataFault::RepeatedNext, Times::Always);
    Binary::of(&world).run(&["discover"]).await.demand_code(75);
    world.simulator.clear_faults();
    world
        .simulator
        .inject_for_all(MetadataFault::Status(401), Times::Always);
    Binary::of(&world).run(&["discover"]).await.demand_code(2);
    world.simulator.clear_faults();
    let bucket = ["reconcile", "--only", "bucket"];
    let away = Binary::of(&world).with("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    Binary::of(&world).run(&["migrate"]).await.demand_code(0);
    away.run(&bucket).await.demand_code(75);
    away.run(&["rebuild"]).await.demand_code(75);
    let refused = Binary::of(&world).with("AWS_SECRET_ACCESS_KEY", "another");
    refused.run(&bucket).await.demand_code(2);
    refused.run(&["rebuild"]).await.demand_code(2);
}
