//! Secrets: no signed link, token or key in any log line, row, message or file, whatever fails.

use std::fs;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use recording_archiver::archive::{Archiver, Report};
use recording_archiver::config::StorageLocation;
use recording_archiver::simulator::{SimulatedRecording, parse_fault};
use recording_archiver::upkeep;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use uuid::Uuid;

use crate::harness::s3::{Call, SECRET_ACCESS_KEY, StoreFault};
use crate::harness::secrets::demand_no_secret;
use crate::harness::subscribe;
use crate::harness::world::{MIB, PART, Settings, World, files_below};

/// Stands for the secret part of links that the provider makes up.
const CANARY: &str = "LinkSecretCanary";

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    fn note(&self, what: &impl std::fmt::Debug) {
        writeln!(self.clone(), "{what:?}\n{what:#?}").unwrap();
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn no_secret_is_logged_stored_or_reported_whatever_fails() {
    let captured = Captured::default();
    let world = World::s3().await;
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(captured.clone())
        .finish();
    let _capturing = subscribe(subscriber);
    fail_in_many_ways(&world, &captured).await;

    let logged = captured.text();
    // It was really captured, the clients' own words included.
    for word in ["archived ", "queue::claim_due", "TRACE", "object_store"] {
        assert!(logged.contains(word), "{word} is not in what was logged");
    }
    let secrets = [
        world.simulator.api_token(),
        SECRET_ACCESS_KEY,
        "X-Amz-Signature",
        "X-Amz-Credential",
        CANARY,
    ]
    .map(str::to_owned);
    demand_no_secret(&secrets, "the log", &logged);
    for table in [
        "recordings",
        "attempts",
        "uploads",
        "cost_observations",
        "projects",
    ] {
        let query =
            format!("SELECT coalesce(string_agg(t::text, ' '), '') FROM archiver.{table} t");
        let rows: String = sqlx::query_scalar(sqlx::AssertSqlSafe(query))
            .fetch_one(&world.pool)
            .await
            .unwrap();
        demand_no_secret(&secrets, table, &rows);
    }
    let files = files_below(world.s3_server().directory());
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        demand_no_secret(&secrets, &file.display().to_string(), &text);
        demand_no_secret(&secrets, "a file name", &file.display().to_string());
    }
}

async fn fail_in_many_ways(world: &World, captured: &Captured) {
    let archiver = impatient(world, |_| {});
    let link = format!("127.0.0.1:9/x?X-Amz-Credential={CANARY}&X-Amz-Signature={CANARY}");
    for fault in [
        "media-status:403".to_owned(),
        "media-status:500".to_owned(),
        "media-link-dies".to_owned(),
        "media-reset".to_owned(),
        "media-reset-after:30001".to_owned(),
        "media-cut-after:30001".to_owned(),
        "media-hang".to_owned(),
        "media-html".to_owned(),
        "media-redirect-loopx6".to_owned(),
        "media-redirect-loopx2".to_owned(),
        "media-wrong-content-range".to_owned(),
        format!("media-redirect:http://{link}"),
        format!("media-redirect:https://{link}"),
        format!("media-redirect:ftp://{link}"),
        format!("metadata-uri:http://{link}"),
        format!("metadata-uri:https://{link}"),
        format!("metadata-uri:ftp://{link}"),
        format!("metadata-uri:http://user:{CANARY}@{link}"),
        format!("metadata-uri:http://no-such-host.invalid/?{link}"),
        format!("metadata-uri:{link}"),
        format!("metadata-redirect:http://{link}"),
        "metadata-status:422".to_owned(),
        "metadata-truncated-json".to_owned(),
        "metadata-wrong-types".to_owned(),
        "metadata-reset".to_owned(),
        "metadata-extra-fields".to_owned(),
    ] {
        let mut recording = SimulatedRecording::new(Uuid::new_v4(), 50_000);
        recording.extra_fields = vec![(
            "thumbnail".into(),
            format!("\"https://example.com/?X-Amz-Signature={CANARY}\""),
        )];
        let id = world.add(recording).await;
        let order = parse_fault(&format!("{id}={fault}x1")).unwrap_or_else(|_| {
            // It says itself how often.
            parse_fault(&format!("{id}={fault}")).unwrap()
        });
        world.simulator.inject(id, order.fault, order.times);
        captured.note(&world.attempt(&archiver).await);
        captured.note(&attempt_if_due(world, &archiver).await);
    }
    fail_at_the_store(world, captured).await;

    world
        .add(SimulatedRecording::new(Uuid::new_v4(), 100))
        .await;
    let wrong = |settings: &mut Settings| {
        settings.signalwire.api_token = format!("wrong{CANARY}").into();
    };
    captured.note(&world.attempt(&impatient(world, wrong)).await);
    captured.note(&archiver);
    captured.note(&world.settings().signalwire);
    captured.note(&world.settings().storage);
    let repriced = upkeep::reprice(
        &world.service,
        &archiver.signalwire,
        &archiver.storage,
        Duration::ZERO,
    )
    .await;
    captured.note(&repriced);
}

async fn fail_at_the_store(world: &World, captured: &Captured) {
    let server = world.s3_server();
    let archiver = impatient(world, |_| {});
    for (call, fault, times) in [
        (Call::Head, StoreFault::Refuse(403, "AccessDenied"), 100),
        (Call::PutPart, StoreFault::Refuse(503, "SlowDown"), 100),
        (Call::PutPart, StoreFault::Cut, 1),
        (Call::Complete, StoreFault::LoseAnswer, 1),
        (
            Call::Complete,
            StoreFault::Refuse(500, "InternalError"),
            100,
        ),
        (Call::PutPart, StoreFault::DamageInTransit, 1),
        (Call::Get, StoreFault::Refuse(403, "AccessDenied"), 100),
    ] {
        let recording = SimulatedRecording::new(Uuid::new_v4(), PART + MIB);
        world.add(recording).await;
        server.inject(call, fault, times);
        captured.note(&world.attempt(&archiver).await);
        server.clear_faults();
        captured.note(&attempt_if_due(world, &archiver).await);
    }
    world
        .add(SimulatedRecording::new(Uuid::new_v4(), 100))
        .await;
    let nowhere = |settings: &mut Settings| {
        settings.storage.location = StorageLocation::S3 {
            bucket: "nowhere".to_owned(),
            prefix: String::new(),
        };
    };
    captured.note(&world.attempt(&impatient(world, nowhere)).await);
    captured.note(&attempt_if_due(world, &archiver).await);
}

fn impatient(world: &World, change: impl FnOnce(&mut Settings)) -> Archiver {
    world.archiver_with(|settings| {
        settings.transfer.idle_timeout = Duration::from_millis(400);
        change(settings);
    })
}

/// Once more, unless it has failed for good.
async fn attempt_if_due(world: &World, archiver: &Archiver) -> Option<Report> {
    world.make_due().await;
    let due = "SELECT count(*) FROM archiver.recordings WHERE state = 'pending'";
    if world.number(due).await == 0 {
        return None;
    }
    Some(world.attempt(archiver).await)
}
