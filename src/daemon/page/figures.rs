//! What the page shows, read from the stations in one snapshot, so that its figures agree.

use sqlx::Error;

use super::STATEMENT_WITHIN;
use crate::daemon::http::Service;
use crate::database;
use crate::finance::report::Month;
use crate::finance::report::recent::{self as costs, MonthlyCost, SessionCost};
use crate::queue::overview::{self, Overview, RecordingDetails};
use crate::queue::recent::{self, ArchivedLast, ArchivedOnDay, FailedLast};
use crate::recording::RecordingId;

const DAYS: i32 = 30;
const MONTHS: i32 = 24;
/// Of each list.
const LISTED: i64 = 10;

#[derive(Debug)]
pub(super) struct Figures {
    pub(super) overview: Overview,
    pub(super) failed_last: Vec<FailedLast>,
    pub(super) archived_last: Vec<ArchivedLast>,
    /// Oldest first, without a gap.
    pub(super) days: Vec<ArchivedOnDay>,
    /// Oldest first, without a gap, from the first one that has a recording.
    pub(super) months: Vec<MonthlyCost>,
    /// Whose sessions are listed; `None` while no month has a known cost.
    pub(super) month: Option<Month>,
    pub(super) sessions: Vec<SessionCost>,
}

/// Looks at everything; `month` is the one whose sessions are listed, the last one with a known
/// cost unless it is given.
pub(super) async fn read(service: &Service, month: Option<Month>) -> Result<Figures, Error> {
    let mut snapshot = database::brief_snapshot(&service.pool, STATEMENT_WITHIN).await?;
    let overview = overview::read(&mut snapshot, service.gauges.within())
        .await
        .map_err(|error| error.0)?;
    let failed_last = recent::failed_last(&mut snapshot, LISTED).await?;
    let archived_last = recent::archived_last(&mut snapshot, LISTED).await?;
    let days = recent::archived_by_day(&mut snapshot, DAYS).await?;
    let mut months = costs::monthly_costs(&mut snapshot, MONTHS).await?;
    let empty = months.iter().take_while(|month| month.recordings == 0);
    months.drain(..empty.count());
    let month = month.or_else(|| {
        let known = months.iter().rfind(|month| month.cost_usd.is_some());
        known.map(|known| known.month)
    });
    let sessions = match month {
        Some(month) => costs::costliest_sessions(&mut snapshot, month, LISTED).await?,
        None => Vec::new(),
    };
    snapshot.rollback().await?;
    Ok(Figures {
        overview,
        failed_last,
        archived_last,
        days,
        months,
        month,
        sessions,
    })
}

/// Looks at one recording; `None` when the queue does not know it.
pub(super) async fn one(
    service: &Service,
    id: RecordingId,
) -> Result<Option<RecordingDetails>, Error> {
    let mut snapshot = database::brief_snapshot(&service.pool, STATEMENT_WITHIN).await?;
    let details = overview::read_recording(&mut snapshot, id)
        .await
        .map_err(|error| error.0)?;
    snapshot.rollback().await?;
    Ok(details)
}
