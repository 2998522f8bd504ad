//! The bridge as a table, its verdict, and the lines that differ.

use std::io;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use rust_decimal::Decimal;

use crate::cli::human;
use crate::finance::reconcile::{Bridge, ChargeKind, Objection, OtherLines, Payable, charge_row};
use crate::finance::report::{Cell, Month, Row};

/// Characters of a line's text that are shown.
const TEXT: usize = 36;

/// Every kind of line without a recording.
const KINDS: [ChargeKind; 7] = [
    ChargeKind::Tax,
    ChargeKind::Fee,
    ChargeKind::Credit,
    ChargeKind::Other,
    ChargeKind::Subtotal,
    ChargeKind::Total,
    ChargeKind::Note,
];

/// Writes the way from our sum to what is to be paid.
pub(super) fn write(
    bridge: &Bridge,
    others: &OtherLines,
    payable: &Payable,
    month: Month,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let line = |what: &str, number: String, amount: Decimal, meaning: &str| {
        vec![
            what.to_owned(),
            number,
            amount.to_string(),
            meaning.to_owned(),
        ]
    };
    let ours = format!("our costs of {month}");
    let mut rows = vec![line(
        &ours,
        bridge.our_recordings.to_string(),
        bridge.ours_usd,
        "",
    )];
    for step in &bridge.steps {
        let (what, meaning) = (step.discrepancy.as_str(), step.discrepancy.meaning());
        let number = step.recordings.to_string();
        rows.push(line(what, number, step.difference_usd, meaning));
    }
    let lines = bridge.invoice_lines.to_string();
    rows.push(line("invoice: recordings", lines, bridge.invoice_usd, ""));
    for kind in ChargeKind::ADDED {
        let sum = others.sum(kind);
        if sum.lines > 0 {
            let what = format!("invoice: {}", kind.as_str());
            rows.push(line(&what, sum.lines.to_string(), sum.amount_usd, ""));
        }
    }
    let itemised = payable.itemised_usd;
    let Some((number, stated)) = payable.stated else {
        let meaning = "sum of the lines; the invoice states no total";
        rows.push(line("invoice: payable", String::new(), itemised, meaning));
        return write_table(rows, out);
    };
    if let Some(difference) = stated.decimal().checked_sub(itemised)
        && !difference.is_zero()
    {
        let (what, meaning) = match payable.unexplained_usd() {
            Some(_) => ("invoice: not itemised", "in the stated total only"),
            None => ("invoice: rounding", "of the stated total"),
        };
        rows.push(line(what, String::new(), difference, meaning));
    }
    let meaning = format!("total stated in line {number}");
    rows.push(line(
        "invoice: payable",
        String::new(),
        stated.decimal(),
        &meaning,
    ));
    write_table(rows, out)
}

fn write_table(rows: Vec<Vec<String>>, out: &mut dyn io::Write) -> io::Result<()> {
    let table = human::table(&["", "number", "USD", ""], &[1, 2], rows);
    writeln!(out, "{table}")
}

/// Writes whether the two agree, and each reason why not.
pub(super) fn write_verdict(
    bridge: &Bridge,
    objections: &[Objection],
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let matched = bridge.matched;
    if objections.is_empty() {
        return writeln!(
            out,
            "\n{matched} match; the invoice agrees but for rounding"
        );
    }
    writeln!(out, "\n{matched} match; the invoice does not agree:")?;
    objections
        .iter()
        .try_for_each(|objection| writeln!(out, "  {objection}"))
}

/// Writes how many lines of each kind the file has behind its header.
pub(super) fn write_lines(
    bridge: &Bridge,
    others: &OtherLines,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let mut counts = vec![human::count(bridge.invoice_lines, "recording")];
    for kind in KINDS {
        let lines = others.sum(kind).lines;
        if lines > 0 {
            counts.push(format!("{lines} {}", kind.as_str()));
        }
    }
    if others.blank > 0 {
        counts.push(format!("{} blank", others.blank));
    }
    writeln!(out, "lines of the invoice: {}", counts.join(", "))
}

/// Writes the lines that differ, the largest first, and those without a recording.
pub(super) async fn write_differences(
    mut rows: BoxStream<'_, sqlx::Result<Row>>,
    others: &OtherLines,
    out: &mut dyn io::Write,
) -> anyhow::Result<()> {
    let mut is_first = true;
    let mut write = |row: &Row, out: &mut dyn io::Write| {
        if is_first {
            is_first = false;
            writeln!(
                out,
                "\n{:20}{:38}{:>8}  {:>16}{:>16}{:>16}",
                "", "recording", "line", "ours", "invoice", "difference"
            )?;
        }
        writeln!(out, "{}", difference(row))
    };
    while let Some(row) = rows.next().await {
        write(&row?, out)?;
    }
    for charge in &others.listed {
        write(&charge_row(charge), out)?;
    }
    let hidden = others.lines() - others.listed.len() as u64;
    if hidden > 0 {
        writeln!(out, "and {hidden} more lines without a recording")?;
    }
    Ok(())
}

fn difference(row: &Row) -> String {
    let text = |at: usize| {
        let cell = row.get(at).map(|cell| match cell {
            Cell::Text(text) => text.chars().take(TEXT).collect(),
            other => other.to_csv(),
        });
        cell.filter(|text| !text.is_empty())
    };
    let shown = |at: usize| text(at).unwrap_or_else(|| "-".to_owned());
    let subject = text(1)
        .or_else(|| text(7))
        .unwrap_or_else(|| "-".to_owned());
    let remark = text(1).and(text(7)).map(|text| format!("  {text}"));
    let line = format!(
        "{:20}{:38}{:>8}  {:>16}{:>16}{:>16}",
        shown(0),
        subject,
        shown(2),
        shown(4),
        shown(5),
        shown(6)
    );
    line + &remark.unwrap_or_default()
}
