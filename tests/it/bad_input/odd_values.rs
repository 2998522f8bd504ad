//! Values that the API's description does not promise, but JSON allows: what is odd about one
//! recording stays with that recording, and does not keep it from being archived.

use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use recording_archiver::queue::Outcome;
use recording_archiver::recording::Metadata;
use recording_archiver::signalwire::SignalWire;
use recording_archiver::simulator::{CostToken, SimulatedRecording};
use recording_archiver::storage::Storage;
use recording_archiver::upkeep::{Discovered, Discovery, PAGE_SIZE, reprice};
use serde_json::json;
use uuid::Uuid;

use super::server::{Answer, Liar};
use crate::harness::binary::Binary;
use crate::harness::world::World;

/// More decimals than `numeric` holds.
fn endless_number() -> String {
    format!("0.{}", "3".repeat(20_000))
}

fn with_field(field: &str, token: &str) -> SimulatedRecording {
    let mut recording = SimulatedRecording::new(Uuid::new_v4(), 1000);
    recording.extra_fields = vec![(field.to_owned(), token.to_owned())];
    recording
}

async fn discover(world: &World, signalwire: &SignalWire) -> Discovered {
    let discovery = Discovery {
        pool: &world.service,
        signalwire,
        storage: &Storage::open(&world.settings().storage).unwrap(),
        page_size: PAGE_SIZE,
    };
    discovery.discover(true, |_| {}).await.unwrap()
}

#[tokio::test]
async fn archive_accepts_odd_values_and_keeps_them_as_sent() {
    let world = World::local().await;
    let archiver = world.archiver();
    for (field, token) in [
        ("created_at", "\"2022-01-01T10:00Z\""),
        ("created_at", "\"2022-01-01 10:00:00 UTC\""),
        ("created_at", "\"2022-01-01T10:00:00+0000\""),
        ("created_at", "\"Sat, 01 Jan 2022 10:00:00 +0000\""),
        ("created_at", "1641031200"),
        ("created_at", "1641031200000"),
        ("created_at", "\"1641031200.123\""),
        ("created_at", "\"yesterday\""),
        ("created_at", "{}"),
        ("created_at", "\"0001-01-01T00:00:00Z\""),
        ("created_at", "\"9999-12-31T23:59:59.999999Z\""),
        ("started_at", "\"Saturday\""),
        ("started_at", "[2022,1,1]"),
        ("finished_at", "\"n/a\""),
        ("updated_at", "true"),
        ("updated_at", "\"\\u0000\""),
        ("room_session_id", "17"),
        ("room_session_id", "\"not a UUID\""),
        ("room_session_id", "{\"id\":1}"),
        ("size_in_bytes", "-2147483648"),
        ("size_in_bytes", "1.5"),
        ("size_in_bytes", "\"a lot\""),
        ("size_in_bytes", "18446744073709551616"),
        ("size_in_bytes", "1e400"),
        ("size_in_bytes", "[]"),
        ("duration", "-1"),
        ("duration", "9223372036854775807"),
        ("duration", "\"1:20\""),
        ("format", "17"),
        ("format", "\"\\ud800\""),
        ("cost_in_dollars", "\"free\""),
        ("cost_in_dollars", "1e-40"),
        ("room_name", "\"\\ud800\\u0000\""),
        ("room_name", "-1e999999"),
    ] {
        let id = world.add(with_field(field, token)).await;
        let report = world.attempt(&archiver).await;
        let about = format!("{field}: {token}: {report:?}");
        assert_eq!(report.outcome, Outcome::Archived, "{about}");
        let key = world.row(id).await.object_key.unwrap();
        assert!(key.starts_with("year=2022/month=01/day=01/"), "{about}");
        let manifest = world.path_of(&format!("{key}.manifest.json"));
        let manifest = std::fs::read_to_string(manifest).unwrap();
        let sent = format!("\"{field}\": {token}");
        assert!(manifest.contains(&sent), "{about}: {manifest}");
        let kept = "SELECT (metadata->>'id' = recording_id::text)::text
                      FROM archiver.recordings WHERE recording_id = $1";
        assert_eq!(
            world.text(kept, id).await.as_deref(),
            Some("true"),
            "{about}"
        );
    }
}

#[tokio::test]
async fn archive_files_a_recording_without_a_readable_date() {
    let world = World::local().await;
    let mut recording = with_field("created_at", "\"yesterday\"");
    recording.started_at = Some("the day before".to_owned());
    let id = world.add(recording).await;
    let report = world.attempt(&world.archiver()).await;
    assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
    let key = world.row(id).await.object_key.unwrap();
    assert_eq!(key, format!("year=1970/month=01/day=01/{id}.mp4"));
    let dates = "SELECT concat_ws(' ', created_at, started_at, metadata->>'created_at')
                   FROM archiver.recordings WHERE recording_id = $1";
    assert_eq!(world.text(dates, id).await.as_deref(), Some("yesterday"));
}

#[tokio::test]
async fn one_value_that_jsonb_refuses_stops_neither_listing_nor_costs_nor_its_archival() {
    let world = World::local().await;
    let archiver = world.archiver();
    let odd = with_field("ratio", &endless_number());
    let odd_id = odd.id;
    world.simulator.add(odd);
    for _ in 0..3 {
        world
            .simulator
            .add(SimulatedRecording::new(Uuid::new_v4(), 1000));
    }
    let found = discover(&world, &archiver.signalwire).await;
    assert_eq!((found.queued, found.unreadable), (4, 0), "{found:?}");
    let costs = reprice(
        &world.service,
        &archiver.signalwire,
        &archiver.storage,
        Duration::ZERO,
    )
    .await
    .unwrap();
    assert_eq!((costs.asked, costs.left), (4, 0), "{costs:?}");
    let (_, reports) = Box::pin(world.run_once(archiver, 2)).await;
    assert_eq!(reports.len(), 4);
    for report in &reports {
        assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
    }
    let without = "SELECT count(*) FROM archiver.recordings WHERE metadata IS NULL";
    assert_eq!(world.number(without).await, 0);
    let kept = "SELECT metadata->>'ratio' FROM archiver.recordings WHERE recording_id = $1";
    assert_eq!(world.text(kept, odd_id).await, Some(endless_number()));
    assert!(world.manifest(odd_id).unwrap().contains(&endless_number()));
}

#[tokio::test]
async fn digits_and_an_e_inside_a_string_are_no_number() {
    let world = World::local().await;
    let recording = with_field("room_id", "\"a8b3e0123-4e56-4781-9e01-2e3456789012\"");
    let id = world.add(recording).await;
    world.attempt(&world.archiver()).await;
    let kept = "SELECT metadata->>'room_id' FROM archiver.recordings WHERE recording_id = $1";
    assert_eq!(
        world.text(kept, id).await.as_deref(),
        Some("a8b3e0123-4e56-4781-9e01-2e3456789012")
    );
}

#[tokio::test]
async fn discover_skips_and_counts_odd_entries_and_queues_the_others() {
    let world = World::local().await;
    let entry = || json!({"id": Uuid::new_v4(), "status": "completed"}).to_string();
    let listed = [
        entry(),
        "null".to_owned(),
        entry(),
        "17".to_owned(),
        format!("{{\"\\ud800\":1,{}", &entry()[1..]),
        "[]".to_owned(),
        entry(),
    ];
    let page = format!("{{\"links\":{{}},\"data\":[{}]}}", listed.join(","));
    let front = Liar::start(Answer::json(&page)).await;
    let mut config = world.settings().signalwire;
    config.api_base = format!("http://{}/", front.address).parse().unwrap();
    let found = discover(&world, &SignalWire::new(&config).unwrap()).await;
    let expected = Discovered {
        pages: 1,
        listed: 7,
        queued: 4,
        unreadable: 3,
        lost_sight_of: 3,
        ..Discovered::default()
    };
    assert_eq!(found, expected);
    assert_eq!(
        world
            .number("SELECT count(*) FROM archiver.recordings")
            .await,
        4
    );
}

#[tokio::test]
async fn a_list_with_a_byte_that_is_no_utf8_is_read_all_the_same() {
    let world = World::local().await;
    let id = Uuid::new_v4();
    let page = format!("{{\"data\":[{{\"id\":\"{id}\",\"room_name\":\"Gr~n\"}}]}}");
    let page: Vec<u8> = page
        .bytes()
        .map(|byte| if byte == b'~' { 0xfc } else { byte })
        .collect();
    let front = Liar::start(Answer::whole("200 OK", "", &page)).await;
    let mut config = world.settings().signalwire;
    config.api_base = format!("http://{}/", front.address).parse().unwrap();
    let found = discover(&world, &SignalWire::new(&config).unwrap()).await;
    assert_eq!(found.queued, 1);
    let name = "SELECT metadata->>'room_name' FROM archiver.recordings WHERE recording_id = $1";
    assert_eq!(world.text(name, id).await.as_deref(), Some("Gr\u{fffd}n"));
}

#[tokio::test]
async fn reports_survive_lengths_that_no_sum_holds() {
    let world = World::local().await;
    for (duration, cost) in [
        ("9223372036854775807", "0.05"),
        ("9223372036854775807", "1e9"),
        ("120", "0.050"),
        ("1e18", "\"0.000000000001\""),
    ] {
        let mut recording = SimulatedRecording::new(Uuid::new_v4(), 1000);
        recording.duration = Some(duration.to_owned());
        recording.cost = CostToken::Json(cost.to_owned());
        world.simulator.add(recording);
    }
    let archiver = world.archiver();
    assert_eq!(discover(&world, &archiver.signalwire).await.queued, 4);
    let (_, reports) = Box::pin(world.run_once(archiver, 2)).await;
    for report in &reports {
        assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
    }
    for view in [
        "finance.recordings",
        "finance.monthly_costs",
        "finance.unit_costs",
        "finance.session_costs",
        "finance.monthly_changes",
        "finance.provisional_costs",
        "finance.cost_changes",
        "finance.not_archived",
    ] {
        let query = format!("SELECT count(it::text) FROM {view} it");
        let rows: Result<i64, _> = sqlx::query_scalar(sqlx::AssertSqlSafe(query))
            .fetch_one(&world.pool)
            .await;
        rows.unwrap_or_else(|error| panic!("{view}: {error}"));
    }
    let lengths = "SELECT sum(duration_secs)::bigint FROM finance.monthly_costs";
    assert_eq!(world.number(lengths).await, 120);
    let binary = Binary::of(&world);
    for by in ["month", "session", "project", "recording"] {
        for output in ["table", "csv", "json"] {
            let arguments = ["report", "costs", "--by", by, "--output", output];
            binary.run(&arguments).await.demand_code(0);
        }
    }
    binary.run(&["status"]).await.demand_code(0);
}

/// JSON text of any kind that the standard allows.
fn json_text() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        4 => "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,9})?",
        1 => (0_usize..140_000).prop_map(|digits| "7".repeat(digits.max(1))),
        1 => (0_usize..20_000).prop_map(|digits| format!("-0.{}", "7".repeat(digits.max(1)))),
        1 => (0_usize..20_000).prop_map(|digits| format!("0.{}1e{digits}", "0".repeat(digits))),
    ];
    let piece = prop_oneof![
        Just("\\u0000".to_owned()),
        Just("\\ud800".to_owned()),
        Just("\\udc00".to_owned()),
        Just("\\uD83C\\uDFA5".to_owned()),
        Just("\\\\".to_owned()),
        Just("\\\"\\/\\b\\f\\n\\r\\t".to_owned()),
        Just("3e0123".to_owned()),
        "[ !#-\\[\\]-~é\u{7f}\u{202e}🎥]{0,6}",
    ];
    let string = prop::collection::vec(piece, 0..6).prop_map(|it| format!("\"{}\"", it.concat()));
    let leaf = prop_oneof![
        4 => number,
        4 => string.clone(),
        1 => prop::sample::select(vec!["null", "true", "false", "{}", "[]"])
                .prop_map(str::to_owned),
    ];
    let nested = leaf.prop_recursive(4, 24, 4, move |inner| {
        let member = (string.clone(), inner.clone()).prop_map(|(name, it)| format!("{name} :{it}"));
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|it| format!("[{}]", it.join(","))),
            prop::collection::vec(member, 0..4).prop_map(|it| format!("{{{}}}", it.join(", "))),
            (inner, 0_usize..20_000).prop_map(|(it, depth)| format!(
                "{}{it}{}",
                "[".repeat(depth),
                "]".repeat(depth)
            )),
        ]
    });
    let fields = prop::collection::vec(nested, 1..5);
    fields.prop_map(|fields| {
        let fields = fields.into_iter().enumerate();
        let fields: Vec<String> = fields.map(|(at, it)| format!("\"{at}\":{it}")).collect();
        format!("{{{}}}", fields.join(","))
    })
}

#[tokio::test]
async fn jsonb_takes_the_metadata_of_any_legal_json() {
    let database = crate::seed::migrated_database().await;
    let pool = database.pool();
    let mut runner = TestRunner::deterministic();
    let texts = json_text();
    for _ in 0..400 {
        let text = texts.new_tree(&mut runner).unwrap().current();
        let metadata: Metadata = serde_json::from_str(&text).unwrap();
        let fields = text.matches("\":").count().min(1);
        let stored = metadata.to_jsonb_text();
        let kept: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM jsonb_object_keys($1::text::jsonb)
              WHERE length($1::text::jsonb::text) < 100000000",
        )
        .bind(stored)
        .fetch_one(&pool)
        .await
        .unwrap_or_else(|error| panic!("{error}: {text:.2000}"));
        assert!(kept >= i64::try_from(fields).unwrap(), "{text:.2000}");
    }
}
