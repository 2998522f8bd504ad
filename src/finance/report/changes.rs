//! What changed after a month had ended, when a report of it may have been closed: the late rows of
//! `finance.cost_changes`.

use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use sqlx::PgConnection;

use super::{Cell, Month, Row};

/// The columns, as the view has them, in the order of [`rows`].
pub const COLUMNS: [&str; 8] = [
    "recording_id",
    "project_id",
    "billing_month",
    "observed_at",
    "previous_cost_usd",
    "cost_usd",
    "change_usd",
    "after_month_end",
];

/// The late changes of a month's recordings, of one project or of all, in the order in which they
/// were seen. Asks for each recording of the month by its ID: the ledger is as long as the archive.
pub fn rows<'a>(
    connection: &'a mut PgConnection,
    month: Month,
    project_id: Option<&'a str>,
) -> BoxStream<'a, sqlx::Result<Row>> {
    sqlx::query!(
        r#"-- finance::report::changes
        SELECT c.recording_id AS "recording_id!", c.project_id,
               to_json(c.billing_month) #>> '{}' AS billing_month,
               to_json(c.observed_at) #>> '{}' AS observed_at,
               c.previous_cost_usd::text AS previous_cost_usd, c.cost_usd::text AS cost_usd,
               c.change_usd::text AS change_usd, c.after_month_end AS "after_month_end!"
          FROM finance.recordings r
         CROSS JOIN LATERAL (SELECT * FROM finance.cost_changes
                              WHERE recording_id = r.recording_id AND after_month_end
                             OFFSET 0) c
         WHERE r.billing_month = $1
           AND ($2::text IS NULL OR r.project_id = $2)
         ORDER BY c.observed_at, c.recording_id"#,
        month.first_day(),
        project_id,
    )
    .fetch(connection)
    .map_ok(|row| {
        vec![
            row.recording_id.into(),
            row.project_id.into(),
            Cell::day(row.billing_month),
            Cell::time(row.observed_at),
            Cell::usd(row.previous_cost_usd),
            Cell::usd(row.cost_usd),
            Cell::usd(row.change_usd),
            Cell::Truth(row.after_month_end),
        ]
    })
    .boxed()
}
