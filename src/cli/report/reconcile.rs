//! `report reconcile`: an invoice against the ledger, for people as a bridge between the two sums.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Context;
use encoding_rs::Encoding;
use futures_util::{StreamExt as _, stream};
use rust_decimal::Decimal;
use sqlx::PgPool;

use crate::cli::exit::{Exit, UsageError};
use crate::cli::human;
use crate::finance::reconcile::{
    Accepted, Columns, CompareError, Comparison, DecimalSign, Dialect, Format, InvoiceError,
    Length, LineSorter, Lines, OtherLines, Payable, Unit, charge_row, columns, objections,
    read_invoice,
};
use crate::finance::report::Month;
use crate::finance::report::export::{write_csv, write_json_array};
use crate::money::Usd;
use crate::printable::printable;

mod bridge;

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
    /// Its column with the room session IDs, if it bills by session
    #[arg(long, value_name = "NAME", conflicts_with = "id_column")]
    pub session_column: Option<String>,
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
    let Taken { others, lines } = take_in(args).await?;
    let nothing = nothing_compared(args, &others, &lines);
    let mut comparison = Comparison::begin(pool, unit(args), lines).await?;
    let project = args.project.as_deref();
    let (month, mut notes) = if let Some(month) = args.month {
        (month, Vec::new())
    } else {
        let began = comparison.months(project).await?;
        if began.known == 0 {
            return Err(nothing.into());
        }
        infer(&began.months, unit(args))?
    };
    if project.is_none() {
        notes.extend(several(&comparison.projects(month).await?));
    }
    let line_tolerance = args.line_tolerance.decimal();
    let bridge = comparison.bridge(month, project, line_tolerance).await?;
    if bridge.known == 0 {
        return Err(nothing.into());
    }
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
        let columns = columns(unit(args));
        let listed = others.listed.iter().map(|charge| Ok(charge_row(charge)));
        let rows = comparison.differences().chain(stream::iter(listed));
        match args.output {
            ReconcileOutput::Csv => write_csv(&columns, rows, out).await?,
            _ => write_json_array(&columns, rows, out).await?,
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

const fn unit(args: &ReconcileArgs) -> Unit {
    match args.session_column {
        Some(_) => Unit::Session,
        None => Unit::Recording,
    }
}

/// Returns the name of the column with the IDs, and the flag that names it.
fn id_column(args: &ReconcileArgs) -> (&str, &'static str) {
    match &args.session_column {
        Some(column) => (column, "--session-column"),
        None => (&args.id_column, "--id-column"),
    }
}

/// Returns the error that the file and the ledger have nothing in common.
fn nothing_compared(args: &ReconcileArgs, others: &OtherLines, lines: &Lines) -> UsageError {
    let (column, flag) = id_column(args);
    let column = printable(column);
    let first_id = lines.first_id().map(|id| id.to_string());
    UsageError(match first_id.or_else(|| others.foreign_id.clone()) {
        Some(id) => format!(
            "compare the invoice: no line names a recording or session of the ledger; column \
             `{column}` has for example `{id}`; name the right column with {flag}, or use the \
             database of the billed project"
        ),
        None => format!(
            "compare the invoice: column `{column}` has no ID; name the right one with {flag}"
        ),
    })
}

/// Returns the month in which most of the invoice began, and the note that it was chosen.
fn infer(months: &[(Month, i64)], unit: Unit) -> Result<(Month, Vec<String>), UsageError> {
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
                human::count(number, unit.as_str())
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

/// Returns the note that the invoice is compared with several projects.
fn several(projects: &[String]) -> Option<String> {
    (projects.len() > 1).then(|| {
        let named: Vec<_> = projects.iter().map(|project| printable(project)).collect();
        format!(
            "Compared with all {} projects of that month: {}; --project selects one.",
            projects.len(),
            named.join(", ")
        )
    })
}

/// What the file has.
struct Taken {
    others: OtherLines,
    lines: Lines,
}

/// Reads and sorts the file on a thread that may block.
async fn take_in(args: &ReconcileArgs) -> anyhow::Result<Taken> {
    let path = args.invoice.display().to_string();
    let mut file = File::open(&args.invoice)
        .map_err(|error| UsageError(format!("read the invoice {path}: {error}")))?;
    let format = format_of(args);
    let reading = tokio::task::spawn_blocking(move || -> anyhow::Result<Taken> {
        let named = |error: InvoiceError| UsageError(format!("{path}: {error}"));
        let dialect = Dialect::detect(&mut file, &format).map_err(named)?;
        writeln!(io::stderr(), "read as {dialect}")?;
        let mut sorter = LineSorter::default();
        let mut failed = None;
        let others = read_invoice(&mut file, &format, &dialect, |lines| {
            let pushed = lines.iter().try_for_each(|line| sorter.push(line));
            failed = pushed.err();
            failed.is_none()
        })
        .map_err(named)?;
        let lines = match failed {
            Some(error) => Err(error),
            None => sorter.sorted(),
        };
        let lines = lines.map_err(CompareError::Sort)?;
        Ok(Taken { others, lines })
    });
    reading.await.context("read the invoice")?
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
            id: id_column(args).0.to_owned(),
            id_flag: id_column(args).1,
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
