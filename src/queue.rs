//! The queue in Postgres: who may work on which recording, until when, and how it ended.
//!
//! A claim is a lease with a token. Every statement that renews or settles names both and must
//! touch exactly one row, so a worker whose lease has passed to another changes nothing. All
//! times are the database's `now()`; no transaction is open while bytes move.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::types::PgInterval;
use sqlx::{PgPool, Postgres, Transaction};

use crate::deadline::in_time;

mod archived;
mod bell;
mod chore;
mod claim;
mod comparison;
mod coverage;
mod depth;
mod described;
mod discovery;
mod enqueue;
mod finished;

mod missing;
pub mod overview;
mod placed;
mod progress;
mod projects;
mod rebuild;
pub mod recent;
mod retirements;
mod settle;
mod state;
mod store_probes;
mod uploads;
mod vouched;

pub use archived::{
    Ahead, ArchivedObject, Unread, archived, keep_pace, note_damage, note_equal, note_kept_aside,
    note_not_read, pace_kept_until, to_try_again,
};
pub use bell::listen;
pub use chore::{Chore, succeeded_chores};
pub use claim::{ArchivedRow, Claim, Cursor, Direct, Due, Wish};
pub use comparison::{Gap, GapEntry, ListedIds};
pub use coverage::{Coverage, coverage};
pub use depth::{Depth, Waiting, depth};
pub use described::{Heard, Noted, StatedCost, note_listed};
pub use discovery::{DiscoveryWalk, WalkedSoFar};
pub use enqueue::{Chosen, enqueue, enqueue_in, has_unsettled, retry, states};
pub use finished::{Finished, finished};
pub use missing::note_missing_at_source;
pub use placed::{
    ArchivedFacts, PlacedObject, archived_after, archived_facts, archived_with_other_cost,
    is_accounted_for, newest_in,
};
pub use rebuild::{Rebuilding, RowBefore, ToRebuild, leave_row, rebuild, rows_before};
pub use retirements::{
    OpenRetirement, RetireRow, RetireWish, SourceGone, begin_retirement, confirm_retirement,
    refuse_retirement, retire_rows, settle_retirement,
};
pub use settle::{Failure, Outcome, StoredObject};
pub use state::JobState;
pub use store_probes::{StoreProbe, StoreSeen, TakesPartSize, note_store_probe};
pub use uploads::{
    BegunUpload, LeftUpload, StaleUpload, forget_stale_upload, held_recordings, recorded_uploads,
    stale_uploads, take_stale_upload,
};
pub use vouched::KnownPlace;

/// One process's access to the queue: its project, its name, its lease.
#[derive(Debug, Clone)]
pub struct Queue {
    pool: PgPool,
    project_id: String,
    holder: String,
    lease: Duration,
}

/// Why the queue could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error("{operation} in the queue")]
    Database {
        operation: &'static str,
        #[source]
        source: sqlx::Error,
    },
    /// Another worker owns the recording, or an operator settled it.
    #[error("the lease is lost: another worker owns the recording now")]
    LeaseLost,
    #[error("another process goes on with this walk through the list")]
    WalkTaken,
    #[error("column {column} of {table} holds `{value}`, which this version does not know")]
    UnknownWord {
        table: &'static str,
        column: &'static str,
        value: String,
    },
}

impl QueueError {
    pub const fn kind(&self) -> crate::error::ErrorKind {
        match self {
            Self::Database { .. } | Self::UnknownWord { .. } => crate::error::ErrorKind::Internal,
            Self::LeaseLost | Self::WalkTaken => crate::error::ErrorKind::LeaseLost,
        }
    }

    /// Whether the statement is worth another try.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Database { source, .. } if crate::database::is_outage(source))
    }

    const fn database(operation: &'static str, source: sqlx::Error) -> Self {
        Self::Database { operation, source }
    }
}

impl Queue {
    /// `holder` names this process in `leased_by`; `lease` is how long a claim lasts unrenewed.
    pub const fn new(pool: PgPool, project_id: String, holder: String, lease: Duration) -> Self {
        Self {
            pool,
            project_id,
            holder,
            lease,
        }
    }

    pub(crate) const fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub const fn lease(&self) -> Duration {
        self.lease
    }

    pub fn project_id(&self) -> &str {
        &self.project_id
    }

    /// Opens the transaction in which a claim is settled.
    pub async fn begin(&self) -> Result<Transaction<'static, Postgres>, QueueError> {
        begin(&self.pool).await
    }
}

/// Opens a transaction in which rows and ledger change together.
pub async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>, QueueError> {
    pool.begin().answered("begin to write").await
}

/// Ends it; what was written holds from here on.
pub async fn commit(
    transaction: Transaction<'_, Postgres>,
    operation: &'static str,
) -> Result<(), QueueError> {
    transaction.commit().answered(operation).await
}

/// Waits for what the ledger writes in such a transaction.
pub async fn written<T>(
    writing: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, QueueError> {
    writing.answered("write the ledger").await
}

/// A question to the database, which may have gone away without a word.
trait Answered<T>: Future<Output = Result<T, sqlx::Error>> + Sized {
    /// Waits for the answer, but not for ever.
    async fn answered(self, operation: &'static str) -> Result<T, QueueError> {
        in_time(self)
            .await
            .map_err(|source| QueueError::database(operation, source))
    }
}

impl<T, F: Future<Output = Result<T, sqlx::Error>>> Answered<T> for F {}

/// The time by which everything in the queue happens.
pub async fn database_time(pool: &PgPool) -> Result<DateTime<Utc>, QueueError> {
    sqlx::query_scalar("SELECT now()")
        .fetch_one(pool)
        .answered("ask for the time")
        .await
}

/// Demands that a fenced statement touched its one row.
fn exactly_one(result: &sqlx::postgres::PgQueryResult) -> Result<(), QueueError> {
    match result.rows_affected() {
        1 => Ok(()),
        _ => Err(QueueError::LeaseLost),
    }
}

fn interval(duration: Duration) -> PgInterval {
    PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX),
    }
}
