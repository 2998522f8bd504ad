//! An invoice against the ledger: which lines agree, which do not and why, and the bridge from our
//! sum to theirs.
//!
//! Postgres keeps the invoice while it is compared, so that its length costs no memory here, and
//! does the arithmetic, exact to the last digit. Nothing but schema `finance` is read.

use chrono::NaiveDate;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use rust_decimal::Decimal;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Postgres, Row as _};
use uuid::Uuid;

use super::report::{Cell, Month, Row};

mod invoice;
mod verdict;

pub use invoice::{
    Charge, ChargeKind, ChargeSum, Columns, DecimalSign, Dialect, Format, InvoiceError,
    InvoiceLine, Length, OtherLines, read_invoice,
};
pub use verdict::{Accepted, Objection, Payable, objections};

/// How a recording's line on the invoice and the ledger differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Discrepancy {
    /// The same but for half a unit of the last decimal of the invoice's line.
    Rounding,
    /// The invoice has a cost that the ledger held before.
    LateChange,
    /// The invoice has it more than once.
    Duplicate,
    /// Another length was billed.
    Units,
    /// The same length at another price.
    Rate,
    /// Another amount, and nothing tells why.
    Amount,
    /// Ours, but of another project than the one that was asked for.
    OtherProject,
    /// Ours began in another month.
    OutsidePeriod,
    /// We know the recording, but no cost of it.
    CostUnknown,
    /// On the invoice, and unknown to us.
    MissingInOurs,
    /// Ours of this month, and not on the invoice.
    MissingOnInvoice,
}

impl Discrepancy {
    /// Every kind, in the order of the bridge.
    pub const ALL: [Self; 11] = [
        Self::Rounding,
        Self::LateChange,
        Self::Duplicate,
        Self::Units,
        Self::Rate,
        Self::Amount,
        Self::OtherProject,
        Self::OutsidePeriod,
        Self::CostUnknown,
        Self::MissingInOurs,
        Self::MissingOnInvoice,
    ];

    /// The word in tables, CSV and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rounding => "rounding",
            Self::LateChange => "late_change",
            Self::Duplicate => "duplicate",
            Self::Units => "units_differ",
            Self::Rate => "rate_differs",
            Self::Amount => "amount_differs",
            Self::OtherProject => "other_project",
            Self::OutsidePeriod => "outside_period",
            Self::CostUnknown => "cost_unknown",
            Self::MissingInOurs => "missing_in_ours",
            Self::MissingOnInvoice => "missing_on_invoice",
        }
    }

    /// What it means, for people.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Rounding => "the invoice rounds",
            Self::LateChange => "the cost changed; the invoice has a former one",
            Self::Duplicate => "on the invoice more than once",
            Self::Units => "another length was billed",
            Self::Rate => "the same length at another price",
            Self::Amount => "another amount, and nothing tells why",
            Self::OtherProject => "of another project by our records",
            Self::OutsidePeriod => "began in another month by our records",
            Self::CostUnknown => "we know the recording, but the provider's API stated no cost",
            Self::MissingInOurs => "on the invoice, and unknown to us",
            Self::MissingOnInvoice => "ours of this month, and not on the invoice",
        }
    }
}

/// One step of the bridge from our sum to the invoice's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub discrepancy: Discrepancy,
    pub recordings: i64,
    pub difference_usd: Decimal,
}

/// Our sum, their sum, and all that lies between; `ours + steps = theirs`, exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    pub our_recordings: i64,
    pub ours_usd: Decimal,
    pub matched: i64,
    pub steps: Vec<Step>,
    pub invoice_lines: i64,
    pub invoice_usd: Decimal,
}

/// The columns of [`Comparison::differences`].
pub const COLUMNS: [&str; 8] = [
    "discrepancy",
    "recording_id",
    "invoice_line",
    "billing_month",
    "cost_usd",
    "invoice_usd",
    "difference_usd",
    "text",
];

/// Returns a line without a recording as a row of [`COLUMNS`].
pub fn charge_row(charge: &Charge) -> Row {
    vec![
        Cell::Text(charge.kind.as_str().to_owned()),
        Cell::Null,
        i64::try_from(charge.number).ok().into(),
        Cell::Null,
        Cell::Null,
        Cell::usd(charge.amount.map(|amount| amount.to_string())),
        Cell::Null,
        Cell::Text(charge.label.clone()),
    ]
}

/// An invoice in comparison with the ledger, for as long as this lives.
#[derive(Debug)]
pub struct Comparison {
    connection: PoolConnection<Postgres>,
}

/// One row for each recording of the month or on the invoice. The two are asked for apart, because
/// an OR would read all recordings; and so is what each cost when the month ended.
const COMPARE: &str = "-- finance::compare_invoice
    INSERT INTO pg_temp.compared
    WITH theirs AS (
        SELECT recording_id, min(line) AS line, count(*) AS lines, sum(amount) AS amount,
               sum(seconds) AS seconds,
               -- Half a unit of each line's last place. As text, because power() rounds to 16
               -- decimals.
               sum(least(('5e-' || scale(amount) + 1)::numeric, $3)) AS tolerance
          FROM pg_temp.invoice GROUP BY recording_id
    ), ours AS (
        SELECT recording_id, billing_month, cost_usd, duration_secs, true AS in_project,
               true AS in_period
          FROM finance.recordings
         WHERE billing_month = $1 AND ($2::text IS NULL OR project_id = $2)
        UNION ALL
        SELECT recording_id, billing_month, cost_usd, duration_secs,
               $2::text IS NULL OR project_id IS NOT DISTINCT FROM $2, false
          FROM finance.recordings JOIN theirs USING (recording_id)
         WHERE (billing_month = $1 AND ($2::text IS NULL OR project_id = $2)) IS NOT TRUE
    )
    SELECT coalesce(o.recording_id, t.recording_id) AS recording_id, t.line, t.lines,
           o.billing_month, coalesce(o.in_period, false) AS in_period, o.cost_usd,
           t.amount,
           coalesce(t.amount, 0)
             - CASE WHEN o.in_period THEN coalesce(o.cost_usd, 0) ELSE 0 END AS difference,
           CASE
               WHEN o.recording_id IS NULL THEN 'missing_in_ours'
               WHEN t.recording_id IS NULL AND o.cost_usd IS NULL THEN 'matched'
               WHEN t.recording_id IS NULL THEN 'missing_on_invoice'
               WHEN NOT o.in_project THEN 'other_project'
               WHEN NOT o.in_period THEN 'outside_period'
               WHEN o.cost_usd IS NULL THEN 'cost_unknown'
               WHEN o.cost_usd = t.amount THEN 'matched'
               WHEN t.lines > 1 AND abs(t.amount - o.cost_usd * t.lines) <= t.tolerance
                   THEN 'duplicate'
               WHEN abs(o.cost_usd - t.amount) <= t.tolerance THEN 'rounding'
               WHEN e.held_until IS NOT NULL THEN 'late_change'
               WHEN t.seconds IS NOT NULL AND t.seconds <> o.duration_secs THEN 'units_differ'
               WHEN t.seconds = o.duration_secs THEN 'rate_differs'
               ELSE 'amount_differs'
           END AS discrepancy, e.held_until
      FROM ours o
      FULL JOIN theirs t ON t.recording_id = o.recording_id
      LEFT JOIN LATERAL (
               -- As text: a time may be infinite.
               SELECT CASE WHEN isfinite(observed_at)
                           THEN to_char(observed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')
                           ELSE observed_at::text END AS held_until
                 FROM finance.cost_changes
                WHERE recording_id = o.recording_id AND o.cost_usd <> t.amount
                  AND (abs(previous_cost_usd - t.amount) <= t.tolerance
                       OR abs(cost_usd - t.amount) <= t.tolerance)
                ORDER BY observed_at DESC LIMIT 1) e ON true";

impl Comparison {
    /// Begins with an empty invoice, on a connection of its own.
    pub async fn begin(pool: &PgPool) -> sqlx::Result<Self> {
        let mut connection = pool.acquire().await?;
        for statement in [
            "-- finance::forget_invoice\nDROP TABLE IF EXISTS pg_temp.invoice, pg_temp.compared",
            "-- finance::begin_invoice
             CREATE TEMP TABLE invoice
                 (line bigint, recording_id uuid, amount numeric, seconds numeric)",
            "-- finance::begin_comparison
             CREATE TEMP TABLE compared
                 (recording_id uuid, line bigint, lines bigint, billing_month date,
                  in_period boolean, cost_usd numeric, amount numeric, difference numeric,
                  discrepancy text, held_until text)",
        ] {
            sqlx::query(statement).execute(&mut *connection).await?;
        }
        Ok(Self { connection })
    }

    /// Takes in lines of the invoice.
    pub async fn add(&mut self, lines: &[InvoiceLine]) -> sqlx::Result<()> {
        let numbers: Vec<i64> = lines
            .iter()
            .map(|it| i64::try_from(it.number).unwrap_or(i64::MAX))
            .collect();
        let ids: Vec<Uuid> = lines.iter().map(|it| it.recording_id.uuid()).collect();
        // As text, because the scale of a zero is lost in Postgres' binary numerics.
        let amounts: Vec<String> = lines.iter().map(|it| it.amount.to_string()).collect();
        let seconds: Vec<Option<Decimal>> = lines.iter().map(|it| it.seconds).collect();
        sqlx::query(
            "-- finance::add_invoice_lines
             INSERT INTO pg_temp.invoice
             SELECT n, id, amount::numeric, seconds
               FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::numeric[])
                        AS l(n, id, amount, seconds)",
        )
        .bind(numbers)
        .bind(ids)
        .bind(amounts)
        .bind(seconds)
        .execute(&mut *self.connection)
        .await
        .map(drop)
    }

    /// Returns how many of the invoice's recordings the ledger knows.
    pub async fn known(&mut self) -> sqlx::Result<i64> {
        sqlx::query_scalar(
            "-- finance::known_on_invoice
             SELECT count(*) FROM (SELECT DISTINCT recording_id FROM pg_temp.invoice) i
               JOIN finance.recordings USING (recording_id)",
        )
        .fetch_one(&mut *self.connection)
        .await
    }

    /// In which months the invoice's recordings began by our records, and how many in each, the
    /// most first.
    pub async fn months(&mut self, project_id: Option<&str>) -> sqlx::Result<Vec<(Month, i64)>> {
        let months: Vec<(NaiveDate, i64)> = sqlx::query_as(
            "-- finance::invoice_months
             SELECT billing_month, count(*)
               FROM (SELECT DISTINCT recording_id FROM pg_temp.invoice) i
               JOIN finance.recordings USING (recording_id)
              WHERE billing_month IS NOT NULL AND ($1::text IS NULL OR project_id = $1)
              GROUP BY billing_month
              ORDER BY count(*) DESC, billing_month",
        )
        .bind(project_id)
        .fetch_all(&mut *self.connection)
        .await?;
        let months = months.into_iter();
        Ok(months.map(|(day, number)| (day.into(), number)).collect())
    }

    /// The projects that have recordings in a month, by their bytes.
    pub async fn projects(&mut self, month: Month) -> sqlx::Result<Vec<String>> {
        sqlx::query_scalar(
            "-- finance::projects_of_month
             SELECT project_id FROM finance.monthly_costs
              WHERE billing_month = $1 AND project_id IS NOT NULL
              ORDER BY project_id COLLATE \"C\"",
        )
        .bind(month.first_day())
        .fetch_all(&mut *self.connection)
        .await
    }

    /// Holds what was taken in against the recordings of a month, of one project or of all.
    /// A line may differ by half a unit of its last place, and by `line_tolerance_usd`.
    pub async fn bridge(
        &mut self,
        month: Month,
        project_id: Option<&str>,
        line_tolerance_usd: Decimal,
    ) -> sqlx::Result<Bridge> {
        sqlx::query("-- finance::analyze_invoice\nANALYZE pg_temp.invoice")
            .execute(&mut *self.connection)
            .await?;
        sqlx::query(COMPARE)
            .bind(month.first_day())
            .bind(project_id)
            .bind(line_tolerance_usd)
            .execute(&mut *self.connection)
            .await?;
        let sums = sqlx::query(
            "-- finance::bridge_sums
             SELECT count(*) FILTER (WHERE in_period AND cost_usd IS NOT NULL) AS our_recordings,
                    coalesce(sum(cost_usd) FILTER (WHERE in_period), 0) AS ours,
                    count(*) FILTER (WHERE discrepancy = 'matched' AND amount IS NOT NULL) AS matched,
                    coalesce(sum(lines), 0)::bigint AS lines, coalesce(sum(amount), 0) AS theirs
               FROM pg_temp.compared",
        )
        .fetch_one(&mut *self.connection)
        .await?;
        let mut bridge = Bridge {
            our_recordings: sums.try_get("our_recordings")?,
            ours_usd: sums.try_get("ours")?,
            matched: sums.try_get("matched")?,
            steps: Vec::new(),
            invoice_lines: sums.try_get("lines")?,
            invoice_usd: sums.try_get("theirs")?,
        };
        for discrepancy in Discrepancy::ALL {
            let step = sqlx::query(
                "-- finance::bridge_step
                 SELECT count(*) AS recordings, coalesce(sum(difference), 0) AS difference
                   FROM pg_temp.compared WHERE discrepancy = $1",
            )
            .bind(discrepancy.as_str())
            .fetch_one(&mut *self.connection)
            .await?;
            let recordings: i64 = step.try_get("recordings")?;
            if recordings > 0 {
                bridge.steps.push(Step {
                    discrepancy,
                    recordings,
                    difference_usd: step.try_get("difference")?,
                });
            }
        }
        Ok(bridge)
    }

    /// What does not match, the largest difference first; [`Comparison::bridge`] comes before.
    pub fn differences(&mut self) -> BoxStream<'_, sqlx::Result<Row>> {
        sqlx::query(
            "-- finance::invoice_differences
             SELECT discrepancy, recording_id, line, billing_month, cost_usd::text AS cost_usd,
                    amount::text AS amount, difference::text AS difference, held_until
               FROM pg_temp.compared WHERE discrepancy <> 'matched'
              ORDER BY abs(difference) DESC, recording_id",
        )
        .fetch(&mut *self.connection)
        .and_then(|row| std::future::ready(cells(&row)))
        .boxed()
    }

    /// Forgets the invoice.
    pub async fn end(mut self) -> sqlx::Result<()> {
        sqlx::query("DROP TABLE IF EXISTS pg_temp.invoice, pg_temp.compared")
            .execute(&mut *self.connection)
            .await
            .map(drop)
    }
}

fn cells(row: &PgRow) -> sqlx::Result<Row> {
    Ok(vec![
        Cell::Text(row.try_get("discrepancy")?),
        Cell::Id(row.try_get("recording_id")?),
        row.try_get::<Option<i64>, _>("line")?.into(),
        row.try_get::<Option<NaiveDate>, _>("billing_month")?.into(),
        Cell::usd(row.try_get("cost_usd")?),
        Cell::usd(row.try_get("amount")?),
        Cell::usd(row.try_get("difference")?),
        row.try_get::<Option<String>, _>("held_until")?
            .map(|time| format!("held until {time} UTC"))
            .into(),
    ])
}
