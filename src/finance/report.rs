//! Cost reports: the finance views as rows of cells, streamed, exact, in a stable order.
//!
//! Nothing but schema `finance` is read, so that a role which may read only that can report.
//! [`export`] writes what machines read; what people read is made in `cli::report`.

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use sqlx::PgConnection;

pub mod cell;
pub mod export;
pub mod focus;
pub mod period;
pub mod recent;
mod rows;

pub use cell::Cell;
pub use period::{Month, Period};

/// One line of a report: a cell for each of [`Grouping::columns`].
pub type Row = Vec<Cell>;

/// By what costs are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Grouping {
    /// One row per UTC month and project: `finance.monthly_costs`.
    Month,
    /// One row per room session, project and month: `finance.session_costs`.
    Session,
    /// One row per project: `finance.monthly_costs`, its months added up.
    Project,
    /// One row per recording: `finance.recordings`.
    Recording,
}

impl Grouping {
    /// The columns, as the view has them; units stand in their names.
    pub const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Month => &[
                "billing_month",
                "project_id",
                "recordings",
                "archived",
                "duration_secs",
                "size_bytes",
                "cost_usd",
                "provisional",
                "missing_cost",
            ],
            Self::Session => &[
                "room_session_id",
                "project_id",
                "billing_month",
                "recordings",
                "duration_secs",
                "size_bytes",
                "cost_usd",
            ],
            Self::Project => &[
                "project_id",
                "recordings",
                "archived",
                "duration_secs",
                "size_bytes",
                "cost_usd",
                "provisional",
                "missing_cost",
            ],
            Self::Recording => &[
                "recording_id",
                "project_id",
                "room_session_id",
                "billing_month",
                "started_at",
                "finished_at",
                "duration_secs",
                "size_bytes",
                "cost_usd",
                "cost_state",
                "cost_observed_at",
                "archive_state",
                "archived_at",
                "object_url",
            ],
        }
    }
}

/// The rows of a report as the database sends them, sorted: by month, session or project, and
/// for recordings by month and start. Rows without a month or a project come last, and those
/// without a month are left out when the period has a bound.
pub fn rows(
    connection: &mut PgConnection,
    grouping: Grouping,
    period: Period,
) -> BoxStream<'_, sqlx::Result<Row>> {
    match grouping {
        Grouping::Month => rows::by_month(connection, period).boxed(),
        Grouping::Session => rows::by_session(connection, period).boxed(),
        Grouping::Project => rows::by_project(connection, period).boxed(),
        Grouping::Recording => rows::by_recording(connection, period).boxed(),
    }
}

/// What a reader must know beside the rows: how many recordings have a cost that is not final,
/// and how many are not listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remarks {
    /// Listed recordings whose cost may still change.
    pub provisional: i64,
    /// Listed recordings whose cost is unknown, and so no part of any sum.
    pub missing_cost: i64,
    /// Recordings left out because their month is not known yet, though the period has a bound.
    pub without_month: i64,
    /// Recordings of the period left out because their session is not known yet.
    pub without_session: i64,
}

/// Counts the [`Remarks`] to the same report.
pub async fn remarks(
    connection: &mut PgConnection,
    grouping: Grouping,
    period: Period,
) -> sqlx::Result<Remarks> {
    sqlx::query_as!(
        Remarks,
        r#"-- finance::report::remarks
        SELECT count(*) FILTER (WHERE listed AND cost_state = 'provisional') AS "provisional!",
               count(*) FILTER (WHERE listed AND cost_state = 'missing') AS "missing_cost!",
               count(*) FILTER (WHERE NOT month_known) AS "without_month!",
               count(*) FILTER (WHERE in_period AND NOT session_known) AS "without_session!"
          FROM (SELECT cost_state, in_period, month_known, session_known,
                       in_period AND session_known AS listed
                  FROM finance.recordings,
               LATERAL (SELECT ($1::date IS NULL AND $2::date IS NULL)
                               OR billing_month IS NOT NULL AS month_known,
                               NOT $3::boolean OR room_session_id IS NOT NULL AS session_known,
                               coalesce(($1::date IS NULL OR billing_month >= $1)
                                    AND ($2::date IS NULL OR billing_month <= $2), false)
                                   AS in_period) known) recordings"#,
        period.first_day_of_from(),
        period.first_day_of_to(),
        grouping == Grouping::Session,
    )
    .fetch_one(connection)
    .await
}
