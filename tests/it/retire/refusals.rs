//! Each thing that must hold, not holding: nothing is deleted.

use recording_archiver::simulator::{CostToken, MetadataFault, Times};
use uuid::Uuid;

use super::{audit, deletions_asked, is_at_provider, is_marked, retirable, retire_one};
use crate::harness::s3::{Call, StoreFault};
use crate::harness::world::World;
use crate::seed::execute;

/// Demands that it is refused for this reason, that nothing was deleted, and that the audit says
/// so.
async fn demand_kept(world: &World, id: Uuid, reason: &str) {
    demand_refused(world, id, reason).await;
    let audit = audit(world, id).await;
    let [(Some(outcome), Some(said))] = &audit[..] else {
        panic!("{audit:?}");
    };
    assert_eq!(outcome, "refused");
    assert!(said.contains(reason), "{said}");
}

/// The same of one that its row alone speaks against: nothing is even begun.
async fn demand_not_begun(world: &World, id: Uuid, reason: &str) {
    let asked = world.simulator.counts(id).metadata_requests;
    demand_refused(world, id, reason).await;
    assert_eq!(audit(world, id).await, []);
    assert_eq!(world.simulator.counts(id).metadata_requests, asked);
    let all = ["retire", "--older-than", super::DAYS];
    let ended = super::enabled(world).run(&all).await.demand_code(0);
    ended.demand_output(&["deleted: 0 "]);
    assert!(is_at_provider(world, id));
}

async fn demand_refused(world: &World, id: Uuid, reason: &str) {
    let ended = retire_one(world, id).await.demand_code(1);
    let line = format!("refused {id}: ");
    ended.demand_output(&[&line, reason, "deleted: 0 ", "refused: 1\n"]);
    assert!(is_at_provider(world, id));
    assert_eq!(deletions_asked(world), 0);
    assert!(!is_marked(world, id).await);
}

/// Archives one in a directory and lets its row be otherwise.
async fn with_row(change: &str) -> (World, Uuid) {
    let world = World::local().await;
    let id = retirable(&world).await;
    let change = format!("UPDATE archiver.recordings SET {change}");
    execute(&world.pool, &change).await;
    (world, id)
}

async fn with_world() -> (World, Uuid) {
    let world = World::local().await;
    let id = retirable(&world).await;
    (world, id)
}

#[tokio::test]
async fn one_proven_by_its_parts_only_is_kept() {
    let (world, id) = with_row("evidence = 'parts'").await;
    demand_not_begun(&world, id, "of its parts only").await;
}

#[tokio::test]
async fn one_whose_cost_is_missing_is_kept() {
    let (world, id) = with_row("cost_usd = NULL").await;
    demand_not_begun(&world, id, "its cost is not known").await;
}

#[tokio::test]
async fn one_whose_cost_is_provisional_is_kept() {
    let (world, id) = with_row("cost_changed_at = cost_observed_at - interval '6 days'").await;
    demand_not_begun(&world, id, "its cost is not final yet").await;
}

#[tokio::test]
async fn one_archived_too_short_a_time_ago_is_kept() {
    let (world, id) = with_row("archived_at = now() - interval '89 days'").await;
    demand_not_begun(&world, id, "too short a time ago").await;
}

#[tokio::test]
async fn one_that_is_not_archived_any_more_is_kept() {
    let (world, id) =
        with_row("state = 'failed', error_kind = 'stalled', error_message = ''").await;
    demand_not_begun(&world, id, "it is not archived").await;
}

#[tokio::test]
async fn one_known_to_be_damaged_is_kept() {
    let damage = "error_kind = 'checksum_mismatch', error_message = 'other bytes'";
    let (world, id) = with_row(damage).await;
    demand_not_begun(&world, id, "damaged or gone").await;
}

#[tokio::test]
async fn retire_refuses_a_file_of_another_format_than_declared() {
    let (world, id) = with_row("format_mismatch = 'unknown'").await;
    let reason = "not of its declared format (found: unknown); check the file";
    demand_not_begun(&world, id, reason).await;
}

#[tokio::test]
async fn one_in_another_store_is_kept() {
    let (world, id) = with_row("object_url = 's3://elsewhere/' || object_key").await;
    demand_not_begun(&world, id, "in another store").await;
}

#[tokio::test]
async fn one_of_another_project_is_kept() {
    let (world, id) = with_row("project_id = 'another'").await;
    demand_not_begun(&world, id, "another project").await;
}

#[tokio::test]
async fn one_that_nobody_queued_is_kept() {
    let (world, id) = with_world().await;
    let other = Uuid::new_v4();
    let ended = retire_one(&world, other).await.demand_code(1);
    ended.demand_output(&["it is not in the queue"]);
    assert!(is_at_provider(&world, id));
}

#[tokio::test]
async fn one_accepted_in_another_size_than_declared_is_kept() {
    let (world, id) = with_row("declared_size_bytes = size_bytes - 1").await;
    demand_kept(&world, id, "declares 99999 bytes, archived are 100000").await;
}

#[tokio::test]
async fn one_of_another_size_at_the_provider_is_kept() {
    let (world, id) = with_world().await;
    world
        .simulator
        .update(id, |it| it.declared_size_bytes = Some(100_001));
    demand_kept(&world, id, "declares 100001 bytes, archived are 100000").await;
}

#[tokio::test]
async fn one_without_a_size_at_the_provider_is_kept() {
    let (world, id) = with_world().await;
    let fault = MetadataFault::MissingFields;
    world.simulator.inject(id, fault, Times::Always);
    demand_kept(&world, id, "the provider declares no size").await;
}

#[tokio::test]
async fn one_of_another_cost_at_the_provider_is_kept() {
    let (world, id) = with_world().await;
    let cost = CostToken::Json("0.051".into());
    world.simulator.update(id, |it| it.cost = cost);
    demand_kept(&world, id, "a cost of 0.051, on record is 0.05").await;
}

#[tokio::test]
async fn one_whose_cost_the_provider_leaves_out_is_kept() {
    let (world, id) = with_world().await;
    world.simulator.update(id, |it| it.cost = CostToken::Absent);
    demand_kept(&world, id, "a cost of nothing").await;
}

#[tokio::test]
async fn one_that_the_provider_does_not_call_completed_is_kept() {
    let (world, id) = with_world().await;
    let fault = MetadataFault::UnknownStatus("archived".into());
    world.simulator.inject(id, fault, Times::ONCE);
    demand_kept(&world, id, "calls it archived, not completed").await;
}

#[tokio::test]
async fn one_of_which_the_provider_says_no_status_is_kept() {
    let (world, id) = with_world().await;
    let fault = MetadataFault::NullStatus;
    world.simulator.inject(id, fault, Times::ONCE);
    demand_kept(&world, id, "calls it nothing, not completed").await;
}

#[tokio::test]
async fn one_that_the_provider_has_updated_is_kept() {
    let (world, id) = with_world().await;
    let later = "2022-01-01T11:00:01Z".to_owned();
    world.simulator.update(id, |it| it.updated_at = later);
    demand_kept(&world, id, "updated it since").await;
}

#[tokio::test]
async fn one_that_the_provider_does_not_tell_of_is_kept() {
    let (world, id) = with_world().await;
    let fault = MetadataFault::Status(503);
    world.simulator.inject(id, fault, Times::ONCE);
    demand_kept(&world, id, "the provider could not be asked").await;
}

#[tokio::test]
async fn one_whose_object_is_gone_is_kept() {
    let (world, id) = with_world().await;
    std::fs::remove_file(world.path_of(&world.key_of(id))).unwrap();
    demand_kept(&world, id, "the object is gone from the store").await;
}

#[tokio::test]
async fn one_whose_object_is_altered_by_one_byte_is_kept() {
    let (world, id) = with_world().await;
    let mut object = world.object(id).unwrap();
    object[77_777] ^= 1;
    world.put_object(id, &object);
    demand_kept(&world, id, "other bytes than were archived").await;
}

#[tokio::test]
async fn one_whose_manifest_is_gone_is_kept() {
    let (world, id) = with_world().await;
    let manifest = format!("{}.manifest.json", world.key_of(id));
    std::fs::remove_file(world.path_of(&manifest)).unwrap();
    demand_kept(&world, id, "no manifest beside the object").await;
}

#[tokio::test]
async fn one_whose_manifest_has_another_fingerprint_is_kept() {
    let (world, id) = with_world().await;
    let known = "SELECT encode(sha256, 'hex') FROM archiver.recordings WHERE recording_id = $1";
    let known = world.text(known, id).await.unwrap();
    alter_manifest(&world, id, &known, &"0".repeat(64));
    demand_kept(&world, id, "about another object").await;
}

#[tokio::test]
async fn one_whose_manifest_is_about_another_recording_is_kept() {
    let (world, id) = with_world().await;
    let field = |id: Uuid| format!("\"recording_id\": \"{id}\"");
    alter_manifest(&world, id, &field(id), &field(Uuid::new_v4()));
    demand_kept(&world, id, "about another object").await;
}

fn alter_manifest(world: &World, id: Uuid, known: &str, other: &str) {
    let manifest = world.manifest(id).unwrap();
    assert!(manifest.contains(known), "{manifest}");
    let path = format!("{}.manifest.json", world.key_of(id));
    world.put_under(&path, manifest.replace(known, other).as_bytes());
}

#[tokio::test]
async fn one_that_the_store_does_not_give_is_kept() {
    let world = World::s3().await;
    let id = retirable(&world).await;
    let fault = StoreFault::Refuse(501, "NotImplemented");
    world.s3_server().inject(Call::Get, fault, 100);
    demand_kept(&world, id, "the store could not be asked").await;
}

#[tokio::test]
async fn refused_credentials_stop_the_run() {
    let world = World::s3().await;
    let (first, second) = (retirable(&world).await, retirable(&world).await);
    let all = ["retire", "--older-than", super::DAYS];
    let binary = super::enabled(&world).with("SIGNALWIRE_API_TOKEN", "wrong");
    let ended = binary.run(&all).await.demand_code(2);
    ended.demand_error(&["refuses the credentials"]);
    world
        .s3_server()
        .inject(Call::Get, StoreFault::Refuse(403, "AccessDenied"), 1);
    let ended = super::enabled(&world).run(&all).await.demand_code(2);
    ended.demand_error(&["403 AccessDenied"]);
    assert_eq!(deletions_asked(&world), 0);
    let audited = audit(&world, first).await.len() + audit(&world, second).await.len();
    assert_eq!(audited, 2, "the run stopped at the first one, twice");
}
