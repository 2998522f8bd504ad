//! The costs in the columns of FOCUS, the open specification of cost and usage data (version 1.2), so
//! that they drop into tools that read it: one row per recording whose cost and month are known.
//!
//! Only columns that can be filled from what the provider states are there. It names no billing
//! account, no list price and no invoice, and whether a stated cost is what it bills is for
//! `report reconcile` to find out.

use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use sqlx::PgConnection;

use super::{Cell, Row, Scope};

/// The columns in the order of [`rows`].
pub const COLUMNS: [&str; 20] = [
    "BilledCost",
    "BillingCurrency",
    "BillingPeriodStart",
    "BillingPeriodEnd",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ProviderName",
    "PublisherName",
    "ResourceId",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "SubAccountId",
    "Tags",
];

/// The rows as the database sends them, by month, start and ID. Ends of periods are exclusive, as
/// FOCUS has it.
pub fn rows<'a>(
    connection: &'a mut PgConnection,
    scope: &'a Scope,
) -> BoxStream<'a, sqlx::Result<Row>> {
    let text = |text: &str| Cell::from(text.to_owned());
    sqlx::query!(
        r#"-- finance::report::focus
        SELECT recording_id AS "recording_id!", project_id, cost_usd::text AS "cost_usd!",
               to_json(billing_month::timestamp AT TIME ZONE 'UTC') #>> '{}' AS period_start,
               -- The last month that Postgres can hold has no next one.
               CASE WHEN billing_month <= '9999-12-31' OR NOT isfinite(billing_month)
                    THEN to_json((billing_month + interval '1 month')::timestamp
                                 AT TIME ZONE 'UTC') #>> '{}' END AS period_end,
               to_json(started_at) #>> '{}' AS started_at,
               to_json(finished_at) #>> '{}' AS finished_at, duration_secs,
               jsonb_strip_nulls(jsonb_build_object(
                   'room_session_id', room_session_id, 'cost_state', cost_state,
                   'archive_state', archive_state))::text AS "tags!"
          FROM finance.recordings r
         WHERE cost_usd IS NOT NULL AND billing_month IS NOT NULL
           AND ($1::date IS NULL OR billing_month >= $1)
           AND ($2::date IS NULL OR billing_month <= $2)
           AND ($3::text IS NULL OR project_id = $3)
         ORDER BY r.billing_month, r.started_at NULLS LAST, recording_id"#,
        scope.period.first_day_of_from(),
        scope.period.first_day_of_to(),
        scope.project_id.as_deref(),
    )
    .fetch(connection)
    .map_ok(move |row| {
        let unit = row.duration_secs.map(|_| "Seconds".to_owned());
        vec![
            Cell::Usd(row.cost_usd),
            text("USD"),
            Cell::time(row.period_start),
            Cell::time(row.period_end),
            text("Usage"),
            Cell::Null,
            text("Recording of a video room"),
            text("Usage-Based"),
            Cell::time(row.started_at),
            Cell::time(row.finished_at),
            row.duration_secs.into(),
            unit.into(),
            text("SignalWire"),
            text("SignalWire"),
            row.recording_id.into(),
            text("Room recording"),
            text("Media"),
            text("SignalWire Video"),
            row.project_id.into(),
            text(&row.tags),
        ]
    })
    .boxed()
}
