//! `enqueue`, `retry`, `status`, `migrate`, and the chores by hand.

use recording_archiver::simulator::{CostToken, MediaFault, SimulatedRecording, Times};
use serde_json::Value;

use super::{KIB, id, id_flags, offer, texts};
use crate::harness::binary::Binary;
use crate::harness::eventually;
use crate::harness::postgres::database;
use crate::harness::s3::Call;
use crate::harness::world::{MIB, World};

#[tokio::test]
async fn enqueue_queues_each_once_and_waits_for_none() {
    let world = World::local().await;
    let binary = Binary::of(&world)
        .without("SIGNALWIRE_SPACE")
        .without("SIGNALWIRE_API_TOKEN")
        .without("SIGNALWIRE_PROJECT_ID");
    let ids = texts(&[id(1), id(2), id(1)]);
    let mut arguments = vec!["enqueue"];
    arguments.extend(id_flags(&ids));
    let ended = binary.run(&arguments).await.demand_code(0);
    assert_eq!(ended.stdout, "queued 2, known already 0\n");
    let input = format!("{}\n{}\n", id(2), id(3));
    let ended = binary
        .run_with_input(&["enqueue", "--ids-file", "-"], &input)
        .await
        .demand_code(0);
    assert_eq!(ended.stdout, "queued 1, known already 1\n");
    for number in 1..=3 {
        assert_eq!(world.row(id(number)).await.state, "pending");
        assert_eq!(world.attempts(id(number)).await, []);
    }
}

#[tokio::test]
async fn retry_takes_failed_ones_by_id_by_kind_or_all() {
    let world = World::local().await;
    let binary = Binary::of(&world);
    offer(&world, [1], KIB);
    world.simulator.inject(
        id(1),
        MediaFault::Redirect("http://10.0.0.1/".to_owned()),
        Times::Always,
    );
    let strict =
        Binary::of(&world).with("RECORDING_ARCHIVER_SIGNALWIRE_ALLOW_PRIVATE_MEDIA", "false");
    let ids = texts(&[id(1), id(2), id(3)]);
    let mut arguments = vec!["archive"];
    arguments.extend(id_flags(&ids));
    strict.run(&arguments).await.demand_code(1);
    assert_eq!(
        world.row(id(1)).await.error_kind.as_deref(),
        Some("link_refused")
    );
    let failed = "SELECT count(*) FROM archiver.recordings WHERE state = 'failed'";
    assert_eq!(world.number(failed).await, 3);

    let (one, unknown) = (id(2).to_string(), id(9).to_string());
    let ended = binary.run(&["retry", "--id", &one, "--id", &unknown]).await;
    ended
        .demand_code(2)
        .demand_output(&["1 recording pending again\n"])
        .demand_error(&["not failed, so left as they are", &unknown]);
    let row = world.row(id(2)).await;
    assert_eq!((row.state.as_str(), row.error_kind), ("pending", None));

    let ended = binary
        .run(&["retry", "--failed", "--kind", "link_refused"])
        .await;
    ended
        .demand_code(0)
        .demand_output(&["1 recording pending again\n"]);
    assert_eq!(world.row(id(1)).await.state, "pending");
    assert_eq!(world.row(id(3)).await.state, "failed");

    let ended = binary.run(&["retry", "--failed"]).await;
    ended
        .demand_code(0)
        .demand_output(&["1 recording pending again\n"]);
    assert_eq!(world.number(failed).await, 0);
}

#[tokio::test]
async fn status_shows_the_queue_or_one_recording() {
    let world = World::local().await;
    offer(&world, [1], KIB);
    let binary = Binary::of(&world);
    let (one, unknown) = (id(1).to_string(), id(2).to_string());
    binary.run(&["archive", "--id", &one]).await.demand_code(0);

    binary
        .run(&["status"])
        .await
        .demand_code(0)
        .demand_output(&["archived           1"]);
    let overview = binary.run(&["status", "--output", "json"]).await;
    let overview: Value = overview.demand_code(0).json_line();
    assert_eq!(overview["states"]["archived"], 1);

    let text = binary.run(&["status", "--id", &one]).await.demand_code(0);
    text.demand_output(&[&one, "archived", "0.05"]);
    let details = binary
        .run(&["status", "--id", &one, "--output", "json"])
        .await;
    let details = details.demand_code(0).json_line();
    assert_eq!(details["state"], "archived", "{details}");
    assert_eq!(details["attempts"][0]["outcome"], "archived", "{details}");

    let ended = binary
        .run(&["status", "--id", &unknown])
        .await
        .demand_code(1);
    assert_eq!(ended.stdout, "");
    ended.demand_error(&[&unknown, "is not in the queue"]);
}

#[tokio::test]
async fn migrate_may_run_twice_and_beside_itself_and_grants_to_a_role_that_exists() {
    let empty = database().await;
    let binary = Binary::unconfigured().with("DATABASE_URL", empty.url());
    let (one, other) = tokio::join!(binary.run(&["migrate"]), binary.run(&["migrate"]));
    for ended in [one, other, binary.run(&["migrate"]).await] {
        assert_eq!(ended.demand_code(0).stdout, "the schema is up to date\n");
    }
    binary
        .run(&["migrate", "--grant-finance", "nobody_here"])
        .await
        .demand_code(2)
        .demand_error(&["nobody_here", "CREATE ROLE"]);
    let me: String = sqlx::query_scalar("SELECT current_user::text")
        .fetch_one(&empty.pool())
        .await
        .unwrap();
    let granted = binary.run(&["migrate", "--grant-finance", &me]).await;
    granted
        .demand_code(0)
        .demand_output(&["may read the views of schema finance"]);
}

#[tokio::test]
async fn costs_are_reported_and_asked_for_again() {
    let world = World::local().await;
    let mut recording = SimulatedRecording::new(id(1), KIB);
    recording.cost = CostToken::Json("0.0500".to_owned());
    world.simulator.add(recording);
    let binary = Binary::of(&world);
    let one = id(1).to_string();
    binary.run(&["archive", "--id", &one]).await.demand_code(0);
    let by_recording = ["report", "costs", "--by", "recording", "--output", "csv"];
    let csv = binary.run(&by_recording).await.demand_code(0).stdout;
    assert!(
        csv.lines().count() == 2 && csv.contains(",0.0500,"),
        "{csv}"
    );

    world
        .simulator
        .update(id(1), |it| it.cost = CostToken::Json("0.0625".to_owned()));
    let repriced = binary.run(&["reprice"]).await.demand_code(0);
    repriced.demand_output(&["asked for 1 costs"]);
    let csv = binary.run(&by_recording).await.demand_code(0).stdout;
    assert!(csv.contains(",0.0625,"), "{csv}");
    let month = ["report", "costs", "--from", "2022-01", "--to", "2022-01"];
    binary
        .run(&month)
        .await
        .demand_code(0)
        .demand_output(&["2022-01"]);
    let reversed = ["report", "costs", "--from", "2022-02", "--to", "2022-01"];
    binary.run(&reversed).await.demand_code(2);

    let refused = Binary::of(&world).with("SIGNALWIRE_API_TOKEN", "PTwrong");
    refused.run(&["reprice"]).await.demand_code(2);
}

#[tokio::test]
async fn sweep_counts_or_aborts_what_a_killed_process_left() {
    let world = World::s3().await;
    let binary = Binary::of(&world).with("RECORDING_ARCHIVER_WORKER_LEASE", "1s");
    let recording = offer(&world, [1], 11 * MIB)[0];
    world
        .simulator
        .inject(recording, MediaFault::StallAfter(6 * MIB), Times::ONCE);
    let running = binary.start(&["archive", "--id", &recording.to_string()]);
    eventually("the first part is stored", || async {
        (world.s3_server().count(Call::PutPart) > 0).then_some(())
    })
    .await;
    running.killed().await;
    let left = world.s3_server().unfinished_uploads();
    assert!(!left.is_empty());

    let dry_run = ["sweep", "--dry-run"];
    eventually("its lease has run out", || async {
        let ended = binary.run(&dry_run).await.demand_code(0);
        ended
            .stdout
            .ends_with("orphaned uploads: 1\n")
            .then_some(())
    })
    .await;
    assert_eq!(world.s3_server().unfinished_uploads(), left, "only counted");
    let swept = binary.run(&["sweep"]).await.demand_code(0);
    assert_eq!(swept.stdout, "orphaned uploads aborted: 1, left: 0\n");
    world.demand_nothing_unfinished().await;
}
