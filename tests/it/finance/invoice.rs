//! An invoice against the ledger.

use std::fs;

use serde_json::Value;
use uuid::Uuid;

use crate::harness::binary::{Binary, Ended};
use crate::harness::world::World;
use crate::seed::{Seed, execute};

pub(super) const MARCH: &str = "2026-03-10T12:00:00Z";

pub(super) async fn seed(
    world: &World,
    number: u128,
    started_at: &'static str,
    cost: Option<&'static str>,
) {
    let seed = Seed {
        number,
        status: Some("completed"),
        started_at: Some(started_at),
        duration_secs: Some(60),
        cost_usd: cost,
        ..Seed::default()
    };
    seed.insert(&world.pool).await;
}

pub(super) fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

pub(super) async fn reconcile(world: &World, invoice: impl AsRef<[u8]>, more: &[&str]) -> Ended {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("invoice.csv");
    fs::write(&file, invoice).unwrap();
    let file = file.display().to_string();
    let mut words = vec!["report", "reconcile", "--invoice", &file];
    words.extend(more);
    Binary::of(world).run(&words).await
}

pub(super) const IN_MARCH: [&str; 2] = ["--month", "2026-03"];

#[tokio::test]
async fn an_invoice_that_agrees_but_for_rounding_closes() {
    let world = World::local().await;
    seed(&world, 1, MARCH, Some("0.0523")).await;
    seed(&world, 2, MARCH, Some("0.10")).await;
    let invoice = format!(
        "recording_id,amount\n{},$0.05\n{},0.1\nTax,0.03\n",
        id(1),
        id(2)
    );
    let run = reconcile(&world, &invoice, &IN_MARCH).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    insta::assert_snapshot!(run.stdout, @r"
                          number      USD
    our costs of 2026-03       2   0.1523
    rounding                   1  -0.0023  the invoice rounds
    invoice: recordings        2     0.15
    invoice: tax               1     0.03
    invoice: payable                 0.18  sum of the lines; the invoice states no total

    1 match; the invoice agrees but for rounding
    lines of the invoice: 2 recordings, 1 tax

                        recording                                 line              ours         invoice      difference
    rounding            00000000-0000-0000-0000-000000000001         2            0.0523            0.05         -0.0023
    tax                 Tax                                          4                 -            0.03               -
    ");
}

/// A month of which each recording differs from the invoice in its own way.
async fn seed_march(world: &World) {
    for (number, cost) in [
        (1, Some("0.0523")),
        (2, Some("0.10")),
        (3, Some("0.20")),
        (4, Some("0.30")),
        (5, Some("0.40")),
        (6, Some("0.50")),
        (7, None),
        (8, Some("0.60")),
        // Nothing is known of its cost, and nothing billed: no difference.
        (9, None),
    ] {
        seed(world, number, MARCH, cost).await;
    }
    seed(world, 10, "2026-04-01T00:00:00Z", Some("7")).await;
    // The cost of the third changed after the month had ended.
    execute(
        &world.pool,
        "INSERT INTO archiver.cost_observations (recording_id, observed_at, cost_usd, observed_by)
         VALUES ('00000000-0000-0000-0000-000000000003', '2026-03-11', 0.25, 'archive'),
                ('00000000-0000-0000-0000-000000000003', '2026-04-02', 0.20, 'reprice')",
    )
    .await;
}

fn invoice_of_march() -> String {
    let lines = [
        (id(1), "0.05", "1"),
        (id(2), "0.10", "1"),
        (id(3), "0.25", "1"),
        (id(4), "0.30", "1"),
        (id(4), "0.30", "1"),
        (id(5), "0.80", "2"),
        (id(6), "0.75", "1"),
        (id(7), "0.01", "1"),
        (id(10), "7.00", "1"),
        (id(11), "1.11", "1"),
    ];
    let lines: Vec<String> = lines
        .iter()
        .map(|(id, amount, minutes)| format!("{id},{minutes},{amount}\n"))
        .collect();
    format!("Item,Minutes,Price\n{}", lines.concat())
}

#[tokio::test]
async fn every_difference_has_its_kind_and_the_bridge_is_exact() {
    let world = World::local().await;
    seed_march(&world).await;
    let invoice = invoice_of_march();
    let columns = [
        "--month",
        "2026-03",
        "--id-column",
        "item",
        "--amount-column",
        "price",
        "--minutes-column",
        "minutes",
    ];
    let run = reconcile(&world, &invoice, &columns).await;
    assert_eq!(run.code, Some(1), "{run:?}");
    insta::assert_snapshot!(run.stdout, @r"
                          number      USD
    our costs of 2026-03       7   2.1523
    rounding                   1  -0.0023  the invoice rounds
    late_change                1     0.05  the cost changed; the invoice has a former one
    duplicate                  1     0.30  on the invoice more than once
    units_differ               1     0.40  another length was billed
    rate_differs               1     0.25  the same length at another price
    outside_period             1     7.00  began in another month by our records
    cost_unknown               1     0.01  we know the recording, but the provider's API stated no cost
    missing_in_ours            1     1.11  on the invoice, and unknown to us
    missing_on_invoice         1    -0.60  ours of this month, and not on the invoice
    invoice: recordings       10    10.67
    invoice: payable                10.67  sum of the lines; the invoice states no total

    1 match; the invoice does not agree:
      8 recordings differ by more than rounding
    lines of the invoice: 10 recordings

                        recording                                 line              ours         invoice      difference
    outside_period      00000000-0000-0000-0000-00000000000a        10                 7            7.00            7.00
    missing_in_ours     00000000-0000-0000-0000-00000000000b        11                 -            1.11            1.11
    missing_on_invoice  00000000-0000-0000-0000-000000000008         -              0.60               -           -0.60
    units_differ        00000000-0000-0000-0000-000000000005         7              0.40            0.80            0.40
    duplicate           00000000-0000-0000-0000-000000000004         5              0.30            0.60            0.30
    rate_differs        00000000-0000-0000-0000-000000000006         8              0.50            0.75            0.25
    late_change         00000000-0000-0000-0000-000000000003         4              0.20            0.25            0.05  held until 2026-04-02 00:00 UTC
    cost_unknown        00000000-0000-0000-0000-000000000007         9                 -            0.01            0.01
    rounding            00000000-0000-0000-0000-000000000001         2            0.0523            0.05         -0.0023
    ");

    let run = reconcile(
        &world,
        &invoice,
        &[&columns[..], &["--output", "json"]].concat(),
    )
    .await;
    assert_eq!(run.code, Some(1));
    let rows: Vec<Value> = serde_json::from_str(&run.stdout).unwrap();
    let kinds: Vec<&str> = rows
        .iter()
        .map(|row| row["discrepancy"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "outside_period",
            "missing_in_ours",
            "missing_on_invoice",
            "units_differ",
            "duplicate",
            "rate_differs",
            "late_change",
            "cost_unknown",
            "rounding",
        ]
    );
    // Without the lengths, nobody knows why.
    let run = reconcile(
        &world,
        &invoice,
        &[&columns[..6], &["--output", "csv"]].concat(),
    )
    .await;
    assert_eq!(run.stdout.matches("amount_differs,").count(), 2, "{run:?}");
}

#[tokio::test]
async fn zeros_that_a_spreadsheet_left_out_make_no_rounding_of_a_real_difference() {
    let world = World::local().await;
    seed(&world, 1, MARCH, Some("0.60")).await;
    seed(&world, 2, MARCH, Some("0.15")).await;
    let invoice = format!("recording_id,amount\n{},1\n{},0.15\n", id(1), id(2));
    let run = reconcile(&world, &invoice, &IN_MARCH).await;
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stdout.contains("amount_differs"), "{run:?}");
}

#[tokio::test]
async fn a_file_that_is_no_invoice_is_refused_with_the_place() {
    let world = World::local().await;
    let run = reconcile(&world, "id,amount\n", &IN_MARCH).await;
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.stderr.contains("--id-column"), "{run:?}");
    let invoice = format!("recording_id,amount\n{},free\n", id(1));
    let run = reconcile(&world, &invoice, &IN_MARCH).await;
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.stderr.contains("line 2: the amount `free`"), "{run:?}");
}

#[tokio::test]
async fn the_month_is_that_of_most_recordings_unless_it_is_named() {
    let world = World::local().await;
    seed(&world, 1, MARCH, Some("1")).await;
    seed(&world, 2, "2026-03-31T23:59:59.999999Z", Some("2")).await;
    seed(&world, 3, "2026-04-01T00:00:00Z", Some("3")).await;
    let line = |number, amount| format!("{},{amount}\n", id(number));
    let head = "recording_id,amount\n";

    let whole = format!("{head}{}{}", line(1, "1"), line(2, "2"));
    let run = reconcile(&world, &whole, &[]).await.demand_code(0);
    assert!(
        run.stdout.starts_with(
            "Taken to bill 2026-03, in which 2 recordings of it began; --month names another.\n\n"
        ) && run.stdout.contains("our costs of 2026-03"),
        "{run:?}"
    );

    // Three times one recording is one recording.
    let over = format!("{whole}{0}{0}{0}", line(3, "3"));
    let run = reconcile(&world, &over, &[]).await.demand_code(1);
    assert!(
        run.stdout
            .contains("Outside of it: 1 in 2026-04, listed as outside_period.\n")
            && run
                .stdout
                .contains("\noutside_period      00000000-0000-0000-0000-000000000003"),
        "{run:?}"
    );
    let run = reconcile(&world, &over, &["--output", "csv"])
        .await
        .demand_code(1);
    assert!(run.stdout.starts_with("discrepancy,"), "{run:?}");
    assert!(run.stderr.contains("Taken to bill 2026-03"), "{run:?}");
    let april = ["--month", "2026-04"];
    let run = reconcile(&world, &over, &april).await.demand_code(1);
    assert!(run.stdout.contains("our costs of 2026-04"), "{run:?}");
    assert!(!run.stdout.contains("Taken to bill"), "{run:?}");

    let tie = format!("{head}{}{}", line(1, "1"), line(3, "3"));
    reconcile(&world, &tie, &[])
        .await
        .demand_code(2)
        .demand_error(&["in 2026-03 as in 2026-04 (1)", "--month YYYY-MM"]);
    let unknown = format!("{head}{}", line(99, "1"));
    reconcile(&world, &unknown, &[])
        .await
        .demand_code(2)
        .demand_error(&["no line names a recording", "--id-column"]);
}

#[tokio::test]
async fn an_invoice_is_held_against_all_projects_or_one() {
    let world = World::local().await;
    for (number, project_id, cost_usd) in [(1, "a", "1"), (2, "b", "2"), (3, "b", "3")] {
        Seed {
            number,
            project_id: Some(project_id),
            status: Some("completed"),
            started_at: Some(MARCH),
            cost_usd: Some(cost_usd),
            ..Seed::default()
        }
        .insert(&world.pool)
        .await;
    }
    let of_b = format!("recording_id,amount\n{},2\n{},3\n", id(2), id(3));
    let run = reconcile(&world, &of_b, &IN_MARCH).await.demand_code(1);
    assert!(
        run.stdout.starts_with(
            "Compared with all 2 projects of that month: a, b; --project selects one.\n\n"
        ) && run.stdout.contains("missing_on_invoice"),
        "{run:?}"
    );
    let one = ["--project", "b"];
    let run = reconcile(&world, &of_b, &one).await.demand_code(0);
    assert!(!run.stdout.contains("Compared with all"), "{run:?}");
    let both = format!("{of_b}{},1\n", id(1));
    reconcile(&world, &both, &IN_MARCH).await.demand_code(0);
    let run = reconcile(&world, &both, &one).await.demand_code(1);
    assert!(
        run.stdout
            .contains("\nother_project       00000000-0000-0000-0000-000000000001"),
        "{run:?}"
    );
}
