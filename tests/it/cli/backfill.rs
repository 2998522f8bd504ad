//! `archive` with a long list: beside a daemon, cut off, gone on with, and done already.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;
use recording_archiver::simulator::{MetadataFault, RetryAfter, Times};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{KIB, id, offer, outcome, texts};
use crate::harness::binary::{Binary, Ended};
use crate::harness::eventually;
use crate::harness::s3::{Call, StoreFault};
use crate::harness::world::World;
use crate::seed::execute;

/// A file with these IDs, for `--ids-file`.
fn list(binary: &Binary, ids: &[Uuid]) -> &'static str {
    let path = binary.directory().join("ids.txt");
    std::fs::write(path, texts(ids).join("\n")).unwrap();
    "ids.txt"
}

/// How many lines have which outcome.
fn outcomes(ended: &Ended) -> BTreeMap<String, usize> {
    let mut outcomes = BTreeMap::new();
    for line in ended.json_lines() {
        *outcomes.entry(outcome(&line).0.to_owned()).or_default() += 1;
    }
    outcomes
}

async fn hold_elsewhere(world: &World, id: Uuid) {
    let held = format!(
        "INSERT INTO archiver.recordings (recording_id, state, lease_token, lease_expires_at, leased_by)
         VALUES ('{id}', 'in_progress', gen_random_uuid(), now() + interval '1 hour', 'other:1')"
    );
    execute(&world.pool, &held).await;
}

/// As if somebody else had done all that is not archived.
async fn archive_elsewhere(world: &World) {
    let archived = "
        UPDATE archiver.recordings
           SET state = 'archived', lease_token = NULL, lease_expires_at = NULL, leased_by = NULL,
               object_url = 'file:///there', object_key = 'there', size_bytes = 0,
               sha256 = sha256(''), crc64nvme = 'AAAAAAAAAAA=', evidence = 'read_back',
               archived_at = now(), finalized_at = now()
         WHERE state <> 'archived'";
    execute(&world.pool, archived).await;
}

#[tokio::test]
async fn one_that_others_hold_takes_no_slot_from_those_behind_it() {
    let world = World::local().await;
    offer(&world, [2, 3], KIB);
    hold_elsewhere(&world, id(1)).await;
    let binary = Binary::of(&world).with("RECORDING_ARCHIVER_WORKER_CONCURRENCY", "1");
    let ids = list(&binary, &[id(1), id(2), id(3)]);
    let running = binary.start(&["archive", "--ids-file", ids, "--wait", "1h"]);
    for free in [id(2), id(3)] {
        running.demand_output(&format!("{free}  archived")).await;
    }
    archive_elsewhere(&world).await;
    let ended = running.ended().await.demand_code(0);
    ended.demand_output(&["2 archived, 1 already archived, 0 failed, 0 not yet\n"]);
}

#[tokio::test]
async fn what_others_did_until_the_time_was_up_is_told() {
    let world = World::local().await;
    offer(&world, [1], KIB);
    let late = MetadataFault::Throttled(RetryAfter::Seconds(600));
    world.simulator.inject(id(1), late, Times::Always);
    let binary = Binary::of(&world);
    let name = id(1).to_string();
    let arguments = [
        "archive", "--id", &name, "--wait", "5s", "--output", "jsonl",
    ];
    let running = binary.start(&arguments);
    eventually("it waits", || async {
        let attempts = "SELECT count(*) FROM archiver.attempts WHERE outcome IS NOT NULL";
        (world.number(attempts).await > 0).then_some(())
    })
    .await;
    archive_elsewhere(&world).await;
    let line = running.ended().await.demand_code(0).json_line();
    assert_eq!(outcome(&line), ("already_archived", None));
}

#[tokio::test]
async fn a_daemon_beside_it_does_not_get_in_the_way() {
    let world = World::local().await;
    let ids = offer(&world, 1..=120, KIB);
    let binary = Binary::of(&world);
    let daemon = binary.start(&["run"]);
    daemon.demand_log("ready").await;
    let file = list(&binary, &ids);
    let arguments = [
        "archive",
        "--ids-file",
        file,
        "--wait",
        "1m",
        "--output",
        "jsonl",
    ];
    let ended = binary.run(&arguments).await.demand_code(0);
    let outcomes = outcomes(&ended);
    let (mine, others) = (outcomes.get("archived"), outcomes.get("already_archived"));
    let done = mine.unwrap_or(&0) + others.unwrap_or(&0);
    assert_eq!(done, 120, "{outcomes:?}");
    for id in ids {
        assert_eq!(world.attempts(id).await.len(), 1, "no work was done twice");
    }
    daemon.signal(Signal::SIGTERM);
    daemon.ended().await.demand_code(0);
}

#[tokio::test]
async fn ctrl_c_ends_it_in_order_and_the_next_run_goes_on_where_it_was() {
    let world = World::s3().await;
    let ids = offer(&world, 1..=50, KIB);
    let binary = Binary::of(&world).with("RECORDING_ARCHIVER_WORKER_CONCURRENCY", "2");
    let first = [ids[0].to_string(), ids[1].to_string()];
    let arguments = ["archive", "--id", &first[0], "--id", &first[1]];
    binary.run(&arguments).await.demand_code(0);
    let hold = StoreFault::HoldUntil(CancellationToken::new());
    world.s3_server().inject(Call::Put, hold, 1000);
    let file = list(&binary, &ids);
    for output in ["text", "jsonl"] {
        let running = binary.start(&["archive", "--ids-file", file, "--output", output]);
        running.demand_output(&first[1]).await;
        eventually("two are in the middle", || async {
            let running = "SELECT count(*) FROM archiver.recordings WHERE state = 'in_progress'";
            (world.number(running).await == 2).then_some(())
        })
        .await;
        running.signal(Signal::SIGINT);
        let ended = running.ended().await.demand_code(75);
        let sum = "       2  deferred: cancelled
      46  not begun
0 archived, 2 already archived, 0 failed, 48 not yet
";
        if output == "text" {
            assert!(ended.stdout.ends_with(sum), "{ended:?}");
            assert_eq!(ended.stdout.lines().count(), 4 + 3, "{ended:?}");
        } else {
            assert!(ended.stderr.ends_with(sum), "{ended:?}");
            assert!(ended.stderr.contains("can be gone on with"), "{ended:?}");
            let expected = [
                ("already_archived".to_owned(), 2),
                ("deferred".to_owned(), 48),
            ];
            assert_eq!(outcomes(&ended), expected.into());
        }
        let burnt = "SELECT count(*) FROM archiver.recordings
                      WHERE state <> 'archived' AND (attempts > 0 OR state <> 'pending')";
        assert_eq!(world.number(burnt).await, 0);
    }

    world.s3_server().clear_faults();
    let ended = binary.run(&["archive", "--ids-file", file]).await;
    let ended = ended.demand_code(0);
    ended.demand_output(&["48 archived, 2 already archived, 0 failed, 0 not yet\n"]);
}

#[tokio::test]
async fn those_that_are_done_are_looked_up_many_at_once() {
    let world = World::local().await;
    let ids: Vec<Uuid> = (1..=3000).map(id).collect();
    let binary = Binary::of(&world);
    let file = list(&binary, &ids);
    binary
        .run(&["enqueue", "--ids-file", file])
        .await
        .demand_code(0);
    archive_elsewhere(&world).await;
    let transactions = "SELECT xact_commit FROM pg_stat_database
                         WHERE datname = current_database()";
    let before = world.number(transactions).await;
    let arguments = ["archive", "--ids-file", file, "--output", "jsonl"];
    let ended = binary.run(&arguments).await.demand_code(0);
    assert_eq!(
        outcomes(&ended),
        [("already_archived".to_owned(), 3000)].into()
    );
    let used = world.number(transactions).await - before;
    assert!(used < 300, "{used}");
    assert_eq!(world.simulator.requests().len(), 0);
}

#[tokio::test]
async fn every_bad_line_is_named_before_anything_begins() {
    let world = World::local().await;
    let binary = Binary::of(&world);
    let mut lines: Vec<String> = (1..=40_000).map(|number| id(number).to_string()).collect();
    for bad in [7, 8, 39_999] {
        lines[bad - 1] = "no ID".to_owned();
    }
    let bytes = [lines.join("\n").as_bytes(), b"\n\xff\xfe\n"].concat();
    std::fs::write(binary.directory().join("ids.txt"), bytes).unwrap();
    let ended = binary.run(&["archive", "--ids-file", "ids.txt"]).await;
    ended.demand_code(2).demand_error(&[
        "ids.txt holds 4 lines that are no recording IDs",
        "line 7: no ID",
        "line 8: no ID",
        "line 39999: no ID",
        "line 40001: ",
    ]);
    let rows = world
        .number("SELECT count(*) FROM archiver.recordings")
        .await;
    assert_eq!(rows, 0);
}
