//! Answers about one recording that are too long, too deep, too slow, or say what no recording is.

use std::time::Duration;

use recording_archiver::archive::Archiver;
use recording_archiver::daemon::Ending;
use recording_archiver::error::ErrorKind;
use recording_archiver::queue::Outcome;
use recording_archiver::signalwire::SignalWire;
use recording_archiver::simulator::{
    MetadataFault, SimulatedRecording, Simulator, SimulatorConfig, Times,
};
use serde_json::json;
use uuid::Uuid;

use super::server::{Answer, Liar};
use crate::harness::binary::Binary;
use crate::harness::s3::on_server_threads;
use crate::harness::world::{MIB, PREFIX, World, signalwire_config};
use crate::seed::execute;

/// Keeps what was put off out of the way of what comes next.
const NOT_DUE: &str = "UPDATE archiver.recordings SET next_attempt_at = now() + interval '1 day'
                        WHERE state = 'pending'";

/// The provider, behind somebody who answers in its place where requests hold this word.
pub(super) async fn behind(world: &World, asked_for: String, answer: Answer) -> (Liar, Archiver) {
    let address = world.simulator.base_url();
    let address = address.trim_start_matches("http://").trim_end_matches('/');
    let front = Liar::in_front_of(Some((address.parse().unwrap(), asked_for)), answer).await;
    let archiver = world.archiver_with(|settings| {
        settings.signalwire.api_base = format!("http://{}/", front.address).parse().unwrap();
    });
    (front, archiver)
}

#[tokio::test]
async fn an_answer_without_end_costs_its_recording_an_attempt_and_nobody_else_anything() {
    let world = World::local().await;
    let begin = "{\"x\":";
    let long = "x".repeat(usize::try_from(100 * MIB).unwrap());
    for (about, answer, kind) in [
        (
            "a GiB of text",
            Answer::endless("200 OK", &format!("{begin}\""), "x"),
            "bad_metadata",
        ),
        (
            "a GiB of nesting",
            Answer::endless("200 OK", begin, "["),
            "bad_metadata",
        ),
        (
            "a GiB of fields",
            Answer::endless("200 OK", &format!("{begin}0"), ",\"x\":0"),
            "bad_metadata",
        ),
        (
            "chunks without end",
            Answer::chunked("200 OK", begin, "["),
            "bad_metadata",
        ),
        ("headers without end", Answer::headers(), "api_unavailable"),
        (
            "100 MB",
            Answer::json(&format!("{begin}\"{long}\"}}")),
            "bad_metadata",
        ),
        (
            "an error of a GiB",
            Answer::endless("422 Unprocessable", "{\"error\":\"", "x"),
            "bad_metadata",
        ),
        (
            "an outage of a GiB",
            Answer::endless("500 Oh", "", "x"),
            "api_unavailable",
        ),
        (
            "what claims to be compressed",
            Answer::whole("200 OK", "Content-Encoding: gzip\r\n", &GZIP_BOMB),
            "bad_metadata",
        ),
    ] {
        let id = Uuid::new_v4();
        world.enqueue(id).await;
        let next = world
            .add(SimulatedRecording::new(Uuid::new_v4(), 1000))
            .await;
        let (front, archiver) = behind(&world, id.to_string(), answer).await;
        let (ending, reports) = Box::pin(world.run_once(archiver, 1)).await;
        assert!(matches!(ending, Ending::Done), "{about}: {ending:?}");
        // On a slow machine the hostile one may be due again by the end.
        assert!(reports.len() >= 2, "{about}: {reports:?}");
        front.demand_not_taken_in(2 * MIB, about);
        world.demand_archived(next).await;
        let row = world.row(id).await;
        assert_eq!(
            (row.state.as_str(), row.error_kind.as_deref()),
            ("pending", Some(kind)),
            "{about}: {row:?}"
        );
        assert!(
            row.error_message.as_ref().unwrap().len() < 300,
            "{about}: {row:?}"
        );
        execute(&world.pool, NOT_DUE).await;
    }
}

/// A load balancer, a wrong space or a login in front of the API answers every request with a page.
#[tokio::test]
async fn page_in_place_of_the_api_fails_no_recording() {
    let world = World::local().await;
    let html = b"<!DOCTYPE html><html><body>Not Found</body></html>";
    for (status, body) in [
        ("404 Not Found", &html[..]),
        ("404 Not Found", b"404 page not found"),
        ("404 Not Found", b""),
        ("400 Bad Request", html),
        ("402 Payment Required", html),
        ("200 OK", html),
        ("203 Non-Authoritative Information", b"\r\n <html>"),
    ] {
        let about = format!("{status} {}", String::from_utf8_lossy(body));
        let id = world
            .add(SimulatedRecording::new(Uuid::new_v4(), 1000))
            .await;
        let answer = Answer::whole(status, "Content-Type: text/html\r\n", body);
        let (front, archiver) = behind(&world, "room_recordings".to_owned(), answer).await;
        let check = archiver.signalwire.check_credentials().await;
        let error = check.expect_err(&about);
        assert_eq!(error.kind(), ErrorKind::ApiUnavailable, "{about}");
        let report = world.attempt(&archiver).await;
        assert_eq!(report.outcome, Outcome::Released, "{about}: {report:?}");
        let kind = report.failure.map(|failure| failure.kind);
        assert_eq!(kind, Some(ErrorKind::ApiUnavailable), "{about}");
        // Shorter than announced.
        let head = b"HTTP/1.1 404 Not Found\r\nContent-Length: 1000\r\n\r\n{\"error\":".to_vec();
        let cut = Answer {
            bytes: head.len() as u64,
            head,
            again: Vec::new(),
        };
        let (_cut, reached) = behind(&world, "room_recordings".to_owned(), cut).await;
        let error = reached.signalwire.recording(id.into()).await.unwrap_err();
        assert!(error.is_outage(), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::ApiUnavailable, "{error:?}");
        drop(front);
        world.make_due().await;
        world.attempt(&world.archiver()).await;
        world.demand_archived(id).await;
    }
}

/// The first bytes of a stream of zeros, as gzip writes them.
const GZIP_BOMB: [u8; 24] = [
    0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3, 0xed, 0xc1, 1, 1, 0, 0, 0, 0x80, 0x90, 0xfe, 0xaf, 0xee, 8,
    0xa,
];

/// The clock leaps whenever all wait for the network.
#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_to_its_end_is_given_up() {
    let simulator = Simulator::start(SimulatorConfig::default());
    let simulator = on_server_threads(simulator).await.unwrap();
    for head in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"id\":",
    ] {
        let front = Liar::start(Answer {
            head: head.into(),
            again: Vec::new(),
            bytes: u64::MAX,
        })
        .await;
        let mut config = signalwire_config(&simulator);
        config.api_base = format!("http://{}/", front.address).parse().unwrap();
        let client = SignalWire::new(&config).unwrap();
        let asked = client.recording(Uuid::nil().into());
        let answered = tokio::time::timeout(Duration::from_secs(46), asked).await;
        let error = answered.expect("it gives up in time").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ApiUnavailable, "{head}: {error:?}");
    }
}

#[tokio::test]
async fn whatever_type_a_field_has_the_verdict_is_about_the_recording() {
    let world = World::local().await;
    let archiver = world.archiver();
    let fields = [
        "room_session_id",
        "status",
        "started_at",
        "finished_at",
        "duration",
        "size_in_bytes",
        "format",
        "cost_in_dollars",
        "uri",
        "created_at",
        "updated_at",
        "id",
    ];
    let values = [
        "null",
        "true",
        "[]",
        "{}",
        "\"\"",
        "\"x\"",
        "-1",
        "0.5",
        "1e308",
        "1e400",
        "18446744073709551616",
        "9223372036854775807",
        "\"a\\u0000\\u202eb\"",
        "\"\\ud800\"",
        "[[[[[[]]]]]]",
        "\"9999-12-31T23:59:59.999999Z\"",
        "\"9999-12-31T23:59:59-23:59\"",
        "\"-0001-01-01T00:00:00Z\"",
        "\"0000-01-01T00:00:00Z\"",
        "\"2016-12-31T23:59:60Z\"",
        "\"../../etc\"",
    ];
    let mut unharmed = 0;
    for field in fields {
        for value in values {
            let mut recording = SimulatedRecording::new(Uuid::new_v4(), 1000);
            recording.extra_fields = vec![(field.into(), value.into())];
            let id = world.add(recording).await;
            let report = world.attempt(&archiver).await;
            let row = world.row(id).await;
            let about = format!("{field}: {value}: {row:?}");
            match report.outcome {
                Outcome::Archived => unharmed += 1,
                Outcome::Retrying => assert!(
                    matches!(
                        row.error_kind.as_deref(),
                        Some("bad_metadata" | "size_mismatch" | "not_media")
                    ),
                    "{about}"
                ),
                Outcome::Deferred => assert!(
                    matches!(row.error_kind.as_deref(), Some("not_ready" | "no_media")),
                    "{about}"
                ),
                _ => panic!("{about}"),
            }
            assert!(row.error_message.unwrap_or_default().len() < 300);
            assert!(
                row.object_key.is_none_or(|key| key.starts_with("year=")),
                "{field}: {value}"
            );
            // Nothing but this one may be due.
            execute(&world.pool, NOT_DUE).await;
        }
    }
    assert!(unharmed > 60, "{unharmed}");
}

#[tokio::test]
async fn a_size_that_no_file_has_is_no_reason_to_set_memory_aside() {
    for world in [World::local().await, World::s3().await] {
        let archiver = world.archiver();
        for size in [
            i64::MAX.to_string(),
            "1e15".to_owned(),
            "\"1000000000000000\"".to_owned(),
        ] {
            let mut recording = SimulatedRecording::new(Uuid::new_v4(), 1000);
            recording.extra_fields = vec![("size_in_bytes".into(), size.clone())];
            let id = world.add(recording).await;
            let report = world.attempt(&archiver).await;
            assert_eq!(report.outcome, Outcome::Retrying, "{size}: {report:?}");
            let row = world.row(id).await;
            assert_eq!(
                row.error_kind.as_deref(),
                Some("bad_metadata"),
                "{size}: {row:?}"
            );
            let message = row.error_message.unwrap();
            assert!(message.contains("transfer.memory_limit"), "{message}");
            world.demand_nothing_stored(id).await;
        }
        // And if the host of the file is the one that says so.
        let head = "HTTP/1.1 206 Partial\r\nContent-Type: video/mp4\r\nETag: \"e\"\r\n\
                    Content-Range: bytes 0-99/9223372036854775807\r\nContent-Length: 100\r\n\r\n\
                    \0\0\0\x0cftypisom";
        let host = Liar::start(Answer {
            head: head.into(),
            again: vec![0; 88],
            bytes: head.len() as u64 + 88,
        })
        .await;
        let mut recording = SimulatedRecording::new(Uuid::new_v4(), 1000);
        recording.extra_fields = vec![("size_in_bytes".into(), "null".into())];
        let id = world.add(recording).await;
        let link = MetadataFault::Uri(format!("http://{}/x.mp4", host.address));
        world.simulator.inject(id, link, Times::ONCE);
        let report = world.attempt(&archiver).await;
        assert_eq!(report.outcome, Outcome::Retrying, "{report:?}");
        assert_eq!(
            world.row(id).await.error_kind.as_deref(),
            Some("bad_metadata")
        );
        world.demand_nothing_stored(id).await;
    }
}

#[tokio::test]
async fn what_the_metadata_says_stays_within_its_place() {
    let world = World::s3().await;
    let mut recording = SimulatedRecording::new(Uuid::new_v4(), 1000);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    recording.extra_fields = vec![
        ("format".into(), json!("../../etc").to_string()),
        (
            "room_session_id".into(),
            json!("../../../etc/passwd").to_string(),
        ),
        ("status".into(), json!("a\0\u{202e}b").to_string()),
        ("room_name".into(), json!("\u{1b}[31m\0").to_string()),
        // The last one counts.
        (
            "created_at".into(),
            json!("1970-01-01T00:00:00Z").to_string(),
        ),
        (
            "created_at".into(),
            json!("2022-01-01T10:00:00Z").to_string(),
        ),
        ("deep".into(), deep),
    ];
    let id = world.add(recording).await;
    let report = world.attempt(&world.archiver()).await;
    assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
    let row = world.row(id).await;
    let key = format!("{PREFIX}/year=2022/month=01/day=01/{id}.bin");
    assert_eq!(row.object_key, Some(key.clone()));
    let manifest = world.path_of(&format!("{key}.manifest.json"));
    assert!(std::fs::read_to_string(manifest).unwrap().contains("[[[["));
    let status = "SELECT recording_status FROM archiver.recordings WHERE recording_id = $1";
    assert_eq!(
        world.text(status, id).await.as_deref(),
        Some("a\u{fffd}\u{202e}b")
    );
}

#[tokio::test]
async fn a_proxy_of_the_operators_is_told_the_host_and_no_credentials() {
    let world = World::local().await;
    let proxy = Liar::start(Answer::whole("502 No", "", b"")).await;
    let binary = Binary::of(&world)
        .with("SIGNALWIRE_SPACE", "example")
        .with("HTTPS_PROXY", format!("http://{}", proxy.address));
    binary.run(&["doctor"]).await.demand_code(1);
    let asked = proxy.asked.lock().unwrap().clone();
    assert!(!asked.is_empty());
    for request in asked {
        let connects = request.starts_with("CONNECT example.signalwire.com:443 ");
        assert!(connects, "{request}");
        assert!(
            !request.to_ascii_lowercase().contains("authorization"),
            "{request}"
        );
    }
}
