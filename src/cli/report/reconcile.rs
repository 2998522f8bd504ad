//! `report reconcile`: an invoice against the ledger, for people as a bridge between the two sums.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Context;
use encoding_rs::Encoding;
use futures_util::{StreamExt as _, stream};
use rust_decimal::Decimal;
use sqlx::PgPool;
use tokio::sync::mpsc;

use crate::cli::exit::{Exit, UsageError};
use crate::cli::human;
use crate::finance::reconcile::{
    Accepted, COLUMNS, Columns, Comparison, DecimalSign, Dialect, Format, InvoiceError,
    InvoiceLine, Length, OtherLines, Payable, charge_row, objections, read_invoice,
};
use crate::finance::report::Month;
use crate::finance::report::export::{write_csv, write_json_array};
use crate::money::Usd;
use crate::printable::printable;

mod bridge;

/// Batches of lines that are read ahead.
const AHEAD: usize = 4;

/// Options of `report reconcile`.
#[derive(Debug, clap::Args)]
pub struct ReconcileArgs {
    /// The invoice: delimited text with a header, such as CSV
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
    /// Its text encoding, such as utf-8, utf-16le or windows-1252 [default: detected]
    #[arg(long, value_name = "NAME", value_parser = encoding)]
    pub encoding: Option<&'static Encoding>,
    /// The character between its fields, or `tab` [default: detected]
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    pub delimiter: Option<u8>,
    /// The line of its header, from 1 [default: the first line with the named columns]
    #[arg(long, value_name = "LINE")]
    pub header_line: Option<u64>,
    /// Read amounts as 1,234.50 [default: detected]
    #[arg(long, conflicts_with = "decimal_comma")]
    pub decimal_point: bool,
    /// Read amounts as 1.234,50 [default: detected]
    #[arg(long)]
    pub decimal_comma: bool,
    /// Expected sum in US dollars of fees, credits and other lines without a recording
    #[arg(
        long,
        value_name = "USD",
        default_value = "0",
        allow_negative_numbers = true
    )]
    pub other_charges: Usd,
    /// Maximum rounding per line in US dollars, and half a unit of the line's last decimal
    #[arg(long, value_name = "USD", default_value = "0.005")]
    pub line_tolerance: Usd,
    /// Maximum sum of all roundings [default: 0.5 % of our costs, at least 0.05]
    #[arg(long, value_name = "USD")]
    pub max_rounding: Option<Usd>,
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

fn encoding(name: &str) -> Result<&'static Encoding, String> {
    Encoding::for_label(name.as_bytes())
        .filter(|encoding| encoding.name() != "replacement")
        .ok_or_else(|| "unknown encoding; such as utf-8, utf-16le, windows-1252".to_owned())
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [b'"' | b'\r' | b'\n' | 0] => Err("cannot delimit fields".to_owned()),
        [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() => Ok(*byte),
        _ => Err("one character such as `;`, or `tab`".to_owned()),
    }
}

/// Compares, and returns by the exit code whether the two sums differ by rounding at most.
pub(in crate::cli) async fn run(
    pool: &PgPool,
    args: &ReconcileArgs,
    out: &mut dyn io::Write,
) -> anyhow::Result<Exit> {
    let mut comparison = Comparison::begin(pool).await?;
    let taken = take_in(&mut comparison, args).await?;
    let others = taken.others;
    if comparison.known().await? == 0 {
        return Err(nothing_compared(args, &others, taken.first_id.as_deref()).into());
    }
    let project = args.project.as_deref();
    let (month, mut notes) = match args.month {
        Some(month) => (month, Vec::new()),
        None => infer(&comparison.months(project).await?)?,
    };
    if project.is_none() {
        notes.extend(several(&comparison.projects(month).await?));
    }
    let bridge = comparison
        .bridge(month, project, args.line_tolerance.decimal())
        .await?;
    let payable = Payable::of(&bridge, &others)?;
    let accepted = Accepted {
        other_charges_usd: args.other_charges.decimal(),
        rounding_usd: args.max_rounding.map(Usd::decimal),
    };
    let objections = objections(&bridge, &others, &payable, accepted)?;
    if args.output == ReconcileOutput::Table {
        write_notes(&notes, out)?;
        if !notes.is_empty() {
            writeln!(out)?;
        }
        bridge::write(&bridge, &others, &payable, month, out)?;
        bridge::write_verdict(&bridge, &objections, out)?;
        bridge::write_lines(&bridge, &others, out)?;
        bridge::write_differences(comparison.differences(), &others, out).await?;
    } else {
        let listed = others.listed.iter().map(|charge| Ok(charge_row(charge)));
        let rows = comparison.differences().chain(stream::iter(listed));
        match args.output {
            ReconcileOutput::Csv => write_csv(&COLUMNS, rows, out).await?,
            _ => write_json_array(&COLUMNS, rows, out).await?,
        }
        let mut stderr = io::stderr();
        write_notes(&notes, &mut stderr)?;
        bridge::write_verdict(&bridge, &objections, &mut stderr)?;
        bridge::write_lines(&bridge, &others, &mut stderr)?;
    }
    comparison.end().await?;
    Ok(if objections.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// That the file and the ledger have no recording in common.
fn nothing_compared(
    args: &ReconcileArgs,
    others: &OtherLines,
    first_id: Option<&str>,
) -> UsageError {
    let column = printable(&args.id_column);
    UsageError(match first_id.or(others.foreign_id.as_deref()) {
        Some(id) => format!(
            "compare the invoice: no line names a recording of the ledger; column `{column}` has \
             for example `{id}`; name the right column with --id-column, or use the database of \
             the billed project"
        ),
        None => format!(
            "compare the invoice: column `{column}` has no ID; name the right one with --id-column"
        ),
    })
}

/// The month in which most of the invoice's recordings began, and that it was chosen.
fn infer(months: &[(Month, i64)]) -> Result<(Month, Vec<String>), UsageError> {
    match *months {
        [] => Err(UsageError(
            "find the billed month: no recording of the invoice has a known start; name the month \
             with --month YYYY-MM"
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

/// What was read beside the lines about recordings.
struct Taken {
    others: OtherLines,
    first_id: Option<String>,
}

/// Reads the file while the database takes its lines.
async fn take_in(comparison: &mut Comparison, args: &ReconcileArgs) -> anyhow::Result<Taken> {
    let path = args.invoice.display().to_string();
    let mut file = File::open(&args.invoice)
        .map_err(|error| UsageError(format!("read the invoice {path}: {error}")))?;
    let format = format_of(args);
    let (found, mut lines) = mpsc::channel::<Vec<InvoiceLine>>(AHEAD);
    let reading = tokio::task::spawn_blocking(move || -> Result<OtherLines, InvoiceError> {
        let dialect = Dialect::detect(&mut file, &format)?;
        writeln!(io::stderr(), "read as {dialect}").map_err(InvoiceError::Read)?;
        read_invoice(&mut file, &format, &dialect, |lines| {
            found.blocking_send(lines).is_ok()
        })
    });
    let mut first_id = None;
    while let Some(lines) = lines.recv().await {
        if first_id.is_none() {
            first_id = lines.first().map(|line| line.recording_id.to_string());
        }
        comparison.add(&lines).await?;
    }
    let read = reading.await.context("read the invoice")?;
    let others = read.map_err(|error| UsageError(format!("{path}: {error}")))?;
    Ok(Taken { others, first_id })
}

fn format_of(args: &ReconcileArgs) -> Format {
    let length = match (&args.seconds_column, &args.minutes_column) {
        (Some(column), _) => Some((column, 1)),
        (None, Some(column)) => Some((column, 60)),
        (None, None) => None,
    };
    let decimal = match (args.decimal_point, args.decimal_comma) {
        (true, _) => Some(DecimalSign::Point),
        (_, true) => Some(DecimalSign::Comma),
        _ => None,
    };
    Format {
        columns: Columns {
            recording_id: args.id_column.clone(),
            amount: args.amount_column.clone(),
            length: length.map(|(column, seconds_each)| Length {
                column: column.clone(),
                seconds_each: Decimal::from(seconds_each),
            }),
        },
        encoding: args.encoding,
        delimiter: args.delimiter,
        decimal,
        header_line: args.header_line,
    }
}

fn write_notes(notes: &[String], out: &mut dyn io::Write) -> io::Result<()> {
    notes.iter().try_for_each(|note| writeln!(out, "{note}"))
}
