//! Claiming one recording by name: what an operator asks for waits in no line.

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::{Claim, ClaimedRow};
use crate::digest::Sha256Digest;
use crate::error::ErrorKind;
use crate::queue::{Answered, Finished, JobState, Queue, QueueError, finished, interval};
use crate::recording::RecordingId;

/// How far a direct claim may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Pending rows, due or not, and expired leases.
    Unfinished,
    /// Failed rows too.
    EvenFailed,
    /// Failed and archived rows too.
    EvenArchived,
}

/// What asking for one certain recording gave.
#[derive(Debug)]
pub enum Direct {
    Claimed(Claim),
    /// Another live lease, or a row locked at this moment.
    Elsewhere {
        leased_by: Option<String>,
    },
    Archived(Box<ArchivedRow>),
    Failed {
        error_kind: Option<ErrorKind>,
        error_message: Option<String>,
    },
    /// Known to belong to another project, whose archiver has to do it.
    OtherProject {
        project_id: String,
    },
    /// This project's API does not know it, and another project's has not been asked yet.
    OtherProjectFirst,
    Unknown,
}

/// What is on record of an archived recording.
#[derive(Debug, Clone)]
pub struct ArchivedRow {
    pub object_key: String,
    pub object_url: String,
    pub size_bytes: u64,
    pub sha256: Sha256Digest,
    pub evidence: String,
    /// Exact decimal text.
    pub cost_usd: Option<String>,
    /// Since when the provider has it no more.
    pub source_deleted_at: Option<DateTime<Utc>>,
}

impl Queue {
    /// Claims one recording by name, due or not, as far as `wish` goes; otherwise says what
    /// stands in the way.
    pub async fn claim_direct(&self, id: RecordingId, wish: Wish) -> Result<Direct, QueueError> {
        let claimed_at = Instant::now();
        let row = sqlx::query_as!(
            ClaimedRow,
            r#"-- queue::claim_direct
            WITH wanted AS (
                SELECT recording_id, state FROM archiver.recordings
                 WHERE recording_id = $1
                   AND (project_id IS NULL OR project_id = $2)
                   AND ($2 <> ALL (not_found_in) OR $5 OR NOT archiver.others_to_ask(not_found_in))
                   AND (state = 'pending'
                        OR (state = 'in_progress'
                            AND (lease_expires_at <= now()
                                 OR lease_expires_at > now() + interval '7 days'))
                        OR (state = 'failed' AND $5)
                        OR (state = 'archived' AND $6))
                   FOR UPDATE SKIP LOCKED
            ), lost AS (
                UPDATE archiver.attempts a
                   SET outcome = 'lost', finished_at = now(), error_kind = 'lease_lost',
                       error_message = 'the lease ran out; the worker died or was cut off'
                  FROM wanted w
                 WHERE a.recording_id = w.recording_id AND a.outcome IS NULL
            ), claimed AS (
                UPDATE archiver.recordings r
                   SET attempts = CASE WHEN w.state IN ('failed', 'archived') THEN 1
                                       ELSE r.attempts + 1 END,
                       not_ready_since = CASE WHEN w.state = 'failed' THEN NULL
                                              ELSE r.not_ready_since END,
                       mismatched_size_bytes = CASE WHEN w.state = 'failed' THEN NULL
                                                    ELSE r.mismatched_size_bytes END,
                       not_found_in = CASE WHEN w.state = 'failed' THEN '{}'
                                           ELSE r.not_found_in END,
                       state = 'in_progress', finalized_at = NULL,
                       lease_token = gen_random_uuid(), lease_expires_at = now() + $3,
                       leased_by = $4
                  FROM wanted w
                 WHERE r.recording_id = w.recording_id
             RETURNING r.recording_id, r.next_attempt_at, r.lease_token, r.attempts,
                       r.not_ready_since, r.mismatched_size_bytes, r.error_kind,
                       r.damage_found_at IS NOT NULL AS is_damaged
            ), begun AS (
                INSERT INTO archiver.attempts (recording_id, attempt, leased_by, lease_token)
                SELECT recording_id, attempts, $4, lease_token FROM claimed
            )
            SELECT recording_id AS "recording_id!", next_attempt_at AS "next_attempt_at!",
                   lease_token, attempts AS "attempts!",
                   extract(epoch FROM now() - not_ready_since)::float8 AS not_ready_secs,
                   mismatched_size_bytes, error_kind,
                   is_damaged AS "is_damaged!", now() AS "database_time!",
                   EXISTS (SELECT FROM archiver.uploads u
                            WHERE u.recording_id = claimed.recording_id) AS "has_left_uploads!",
                   EXISTS (SELECT FROM archiver.attempts a
                            WHERE a.recording_id = claimed.recording_id
                              AND coalesce(a.outcome, 'lost') = 'lost') AS "follows_a_loss!"
              FROM claimed"#,
            id.uuid(),
            self.project_id,
            interval(self.lease),
            self.holder,
            wish != Wish::Unfinished,
            wish == Wish::EvenArchived,
        )
        .fetch_optional(&self.pool)
        .answered("claim one recording")
        .await?;
        match row {
            Some(row) => Ok(Direct::Claimed(row.into_claim(claimed_at))),
            None => self.obstacle(id).await,
        }
    }

    /// Why a recording could not be claimed directly.
    async fn obstacle(&self, id: RecordingId) -> Result<Direct, QueueError> {
        match finished(&self.pool, &[id]).await?.remove(&id) {
            Some(Finished::Archived(row)) => return Ok(Direct::Archived(row)),
            Some(Finished::Failed {
                error_kind,
                error_message,
            }) => {
                return Ok(Direct::Failed {
                    error_kind,
                    error_message,
                });
            }
            None => {}
        }
        let row = sqlx::query!(
            r#"-- queue::obstacle
            SELECT state, project_id, leased_by, $2 = ANY (not_found_in) AS "asked_here!"
              FROM archiver.recordings WHERE recording_id = $1"#,
            id.uuid(),
            self.project_id,
        )
        .fetch_optional(&self.pool)
        .answered("look at one recording")
        .await?;
        let Some(row) = row else {
            return Ok(Direct::Unknown);
        };
        let state: JobState = row.state.parse()?;
        Ok(match (state, row.project_id) {
            (_, Some(project_id)) if project_id != self.project_id => {
                Direct::OtherProject { project_id }
            }
            (JobState::Pending, None) if row.asked_here => Direct::OtherProjectFirst,
            // One that was settled meanwhile is found so by the next look.
            _ => Direct::Elsewhere {
                leased_by: row.leased_by,
            },
        })
    }
}
