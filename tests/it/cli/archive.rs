//! `archive`: what it says and how it ends.

use std::fs;

use recording_archiver::simulator::{
    CostToken, MediaFault, MetadataFault, SimulatedRecording, Times,
};
use serde_json::{Value, json};

use super::{KIB, id, id_flags, offer, outcome, texts};
use crate::harness::binary::Binary;
use crate::harness::world::World;
use crate::seed::execute;

/// The contract's keys.
const KEYS: [&str; 10] = [
    "recording_id",
    "outcome",
    "object_url",
    "size_bytes",
    "sha256",
    "evidence",
    "cost_usd",
    "error_kind",
    "message",
    "seconds",
];

fn demand_keys(line: &Value) {
    let mut keys: Vec<&str> = line
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let mut contract = KEYS;
    keys.sort_unstable();
    contract.sort_unstable();
    assert_eq!(keys, contract, "{line}");
    assert!(
        line["seconds"].as_f64().is_some_and(|it| it >= 0.0),
        "{line}"
    );
}

#[tokio::test]
async fn each_line_has_the_keys_of_the_contract_and_the_second_run_fetches_nothing() {
    let world = World::local().await;
    let recording = SimulatedRecording {
        cost: CostToken::Json("0.0500".to_owned()),
        ..SimulatedRecording::new(id(1), 300 * KIB)
    };
    world.simulator.add(recording);
    let binary = Binary::of(&world);
    let id_text = id(1).to_string();
    let arguments = ["archive", "--id", &id_text, "--output", "jsonl"];

    let first = binary.run(&arguments).await.demand_code(0);
    let line = first.json_line();
    demand_keys(&line);
    let sha256 = hex::encode(world.simulator.media_sha256(id(1)).unwrap());
    let object_url = format!("file://{}", world.path_of(&world.key_of(id(1))).display());
    let mut expected = json!({
        "recording_id": id_text, "outcome": "archived", "object_url": object_url,
        "size_bytes": 300 * KIB, "sha256": sha256, "evidence": "read_back",
        "cost_usd": "0.0500", "error_kind": null, "message": null,
    });
    expected["seconds"] = line["seconds"].clone();
    assert_eq!(line, expected);
    assert_eq!(first.stderr, "", "what stdout says is not said again");
    world.demand_archived(id(1)).await;

    let asked = world.simulator.requests().len();
    let again = binary.run(&arguments).await.demand_code(0).json_line();
    expected["outcome"] = json!("already_archived");
    expected["seconds"] = again["seconds"].clone();
    assert_eq!(again, expected);
    assert_eq!(
        world.simulator.requests().len(),
        asked,
        "neither metadata nor media"
    );

    let text = binary
        .run(&["archive", "--id", &id_text])
        .await
        .demand_code(0);
    text.demand_output(&[&id_text, "already archived", "300", &object_url]);
}

#[tokio::test]
async fn the_exit_code_is_that_of_the_worst_line() {
    let world = World::local().await;
    offer(&world, [1, 2, 3], KIB);
    world
        .simulator
        .inject(id(2), MetadataFault::NotReady, Times::Always);
    world
        .simulator
        .inject(id(3), MediaFault::Reset, Times::Always);
    let binary = Binary::of(&world);
    let run = async |numbers: &[u128]| {
        let ids = texts(&numbers.iter().map(|it| id(*it)).collect::<Vec<_>>());
        let mut arguments = vec!["archive", "--output", "jsonl"];
        arguments.extend(id_flags(&ids));
        let ended = binary.run(&arguments).await;
        let mut lines = ended.json_lines();
        lines.iter().for_each(demand_keys);
        lines.sort_by_key(|line| line["recording_id"].to_string());
        (ended.code, lines)
    };

    let (code, lines) = run(&[1, 2]).await;
    assert_eq!(code, Some(75));
    assert_eq!(outcome(&lines[0]), ("archived", None));
    assert_eq!(outcome(&lines[1]), ("deferred", Some("not_ready")));
    assert!(lines[1]["message"].as_str().unwrap().contains("not ready"));
    for key in ["object_url", "size_bytes", "sha256", "evidence"] {
        assert!(lines[1][key].is_null(), "{}", lines[1]);
    }

    let (code, lines) = run(&[3]).await;
    assert_eq!(code, Some(75));
    assert_eq!(outcome(&lines[0]), ("retrying", Some("media_unavailable")));

    // The fourth is not at the provider: the other one that is not done yet does not hide it.
    let (code, lines) = run(&[1, 2, 4]).await;
    assert_eq!(code, Some(1));
    assert_eq!(outcome(&lines[0]), ("already_archived", None));
    assert_eq!(outcome(&lines[2]), ("failed", Some("not_found")));
}

#[tokio::test]
async fn several_ids_in_text_end_with_a_sum() {
    let world = World::local().await;
    let ids = texts(&offer(&world, [1, 2], KIB));
    let unknown = id(9).to_string();
    let mut arguments = vec!["archive", "--id", unknown.as_str()];
    arguments.extend(id_flags(&ids));
    let ended = Binary::of(&world).run(&arguments).await.demand_code(1);
    assert!(
        ended
            .stdout
            .ends_with("2 archived, 0 already archived, 1 failed, 0 not yet\n"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn one_that_failed_before_is_reported_and_tried_again_only_by_force() {
    let world = World::local().await;
    let binary = Binary::of(&world);
    let id_text = id(1).to_string();
    let arguments = ["archive", "--id", &id_text, "--output", "jsonl"];
    let first = binary.run(&arguments).await.demand_code(1).json_line();
    assert_eq!(outcome(&first), ("failed", Some("not_found")));

    offer(&world, [1], KIB);
    let asked = world.simulator.requests().len();
    let line = binary.run(&arguments).await.demand_code(1).json_line();
    demand_keys(&line);
    assert_eq!(outcome(&line), ("failed", Some("not_found")));
    let message = line["message"].as_str().unwrap();
    assert!(
        message.contains("--force") && message.starts_with(first["message"].as_str().unwrap()),
        "{message}"
    );
    assert_eq!(world.simulator.requests().len(), asked);

    let forced = ["archive", "--force", "--id", &id_text, "--output", "jsonl"];
    let line = binary.run(&forced).await.demand_code(0).json_line();
    assert_eq!(outcome(&line), ("archived", None));
    world.demand_archived(id(1)).await;
    assert_eq!(world.row(id(1)).await.attempts, 1, "counted anew");
}

#[tokio::test]
async fn force_keeps_an_equal_object_restores_a_missing_one_and_leaves_a_changed_one() {
    let world = World::local().await;
    offer(&world, [1], 64 * KIB);
    let binary = Binary::of(&world);
    let id_text = id(1).to_string();
    let forced = ["archive", "--force", "--id", &id_text, "--output", "jsonl"];
    binary.run(&forced).await.demand_code(0);
    let media_requests = || world.simulator.counts(id(1)).media_requests;
    let once = media_requests();

    let line = binary.run(&forced).await.demand_code(0).json_line();
    assert_eq!(outcome(&line), ("already_archived", None));
    assert_eq!(
        media_requests(),
        once,
        "an equal object is not fetched again"
    );

    fs::remove_file(world.path_of(&world.key_of(id(1)))).unwrap();
    let plain = binary.run(&["archive", "--id", &id_text]).await;
    plain.demand_code(0).demand_output(&["already archived"]);
    assert_eq!(world.object(id(1)), None, "without force nobody looks");
    let line = binary.run(&forced).await.demand_code(0).json_line();
    assert_eq!(outcome(&line), ("archived", None));
    world.demand_archived(id(1)).await;

    let fetched = media_requests();
    let mut changed = world.object(id(1)).unwrap();
    changed[100] ^= 1;
    world.put_object(id(1), &changed);
    let line = binary.run(&forced).await.demand_code(1).json_line();
    demand_keys(&line);
    assert_eq!(outcome(&line), ("failed", Some("object_conflict")));
    assert_eq!(world.object(id(1)), Some(changed), "left as it is");
    assert_eq!(media_requests(), fetched);
    assert_eq!(world.row(id(1)).await.state, "archived");
}

#[tokio::test]
async fn ids_come_from_a_pipe_with_comments_and_twice_the_same() {
    let world = World::local().await;
    offer(&world, [1, 2], KIB);
    let input = format!(
        "# all of March\r\n{}\r\n\r\n{}  # the long one\n{}\n",
        id(1),
        id(2),
        id(1).to_string().to_uppercase()
    );
    let ended = Binary::of(&world)
        .run_with_input(&["archive", "--ids-file", "-", "--output", "jsonl"], &input)
        .await
        .demand_code(0);
    assert_eq!(ended.json_lines().len(), 2, "{ended:?}");
    for number in [1, 2] {
        world.demand_archived(id(number)).await;
        assert_eq!(world.attempts(id(number)).await.len(), 1);
    }
}

#[tokio::test]
async fn a_dry_run_writes_nothing_anywhere() {
    let world = World::local().await;
    offer(&world, [1, 2, 5], KIB);
    world
        .simulator
        .inject(id(2), MetadataFault::NotReady, Times::Always);
    let (ready, early, gone, failed) = (
        id(1).to_string(),
        id(2).to_string(),
        id(3).to_string(),
        id(4).to_string(),
    );
    execute(
        &world.pool,
        &format!(
            "INSERT INTO archiver.recordings (recording_id, state, error_kind, error_message, finalized_at)
             VALUES ('{failed}', 'failed', 'not_found', 'nowhere', now())"
        ),
    )
    .await;
    let rows = "SELECT (SELECT count(*) FROM archiver.recordings) * 1000
                     + (SELECT count(*) FROM archiver.attempts) * 100
                     + (SELECT count(*) FROM archiver.projects)";
    let before = world.number(rows).await;
    let ids = [&ready, &early, &gone, &failed].map(Clone::clone);
    let mut arguments = vec!["archive", "--dry-run"];
    arguments.extend(id_flags(&ids));
    let binary = Binary::of(&world);
    let ended = binary.run(&arguments).await.demand_code(0);
    for (id, plan) in [
        (&ready, "not queued   would archive 1.0 KiB to file://"),
        (&early, "not queued   would be deferred: not ready yet"),
        (&gone, "not queued   would meet not_found: "),
        (
            &failed,
            "failed       failed before: --force would try again",
        ),
    ] {
        let line = format!("{id}  {plan}");
        assert!(ended.stdout.contains(&line), "{line} is missing: {ended:?}");
    }
    assert_eq!(world.number(rows).await, before);
    assert_eq!(world.simulator.counts(id(1)).media_requests, 0);
    world.demand_nothing_stored(id(1)).await;

    // Nor does it make a home for the database that is not there yet, or for the objects.
    let homeless = binary
        .without("DATABASE_URL")
        .without("RECORDING_ARCHIVER_STORAGE_URL");
    let ended = homeless.run(&arguments).await.demand_code(0);
    ended.demand_output(&["would archive 1.0 KiB"]);
    let left: Vec<_> = fs::read_dir(homeless.directory()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}
