//! Lines without a recording, totals, and invoices of which nothing is compared.

use super::invoice::{IN_MARCH, MARCH, id, reconcile, seed};
use crate::harness::world::World;

async fn world() -> World {
    let world = World::local().await;
    seed(&world, 1, MARCH, Some("0.10")).await;
    world
}

fn invoice(more: &str) -> String {
    format!("recording_id,amount\n{},0.10\n{more}", id(1))
}

#[tokio::test]
async fn invoice_without_known_recording_fails_with_column_and_example() {
    let world = world().await;
    let example = format!("RE-{}", id(1));
    for lines in [
        format!("{example},0.10\n"),
        format!("{},0.10\n", id(7)),
        String::new(),
    ] {
        let invoice = format!("recording_id,amount\n{lines}");
        let run = reconcile(&world, &invoice, &IN_MARCH).await.demand_code(2);
        let run = run.demand_error(&["`recording_id`", "--id-column"]);
        let id = lines.split(',').next().unwrap();
        assert!(run.stderr.contains(id), "{run:?}");
    }
}

#[tokio::test]
async fn tax_and_total_are_listed_and_never_added_together() {
    let world = world().await;
    let more = "Subtotal,0.10\nSales tax,0.02\nTotal,0.12\n";
    let run = reconcile(&world, invoice(more), &IN_MARCH)
        .await
        .demand_code(0);
    insta::assert_snapshot!(run.stdout, @r"
                          number   USD
    our costs of 2026-03       1  0.10
    invoice: recordings        1  0.10
    invoice: tax               1  0.02
    invoice: payable              0.12  total stated in line 5

    1 match; the invoice agrees but for rounding
    lines of the invoice: 1 recording, 1 tax, 1 subtotal, 1 total

                        recording                                 line              ours         invoice      difference
    subtotal            Subtotal                                     3                 -            0.10               -
    tax                 Sales tax                                    4                 -            0.02               -
    total               Total                                        5                 -            0.12               -
    ");
}

#[tokio::test]
async fn unreadable_line_without_recording_is_refused() {
    let world = world().await;
    for line in ["Tax,n/a", "Total,", "Fee,\"1,2,3\"", "Other,12.5 EUR"] {
        reconcile(&world, invoice(&format!("{line}\n")), &IN_MARCH)
            .await
            .demand_code(2)
            .demand_error(&["line 3"]);
    }
}

#[tokio::test]
async fn charge_that_the_ledger_cannot_explain_fails() {
    let world = world().await;
    for line in [
        ",1000000",
        "Adjustment,1000000",
        "Platform fee,1000000",
        "Credit,-0.05",
        "Tax,1000000",
        "Total,1000000",
    ] {
        let run = reconcile(&world, invoice(&format!("{line}\n")), &IN_MARCH)
            .await
            .demand_code(1);
        assert!(
            run.stdout.contains("the invoice does not agree:"),
            "{run:?}"
        );
    }
    let accepted = ["--month", "2026-03", "--other-charges", "2.50"];
    let run = reconcile(
        &world,
        invoice("Platform fee,2.50\nTotal,2.60\n"),
        &accepted,
    )
    .await
    .demand_code(0);
    assert!(run.stdout.contains("invoice: fee"), "{run:?}");
    let run = reconcile(&world, invoice("Platform fee,2.51\n"), &accepted)
        .await
        .demand_code(1);
    assert!(run.stdout.contains("--other-charges 2.51"), "{run:?}");
}

#[tokio::test]
async fn lines_without_recording_stand_in_csv_too() {
    let world = world().await;
    let csv = ["--month", "2026-03", "--output", "csv"];
    let run = reconcile(&world, invoice("Tax,0.02\n,\nThanks,\n"), &csv)
        .await
        .demand_code(0);
    insta::assert_snapshot!(run.stdout, @r"
    discrepancy,recording_id,invoice_line,billing_month,cost_usd,invoice_usd,difference_usd,text
    tax,,3,,,0.02,,Tax
    note,,5,,,,,Thanks
    ");
    assert!(
        run.stderr
            .contains("lines of the invoice: 1 recording, 1 tax, 1 note, 1 blank"),
        "{run:?}"
    );
}
