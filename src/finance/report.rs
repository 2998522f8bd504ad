//! Cost reports: the finance views as rows of cells, streamed, exact, in a stable order.
//!
//! Nothing but schema `finance` is read, so that a role which may read only that can report.
//! [`export`] writes what machines read; what people read is made in `cli::report`.

use std::fmt;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use sqlx::PgConnection;

use crate::printable::printable;

pub mod cell;
pub mod changes;
pub mod export;
pub mod focus;
pub mod period;
pub mod recent;
mod rows;

pub use cell::Cell;
pub use period::{Month, Period};

/// Which recordings a report is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    pub period: Period,
    /// Of this project only; those that no project has found yet are nobody's.
    pub project_id: Option<String>,
}

impl fmt::Display for Scope {
    /// As part of a sentence: ` in 2026-03 of project p`; empty where nothing bounds it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.period != Period::default() {
            write!(f, " {}", self.period)?;
        }
        match &self.project_id {
            Some(project) => write!(f, " of project {}", printable(project)),
            None => Ok(()),
        }
    }
}

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
pub fn rows<'a>(
    connection: &'a mut PgConnection,
    grouping: Grouping,
    scope: &'a Scope,
) -> BoxStream<'a, sqlx::Result<Row>> {
    match grouping {
        Grouping::Month => rows::by_month(connection, scope).boxed(),
        Grouping::Session => rows::by_session(connection, scope).boxed(),
        Grouping::Project => rows::by_project(connection, scope).boxed(),
        Grouping::Recording => rows::by_recording(connection, scope).boxed(),
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

/// Counts the [`Remarks`] to the same report: from the months' sums, and for sessions from the
/// recordings of the period, which that report reads anyway.
pub async fn remarks(
    connection: &mut PgConnection,
    grouping: Grouping,
    scope: &Scope,
) -> sqlx::Result<Remarks> {
    let of_months = sqlx::query_as!(
        Remarks,
        r#"-- finance::report::remarks
        SELECT coalesce(sum(provisional) FILTER (WHERE in_period), 0)::bigint AS "provisional!",
               coalesce(sum(missing_cost) FILTER (WHERE in_period), 0)::bigint AS "missing_cost!",
               coalesce(sum(recordings) FILTER (WHERE NOT month_known), 0)::bigint
                   AS "without_month!",
               0::bigint AS "without_session!"
          FROM finance.monthly_costs,
       LATERAL (SELECT ($1::date IS NULL AND $2::date IS NULL)
                       OR billing_month IS NOT NULL AS month_known,
                       coalesce(($1::date IS NULL OR billing_month >= $1)
                            AND ($2::date IS NULL OR billing_month <= $2), false)
                           AS in_period) known
         WHERE $3::text IS NULL OR project_id = $3"#,
        scope.period.first_day_of_from(),
        scope.period.first_day_of_to(),
        scope.project_id.as_deref(),
    )
    .fetch_one(&mut *connection)
    .await?;
    if grouping != Grouping::Session {
        return Ok(of_months);
    }
    let of_sessions = sqlx::query!(
        r#"-- finance::report::session_remarks
        SELECT count(*) FILTER (WHERE room_session_id IS NOT NULL AND cost_state = 'provisional')
                   AS "provisional!",
               count(*) FILTER (WHERE room_session_id IS NOT NULL AND cost_state = 'missing')
                   AS "missing_cost!",
               count(*) FILTER (WHERE room_session_id IS NULL) AS "without_session!"
          FROM finance.recordings
         WHERE ($1::date IS NULL OR billing_month >= $1)
           AND ($2::date IS NULL OR billing_month <= $2)
           AND ($3::text IS NULL OR project_id = $3)"#,
        scope.period.first_day_of_from(),
        scope.period.first_day_of_to(),
        scope.project_id.as_deref(),
    )
    .fetch_one(connection)
    .await?;
    Ok(Remarks {
        provisional: of_sessions.provisional,
        missing_cost: of_sessions.missing_cost,
        without_session: of_sessions.without_session,
        ..of_months
    })
}
