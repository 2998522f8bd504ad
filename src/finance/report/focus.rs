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
               billing_month::timestamp AT TIME ZONE 'UTC' AS "period_start!",
               (billing_month + interval '1 month')::timestamp AT TIME ZONE 'UTC' AS "period_end!",
               started_at, finished_at, duration_secs,
               jsonb_strip_nulls(jsonb_build_object(
                   'room_session_id', room_session_id, 'cost_state', cost_state,
                   'archive_state', archive_state))::text AS "tags!"
          FROM finance.recordings
         WHERE cost_usd IS NOT NULL AND billing_month IS NOT NULL
           AND ($1::date IS NULL OR billing_month >= $1)
           AND ($2::date IS NULL OR billing_month <= $2)
           AND ($3::text IS NULL OR project_id = $3)
         ORDER BY billing_month, started_at NULLS LAST, recording_id"#,
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
            row.period_start.into(),
            row.period_end.into(),
            text("Usage"),
            Cell::Null,
            text("Recording of a video room"),
            text("Usage-Based"),
            row.started_at.into(),
            row.finished_at.into(),
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
