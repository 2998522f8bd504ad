//! How much waits and since when: asked at every scrape, so it must stay cheap.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::{Answered, QueueError};

/// The queue of the whole database at one moment, all projects together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Depth {
    /// The database's time of the measurement.
    pub now: DateTime<Utc>,
    /// Pending and claimable now; their age counts from when they became so.
    pub due: Waiting,
    /// Pending until a later time; their age counts from when they were queued.
    pub later: Waiting,
    /// Their age counts from the claim.
    pub in_progress: Waiting,
    /// Their age counts from when they failed.
    pub failed: Waiting,
    /// Of those in progress, whose worker died or was cut off.
    pub expired_leases: i64,
}

/// Recordings in one state.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Waiting {
    pub recordings: i64,
    /// Of the oldest one; 0 if there is none.
    pub oldest_secs: f64,
}

/// Counts from the partial indexes: what is archived is not touched, and so not counted.
pub async fn depth(pool: &PgPool) -> Result<Depth, QueueError> {
    let row = sqlx::query!(
        r#"-- queue::depth
        SELECT now() AS "now!",
               (SELECT count(*) FROM archiver.recordings
                 WHERE state = 'pending' AND next_attempt_at <= now()) AS "due!",
               (SELECT extract(epoch FROM now() - min(next_attempt_at))::float8
                  FROM archiver.recordings
                 WHERE state = 'pending' AND next_attempt_at <= now()) AS due_secs,
               (SELECT count(*) FROM archiver.recordings
                 WHERE state = 'pending' AND next_attempt_at > now()) AS "later!",
               (SELECT extract(epoch FROM now() - min(enqueued_at))::float8
                  FROM archiver.recordings
                 WHERE state = 'pending' AND next_attempt_at > now()) AS later_secs,
               (SELECT count(*) FROM archiver.recordings
                 WHERE state = 'in_progress') AS "in_progress!",
               (SELECT extract(epoch FROM now() - min(a.started_at))::float8
                  FROM archiver.recordings r
                  JOIN archiver.attempts a USING (recording_id, lease_token)
                 WHERE r.state = 'in_progress') AS in_progress_secs,
               (SELECT count(*) FROM archiver.recordings
                 WHERE state = 'in_progress' AND lease_expires_at <= now())
                   AS "expired_leases!",
               (SELECT count(*) FROM archiver.recordings WHERE state = 'failed') AS "failed!",
               (SELECT extract(epoch FROM now() - min(finalized_at))::float8
                  FROM archiver.recordings WHERE state = 'failed') AS failed_secs"#
    )
    .fetch_one(pool)
    .answered("measure the depth")
    .await?;
    let waiting = |recordings: i64, secs: Option<f64>| Waiting {
        recordings,
        oldest_secs: secs.unwrap_or(0.0).max(0.0),
    };
    Ok(Depth {
        now: row.now,
        due: waiting(row.due, row.due_secs),
        later: waiting(row.later, row.later_secs),
        in_progress: waiting(row.in_progress, row.in_progress_secs),
        failed: waiting(row.failed, row.failed_secs),
        expired_leases: row.expired_leases,
    })
}
