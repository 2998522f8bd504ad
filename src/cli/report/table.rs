//! The cost report as a table: units in the header, totals below, and what the totals lack.

use std::io;

use futures_util::TryStreamExt as _;
use sqlx::PgConnection;

use super::CostsError;
use super::amounts::Amounts;
use crate::cli::human;
use crate::finance::report::{self, Cell, Grouping, Month, Period, Remarks, Row};
use crate::printable::printable;

/// The columns shown to people, each with its heading.
const fn shown(grouping: Grouping) -> &'static [(&'static str, &'static str)] {
    match grouping {
        Grouping::Month => &[
            ("billing_month", "month (UTC)"),
            ("project_id", "project"),
            ("recordings", "recordings"),
            ("archived", "archived"),
            ("duration_secs", "h:mm:ss"),
            ("size_bytes", "size"),
            ("cost_usd", "cost (USD)"),
            ("provisional", "provisional"),
            ("missing_cost", "no cost yet"),
        ],
        Grouping::Session => &[
            ("room_session_id", "room session"),
            ("project_id", "project"),
            ("billing_month", "month (UTC)"),
            ("recordings", "recordings"),
            ("duration_secs", "h:mm:ss"),
            ("size_bytes", "size"),
            ("cost_usd", "cost (USD)"),
        ],
        Grouping::Project => &[
            ("project_id", "project"),
            ("recordings", "recordings"),
            ("archived", "archived"),
            ("duration_secs", "h:mm:ss"),
            ("size_bytes", "size"),
            ("cost_usd", "cost (USD)"),
            ("provisional", "provisional"),
            ("missing_cost", "no cost yet"),
        ],
        // Session, object URL and the other times are left to CSV and JSON: too wide to read.
        Grouping::Recording => &[
            ("recording_id", "recording"),
            ("project_id", "project"),
            ("started_at", "started (UTC)"),
            ("duration_secs", "h:mm:ss"),
            ("size_bytes", "size"),
            ("cost_usd", "cost (USD)"),
            ("cost_state", "cost is"),
            ("archive_state", "archive state"),
        ],
    }
}

/// Reads the whole report, because columns cannot be aligned before the last row is known.
pub(super) async fn write(
    snapshot: &mut PgConnection,
    grouping: Grouping,
    period: Period,
    out: &mut dyn io::Write,
) -> Result<(), CostsError> {
    let rows: Vec<Row> = report::rows(snapshot, grouping, period)
        .try_collect()
        .await?;
    let remarks = report::remarks(snapshot, grouping, period).await?;
    if rows.is_empty() {
        let bounds = match period.to_string() {
            none if none.is_empty() => none,
            bounds => format!(" {bounds}"),
        };
        writeln!(out, "No recordings to report{bounds}.")?;
    } else {
        writeln!(out, "{}", layout(grouping, &rows)?)?;
    }
    for line in explanations(remarks) {
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(())
}

fn layout(grouping: Grouping, rows: &[Row]) -> Result<String, CostsError> {
    // The columns of the report, in the order in which they are shown.
    let columns: Vec<(usize, &str, &str)> = shown(grouping)
        .iter()
        .filter_map(|(name, heading)| {
            let index = grouping
                .columns()
                .iter()
                .position(|column| column == name)?;
            Some((index, *name, *heading))
        })
        .collect();
    let spelled: Vec<_> = rows
        .iter()
        .map(|row| row.iter().find_map(amount_in))
        .collect();
    let amounts = Amounts::new(&spelled)?;

    let mut lines: Vec<Vec<String>> = rows
        .iter()
        .zip(&amounts.rows)
        .map(|(row, amount)| {
            columns
                .iter()
                .map(|(index, name, _)| match *name {
                    "cost_usd" => amount.map_or_else(unknown, |amount| amounts.spell(amount)),
                    name => text(name, &row[*index]),
                })
                .collect()
        })
        .collect();
    if let Some(rounding) = amounts.rounding {
        lines.push(last_line("rounding", &columns, |name, _| {
            (name == "cost_usd").then(|| amounts.spell(rounding))
        }));
    }
    lines.push(last_line("total", &columns, |name, index| match name {
        "cost_usd" => Some(
            amounts
                .total
                .map_or_else(unknown, |total| amounts.spell(total)),
        ),
        name => sum(rows, index).map(|sum| number(name, sum)),
    }));

    let headings: Vec<&str> = columns.iter().map(|(_, _, heading)| *heading).collect();
    let right: Vec<usize> = (0..columns.len())
        .filter(|place| is_number(columns[*place].1))
        .collect();
    Ok(human::table(&headings, &right, lines))
}

/// A line under the rows: its label in the first column, then what `value` gives for each.
fn last_line(
    label: &str,
    columns: &[(usize, &str, &str)],
    value: impl Fn(&str, usize) -> Option<String>,
) -> Vec<String> {
    columns
        .iter()
        .enumerate()
        .map(|(place, (index, name, _))| match place {
            0 => label.to_owned(),
            _ => value(name, *index).unwrap_or_default(),
        })
        .collect()
}

/// The sum of a column of integers; `None` for any other column.
fn sum(rows: &[Row], index: usize) -> Option<i128> {
    rows.iter()
        .filter_map(|row| match &row[index] {
            Cell::Integer(number) => Some(i128::from(*number)),
            _ => None,
        })
        .reduce(|a, b| a + b)
}

fn amount_in(cell: &Cell) -> Option<String> {
    match cell {
        Cell::Usd(amount) => Some(amount.clone()),
        _ => None,
    }
}

fn is_number(name: &str) -> bool {
    matches!(
        name,
        "recordings"
            | "archived"
            | "duration_secs"
            | "size_bytes"
            | "cost_usd"
            | "provisional"
            | "missing_cost"
    )
}

fn unknown() -> String {
    "-".to_owned()
}

fn number(name: &str, value: i128) -> String {
    match name {
        "duration_secs" => human::duration(value),
        "size_bytes" => human::size(value),
        _ => value.to_string(),
    }
}

fn text(name: &str, cell: &Cell) -> String {
    match cell {
        Cell::Null if name == "project_id" => "(not found yet)".to_owned(),
        Cell::Null if name == "billing_month" => "(not known yet)".to_owned(),
        Cell::Null => unknown(),
        Cell::Id(id) => id.to_string(),
        Cell::Text(text) | Cell::Usd(text) => printable(text).into_owned(),
        Cell::Integer(value) => number(name, i128::from(*value)),
        Cell::Day(day) => Month::from(*day).to_string(),
        Cell::Time(time) => human::time(*time),
    }
}

fn explanations(remarks: Remarks) -> Vec<String> {
    let recordings = |number| human::count(number, "recording");
    [
        (
            remarks.provisional,
            "with a provisional cost: the provider may still change it",
        ),
        (
            remarks.missing_cost,
            "without a cost so far: not part of the total",
        ),
        (
            remarks.without_month,
            "not listed: the month is not known yet",
        ),
        (
            remarks.without_session,
            "not listed: the room session is not known",
        ),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, explanation)| format!("{} {explanation}", recordings(number)))
    .collect()
}
