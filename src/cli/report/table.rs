//! The cost report as a table: units in the header, totals below, and what the totals lack.

use std::io;

use futures_util::TryStreamExt as _;
use rust_decimal::Decimal;
use sqlx::PgConnection;

use super::CostsError;
use super::amounts::Amounts;
use super::bar::{self, bar};
use crate::cli::human;
use crate::finance::report::{self, Cell, Grouping, Month, Remarks, Row, Scope};
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

/// Left out where there is no room for all: a project that is the same in every row, and
/// counts whose sums stand below the table.
const EXPENDABLE: [&str; 3] = ["project_id", "provisional", "missing_cost"];

/// Reads the whole report, because columns cannot be aligned before the last row is known.
pub(super) async fn write(
    snapshot: &mut PgConnection,
    grouping: Grouping,
    scope: &Scope,
    terminal: Option<usize>,
    out: &mut dyn io::Write,
) -> Result<(), CostsError> {
    let rows: Vec<Row> = report::rows(snapshot, grouping, scope)
        .try_collect()
        .await?;
    let remarks = report::remarks(snapshot, grouping, scope).await?;
    if rows.is_empty() {
        writeln!(out, "No recordings to report{scope}.")?;
    } else {
        let table = Table::new(grouping, &rows)?;
        let fitting = |width| table.with_bars(width).or_else(|| table.without_bars(width));
        let fitting = terminal.and_then(fitting);
        writeln!(out, "{}", fitting.unwrap_or_else(|| table.plain()))?;
    }
    for line in explanations(remarks) {
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(())
}

/// Place in the row, name and heading.
type Column = (usize, &'static str, &'static str);

/// The rows of a report with all that is shown of them.
struct Table<'a> {
    rows: &'a [Row],
    /// In the order in which they are shown.
    columns: Vec<Column>,
    amounts: Amounts,
}

impl<'a> Table<'a> {
    fn new(grouping: Grouping, rows: &'a [Row]) -> Result<Self, CostsError> {
        let columns = shown(grouping)
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
        Ok(Self {
            rows,
            columns,
            amounts: Amounts::new(&spelled)?,
        })
    }

    fn plain(&self) -> String {
        self.layout(&self.columns, None)
    }

    /// The same with a bar at the end of each row, within `width`; `None` where there is no room,
    /// whatever is left out, or nothing to be seen.
    fn with_bars(&self, width: usize) -> Option<String> {
        let (columns, left, project) = self.narrowed(width, 2 + bar::NARROWEST)?;
        let cells = (left - 2).min(bar::WIDEST);
        let known = self.amounts.rows.iter().flatten();
        let largest = known.max().filter(|amount| **amount > Decimal::ZERO)?;
        let bars = self.amounts.rows.iter();
        let bars = bars.map(|amount| bar(*amount, *largest, cells)).collect();
        Some(project + &self.layout(&columns, Some(bars)))
    }

    /// The same without bars.
    fn without_bars(&self, width: usize) -> Option<String> {
        let (columns, _, project) = self.narrowed(width, 0)?;
        Some(project + &self.layout(&columns, None))
    }

    /// Leaves out as many columns as it takes to leave `room` of `width`. Returns the columns, what
    /// is left of the width, and a line for a project that was left out.
    fn narrowed(&self, width: usize, room: usize) -> Option<(Vec<Column>, usize, String)> {
        let mut columns = self.columns.clone();
        let mut expendable = EXPENDABLE.iter().filter(|name| self.is_expendable(name));
        let mut project = String::new();
        loop {
            let lines = self.layout(&columns, None);
            let widest = lines.lines().map(|line| line.chars().count()).max()?;
            if let Some(left) = width.checked_sub(widest).filter(|left| *left >= room) {
                return Some((columns, left, project));
            }
            let dropped = expendable.next()?;
            if let Some(at) = columns.iter().position(|(_, name, _)| name == dropped) {
                let (index, name, _) = columns.remove(at);
                if name == "project_id" {
                    project = self.project_line(index);
                }
            }
        }
    }

    /// Names the one project of all rows above them.
    fn project_line(&self, index: usize) -> String {
        let known = self.rows.iter().map(|row| &row[index]);
        let mut known = known.filter(|cell| !matches!(cell, Cell::Null));
        let all_known = [0, self.rows.len()].contains(&known.clone().count());
        let project = text("project_id", known.next().unwrap_or(&Cell::Null));
        let limit = if all_known {
            ""
        } else {
            " (where it is known)"
        };
        format!("project {project}{limit}\n")
    }

    /// The first column says what the rows are.
    fn is_expendable(&self, expendable: &str) -> bool {
        let named = self.columns.iter().skip(1);
        let place = named
            .filter(|(_, name, _)| *name == expendable)
            .map(|(index, ..)| *index)
            .next();
        let all_same = |place: usize| {
            let cells = self.rows.iter().map(|row| &row[place]);
            let mut cells = cells.filter(|cell| !matches!(cell, Cell::Null));
            let first = cells.next();
            cells.all(|cell| Some(cell) == first)
        };
        place.is_some_and(|place| expendable != "project_id" || all_same(place))
    }

    fn layout(&self, columns: &[(usize, &str, &str)], bars: Option<Vec<String>>) -> String {
        let amounts = &self.amounts;
        let mut lines: Vec<Vec<String>> = self
            .rows
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
            lines.push(last_line("rounding", columns, |name, _| {
                (name == "cost_usd").then(|| amounts.spell(rounding))
            }));
        }
        lines.push(last_line("total", columns, |name, index| match name {
            "cost_usd" => Some(
                amounts
                    .total
                    .map_or_else(unknown, |total| amounts.spell(total)),
            ),
            name => sum(self.rows, index).map(|sum| number(name, sum)),
        }));

        let mut headings: Vec<&str> = columns.iter().map(|(_, _, heading)| *heading).collect();
        let right: Vec<usize> = (0..columns.len())
            .filter(|place| is_number(columns[*place].1))
            .collect();
        if let Some(bars) = bars {
            headings.push("");
            for (line, bar) in lines.iter_mut().zip(bars) {
                line.push(bar);
            }
        }
        human::table(&headings, &right, lines)
    }
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
        Cell::Truth(truth) => truth.to_string(),
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
