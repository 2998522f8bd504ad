//! `report costs` and its sisters: what the recordings cost, for people as a table and for machines
//! exact.
#![deny(
    clippy::float_arithmetic,
    clippy::float_cmp,
    clippy::cast_precision_loss
)]

use std::io;

use sqlx::PgPool;

use crate::database;
use crate::finance::report::export::{ExportError, write_csv, write_json_array};
use crate::finance::report::period::ReversedPeriod;
use crate::finance::report::{Grouping, Month, Period, Scope, focus, rows};

mod amounts;
mod bar;
pub mod changes;
pub mod reconcile;
mod table;

pub use amounts::InexactSum;

/// Options of `report costs`.
#[derive(Debug, clap::Args)]
pub struct CostsArgs {
    /// What one row stands for
    #[arg(long, value_enum, default_value_t = Grouping::Month)]
    pub by: Grouping,
    /// First month, included (UTC)
    #[arg(long, value_name = "YYYY-MM")]
    pub from: Option<Month>,
    /// Last month, included (UTC)
    #[arg(long, value_name = "YYYY-MM")]
    pub to: Option<Month>,
    /// Recordings of this SignalWire project only
    #[arg(long, value_name = "ID")]
    pub project: Option<String>,
    /// A table to read; CSV and JSON carry the columns of the finance view, exact, without totals
    #[arg(long, value_enum, default_value_t = CostsOutput::Table)]
    pub output: CostsOutput,
}

/// Options of `report focus`.
#[derive(Debug, clap::Args)]
pub struct FocusArgs {
    /// First month, included (UTC)
    #[arg(long, value_name = "YYYY-MM")]
    pub from: Option<Month>,
    /// Last month, included (UTC)
    #[arg(long, value_name = "YYYY-MM")]
    pub to: Option<Month>,
    /// Recordings of this SignalWire project only
    #[arg(long, value_name = "ID")]
    pub project: Option<String>,
    /// How rows are written; exact in both
    #[arg(long, value_enum, default_value_t = FocusOutput::Csv)]
    pub output: FocusOutput,
}

/// How `report focus` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum FocusOutput {
    Csv,
    Json,
}

/// How `report costs` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum CostsOutput {
    Table,
    Csv,
    Json,
}

/// Why there is no report, or only a part of it.
#[derive(Debug, thiserror::Error)]
pub enum CostsError {
    /// A mistake in the usage.
    #[error(transparent)]
    Period(#[from] ReversedPeriod),
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error(transparent)]
    Sum(#[from] InexactSum),
}

impl From<sqlx::Error> for CostsError {
    fn from(error: sqlx::Error) -> Self {
        Self::Export(error.into())
    }
}

impl From<io::Error> for CostsError {
    fn from(error: io::Error) -> Self {
        Self::Export(error.into())
    }
}

/// Writes the report to `out`. All of it shows the database at one moment. `terminal` is the width
/// of the one that `out` is, if it is one: then a table has bars where there is room.
pub async fn costs(
    pool: &PgPool,
    args: &CostsArgs,
    terminal: Option<usize>,
    out: &mut dyn io::Write,
) -> Result<(), CostsError> {
    let scope = Scope {
        period: Period::new(args.from, args.to)?,
        project_id: args.project.clone(),
    };
    let columns = args.by.columns();
    let mut snapshot = database::snapshot(pool).await?;
    match args.output {
        CostsOutput::Table => table::write(&mut snapshot, args.by, &scope, terminal, out).await?,
        CostsOutput::Csv => write_csv(columns, rows(&mut snapshot, args.by, &scope), out).await?,
        CostsOutput::Json => {
            write_json_array(columns, rows(&mut snapshot, args.by, &scope), out).await?;
        }
    }
    snapshot.rollback().await?;
    Ok(())
}

/// Writes the costs in the columns of FOCUS to `out`, as of one moment.
pub async fn focus(
    pool: &PgPool,
    args: &FocusArgs,
    out: &mut dyn io::Write,
) -> Result<(), CostsError> {
    let scope = Scope {
        period: Period::new(args.from, args.to)?,
        project_id: args.project.clone(),
    };
    let mut snapshot = database::snapshot(pool).await?;
    let rows = focus::rows(&mut snapshot, &scope);
    match args.output {
        FocusOutput::Csv => write_csv(&focus::COLUMNS, rows, out).await?,
        FocusOutput::Json => write_json_array(&focus::COLUMNS, rows, out).await?,
    }
    snapshot.rollback().await?;
    Ok(())
}
