//! `/metrics`: every series from the first scrape, each documented, and all that dashboard and
//! alerts ask for.

use std::collections::BTreeSet;
use std::io::ErrorKind as IoErrorKind;
use std::process::Stdio;

use recording_archiver::error::ErrorKind;
use recording_archiver::progress::Stage;
use recording_archiver::recording::FormatMismatch;
use recording_archiver::simulator::{MetadataFault, Times};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{KIB, end, get, get_as, id, offer};
use crate::harness::binary::{Binary, Running};
use crate::harness::eventually;
use crate::harness::world::World;
use crate::readme::table;

const PREFIX: &str = "recording_archiver_";
const ALERTS: &str = include_str!("../../../systemd/prometheus/alerts.yml");
const ALERT_TESTS: &str = include_str!("../../../systemd/prometheus/alerts.test.yml");
const DASHBOARD: &str = include_str!("../../../systemd/grafana/recording-archiver.json");

async fn started(world: &World) -> (Running, String) {
    let daemon = Binary::of(world)
        .with("RECORDING_ARCHIVER_WORKER_SCHEDULE", "0 0 0 1 1 *")
        .start(&["run"]);
    daemon.demand_log("ready").await;
    let url = format!("{}/metrics", daemon.http().await);
    (daemon, url)
}

async fn scrape(url: &str) -> String {
    get(url).await.unwrap().1
}

/// The samples' names and labels, without their values.
fn series(text: &str) -> BTreeSet<String> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| line.rsplit_once(' ').unwrap().0.to_owned())
        .collect()
}

/// The families as they are declared: `name`, `type`.
fn families(text: &str) -> BTreeSet<(String, String)> {
    let declared = text.lines().filter_map(|line| {
        let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        Some((name.to_owned(), kind.to_owned()))
    });
    declared.collect()
}

/// Every series but those of the histograms' buckets.
fn expected() -> BTreeSet<String> {
    let mut expected: BTreeSet<String> = [
        "archived_bytes_total",
        "fetched_bytes_total",
        "last_archived_timestamp_seconds",
        "received_bytes_total",
        "range_breaks_total",
        "dead_links_total",
        "media_steps_total{to=\"fewer_connections\"}",
        "media_steps_total{to=\"one_connection\"}",
        "media_steps_total{to=\"plain_stream\"}",
        "media_connections",
        "media_connections_per_host_limit",
        "media_connections_per_recording_limit",
        "bandwidth_limit_bytes_per_second",
        "buffer_bytes",
        "buffer_limit_bytes",
        "api_requests_per_second_limit",
        "queue_expired_leases",
        "queue_observed_timestamp_seconds",
        "database_up",
        "orphaned_uploads_aborted_total",
        "orphaned_uploads_left",
        "leases",
        "slow_transfers",
        "concurrency_limit",
        "attempt_duration_seconds_sum",
        "attempt_duration_seconds_count",
        "archive_recordings",
        "archive_size_bytes",
        "archive_read_again_recordings",
        "archive_read_again_bytes",
        "archive_damaged_recordings",
        "archive_longest_unread_timestamp_seconds",
        "verify_within_seconds",
        "verified_bytes_total",
    ]
    .map(str::to_owned)
    .into();
    let mut add = |name: &str, label: &str, values: &[&str]| {
        expected.extend(
            values
                .iter()
                .map(|value| format!("{name}{{{label}=\"{value}\"}}")),
        );
    };
    let kinds = ErrorKind::ALL.map(ErrorKind::as_str);
    let stages = Stage::ALL.map(Stage::as_str);
    add("build_info", "version", &[env!("CARGO_PKG_VERSION")]);
    add(
        "attempts_total",
        "outcome",
        &[
            "archived",
            "already_archived",
            "deferred",
            "retrying",
            "failed",
            "released",
        ],
    );
    add("errors_total", "kind", &kinds);
    add("retries_total", "kind", &kinds);
    add("stage_duration_seconds_sum", "stage", &stages);
    add("stage_duration_seconds_count", "stage", &stages);
    let waiting = ["due", "later", "in_progress", "failed"];
    add("queue_recordings", "state", &waiting);
    add("queue_oldest_age_seconds", "state", &waiting);
    let halting = [
        "unauthorized",
        "api_refused",
        "media_unavailable",
        "storage_denied",
        "storage_full",
        "storage_refused",
        "api_unavailable",
        "storage_unavailable",
    ];
    add("claiming_halted", "kind", &halting);
    let found = FormatMismatch::all().map(FormatMismatch::as_str);
    let found: Vec<&str> = found.collect();
    add("format_mismatches_total", "found", &found);
    let results = [
        "equal",
        "checksum_mismatch",
        "object_missing",
        "object_archived_cold",
        "not_read",
    ];
    add("verified_objects_total", "result", &results);
    add("breaker_open", "side", &["api", "media", "storage"]);
    let chores = ["discover", "verify", "sweep", "reprice"];
    add("chore_last_success_timestamp_seconds", "chore", &chores);
    let names = expected.into_iter();
    names.map(|name| format!("{PREFIX}{name}")).collect()
}

fn without_buckets(mut series: BTreeSet<String>) -> BTreeSet<String> {
    series.retain(|name| !name.contains("_bucket{"));
    series
}

#[tokio::test]
async fn every_series_exists_from_the_start_and_counts() {
    let world = World::local().await;
    let (daemon, url) = started(&world).await;
    let first = scrape(&url).await;
    assert_eq!(without_buckets(series(&first)), expected(), "{first}");
    for line in first.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let grows = name.contains("_total") || name.contains("_duration_");
        assert!(!grows || value.parse() == Ok(0.0), "{line}");
    }

    let recordings = offer(&world, [1, 3], 3 * KIB);
    let fault = MetadataFault::NotReady;
    world.simulator.inject(recordings[1], fault, Times::Always);
    for number in [1, 2, 3] {
        world.enqueue(id(number)).await;
    }
    for sample in [
        "attempts_total{outcome=\"archived\"} 1",
        "attempts_total{outcome=\"failed\"} 1",
        "attempts_total{outcome=\"deferred\"} 1",
        "errors_total{kind=\"not_found\"} 1",
        "errors_total{kind=\"stalled\"} 0",
        "retries_total{kind=\"not_ready\"} 1",
        "retries_total{kind=\"not_found\"} 0",
        "archived_bytes_total 3072",
        "fetched_bytes_total 3072",
        "received_bytes_total 3072",
        "attempt_duration_seconds_count 3",
        "stage_duration_seconds_count{stage=\"metadata\"} 3",
        "stage_duration_seconds_count{stage=\"transfer\"} 1",
        "stage_duration_seconds_count{stage=\"prove\"} 1",
        "stage_duration_seconds_count{stage=\"manifest\"} 1",
        "stage_duration_seconds_count{stage=\"settle\"} 3",
        "queue_recordings{state=\"due\"} 0",
        "queue_recordings{state=\"later\"} 1",
        "queue_recordings{state=\"failed\"} 1",
        "concurrency_limit 8",
        "leases 0",
        "database_up 1",
    ] {
        let line = format!("{PREFIX}{sample}\n");
        eventually(&line, || async {
            scrape(&url).await.contains(&line).then_some(())
        })
        .await;
    }
    let last = scrape(&url).await;
    assert_eq!(series(&last), series(&first), "no series comes later");
    end(daemon).await;
    assert_eq!(get(&url).await, None, "nobody listens any more");
}

#[tokio::test]
async fn whoever_asks_for_openmetrics_gets_it_and_others_the_older_format() {
    let world = World::local().await;
    let (daemon, url) = started(&world).await;
    let older = scrape(&url).await;
    assert!(!older.contains("# EOF"), "{older}");
    // As Prometheus asks.
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    let (_, newer) = get_as(&url, accept).await.unwrap();
    assert!(newer.ends_with("# EOF\n"), "{newer}");
    assert_eq!(series(&older), series(&newer));
    end(daemon).await;
}

/// The tool's own rules for names, units, types and help.
#[tokio::test]
async fn promtool_finds_nothing_to_complain_of() {
    let world = World::local().await;
    let (daemon, url) = started(&world).await;
    let text = scrape(&url).await;
    end(daemon).await;
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match promtool {
        Err(error) if error.kind() == IoErrorKind::NotFound => {
            println!("promtool is not installed: not asked");
            return;
        }
        promtool => promtool.unwrap(),
    };
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).await.unwrap();
    drop(stdin);
    let said = promtool.wait_with_output().await.unwrap();
    let complaints = format!(
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
    assert!(
        said.status.success() && complaints.is_empty(),
        "{complaints}"
    );
}

/// A metric's name with what a query demands of its labels.
#[derive(Debug)]
struct Selector<'a> {
    name: &'a str,
    /// The values that a label may have.
    matchers: Vec<(&'a str, Vec<&'a str>)>,
}

/// Every selector of our metrics in this text, prose included.
fn selectors(text: &str) -> Vec<Selector<'_>> {
    let starts = text.match_indices(PREFIX).map(|(at, _)| &text[at..]);
    let found = starts.map(|text| {
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let inside = rest
            .strip_prefix('{')
            .and_then(|rest| Some(rest.split_once('}')?.0));
        let matchers = inside.into_iter().flat_map(|inside| inside.split(','));
        let matchers = matchers.filter_map(|matcher| {
            let (label, values) = matcher.trim().split_once('=')?;
            let values = values.trim_start_matches('~').trim_matches(['"', '\\']);
            let ours = !label.ends_with('!') && !["instance", "job"].contains(&label);
            ours.then(|| (label, values.split('|').collect()))
        });
        Selector {
            name,
            matchers: matchers.collect(),
        }
    });
    found.collect()
}

#[tokio::test]
async fn dashboard_and_alerts_ask_for_nothing_that_is_not_there() {
    let world = World::local().await;
    let (daemon, url) = started(&world).await;
    let series = series(&scrape(&url).await);
    end(daemon).await;
    for (file, text) in [
        ("alerts.yml", ALERTS),
        ("alerts.test.yml", ALERT_TESTS),
        ("recording-archiver.json", DASHBOARD),
    ] {
        let selectors = selectors(text);
        assert!(selectors.len() > 10, "{file}: {selectors:?}");
        for Selector { name, matchers } in selectors {
            let of_name: Vec<&String> = series
                .iter()
                .filter(|series| series.split('{').next() == Some(name))
                .collect();
            assert!(!of_name.is_empty(), "{file}: there is no {name}");
            for (label, values) in matchers {
                for value in values {
                    let pair = format!("{label}=\"{value}\"");
                    assert!(
                        of_name.iter().any(|series| series.contains(&pair)),
                        "{file}: there is no {name}{{{pair}}}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn the_readme_tells_of_every_metric_and_of_no_other() {
    let world = World::local().await;
    let (daemon, url) = started(&world).await;
    let text = scrape(&url).await;
    end(daemon).await;
    let told: BTreeSet<(String, String)> = table("metric")
        .into_iter()
        .map(|row| (row[0].trim_matches('`').to_owned(), row[1].clone()))
        .collect();
    let series = series(&text);
    let real: BTreeSet<(String, String)> = families(&text)
        .into_iter()
        .map(|(name, kind)| {
            // The label that tells the series of a family apart, but for a histogram's own.
            let label = series
                .iter()
                .filter(|series| series.starts_with(&name) && !series.contains("_bucket{"))
                .find_map(|series| Some(series.split_once('{')?.1.split_once('=')?.0));
            let label = label
                .map(|label| format!("{{{label}}}"))
                .unwrap_or_default();
            let short = name.strip_prefix(PREFIX).expect("ours have the prefix");
            (format!("{short}{label}"), kind)
        })
        .collect();
    assert_eq!(told, real);
}
