//! Without a database of its own to name: the private Postgres, and the demo on top of it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::{KIB, id, offer};
use crate::harness::binary::Binary;
use crate::harness::world::World;

/// As root, the server runs as somebody else: where he may not enter, it would go to /var/lib, and
/// stay there after the test.
pub(super) fn with_data_dir(binary: Binary) -> Binary {
    let data_dir = binary.directory().join("recording-archive");
    fs::create_dir(&data_dir).unwrap();
    fs::set_permissions(&data_dir, Permissions::from_mode(0o755)).unwrap();
    binary
}

#[tokio::test]
async fn without_a_database_url_a_private_postgres_serves() {
    let world = World::local().await;
    offer(&world, [1], KIB);
    let binary = with_data_dir(Binary::of(&world))
        .without("DATABASE_URL")
        .without("RECORDING_ARCHIVER_STORAGE_URL");
    let one = id(1).to_string();
    let arguments = ["archive", "--id", &one, "--output", "jsonl"];
    let line = binary.run(&arguments).await.demand_code(0).json_line();
    let home = binary.directory().join("recording-archive");
    let object_url = line["object_url"].as_str().unwrap();
    let objects = home.canonicalize().unwrap().join("objects");
    let key = object_url
        .strip_prefix(&format!("file://{}/", objects.display()))
        .unwrap_or_else(|| panic!("{object_url}"));
    assert_eq!(fs::read(objects.join(key)).unwrap().len(), 1024);
    assert!(home.join("postgres").exists());

    // It ended with the process, and the next one finds everything again.
    let again = binary.run(&arguments).await.demand_code(0).json_line();
    assert_eq!(again["outcome"], "already_archived");
    let dry_run = ["archive", "--dry-run", "--id", &one];
    let planned = binary.run(&dry_run).await.demand_code(0);
    planned.demand_output(&["already archived"]);
}

#[tokio::test]
async fn the_demo_can_be_run_twice_and_the_meeting_is_over_by_then() {
    let binary = with_data_dir(Binary::unconfigured())
        // Nothing of the host's configuration gets in.
        .with("SIGNALWIRE_SPACE", "example")
        .with("DATABASE_URL", "postgres://nobody@127.0.0.1:9/nothing");
    let first = binary.run(&["demo"]).await.demand_code(0);
    let meeting = "a meeting that is still being recorded";
    let row_of = |said: &str, story: &str| {
        let (_, table) = said.split_once("In the end\n").unwrap();
        let row = table.lines().find(|line| line.contains(story));
        row.unwrap_or_else(|| panic!("{story}: {said}")).to_owned()
    };
    for (story, words) in [
        ("an all-hands", ["  1  ", "archived, read_back"]),
        (
            "a cost of 1e-7 dollars",
            ["0.0000001", "archived, read_back"],
        ),
        ("zero bytes", [" 0  ", "archived, read_back"]),
        (
            "cut off, gone on with where it broke",
            ["  1  ", "archived, read_back"],
        ),
        (
            "a link that dies too early",
            ["  2  ", "archived, read_back"],
        ),
        (
            "an error page in place of the video",
            ["  2  ", "archived, read_back"],
        ),
        (meeting, ["  1  ", "pending, not_ready"]),
        ("deleted at the provider", ["  1  ", "failed, not_found"]),
    ] {
        let row = row_of(&first.stdout, story);
        for word in words {
            assert!(row.contains(word), "{word}: {row}");
        }
    }
    first.clone().demand_output(&[
        "Simulated SignalWire  http://127.0.0.1:",
        "21 queued, 0 known from an earlier run",
        "What it cost (recording-archiver report costs)",
        "2026-09",
        "Where to look",
    ]);
    assert_eq!(first.stderr, "");

    let second = binary.run(&["demo"]).await.demand_code(0);
    second
        .clone()
        .demand_output(&["0 queued, 21 known from an earlier run"]);
    let row = row_of(&second.stdout, meeting);
    assert!(
        row.contains("archived") && row.contains("read_back"),
        "{row}"
    );
    // 20 files, each with its manifest, the store's marker file, and nothing half-done.
    let objects = binary.directory().join("recording-archive/objects");
    assert_eq!(crate::harness::world::files_below(&objects).len(), 41);
}
