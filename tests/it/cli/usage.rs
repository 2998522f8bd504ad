//! Help, manual and completions; wrong usage and wrong configuration end with 2 before anything
//! is started.

use std::fs;
use std::process::Stdio;

use insta::{assert_snapshot, with_settings};
use tokio::io::AsyncReadExt as _;

use super::{id, offer};
use crate::harness::binary::Binary;
use crate::harness::world::World;

const COMMANDS: [&str; 23] = [
    "run",
    "archive",
    "enqueue",
    "discover",
    "reconcile",
    "rebuild",
    "status",
    "retry",
    "report costs",
    "report changes",
    "report focus",
    "report reconcile",
    "reprice",
    "verify",
    "restore",
    "sweep",
    "retire",
    "doctor",
    "health",
    "migrate",
    "demo",
    "simulate",
    "completions",
];

#[tokio::test]
async fn the_help_of_every_command_is_pinned() {
    let binary = Binary::unconfigured();
    let top = binary.run(&["--help"]).await.demand_code(0);
    for command in COMMANDS.iter().filter(|it| !it.contains(' ')) {
        assert!(top.stdout.contains(&format!("\n  {command} ")), "{top:?}");
    }
    pin("help", &top.stdout);
    for command in COMMANDS {
        let mut words: Vec<&str> = command.split(' ').collect();
        words.push("--help");
        let help = binary.run(&words).await.demand_code(0);
        pin(&format!("help-{}", command.replace(' ', "-")), &help.stdout);
    }
}

fn pin(name: &str, text: &str) {
    with_settings!({
        snapshot_path => "../snapshots",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, { assert_snapshot!(name, text) });
}

#[tokio::test]
async fn version_manual_and_completions_are_printed() {
    let binary = Binary::unconfigured();
    let version = binary.run(&["--version"]).await.demand_code(0).stdout;
    assert_eq!(
        version,
        format!("recording-archiver {}\n", env!("CARGO_PKG_VERSION"))
    );
    binary.run(&["man"]).await.demand_code(0).demand_output(&[
        ".TH recording-archiver 1",
        ".SH SYNOPSIS",
        ".SH \"COMMAND ARCHIVE\"",
        "\\-\\-ids\\-file",
        "Exit codes",
    ]);
    for (shell, part) in [
        ("bash", "complete -F _recording__archiver"),
        ("zsh", "#compdef recording-archiver"),
        ("fish", "complete -c recording-archiver"),
    ] {
        let script = binary.run(&["completions", shell]).await.demand_code(0);
        script.demand_output(&[part, "ids-file"]);
    }
}

#[tokio::test]
async fn wrong_flags_are_wrong_usage() {
    let binary = Binary::unconfigured();
    for arguments in [
        &[][..],
        &["archive"],
        &["enqueue"],
        &["retry"],
        &["explode"],
        &["archive", "--id", "c22d24f6"],
        &[
            "archive",
            "--id",
            "c22d24f6-5a47-4597-9a23-c7d01e696b92",
            "--wait",
            "long",
        ],
        &[
            "archive",
            "--id",
            "c22d24f6-5a47-4597-9a23-c7d01e696b92",
            "--output",
            "xml",
        ],
        &["verify", "--sample", "0"],
        &["verify", "--sample", "101%"],
        &[
            "verify",
            "--sample",
            "1",
            "--id",
            "c22d24f6-5a47-4597-9a23-c7d01e696b92",
        ],
        &["retry", "--failed", "--kind", "explosion"],
        &["retry", "--kind", "not_found"],
        &["status", "--id", "nonsense"],
        &["report", "costs", "--from", "2026-13"],
        &["migrate", "--grant-finance"],
        &["retire"],
        &["retire", "--older-than", "90"],
        &["retire", "--older-than", "90d", "--limit", "0"],
    ] {
        let ended = binary.run(arguments).await.demand_code(2);
        assert!(
            !ended.stderr.is_empty() && ended.stdout.is_empty(),
            "{ended:?}"
        );
    }
}

#[tokio::test]
async fn bad_lines_of_an_ids_file_are_named_before_anything_starts() {
    let world = World::local().await;
    offer(&world, [1], 1);
    let binary = Binary::of(&world);
    let ids = format!("# March\n{}\nnonsense\n\n  {}x\n", id(1), id(2));
    for command in ["archive", "enqueue"] {
        fs::write(binary.directory().join("ids"), &ids).unwrap();
        binary
            .run(&[command, "--ids-file", "ids"])
            .await
            .demand_code(2)
            .demand_error(&["ids holds 2 lines", "line 3: nonsense", "line 5: 1000"]);
        binary
            .run_with_input(&[command, "--ids-file", "-"], "# none\n")
            .await
            .demand_code(2)
            .demand_error(&["no recording IDs were given"]);
        binary
            .run(&[command, "--ids-file", "elsewhere"])
            .await
            .demand_code(2)
            .demand_error(&["read elsewhere", "No such file"]);
    }
    let rows = "SELECT count(*) FROM archiver.recordings";
    assert_eq!(world.number(rows).await, 0);
    assert_eq!(world.simulator.requests(), []);
}

#[tokio::test]
async fn an_unknown_key_is_named_with_its_place() {
    let binary = Binary::unconfigured();
    let file = binary.directory().join("config.toml");
    fs::write(file, "[worker]\nconcurrency = 2\n  leese = \"2m\"\n").unwrap();
    binary.run(&["status"]).await.demand_code(2).demand_error(&[
        "config.toml",
        "unknown key `worker.leese`",
        "3:3",
    ]);
    binary
        .run(&["status", "--config", "nowhere.toml"])
        .await
        .demand_code(2)
        .demand_error(&["nowhere.toml"]);
}

#[tokio::test]
async fn missing_settings_are_listed_with_all_ways_to_set_them() {
    let binary = Binary::unconfigured();
    let id = id(1).to_string();
    for arguments in [&["run"][..], &["archive", "--id", &id], &["reprice"]] {
        binary.run(arguments).await.demand_code(2).demand_error(&[
            "signalwire.space",
            "SIGNALWIRE_SPACE",
            "SIGNALWIRE_PROJECT_ID",
            "RECORDING_ARCHIVER_SIGNALWIRE_API_TOKEN",
            "SIGNALWIRE_API_TOKEN_FILE",
            "signalwire_api_token",
        ]);
    }
    let binary = binary
        .with("SIGNALWIRE_SPACE", "example")
        .with(
            "SIGNALWIRE_PROJECT_ID",
            "5a8b1c2d-0000-4000-8000-000000000001",
        )
        .with("SIGNALWIRE_API_TOKEN", "PTnone")
        .with("RECORDING_ARCHIVER_STORAGE_URL", "s3://bucket");
    for arguments in [&["run"][..], &["archive", "--id", &id], &["sweep"]] {
        binary.run(arguments).await.demand_code(2).demand_error(&[
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_REGION",
        ]);
    }
    // Nothing was begun for any of them.
    assert!(!binary.directory().join("recording-archive").exists());
}

#[tokio::test]
async fn a_reader_that_has_enough_is_no_error() {
    let world = World::local().await;
    let binary = Binary::of(&world);
    for arguments in [
        &["man"][..],
        &["completions", "zsh"],
        &["status"],
        &["doctor"],
        &["--help"],
    ] {
        let mut child = binary
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let mut stderr = String::new();
        let mut pipe = child.stderr.take().unwrap();
        pipe.read_to_string(&mut stderr).await.unwrap();
        let status = child.wait().await.unwrap();
        assert_eq!(
            (status.code(), stderr.as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
}
