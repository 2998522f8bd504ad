//! Invoices by session, readers with the least rights, and invoices of many lines.

use std::fmt::Write as _;
use std::fs;

use uuid::Uuid;

use super::invoice::{IN_MARCH, MARCH, id, reconcile, seed};
use crate::harness::binary::Binary;
use crate::harness::world::World;
use crate::seed::{Seed, execute};

const APRIL: &str = "2026-04-10T12:00:00Z";

#[tokio::test]
async fn reader_without_temporary_tables_can_reconcile() {
    let world = World::local().await;
    seed(&world, 1, MARCH, Some("0.10")).await;
    let mut url: url::Url = world.database_url().parse().unwrap();
    let name = url.path().trim_start_matches('/').to_owned();
    let role = format!("reader_{}", Uuid::new_v4().simple());
    execute(
        &world.pool,
        &format!("CREATE ROLE {role}; REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC"),
    )
    .await;
    Binary::of(&world)
        .with("DATABASE_URL", world.database_url())
        .run(&["migrate", "--grant-finance", &role])
        .await
        .demand_code(0);
    let option = format!("-c role={role}");
    url.query_pairs_mut().append_pair("options", &option);
    let binary = Binary::of(&world).with("DATABASE_URL", url.as_str());
    let file = binary.directory().join("invoice.csv");
    fs::write(&file, format!("recording_id,amount\n{},0.10\n", id(1))).unwrap();
    let run = binary
        .run(&["report", "reconcile", "--invoice", "invoice.csv"])
        .await;
    execute(
        &world.pool,
        &format!("DROP OWNED BY {role}; DROP ROLE {role}"),
    )
    .await;
    run.demand_code(0);
}

#[tokio::test]
async fn sessions_are_compared_by_their_recordings_of_the_month() {
    let world = World::local().await;
    for (number, session, started_at, cost_usd) in [
        (1, Some(100), MARCH, Some("0.10")),
        (2, Some(100), MARCH, Some("0.25")),
        (3, Some(100), APRIL, Some("9")),
        (4, Some(200), MARCH, Some("1.00")),
        (5, Some(300), MARCH, Some("2.00")),
        (6, Some(300), MARCH, None),
        (7, Some(400), APRIL, Some("4.00")),
        (8, Some(500), MARCH, Some("0.5049")),
        (9, Some(600), MARCH, Some("6")),
        (10, None, MARCH, Some("0.07")),
    ] {
        Seed {
            number,
            session,
            status: Some("completed"),
            started_at: Some(started_at),
            duration_secs: Some(60),
            cost_usd,
            ..Seed::default()
        }
        .insert(&world.pool)
        .await;
    }
    execute(
        &world.pool,
        "INSERT INTO archiver.cost_observations (recording_id, observed_at, cost_usd, observed_by)
         VALUES ('00000000-0000-0000-0000-000000000004', '2026-03-11', 0.80, 'archive'),
                ('00000000-0000-0000-0000-000000000004', '2026-04-02', 1.00, 'reprice')",
    )
    .await;
    // One line for each recording of session 100; 300 has a recording without a cost.
    let lines = [
        (100, "0.10"),
        (200, "0.80"),
        (300, "2.50"),
        (100, "0.25"),
        (400, "4.00"),
        (500, "0.50"),
        (700, "7.00"),
    ];
    let mut invoice = "session,amount\n".to_owned();
    for (session, amount) in lines {
        writeln!(invoice, "{},{amount}", id(session)).unwrap();
    }
    let by_session = ["--session-column", "session", "--output", "csv"];
    let in_march = [&by_session[..], &IN_MARCH].concat();
    let run = reconcile(&world, &invoice, &in_march).await.demand_code(1);
    insta::assert_snapshot!(run.stdout, @r"
    discrepancy,room_session_id,invoice_line,billing_month,cost_usd,invoice_usd,difference_usd,text
    missing_in_ours,00000000-0000-0000-0000-0000000002bc,8,,,7.00,7.00,
    missing_on_invoice,00000000-0000-0000-0000-000000000258,,2026-03-01,6,,-6,
    outside_period,00000000-0000-0000-0000-000000000190,6,2026-04-01,4.00,4.00,4.00,
    cost_unknown,00000000-0000-0000-0000-00000000012c,4,2026-03-01,2.00,2.50,0.50,
    late_change,00000000-0000-0000-0000-0000000000c8,3,2026-03-01,1.00,0.80,-0.20,held until 2026-04-02 00:00 UTC
    missing_on_invoice,,,2026-03-01,0.07,,-0.07,recordings without a session
    rounding,00000000-0000-0000-0000-0000000001f4,7,2026-03-01,0.5049,0.50,-0.0049,
    ");
    // 100, 200, 300 and 500 began in March.
    let run = reconcile(&world, &invoice, &by_session)
        .await
        .demand_code(1);
    run.demand_error(&["Taken to bill 2026-03, in which 4 sessions of it began"]);
    let unknown = format!("session,amount\n{},1\n", id(1));
    reconcile(&world, &unknown, &by_session)
        .await
        .demand_code(2)
        .demand_error(&["`session`", "--session-column"]);
}

#[tokio::test]
async fn invoice_longer_than_a_batch_is_compared_whole() {
    let world = World::local().await;
    execute(
        &world.pool,
        "INSERT INTO archiver.recordings (recording_id, recording_status, started_at, cost_usd,
                                          cost_observed_at, cost_changed_at)
         SELECT ('00000000-0000-0000-0000-' || lpad(to_hex(n), 12, '0'))::uuid, 'completed',
                '2026-03-10', n * 0.01, now(), now()
           FROM generate_series(1, 2500) n",
    )
    .await;
    // Each in the middle twice: their lines stand far apart.
    let mut invoice = "recording_id,amount\n".to_owned();
    for number in (1..=2400_u128).rev().chain(1000..=1001) {
        let cents = rust_decimal::Decimal::new(i64::try_from(number).unwrap(), 2);
        writeln!(invoice, "{},{cents}", id(number)).unwrap();
    }
    let run = reconcile(&world, &invoice, &IN_MARCH).await.demand_code(1);
    let differences = ["duplicate ", "missing_on_invoice "].map(|kind| {
        run.stdout
            .lines()
            .filter(|line| line.starts_with(kind))
            .count()
    });
    assert_eq!(differences, [3, 101], "{run:?}");
    run.demand_output(&[
        "our costs of 2026-03    2500  31262.50",
        "missing_on_invoice       100  -2450.50",
        "duplicate                  2     20.01",
        "2398 match;",
    ]);
}
