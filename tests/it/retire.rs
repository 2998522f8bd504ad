//! Deleting at the provider: only what is archived beyond doubt, and each doubt keeps it there.

mod deletion;
mod refusals;

use std::time::Duration;

use recording_archiver::finance::ledger;
use recording_archiver::queue::{self, RetireWish};
use recording_archiver::recording::RecordingId;
use recording_archiver::simulator::{MetadataFault, SimulatedRecording, Times};
use recording_archiver::upkeep::{Candidate, Refusal, Retired, Retirer, reprice};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::harness::binary::{Binary, Ended};
use crate::harness::eventually;
use crate::harness::s3::{Call, StoreFault};
use crate::harness::world::World;
use crate::seed::execute;

const SIZE: u64 = 100_000;
const DAYS: &str = "90d";

fn enabled(world: &World) -> Binary {
    Binary::of(world).with("RECORDING_ARCHIVER_RETIRE_ENABLED", "true")
}

/// Archives a recording of which nothing speaks against being deleted at the provider.
async fn retirable(world: &World) -> Uuid {
    let recording = SimulatedRecording::new(Uuid::new_v4(), SIZE);
    let id = world.add(recording).await;
    world.attempt(&world.archiver()).await;
    world.demand_archived(id).await;
    sqlx::query(
        "UPDATE archiver.recordings
            SET archived_at = archived_at - interval '100 days',
                cost_changed_at = cost_changed_at - interval '8 days', verified_at = NULL
          WHERE recording_id = $1",
    )
    .bind(id)
    .execute(&world.pool)
    .await
    .unwrap();
    id
}

async fn retire_one(world: &World, id: Uuid) -> Ended {
    let id = id.to_string();
    let arguments = ["retire", "--older-than", DAYS, "--id", &id];
    enabled(world).run(&arguments).await
}

/// Outcome and reason of each time it was about to be deleted.
async fn audit(world: &World, id: Uuid) -> Vec<(Option<String>, Option<String>)> {
    sqlx::query_as(
        "SELECT outcome, reason FROM archiver.retirements WHERE recording_id = $1
          ORDER BY retirement_id",
    )
    .bind(id)
    .fetch_all(&world.pool)
    .await
    .unwrap()
}

async fn outcomes(world: &World, id: Uuid) -> Vec<String> {
    let audit = audit(world, id).await.into_iter();
    audit
        .map(|(outcome, _)| outcome.unwrap_or_else(|| "open".to_owned()))
        .collect()
}

fn is_at_provider(world: &World, id: Uuid) -> bool {
    world.simulator.media_size_bytes(id).is_some()
}

fn deletions_asked(world: &World) -> usize {
    let requests = world.simulator.requests();
    requests.iter().filter(|it| it.method == "DELETE").count()
}

async fn is_marked(world: &World, id: Uuid) -> bool {
    let query = "SELECT source_deleted_at::text FROM archiver.recordings WHERE recording_id = $1";
    world.text(query, id).await.is_some()
}

async fn begun_at(world: &World, id: Uuid) -> String {
    let query = "SELECT begun_at::text FROM archiver.retirements WHERE recording_id = $1";
    world.text(query, id).await.unwrap()
}

async fn verified_at(world: &World, id: Uuid) -> Option<String> {
    let query = "SELECT verified_at::text FROM archiver.recordings WHERE recording_id = $1";
    world.text(query, id).await
}

async fn candidate(retirer: &Retirer<'_>, id: Uuid) -> Candidate {
    let wish = RetireWish {
        project_id: retirer.signalwire.project_id().to_owned(),
        older_than: Duration::from_hours(24 * 90),
        ids: Some(vec![RecordingId::from(id)]),
    };
    let mut chosen = retirer.choose(&wish, 1).await.unwrap();
    chosen.candidates.pop().expect("nothing speaks against it")
}

#[tokio::test]
async fn what_is_archived_beyond_doubt_is_deleted_and_nothing_breaks_after() {
    for (world, evidence) in [
        (World::local().await, "read_back"),
        (World::s3().await, "full_object"),
    ] {
        let id = retirable(&world).await;
        assert_eq!(world.row(id).await.evidence.as_deref(), Some(evidence));
        let young = SimulatedRecording::new(Uuid::new_v4(), SIZE);
        let young = world.add(young).await;
        world.attempt(&world.archiver()).await;

        let arguments = ["retire", "--older-than", DAYS];
        let ended = enabled(&world).run(&arguments).await.demand_code(0);
        let expected = format!(
            "deleted {id} 97.7 KiB $0.05\n\
             deleted: 1 (97.7 KiB, $0.05), gone already: 0, refused: 0\n"
        );
        assert_eq!(ended.stdout, expected);
        assert!(!is_at_provider(&world, id));
        assert!(is_at_provider(&world, young));
        assert_eq!(outcomes(&world, id).await, ["deleted"]);
        assert!(is_marked(&world, id).await);
        assert!(verified_at(&world, id).await.is_some(), "read again before");
        let rested_on = "SELECT concat_ws(' ', object_url, size_bytes, encode(sha256, 'hex'),
                                          evidence, cost_usd)
                           FROM archiver.recordings WHERE recording_id = $1";
        let audited = "SELECT concat_ws(' ', object_url, size_bytes, encode(sha256, 'hex'),
                                        evidence, cost_usd)
                         FROM archiver.retirements WHERE recording_id = $1";
        let rested_on = world.text(rested_on, id).await;
        assert_eq!(world.text(audited, id).await, rested_on);

        // Again: there is nothing to do, and asked for by name it says so.
        let again = enabled(&world).run(&arguments).await.demand_code(0);
        again.demand_output(&["deleted: 0 "]);
        let named = retire_one(&world, id).await.demand_code(1);
        named.demand_output(&["deleted at the provider already"]);
        assert_eq!(deletions_asked(&world), 1);
    }
}

#[tokio::test]
async fn a_deleted_one_is_not_asked_for_its_cost_again_and_status_shows_what_happened() {
    let world = World::local().await;
    let id = retirable(&world).await;
    retire_one(&world, id).await.demand_code(0);
    let longer = Duration::from_hours(24 * 30);
    ledger::set_final_after(&world.pool, longer).await.unwrap();
    let archiver = world.archiver();
    let asked = reprice(
        &world.service,
        &archiver.signalwire,
        &archiver.storage,
        Duration::ZERO,
    );
    let asked = asked.await.unwrap();
    assert_eq!((asked.asked, asked.gone, asked.left), (0, 0, 0));

    let id = id.to_string();
    let status = Binary::of(&world).run(&["status", "--id", &id]).await;
    status.demand_code(0).demand_output(&[
        "\ndeleted there ",
        "\nDeletion at the provider\n",
        ", deleted, by ",
    ]);
    let arguments = ["status", "--id", &id, "--output", "json"];
    let json = Binary::of(&world).run(&arguments).await.json_line();
    assert!(json["source_deleted_at"].is_string(), "{json}");
    assert_eq!(json["retirements"][0]["outcome"], "deleted", "{json}");
}

#[tokio::test]
async fn archiving_a_deleted_one_by_force_keeps_it_archived_and_tells_of_a_lost_object() {
    let world = World::local().await;
    let id = retirable(&world).await;
    retire_one(&world, id).await.demand_code(0);
    let named = id.to_string();
    let arguments = ["archive", "--id", &named, "--force"];
    let ended = Binary::of(&world).run(&arguments).await.demand_code(0);
    ended.demand_output(&["already archived"]);

    std::fs::remove_file(world.path_of(&world.key_of(id))).unwrap();
    let ended = Binary::of(&world).run(&arguments).await.demand_code(1);
    ended.demand_output(&[
        "object_missing",
        "`retire` had the provider delete its source",
    ]);
    assert_eq!(world.row(id).await.state, "archived");
}

#[tokio::test]
async fn one_that_the_provider_has_no_more_is_gone() {
    let world = World::local().await;
    let id = retirable(&world).await;
    world.simulator.remove(id);
    let dry = ["retire", "--older-than", DAYS, "--dry-run"];
    let dry = Binary::of(&world).run(&dry).await.demand_code(0);
    dry.demand_output(&[&format!("gone already {id}")]);
    assert!(!is_marked(&world, id).await);
    let ended = retire_one(&world, id).await.demand_code(0);
    ended.demand_output(&[&format!("gone {id}"), "gone already: 1"]);
    assert_eq!(outcomes(&world, id).await, ["gone"]);
    assert!(is_marked(&world, id).await);
    assert_eq!(deletions_asked(&world), 0);
}

#[tokio::test]
async fn one_word_of_the_provider_is_not_enough_to_call_it_gone() {
    let world = World::local().await;
    let id = retirable(&world).await;
    let missing = MetadataFault::Status(404);
    assert!(world.simulator.inject(id, missing, Times::ONCE));
    retire_one(&world, id).await.demand_code(0);
    assert_eq!(outcomes(&world, id).await, ["deleted"]);
}

#[tokio::test]
async fn a_dry_run_looks_at_everything_and_changes_nothing() {
    let world = World::local().await;
    let (sound, damaged) = (retirable(&world).await, retirable(&world).await);
    world.put_object(damaged, b"something else");
    let before = world.row(sound).await;
    let arguments = ["retire", "--older-than", DAYS, "--dry-run"];
    // Even where it is not enabled.
    let ended = Binary::of(&world).run(&arguments).await.demand_code(0);
    ended.demand_output(&[
        &format!("would delete {sound} 97.7 KiB $0.05\n"),
        &format!("refused {damaged}: the object in the store has other bytes"),
        "would delete: 1 (97.7 KiB, $0.05), gone already: 0, refused: 1\n",
        "retire.enabled is not set",
    ]);
    assert_eq!(deletions_asked(&world), 0);
    let audited = world
        .number("SELECT count(*) FROM archiver.retirements")
        .await;
    assert_eq!(audited, 0);
    assert_eq!(verified_at(&world, sound).await, None);
    assert_eq!(world.row(sound).await.archived_at, before.archived_at);
}

#[tokio::test]
async fn no_more_than_the_limit_are_taken_up_and_the_refused_keep_nobody_out() {
    let world = World::local().await;
    let mut ids = Vec::new();
    for older in ["2 days", "1 day", "0 days"] {
        let id = retirable(&world).await;
        let older = format!(
            "UPDATE archiver.recordings SET archived_at = archived_at - interval '{older}'
              WHERE recording_id = '{id}'"
        );
        execute(&world.pool, &older).await;
        ids.push(id);
    }
    // The oldest one comes first.
    world.put_object(ids[0], b"something else");
    let arguments = ["retire", "--older-than", DAYS, "--limit", "2"];
    let ended = enabled(&world).run(&arguments).await.demand_code(1);
    ended.demand_output(&[
        &format!("refused {}", ids[0]),
        &format!("deleted {}", ids[1]),
        "left for another run, by --limit: 1",
    ]);
    assert!(is_at_provider(&world, ids[2]));
    let arguments = ["retire", "--older-than", DAYS, "--limit", "1"];
    let ended = enabled(&world).run(&arguments).await.demand_code(0);
    ended.demand_output(&[&format!("deleted {}", ids[2])]);
    assert!(is_at_provider(&world, ids[0]));
}

#[tokio::test]
async fn it_has_to_be_enabled_too() {
    let world = World::local().await;
    let id = retirable(&world).await;
    let arguments = ["retire", "--older-than", DAYS];
    let ended = Binary::of(&world).run(&arguments).await.demand_code(2);
    ended.demand_error(&["retire.enabled = true"]);
    assert!(is_at_provider(&world, id));
    assert_eq!(world.simulator.counts(id).metadata_requests, 1);
}

#[tokio::test]
async fn of_two_at_once_one_goes_on_and_a_dead_one_is_taken_over_in_time() {
    let world = World::local().await;
    let id = retirable(&world).await;
    let archiver = world.archiver();
    let retirer = Retirer {
        pool: &world.service,
        signalwire: &archiver.signalwire,
        storage: &archiver.storage,
        retired_by: "the second".to_owned(),
        dry_run: false,
    };
    let candidate = candidate(&retirer, id).await;
    let begin = || queue::begin_retirement(&world.pool, candidate.row(), "the first");
    let mut first = begin().await.unwrap().expect("it is the first");
    let overtaken = Retired::Refused(Refusal::Overtaken);
    assert_eq!(retirer.retire(&candidate).await.unwrap(), overtaken);
    assert_eq!(outcomes(&world, id).await, ["open"]);
    execute(
        &world.pool,
        "UPDATE archiver.retirements SET begun_at = now() - interval '9 minutes'",
    )
    .await;
    assert_eq!(retirer.retire(&candidate).await.unwrap(), overtaken);

    execute(
        &world.pool,
        "UPDATE archiver.retirements SET begun_at = now() - interval '11 minutes'",
    )
    .await;
    let second = queue::begin_retirement(&world.pool, candidate.row(), "the second");
    let mut second = second.await.unwrap().expect("the first is dead");
    // The first was only slow: it is fenced off.
    let confirmed = queue::confirm_retirement(&world.pool, &mut first)
        .await
        .unwrap();
    assert!(!confirmed);
    queue::refuse_retirement(&world.pool, &first, "late")
        .await
        .unwrap();
    assert_eq!(outcomes(&world, id).await, ["open"]);
    let before = begun_at(&world, id).await;
    let confirmed = queue::confirm_retirement(&world.pool, &mut second)
        .await
        .unwrap();
    assert!(confirmed);
    // However long it has read: it is alive, and about to delete.
    assert!(begun_at(&world, id).await > before);
    assert!(is_at_provider(&world, id));
}

#[tokio::test]
async fn a_row_that_changes_while_its_object_is_read_keeps_the_recording() {
    let world = World::s3().await;
    for change in [
        "state = 'pending', finalized_at = NULL",
        "sha256 = sha256('another')",
        "error_kind = 'checksum_mismatch', error_message = 'found by verify'",
        "cost_usd = 0.06",
    ] {
        let id = retirable(&world).await;
        let go = CancellationToken::new();
        let reads = world.s3_server().count(Call::Get);
        let hold = StoreFault::HoldUntil(go.clone());
        world.s3_server().inject(Call::Get, hold, 1);
        let binary = enabled(&world);
        let named = id.to_string();
        let running = binary.start(&["retire", "--older-than", DAYS, "--id", &named]);
        eventually("the object is read", || async {
            (world.s3_server().count(Call::Get) > reads).then_some(())
        })
        .await;
        let change = format!("UPDATE archiver.recordings SET {change} WHERE recording_id = '{id}'");
        execute(&world.pool, &change).await;
        go.cancel();
        let ended = running.ended().await.demand_code(1);
        ended.demand_output(&["its row has changed meanwhile"]);
        assert!(is_at_provider(&world, id), "{change}");
        assert_eq!(outcomes(&world, id).await, ["refused"], "{change}");
        assert_eq!(deletions_asked(&world), 0);
        let away = "UPDATE archiver.recordings SET project_id = 'another'";
        execute(&world.pool, away).await;
    }
}
