//! A cost keeps its value, and its digits, on its whole way: the provider's token, row, ledger,
//! view, CSV, JSON and manifest, and back from the bucket.

use std::collections::BTreeMap;

use recording_archiver::cli::report::CostsOutput::{Csv, Json};
use recording_archiver::database;
use recording_archiver::finance::report::Grouping;
use recording_archiver::simulator::{CostToken, SimulatedRecording};
use recording_archiver::upkeep::{Trust, rebuild};
use rust_decimal::Decimal;
use serde_json::Value;
use uuid::Uuid;

use super::report;
use crate::harness::world::World;
use crate::seed::execute;

/// What a provider may send, and the amount that it is.
#[derive(Debug, Clone)]
struct Cost {
    token: String,
    amount: Option<Decimal>,
}

fn known(token: &str, amount: &str) -> Cost {
    Cost {
        token: token.to_owned(),
        amount: Some(amount.parse().unwrap()),
    }
}

/// The spellings that are known to occur, and amounts of any length in each of them.
fn costs() -> Vec<Cost> {
    let mut costs = vec![
        known("0.1", "0.1"),
        known("0.050", "0.050"),
        known("1e-7", "0.0000001"),
        known("123456789.123456789", "123456789.123456789"),
        known("\"0.05\"", "0.05"),
        known("0", "0"),
        known("-0.0025", "-0.0025"),
        Cost {
            token: "null".to_owned(),
            amount: None,
        },
    ];
    for number in 0..40 {
        // Their sum must fit the 28 digits that a decimal holds here; Postgres has no such bound.
        let digits: i64 = rand::random_range(1..1_000_000_000);
        let scale = rand::random_range(0..=12);
        let amount = Decimal::new(digits, scale);
        let token = match number % 3 {
            0 => amount.to_string(),
            1 => format!("\"{amount}\""),
            _ => format!("{digits}e-{scale}"),
        };
        let amount = Some(amount);
        costs.push(Cost { token, amount });
    }
    costs
}

/// The amount of each recording, as a report spells it.
async fn reported(world: &World) -> BTreeMap<Uuid, Option<String>> {
    let csv = report(&world.pool, Grouping::Recording, Csv).await;
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let from_csv: BTreeMap<Uuid, Option<String>> = reader
        .records()
        .map(|record| {
            let record = record.unwrap();
            let cost = Some(record[8].to_owned()).filter(|cost| !cost.is_empty());
            (record[0].parse().unwrap(), cost)
        })
        .collect();
    let json = report(&world.pool, Grouping::Recording, Json).await;
    let json: Vec<Value> = serde_json::from_str(&json).unwrap();
    let from_json: BTreeMap<Uuid, Option<String>> = json
        .iter()
        .map(|row| {
            let id = row["recording_id"].as_str().unwrap().parse().unwrap();
            (id, row["cost_usd"].as_str().map(str::to_owned))
        })
        .collect();
    assert_eq!(from_csv, from_json);
    from_csv
}

async fn demand_exact(world: &World, costs: &BTreeMap<Uuid, Cost>) {
    let spelled: BTreeMap<Uuid, Option<String>> = costs
        .iter()
        .map(|(id, cost)| (*id, cost.amount.map(|amount| amount.to_string())))
        .collect();
    assert_eq!(reported(world).await, spelled);
    let ledger: Vec<(Uuid, String)> = sqlx::query_as(
        "SELECT recording_id, cost_usd::text FROM archiver.cost_observations ORDER BY recording_id",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    let known = spelled
        .iter()
        .filter_map(|(id, cost)| Some((*id, cost.clone()?)));
    assert_eq!(ledger, known.collect::<Vec<_>>());
    let sum: Decimal = costs.values().filter_map(|cost| cost.amount).sum();
    let in_sql: Vec<Decimal> =
        sqlx::query_scalar("SELECT sum(cost_usd) FROM finance.monthly_costs")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    assert_eq!(in_sql, [sum]);
}

#[tokio::test]
async fn every_token_keeps_its_digits_from_the_provider_to_the_report_and_back_from_the_bucket() {
    let world = World::local().await;
    let mut by_id = BTreeMap::new();
    for cost in costs() {
        let mut recording = SimulatedRecording::new(Uuid::new_v4(), 10);
        recording.cost = CostToken::Json(cost.token.clone());
        by_id.insert(world.add(recording).await, cost);
    }
    world.run_once(world.archiver(), 8).await;
    demand_exact(&world, &by_id).await;
    for (id, cost) in &by_id {
        let manifest = world.manifest(*id).unwrap();
        let token = format!("\"cost_in_dollars\": {}", cost.token);
        let is_whole = |rest: &str| rest.starts_with([',', '\n', ' ', '}']);
        let found = manifest.split_once(&token);
        assert!(
            found.is_some_and(|(_, rest)| is_whole(rest)),
            "{token}: {manifest}"
        );
    }
    execute(
        &world.pool,
        "DROP SCHEMA finance CASCADE; DROP SCHEMA archiver CASCADE;",
    )
    .await;
    database::migrate(&world.pool).await.unwrap();
    world.let_the_service_work().await;
    let storage = &world.archiver().storage;
    rebuild(&world.service, storage, Trust::Nothing, |_| Ok(()), |_| {})
        .await
        .unwrap();
    demand_exact(&world, &by_id).await;
}
