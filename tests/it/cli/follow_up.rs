//! The demo's output, followed by a person with 80 columns: its table fits, its commands work.

use std::fs;

use super::alone::with_data_dir;
use crate::harness::binary::Binary;

/// The commands after `later` in the demo's output.
fn printed_commands(stdout: &str) -> Vec<String> {
    let (_, later) = stdout.split_once("  later     ").unwrap();
    let lines = later.lines().map(|line| line.trim().to_owned());
    lines.take(2).collect()
}

async fn demand_works(binary: &Binary, command: &str, part: &str) {
    let output = binary.shell(command).output().await.unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{command}: {output:?}");
    assert!(stdout.contains(part), "{command}: {stdout}");
}

#[tokio::test]
async fn demo_output_fits_and_its_commands_work_as_printed() {
    // A file that is not the demo's business, and a database that is not the demo's.
    let binary = with_data_dir(Binary::unconfigured());
    let config = binary.directory().join("config.toml");
    fs::write(
        &config,
        "[database]\nurl = \"postgres://nobody@127.0.0.1:9/no\"\n",
    )
    .unwrap();
    let demo = binary.run(&["demo"]).await.demand_code(0);
    let (_, costs) = demo.stdout.split_once("What it cost").unwrap();
    let (costs, _) = costs.split_once("Where to look").unwrap();
    for line in costs.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }

    let commands = printed_commands(&demo.stdout);
    demand_works(&binary, &commands[0], "archived").await;
    demand_works(&binary, &commands[1], "total").await;

    // Without that configuration the short form does.
    fs::remove_file(config).unwrap();
    let demo = binary.run(&["demo"]).await.demand_code(0);
    let commands = printed_commands(&demo.stdout);
    assert!(
        commands[0].ends_with("recording-archiver status"),
        "{commands:?}"
    );
    assert!(!commands[0].contains("env "), "{commands:?}");
    demand_works(&binary, &commands[0], "archived").await;

    let elsewhere = binary.directory().join("else where");
    fs::rename(binary.directory().join("recording-archive"), &elsewhere).unwrap();
    let demo = binary
        .run(&["demo", "--data-dir", "else where"])
        .await
        .demand_code(0);
    let commands = printed_commands(&demo.stdout);
    assert!(
        commands[0].starts_with("RECORDING_ARCHIVER_DATA_DIR='"),
        "{commands:?}"
    );
    demand_works(&binary, &commands[0], "archived").await;
}
