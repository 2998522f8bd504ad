//! Compares the lines of an invoice with the ledger, in batches and by one snapshot of the database.
//!
//! Only schema `finance` is read and nothing is written, not even a temporary table: a role that
//! may only read those views can compare. Lines and differences are sorted in temporary files here,
//! so that the length of the invoice costs no memory. Postgres does the arithmetic.

use std::io;

use chrono::NaiveDate;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use rust_decimal::Decimal;
use sqlx::{AssertSqlSafe, PgPool, Postgres, Row as _, Transaction};
use uuid::Uuid;

use super::counted::Counted;
use super::difference::Difference;
use super::lines::Lines;
use super::sorter::Sorted;
use super::statements as sql;
use super::{Bridge, Discrepancy, Step};
use crate::database;
use crate::finance::report::{Month, Row};

/// Lines that are compared at once.
const BATCH: usize = 1000;

/// What the IDs of an invoice name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Recording,
    Session,
}

impl Unit {
    /// The word in sentences.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recording => "recording",
            Self::Session => "session",
        }
    }
}

/// Why an invoice could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    #[error("compare the invoice")]
    Database(#[from] sqlx::Error),
    #[error("sort the invoice in a temporary file: {0}; make room in TMPDIR")]
    Sort(#[from] io::Error),
    #[error("compare the invoice: more than 100000 lines name {0}; correct --id-column")]
    OneId(Uuid),
}

/// In which months the units of an invoice began.
#[derive(Debug, Default)]
pub struct Months {
    /// Units of the invoice that the ledger knows.
    pub known: i64,
    /// Months with the number of units that began in each, the most first.
    pub months: Vec<(Month, i64)>,
}

/// An invoice in comparison with the ledger as of one moment.
#[derive(Debug)]
pub struct Comparison {
    snapshot: Transaction<'static, Postgres>,
    unit: Unit,
    lines: Lines,
    differences: Sorted<Difference>,
}

impl Comparison {
    pub async fn begin(pool: &PgPool, unit: Unit, lines: Lines) -> sqlx::Result<Self> {
        Ok(Self {
            snapshot: database::snapshot(pool).await?,
            unit,
            lines,
            differences: Sorted::default(),
        })
    }

    /// Returns the months in which the invoice's units began.
    pub async fn months(&mut self, project_id: Option<&str>) -> Result<Months, CompareError> {
        let statement = match self.unit {
            Unit::Recording => sql::MONTHS_OF_RECORDINGS,
            Unit::Session => sql::MONTHS_OF_SESSIONS,
        };
        let mut months = Months::default();
        let mut batches = self.lines.batches(BATCH)?;
        while let Some(batch) = batches.next()? {
            let mut ids: Vec<Uuid> = batch.iter().map(|line| line.id).collect();
            ids.dedup();
            let found: Vec<(Option<NaiveDate>, i64, bool)> = sqlx::query_as(statement)
                .bind(ids)
                .bind(project_id)
                .fetch_all(&mut *self.snapshot)
                .await?;
            for (month, number, counts) in found {
                months.known += number;
                let Some(month) = month.filter(|_| counts).map(Month::from) else {
                    continue;
                };
                match months.months.iter_mut().find(|(it, _)| *it == month) {
                    Some((_, sum)) => *sum += number,
                    None => months.months.push((month, number)),
                }
            }
        }
        months
            .months
            .sort_by_key(|(month, number)| (-number, month.first_day()));
        Ok(months)
    }

    /// Returns the projects that have recordings in a month, by their bytes.
    pub async fn projects(&mut self, month: Month) -> sqlx::Result<Vec<String>> {
        sqlx::query_scalar(sql::PROJECTS_OF_MONTH)
            .bind(month.first_day())
            .fetch_all(&mut *self.snapshot)
            .await
    }

    /// Compares the invoice with a month, of one project or of all. A line may differ by half a
    /// unit of its last place, and by `line_tolerance_usd`.
    pub async fn bridge(
        &mut self,
        month: Month,
        project_id: Option<&str>,
        line_tolerance_usd: Decimal,
    ) -> Result<Bridge, CompareError> {
        let mut counted = Counted::default();
        self.compare_lines(month, project_id, line_tolerance_usd, &mut counted)
            .await?;
        self.compare_month(month, project_id, &mut counted).await?;
        let mut steps = Vec::new();
        for discrepancy in Discrepancy::ALL {
            let recordings = counted.by_kind[discrepancy as usize];
            if recordings > 0 {
                steps.push(Step {
                    discrepancy,
                    recordings,
                    difference_usd: counted.sums.get(discrepancy.as_str())?,
                });
            }
        }
        let bridge = Bridge {
            our_recordings: counted.ours,
            ours_usd: counted.sums.get("ours")?,
            matched: counted.matched,
            known: counted.known,
            steps,
            invoice_lines: counted.lines,
            invoice_usd: counted.sums.get("theirs")?,
        };
        self.differences = counted.differences.sorted()?;
        Ok(bridge)
    }

    async fn compare_lines(
        &mut self,
        month: Month,
        project_id: Option<&str>,
        line_tolerance_usd: Decimal,
        counted: &mut Counted,
    ) -> Result<(), CompareError> {
        let statement = match self.unit {
            Unit::Recording => sql::COMPARE_RECORDINGS,
            Unit::Session => sql::COMPARE_SESSIONS,
        };
        let mut batches = self.lines.batches(BATCH)?;
        while let Some(batch) = batches.next()? {
            let rows = sqlx::query(statement)
                .bind(batch.iter().map(|line| line.id).collect::<Vec<_>>())
                .bind(batch.iter().map(|line| line.number).collect::<Vec<_>>())
                .bind(batch.iter().map(|line| &*line.amount).collect::<Vec<_>>())
                .bind(
                    batch
                        .iter()
                        .map(|line| line.seconds.as_deref())
                        .collect::<Vec<_>>(),
                )
                .bind(month.first_day())
                .bind(project_id)
                .bind(line_tolerance_usd.to_string())
                .fetch_all(&mut *self.snapshot)
                .await?;
            let mut amounts = Vec::new();
            for row in &rows {
                counted.line(row, &mut amounts)?;
            }
            counted.sums.add(&mut self.snapshot, amounts).await?;
        }
        Ok(())
    }

    /// Walks through the month's costs and the invoice, both in the order of IDs: what is only in
    /// the month is missing on the invoice.
    async fn compare_month(
        &mut self,
        month: Month,
        project_id: Option<&str>,
        counted: &mut Counted,
    ) -> Result<(), CompareError> {
        let statement = match self.unit {
            Unit::Recording => sql::MONTH_BY_RECORDING,
            Unit::Session => sql::MONTH_BY_SESSION,
        };
        let mut items = self.lines.items()?;
        let mut billed = items.next()?;
        let cursor = "-- finance::declare_month\nDECLARE month NO SCROLL CURSOR FOR ";
        let declare = format!("{cursor}{statement}");
        sqlx::query(AssertSqlSafe(declare))
            .bind(month.first_day())
            .bind(project_id)
            .execute(&mut *self.snapshot)
            .await?;
        loop {
            let rows = sqlx::query("-- finance::fetch_month\nFETCH 1000 FROM month")
                .fetch_all(&mut *self.snapshot)
                .await?;
            if rows.is_empty() {
                break;
            }
            let mut amounts = Vec::new();
            for row in &rows {
                let id: Option<Uuid> = row.try_get("id")?;
                let cost: String = row.try_get("cost")?;
                counted.ours += 1;
                amounts.push(("ours", cost.clone()));
                while billed.as_ref().is_some_and(|line| Some(line.id) < id) {
                    billed = items.next()?;
                }
                let is_billed = id.is_some() && billed.as_ref().map(|line| line.id) == id;
                if !is_billed {
                    let difference: String = row.try_get("difference")?;
                    counted.missing(id, month, (cost, difference), &mut amounts)?;
                }
            }
            counted.sums.add(&mut self.snapshot, amounts).await?;
        }
        Ok(())
    }

    /// Returns what does not match, the largest difference first; [`Comparison::bridge`] comes
    /// before.
    pub fn differences(&self) -> BoxStream<'_, sqlx::Result<Row>> {
        let failed = |error: io::Error| sqlx::Error::Decode(error.into());
        let mut items = match self.differences.items() {
            Ok(items) => items,
            Err(error) => return stream::iter([Err(failed(error))]).boxed(),
        };
        let rows = std::iter::from_fn(move || items.next().map_err(failed).transpose());
        stream::iter(rows.map(|found| found.map(Difference::into_row))).boxed()
    }

    /// Ends the snapshot.
    pub async fn end(self) -> sqlx::Result<()> {
        self.snapshot.rollback().await
    }
}
