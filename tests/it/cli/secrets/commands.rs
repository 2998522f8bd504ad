//! Every command there is, at its work, and all that it leaves behind.

use std::collections::BTreeSet;
use std::fs;

use nix::sys::signal::Signal;

use super::Confidential;
use crate::cli::{get_as, id};
use crate::harness::binary::{Binary, Running};
use crate::harness::secrets::demand_no_secret;

/// Every command but `run` without `--once`, `simulate` and `demo`, with what it needs to have some
/// work, and in each of its forms of output. In an order in which one leaves work for the next.
pub(super) const COMMANDS: &[&str] = &[
    "migrate",
    "enqueue --ids-file ids",
    "doctor",
    "discover --dry-run",
    "discover",
    "archive --dry-run --ids-file ids",
    "archive --ids-file ids",
    "archive --ids-file ids --output jsonl",
    "run --once",
    "retry --failed",
    "reprice",
    "sweep --dry-run",
    "sweep",
    "status",
    "status --output json",
    "status --id 10000000-0000-4000-8000-000000000001",
    "status --id 10000000-0000-4000-8000-000000000003 --output json",
    "report costs",
    "report costs --by recording --output json",
    "report focus",
    "report changes --month 2022-01 --output csv",
    "report reconcile --invoice invoice.csv",
    "report reconcile --invoice invoice.csv --output json",
    "reconcile",
    "reconcile --output json",
    "reconcile --fix",
    "verify",
    "verify --repair",
    "restore --id 10000000-0000-4000-8000-000000000001 --to back.mp4",
    "restore --ids-file ids --to-dir back",
    "retire --older-than 1s --dry-run",
    "rebuild",
    "health",
    "completions bash",
    "man",
];

/// Those that have a test of their own for it.
const SERVERS: [&str; 2] = ["simulate", "demo"];

/// The commands that a help lists.
async fn listed(binary: &Binary, words: &[&str]) -> Vec<String> {
    let arguments = [words, &["--help"]].concat();
    let help = binary.run(&arguments).await.demand_code(0).stdout;
    let Some((_, list)) = help.split_once("Commands:\n") else {
        return Vec::new();
    };
    let names = list.lines().take_while(|line| !line.is_empty());
    let names = names.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.map(|line| line.split_whitespace().next().unwrap());
    let names = names.filter(|name| *name != "help");
    names.map(str::to_owned).collect()
}

#[tokio::test]
async fn no_command_is_left_out_here() {
    let binary = Binary::unconfigured();
    let mut there = BTreeSet::new();
    for name in listed(&binary, &[]).await {
        let below = listed(&binary, &[&name]).await;
        if below.is_empty() {
            there.insert(name);
        } else {
            there.extend(below.iter().map(|it| format!("{name} {it}")));
        }
    }
    assert!(there.contains("report costs"), "{there:?}");
    let all: Vec<&str> = COMMANDS.iter().copied().chain(SERVERS).collect();
    let is_swept = |name: &str| {
        let mut lines = all.iter();
        lines.any(|line| *line == name || line.starts_with(&format!("{name} ")))
    };
    let missing: Vec<_> = there.iter().filter(|name| !is_swept(name)).collect();
    assert!(missing.is_empty(), "look for secrets in {missing:?} too");
}

impl Confidential {
    /// What the commands read, in their directory.
    pub(super) fn lay_out(&self, binary: &Binary) {
        let ids = self.lay_traps();
        fs::write(binary.directory().join("ids"), ids).unwrap();
        let invoice = format!("recording_id,amount\n{},0.05\n", id(1));
        fs::write(binary.directory().join("invoice.csv"), invoice).unwrap();
    }
}

/// The limit at which the kernel dumps no memory of a process that crashes, not to a program either.
fn demand_no_core_dumps(process: &Running) {
    let limits = fs::read_to_string(format!("/proc/{}/limits", process.pid())).unwrap();
    let line = limits
        .lines()
        .find(|it| it.starts_with("Max core file size"));
    let words: Vec<_> = line.unwrap().split_whitespace().skip(4).collect();
    // Nobody may raise it again, nor what was 0 before to begin with.
    assert!(
        words.starts_with(&["1", "1"]) || words.starts_with(&["0", "0"]),
        "{limits}"
    );
}

/// What `ps` shows.
fn demand_clean_arguments(here: &Confidential, process: &Running) {
    let arguments = fs::read(format!("/proc/{}/cmdline", process.pid())).unwrap();
    let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
    assert!(arguments.contains("recording-archiver"), "{arguments}");
    demand_no_secret(&here.secrets, "what ps shows", &arguments);
}

#[tokio::test]
async fn no_command_shows_a_secret_while_recordings_go_wrong() {
    let here = Confidential::start().await;
    let binary = here
        .binary()
        .with("RECORDING_ARCHIVER_RETIRE_ENABLED", "true");
    here.lay_out(&binary);
    let mut talkative = BTreeSet::new();
    for (number, line) in COMMANDS.iter().enumerate() {
        let format = ["text", "json"][number % 2];
        let mut arguments: Vec<&str> = line.split(' ').collect();
        arguments.extend(["--log-format", format]);
        let ended = binary.run(&arguments).await;
        here.demand_silence(&ended);
        assert_ne!(ended.code, Some(2), "{ended:?}");
        if ended.stderr.contains("DEBUG") {
            talkative.insert(arguments[0].to_owned());
        }
    }
    // They really did what they are for, and said all they had to say.
    for command in [
        "archive",
        "run",
        "discover",
        "verify",
        "restore",
        "reconcile",
    ] {
        assert!(talkative.contains(command), "{talkative:?}");
    }
    let files = here.demand_clean_files(&[binary.directory(), here.world.s3_server().directory()]);
    let is_there = |end: &str| files.iter().any(|it| it.to_string_lossy().ends_with(end));
    assert!(
        is_there("back.mp4") && is_there("manifest.json"),
        "{files:?}"
    );
    here.demand_clean_rows().await;
    here.end().await;
}

#[tokio::test]
async fn no_page_and_no_metric_shows_a_secret() {
    let here = Confidential::start().await;
    let binary = here.binary();
    here.lay_out(&binary);
    let arguments = ["archive", "--ids-file", "ids"];
    here.demand_silence(&binary.run(&arguments).await.demand_code(1));
    for format in ["text", "json"] {
        let daemon = binary.start(&["run", "--log-format", format]);
        let address = daemon.http().await;
        daemon.demand_log("ready").await;
        demand_clean_arguments(&here, &daemon);
        demand_no_core_dumps(&daemon);
        let mut paths: Vec<String> = (1..=13)
            .map(|number| format!("recordings/{}", id(number)))
            .collect();
        paths.extend(["", "metrics", "readyz", "livez"].map(str::to_owned));
        for path in paths {
            for accept in ["text/html", "application/json"] {
                let (status, text) = get_as(&format!("{address}/{path}"), accept).await.unwrap();
                demand_no_secret(&here.secrets, &path, &text);
                assert_eq!(status, 200, "{path}: {text}");
            }
        }
        daemon.signal(Signal::SIGTERM);
        here.demand_silence(&daemon.ended().await.demand_code(0));
    }
    here.demand_clean_rows().await;
    here.end().await;
}

#[tokio::test]
async fn the_simulator_and_the_demo_show_no_secret_of_the_environment() {
    let here = Confidential::start().await;
    let binary = here.binary();
    let simulator = binary.start(&["simulate", "--listen", "127.0.0.1:0", "--recordings", "2"]);
    simulator.demand_output("generated\n").await;
    demand_clean_arguments(&here, &simulator);
    simulator.signal(Signal::SIGTERM);
    here.demand_silence(&simulator.ended().await.demand_code(0));

    let demo = super::super::alone::with_data_dir(here.binary());
    here.demand_silence(&demo.run(&["demo"]).await.demand_code(0));
    here.end().await;
}
