//! The table of `README.md`, "Answers of the API": what every recording meets halts and counts against
//! none; what one recording meets is its own.

use std::time::Duration;

use futures_util::future::join_all;
use recording_archiver::daemon::Ending;
use recording_archiver::error::ErrorKind;
use recording_archiver::queue::Outcome;
use recording_archiver::signalwire::SignalWire;
use recording_archiver::simulator::{
    MetadataFault, SimulatedRecording, Simulator, SimulatorConfig, Times,
};
use uuid::Uuid;

use super::api::behind;
use super::server::{Answer, Liar};
use crate::harness::s3::on_server_threads;
use crate::harness::world::{World, signalwire_config};
use crate::seed::execute;

const JSON: &str = "Content-Type: application/json\r\n";
const HTML: &str = "Content-Type: text/html\r\n";
const PAGE: &[u8] = b"<!DOCTYPE html><html><body>Sorry</body></html>";

/// What the API's address answers to everything, and the kind of the halt.
fn answers() -> Vec<(&'static str, Answer, ErrorKind)> {
    use ErrorKind::{ApiRefused, ApiUnavailable, Unauthorized};

    let whole = |status, headers, body| Answer::whole(status, headers, body);
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"data\":".to_vec();
    let cut = Answer {
        bytes: head.len() as u64,
        head,
        again: Vec::new(),
    };
    let silent = Answer {
        head: Vec::new(),
        again: Vec::new(),
        bytes: 0,
    };
    let not_found = b"{\"error\":\"Not Found\"}";
    let balance = b"{\"errors\":[{\"code\":\"insufficient_balance\",\"message\":\"balance\"}]}";
    let media_ttl = b"{\"errors\":[{\"attribute\":\"media_ttl\",\"message\":\"too long\"}]}";
    vec![
        ("404 JSON", whole("404 No", JSON, not_found), ApiRefused),
        ("404 HTML", whole("404 No", HTML, PAGE), ApiUnavailable),
        (
            "404 text",
            whole("404 No", "", b"404 page not found"),
            ApiUnavailable,
        ),
        ("404 empty", whole("404 No", "", b""), ApiUnavailable),
        ("400 JSON", whole("400 Bad", JSON, media_ttl), ApiRefused),
        ("400 HTML", whole("400 Bad", HTML, PAGE), ApiUnavailable),
        ("402 JSON", whole("402 Pay", JSON, balance), ApiRefused),
        ("405 JSON", whole("405 No", JSON, b"{}"), ApiRefused),
        ("410 JSON", whole("410 Gone", JSON, b"{}"), ApiRefused),
        ("422 JSON", whole("422 No", JSON, media_ttl), ApiRefused),
        ("451 HTML", whole("451 No", HTML, PAGE), ApiUnavailable),
        ("401 JSON", whole("401 No", JSON, b"{}"), Unauthorized),
        ("403 HTML", whole("403 No", HTML, PAGE), Unauthorized),
        ("200 HTML", whole("200 OK", HTML, PAGE), ApiUnavailable),
        ("200 text", whole("200 OK", "", b"maintenance"), ApiRefused),
        ("200 empty", whole("200 OK", JSON, b""), ApiRefused),
        (
            "200 other JSON",
            whole("200 OK", JSON, b"{\"status\":\"ok\"}"),
            ApiRefused,
        ),
        ("200 cut off", cut, ApiUnavailable),
        ("204", whole("204 No Content", "", b""), ApiRefused),
        (
            "302",
            whole("302 Found", "Location: /login\r\n", b""),
            ApiUnavailable,
        ),
        ("500", whole("500 Oh", JSON, b"{}"), ApiUnavailable),
        ("502", whole("502 Oh", HTML, PAGE), ApiUnavailable),
        ("503", whole("503 Oh", HTML, PAGE), ApiUnavailable),
        ("504", whole("504 Oh", HTML, PAGE), ApiUnavailable),
        ("no answer", silent, ApiUnavailable),
    ]
}

#[tokio::test]
async fn answer_to_every_request_halts_and_counts_against_no_recording() {
    let world = World::local().await;
    let mut ids = Vec::new();
    for _ in 0..30 {
        let recording = SimulatedRecording::new(Uuid::new_v4(), 1000);
        ids.push(world.add(recording).await);
    }
    for (about, answer, expected) in answers() {
        let (front, archiver) = behind(&world, "room_recordings".to_owned(), answer).await;
        let (ending, _) = Box::pin(world.run_once(archiver, 8)).await;
        let Ending::Halted { kind, message } = ending else {
            panic!("{about}: {ending:?}");
        };
        assert_eq!(kind, expected, "{about}: {message}");
        let requests = front.asked.lock().unwrap().len();
        assert!(requests <= 10, "{about}: {requests} requests");
        let harmed =
            "SELECT count(*) FROM archiver.recordings WHERE state <> 'pending' OR attempts > 0";
        assert_eq!(world.number(harmed).await, 0, "{about}: {message}");
    }
    let (ending, _) = Box::pin(world.run_once(world.archiver(), 8)).await;
    assert!(matches!(ending, Ending::Done), "{ending:?}");
    for id in ids {
        world.demand_archived(id).await;
    }
}

/// What the API answers to one recording, while its list works.
#[tokio::test]
async fn answer_to_one_recording_is_its_own_and_holds_up_nobody() {
    let world = World::local().await;
    for (fault, outcome, kind) in [
        (MetadataFault::Status(404), Outcome::Failed, "not_found"),
        (MetadataFault::Status(400), Outcome::Retrying, "api_refused"),
        (MetadataFault::Status(401), Outcome::Retrying, "api_refused"),
        (MetadataFault::Status(402), Outcome::Retrying, "api_refused"),
        (MetadataFault::Status(403), Outcome::Retrying, "api_refused"),
        (MetadataFault::Status(422), Outcome::Retrying, "api_refused"),
        (
            MetadataFault::Status(500),
            Outcome::Retrying,
            "api_unavailable",
        ),
        (MetadataFault::Html, Outcome::Retrying, "api_unavailable"),
        (MetadataFault::EmptyBody, Outcome::Retrying, "bad_metadata"),
    ] {
        let about = format!("{fault:?}");
        let odd = world
            .add(SimulatedRecording::new(Uuid::new_v4(), 1000))
            .await;
        world.simulator.inject(odd, fault, Times::Always);
        let next = world
            .add(SimulatedRecording::new(Uuid::new_v4(), 1000))
            .await;
        let (ending, reports) = Box::pin(world.run_once(world.archiver(), 1)).await;
        assert!(matches!(ending, Ending::Done), "{about}: {ending:?}");
        let report = reports.iter().find(|it| it.recording_id.uuid() == odd);
        assert_eq!(report.unwrap().outcome, outcome, "{about}: {reports:?}");
        let row = world.row(odd).await;
        assert_eq!(row.error_kind.as_deref(), Some(kind), "{about}: {row:?}");
        world.demand_archived(next).await;
        let put_off = "UPDATE archiver.recordings SET next_attempt_at = now() + interval '1 day'
                        WHERE state = 'pending'";
        execute(&world.pool, put_off).await;
    }
}

/// Each run of a timer is a process of its own, which counts no failures in a row of others.
#[tokio::test]
async fn outage_over_many_runs_counts_no_attempt() {
    let world = World::s3().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let recording = SimulatedRecording::new(Uuid::new_v4(), 1000);
        ids.push(world.add(recording).await);
    }
    let answer = Answer::whole("503 Oh", HTML, PAGE);
    let store = Liar::start(answer.clone()).await;
    let mut without = vec![world.archiver_with(|settings| {
        settings.storage.endpoint = Some(format!("http://{}", store.address).parse().unwrap());
    })];
    let (_front, first) = behind(&world, "room_recordings".to_owned(), answer.clone()).await;
    let (_front, second) = behind(&world, "room_recordings".to_owned(), answer).await;
    without.extend([first, second]);
    for archiver in without {
        let (ending, _) = Box::pin(world.run_once(archiver, 2)).await;
        assert!(matches!(ending, Ending::Halted { .. }), "{ending:?}");
        world.make_due().await;
    }
    let (ending, _) = Box::pin(world.run_once(world.archiver(), 2)).await;
    assert!(matches!(ending, Ending::Done), "{ending:?}");
    for id in ids {
        world.demand_archived(id).await;
        assert_eq!(world.row(id).await.attempts, 1);
    }
}

/// The clock leaps whenever all wait for the network.
#[tokio::test(start_paused = true)]
async fn api_without_answer_is_checked_once_for_all_that_wait() {
    let simulator = Simulator::start(SimulatorConfig::default());
    let simulator = on_server_threads(simulator).await.unwrap();
    let front = Liar::start(Answer {
        head: Vec::new(),
        again: Vec::new(),
        bytes: u64::MAX,
    })
    .await;
    let mut config = signalwire_config(&simulator);
    config.api_base = format!("http://{}/", front.address).parse().unwrap();
    let client = SignalWire::new(&config).unwrap();
    let requests = (0..8).map(|number| client.recording(Uuid::from_u128(number).into()));
    let answered = tokio::time::timeout(Duration::from_secs(50), join_all(requests));
    for answer in answered.await.expect("they share one check") {
        let error = answer.unwrap_err();
        assert!(error.is_outage(), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::ApiUnavailable);
    }
    let requests = front.asked.lock().unwrap().len();
    assert!(requests <= 9, "{requests} requests");
}
