//! `report changes`: what became of a month's costs after it had ended.

use std::io;

use futures_util::TryStreamExt as _;
use sqlx::PgPool;

use super::amounts::Amounts;
use super::{CostsError, CostsOutput};
use crate::cli::human;
use crate::database;
use crate::finance::report::export::{write_csv, write_json_array};
use crate::finance::report::{Cell, Month, Row, changes};
use crate::printable::printable;

/// Options of `report changes`.
#[derive(Debug, clap::Args)]
pub struct ChangesArgs {
    /// The month whose recordings are looked at (UTC)
    #[arg(long, value_name = "YYYY-MM")]
    pub month: Month,
    /// Recordings of this SignalWire project only
    #[arg(long, value_name = "ID")]
    pub project: Option<String>,
    /// A table to read; CSV and JSON carry the columns of the finance view, exact
    #[arg(long, value_enum, default_value_t = CostsOutput::Table)]
    pub output: CostsOutput,
}

/// Writes each cost that changed after the month had ended, and the sum of the changes.
pub async fn run(
    pool: &PgPool,
    args: &ChangesArgs,
    out: &mut dyn io::Write,
) -> Result<(), CostsError> {
    let mut snapshot = database::snapshot(pool).await?;
    let rows = changes::rows(&mut snapshot, args.month, args.project.as_deref());
    match args.output {
        CostsOutput::Table => write_table(args, &rows.try_collect::<Vec<_>>().await?, out)?,
        CostsOutput::Csv => write_csv(&changes::COLUMNS, rows, out).await?,
        CostsOutput::Json => write_json_array(&changes::COLUMNS, rows, out).await?,
    }
    snapshot.rollback().await?;
    Ok(())
}

/// Exact: a late change is small, and rounded it might be gone.
fn write_table(
    args: &ChangesArgs,
    rows: &[Row],
    out: &mut dyn io::Write,
) -> Result<(), CostsError> {
    let of_project = match &args.project {
        Some(project) => format!(" of project {}", printable(project)),
        None => String::new(),
    };
    if rows.is_empty() {
        writeln!(
            out,
            "No cost of {}{of_project} changed after the month had ended.",
            args.month
        )?;
        return Ok(());
    }
    let place = |name: &str| changes::COLUMNS.iter().position(|column| *column == name);
    let spelled: Vec<_> = rows
        .iter()
        .map(|row| place("change_usd").and_then(|place| amount(&row[place])))
        .collect();
    let total = Amounts::new(&spelled)?.total.unwrap_or_default();
    let shown = [
        ("recording_id", "recording"),
        ("project_id", "project"),
        ("observed_at", "seen (UTC)"),
        ("previous_cost_usd", "before (USD)"),
        ("cost_usd", "now (USD)"),
        ("change_usd", "change (USD)"),
    ];
    let mut lines: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let cells = shown.iter().filter_map(|(name, _)| place(name));
            cells.map(|place| text(&row[place])).collect()
        })
        .collect();
    let last = shown.iter().map(|(name, _)| match *name {
        "recording_id" => "total".to_owned(),
        "change_usd" => total.to_string(),
        _ => String::new(),
    });
    lines.push(last.collect());
    let headings = shown.map(|(_, heading)| heading);
    writeln!(out, "{}", human::table(&headings, &[3, 4, 5], lines))?;
    let changes = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    writeln!(
        out,
        "{} of costs of {}{of_project} after the month had ended: {total} USD in all",
        human::count(changes, "change"),
        args.month
    )?;
    out.flush()?;
    Ok(())
}

fn amount(cell: &Cell) -> Option<String> {
    match cell {
        Cell::Usd(amount) => Some(amount.clone()),
        _ => None,
    }
}

fn text(cell: &Cell) -> String {
    match cell {
        Cell::Null => "-".to_owned(),
        Cell::Time(time) => human::time(*time),
        Cell::Text(text) | Cell::Usd(text) => printable(text).into_owned(),
        other => other.to_csv(),
    }
}
