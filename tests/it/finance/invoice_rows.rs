//! Invoices that are read strictly, or refused.

use super::invoice::{IN_MARCH, MARCH, id, reconcile, seed};
use crate::harness::world::World;

#[tokio::test]
async fn row_with_more_or_fewer_fields_is_refused_with_line_and_fields() {
    let world = World::local().await;
    seed(&world, 1, MARCH, Some("0.27")).await;
    for (row, fields) in [
        (
            "0,27",
            "3 fields (00000000-0000-0000-0000-000000000001 | 0 | 27)",
        ),
        ("0.27,", "3 fields"),
    ] {
        let invoice = format!("recording_id,amount\n{},{row}\n", id(1));
        reconcile(&world, &invoice, &IN_MARCH)
            .await
            .demand_code(2)
            .demand_error(&["line 2", fields, "header has 2", "quote"]);
    }
    let invoice = format!("recording_id,amount\n{},0.27\nTotal\n", id(1));
    reconcile(&world, &invoice, &IN_MARCH)
        .await
        .demand_code(2)
        .demand_error(&["line 3: 1 field (Total)"]);
}

#[tokio::test]
async fn impossible_amount_is_refused_with_line_and_text() {
    let world = World::local().await;
    seed(&world, 1, MARCH, Some("50")).await;
    seed(&world, 2, MARCH, Some("0.27")).await;
    for amount in [
        "0,050",
        "12345,678",
        "1_000",
        "1$2",
        "1 2 3",
        "5USDUSD",
        "50 EUR",
    ] {
        let invoice = format!(
            "recording_id,amount\n{},\"{amount}\"\n{},0.27\n",
            id(1),
            id(2)
        );
        reconcile(&world, &invoice, &IN_MARCH)
            .await
            .demand_code(2)
            .demand_error(&["line 2", amount]);
    }
}

#[tokio::test]
async fn ambiguous_decimal_sign_is_refused_until_it_is_named() {
    let world = World::local().await;
    seed(&world, 1, MARCH, Some("0.050")).await;
    let invoice = format!("recording_id,amount\n{},\"0,050\"\n", id(1));
    reconcile(&world, &invoice, &IN_MARCH)
        .await
        .demand_code(2)
        .demand_error(&["`0,050` in line 2", "--decimal-point", "--decimal-comma"]);
    let comma = ["--month", "2026-03", "--decimal-comma"];
    reconcile(&world, &invoice, &comma).await.demand_code(0);
    let point = ["--month", "2026-03", "--decimal-point"];
    reconcile(&world, &invoice, &point)
        .await
        .demand_code(2)
        .demand_error(&["line 2", "0,050", "decimal point"]);
}

#[tokio::test]
async fn dialect_is_detected_printed_and_can_be_named() {
    let world = World::local().await;
    seed(&world, 1, MARCH, Some("1234.50")).await;
    let text = format!(
        "Rechnung 4711;März\r\n\r\nRecording_ID;Amount\r\n{};1.234,50 $\r\n",
        id(1)
    );
    let (western, ..) = encoding_rs::WINDOWS_1252.encode(&text);
    let run = reconcile(&world, western, &IN_MARCH).await.demand_code(0);
    assert!(
        run.stderr.contains(
            "read as windows-1252, delimiter `;`, header in line 3, decimal comma (line 4: `1.234,50 $`)"
        ),
        "{run:?}"
    );
    let named = [
        "--month",
        "2026-03",
        "--encoding",
        "utf-8",
        "--delimiter",
        ";",
        "--header-line",
        "3",
    ];
    reconcile(&world, &text, &named).await.demand_code(0);
    let units = std::iter::once(0xfeff).chain(text.encode_utf16());
    let wide: Vec<u8> = units.flat_map(u16::to_le_bytes).collect();
    let run = reconcile(&world, &wide, &IN_MARCH).await.demand_code(0);
    assert!(run.stderr.contains("read as UTF-16LE"), "{run:?}");
    reconcile(&world, &wide, &named)
        .await
        .demand_code(2)
        .demand_error(&["UTF-16LE", "omit the flag"]);
    let wrong = ["--header-line", "2"];
    reconcile(&world, &text, &wrong)
        .await
        .demand_code(2)
        .demand_error(&["--header-line"]);
}

#[tokio::test]
async fn file_that_hides_lines_or_columns_is_refused() {
    let world = World::local().await;
    seed(&world, 1, MARCH, Some("0.27")).await;
    let head = "recording_id,amount,text\n";
    for (invoice, parts) in [
        (
            format!("{head}{},0.27,\"open\n{},1000000,x\n", id(1), id(2)),
            ["line 2", "quote"],
        ),
        (
            format!("{head}{},0.27,\"a\n{},1000000,\"b\n", id(1), id(2)),
            ["line 3", "quote"],
        ),
        (
            format!("recording_id,amount,Amount\n{},0.27,1000000\n", id(1)),
            ["two columns", "`amount`"],
        ),
        ("PK\u{3}\u{4}rest".to_owned(), ["xlsx", "export it as CSV"]),
    ] {
        reconcile(&world, &invoice, &IN_MARCH)
            .await
            .demand_code(2)
            .demand_error(&parts);
    }
}
