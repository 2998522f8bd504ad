//! `report reconcile`: an invoice against the ledger, for people as a bridge between the two sums.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use anyhow::Context;
use futures_util::StreamExt as _;
use rust_decimal::Decimal;
use sqlx::PgPool;
use tokio::sync::mpsc;

use crate::cli::exit::{Exit, UsageError};
use crate::cli::human;
use crate::finance::reconcile::{
    Bridge, COLUMNS, Columns, Comparison, InvoiceError, InvoiceLine, Length, OtherLines,
    read_invoice,
};
use crate::finance::report::export::{write_csv, write_json_array};
use crate::finance::report::{Cell, Month, Row};
use crate::printable::printable;

/// Batches of lines that are read ahead.
const AHEAD: usize = 4;

/// Options of `report reconcile`.
#[derive(Debug, clap::Args)]
pub struct ReconcileArgs {
    /// The invoice, as CSV with a header
    #[arg(long, value_name = "FILE")]
    pub invoice: PathBuf,
    /// The month that it bills (UTC) [default: the one in which most of its recordings began]
    #[arg(long, value_name = "YYYY-MM")]
    pub month: Option<Month>,
    /// The SignalWire project that it bills [default: all that share the database]
    #[arg(long, value_name = "ID")]
    pub project: Option<String>,
    /// Its column with the recording IDs
    #[arg(long, value_name = "NAME", default_value = "recording_id")]
    pub id_column: String,
    /// Its column with the amounts in US dollars
    #[arg(long, value_name = "NAME", default_value = "amount")]
    pub amount_column: String,
    /// Its column with the billed seconds, if it has one
    #[arg(long, value_name = "NAME", conflicts_with = "minutes_column")]
    pub seconds_column: Option<String>,
    /// Its column with the billed minutes, if it has one
    #[arg(long, value_name = "NAME")]
    pub minutes_column: Option<String>,
    /// A bridge to read; CSV and JSON carry the differences, exact
    #[arg(long, value_enum, default_value_t = ReconcileOutput::Table)]
    pub output: ReconcileOutput,
}

/// How `report reconcile` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ReconcileOutput {
    Table,
    Csv,
    Json,
}

/// Compares, and says by the exit code whether the two sums differ by rounding at most.
pub(in crate::cli) async fn run(
    pool: &PgPool,
    args: &ReconcileArgs,
    out: &mut dyn io::Write,
) -> anyhow::Result<Exit> {
    let mut comparison = Comparison::begin(pool).await?;
    let others = take_in(&mut comparison, args).await?;
    let project = args.project.as_deref();
    let (month, mut notes) = match args.month {
        Some(month) => (month, Vec::new()),
        None => infer(&comparison.months(project).await?)?,
    };
    if project.is_none() {
        notes.extend(several(&comparison.projects(month).await?));
    }
    let bridge = comparison.bridge(month, project).await?;
    match args.output {
        ReconcileOutput::Table => {
            write_notes(&notes, out)?;
            if !notes.is_empty() {
                writeln!(out)?;
            }
            write_bridge(&bridge, month, out)?;
            write_others(&others, out)?;
            write_differences(&mut comparison, out).await?;
        }
        ReconcileOutput::Csv => write_csv(&COLUMNS, comparison.differences(), out).await?,
        ReconcileOutput::Json => write_json_array(&COLUMNS, comparison.differences(), out).await?,
    }
    if args.output != ReconcileOutput::Table {
        write_notes(&notes, &mut io::stderr())?;
        write_others(&others, &mut io::stderr())?;
    }
    comparison.end().await?;
    Ok(if bridge.closes() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// The month in which most of the invoice's recordings began, and that it was chosen.
fn infer(months: &[(Month, i64)]) -> Result<(Month, Vec<String>), UsageError> {
    match *months {
        [] => Err(UsageError(
            "no recording of the invoice is known here with the month in which it began; name the \
             month that it bills with --month YYYY-MM"
                .to_owned(),
        )),
        [(one, number), (other, same), ..] if number == same => Err(UsageError(format!(
            "as many of the invoice's recordings began in {one} as in {other} ({number}); name the \
             month that it bills with --month YYYY-MM"
        ))),
        [(month, number), ref others @ ..] => {
            let mut notes = vec![format!(
                "Taken to bill {month}, in which {} of it began; --month names another.",
                human::count(number, "recording")
            )];
            if !others.is_empty() {
                let others = others
                    .iter()
                    .map(|(month, number)| format!("{number} in {month}"));
                let others = others.collect::<Vec<_>>().join(", ");
                notes.push(format!(
                    "Outside of it: {others}, listed as outside_period."
                ));
            }
            Ok((month, notes))
        }
    }
}

/// That an invoice is held against more than one project.
fn several(projects: &[String]) -> Option<String> {
    (projects.len() > 1).then(|| {
        let named: Vec<_> = projects.iter().map(|project| printable(project)).collect();
        format!(
            "Held against all {} projects of that month: {}; --project takes one of them.",
            projects.len(),
            named.join(", ")
        )
    })
}

/// Reads the file beside the database's work.
async fn take_in(comparison: &mut Comparison, args: &ReconcileArgs) -> anyhow::Result<OtherLines> {
    let path = args.invoice.display().to_string();
    let file = File::open(&args.invoice)
        .map_err(|error| UsageError(format!("read the invoice {path}: {error}")))?;
    let length = match (&args.seconds_column, &args.minutes_column) {
        (Some(column), _) => Some((column, 1)),
        (None, Some(column)) => Some((column, 60)),
        (None, None) => None,
    };
    let columns = Columns {
        recording_id: args.id_column.clone(),
        amount: args.amount_column.clone(),
        length: length.map(|(column, seconds_each)| Length {
            column: column.clone(),
            seconds_each: Decimal::from(seconds_each),
        }),
    };
    let (found, mut lines) = mpsc::channel::<Vec<InvoiceLine>>(AHEAD);
    let reading = tokio::task::spawn_blocking(move || {
        read_invoice(file, &columns, |lines| found.blocking_send(lines).is_ok())
    });
    while let Some(lines) = lines.recv().await {
        comparison.add(&lines).await?;
    }
    let read = reading.await.context("read the invoice")?;
    read.map_err(|error: InvoiceError| UsageError(format!("{path}: {error}")).into())
}

fn write_notes(notes: &[String], out: &mut dyn io::Write) -> io::Result<()> {
    notes.iter().try_for_each(|note| writeln!(out, "{note}"))
}

fn write_bridge(bridge: &Bridge, month: Month, out: &mut dyn io::Write) -> io::Result<()> {
    let line = |what: &str, recordings: i64, amount: Decimal, meaning: &str| {
        let (recordings, amount) = (recordings.to_string(), amount.to_string());
        vec![what.to_owned(), recordings, amount, meaning.to_owned()]
    };
    let mut rows = vec![line(
        &format!("our costs of {month}"),
        bridge.our_recordings,
        bridge.ours_usd,
        "",
    )];
    for step in &bridge.steps {
        let (what, meaning) = (step.discrepancy.as_str(), step.discrepancy.meaning());
        rows.push(line(what, step.recordings, step.difference_usd, meaning));
    }
    rows.push(line(
        "the invoice",
        bridge.invoice_lines,
        bridge.invoice_usd,
        "",
    ));
    writeln!(
        out,
        "{}",
        human::table(&["", "recordings", "USD", ""], &[1, 2], rows)
    )?;
    let verdict = if bridge.closes() {
        "nothing but rounding lies between the two"
    } else {
        "the two do not agree"
    };
    writeln!(out, "\n{} match; {verdict}", bridge.matched)
}

fn write_others(others: &OtherLines, out: &mut dyn io::Write) -> io::Result<()> {
    if others.lines > 0 {
        let lines = i64::try_from(others.lines).unwrap_or(i64::MAX);
        writeln!(
            out,
            "not compared, because no recording is named: {}, {} USD",
            human::count(lines, "line"),
            others.amount_usd
        )?;
    }
    Ok(())
}

/// The lines of the bridge one by one, the largest first.
async fn write_differences(
    comparison: &mut Comparison,
    out: &mut dyn io::Write,
) -> anyhow::Result<()> {
    let mut rows = comparison.differences();
    let mut is_first = true;
    while let Some(row) = rows.next().await {
        if is_first {
            writeln!(
                out,
                "\n{:20}{:38}{:>8}  {:>16}{:>16}{:>16}",
                "", "recording", "line", "ours", "invoice", "difference"
            )?;
            is_first = false;
        }
        writeln!(out, "{}", difference(&row?))?;
    }
    Ok(())
}

fn difference(row: &Row) -> String {
    let text = |at: usize| {
        let cell = row.get(at).map(Cell::to_csv);
        cell.filter(|text| !text.is_empty())
            .unwrap_or_else(|| "-".to_owned())
    };
    format!(
        "{:20}{:38}{:>8}  {:>16}{:>16}{:>16}",
        text(0),
        text(1),
        text(2),
        text(4),
        text(5),
        text(6)
    )
}
