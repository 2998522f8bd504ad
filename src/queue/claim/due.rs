//! Claiming what is due, lane by lane, at a cost that does not grow with the queue.

use tokio::time::Instant;
use uuid::Uuid;

use super::cursor::{Cursor, LANES, Lane, Place};
use super::{Claim, ClaimedRow};
use crate::queue::{Answered, Queue, QueueError, interval};

/// What a look at the queue gave.
#[derive(Debug)]
pub struct Due {
    pub claims: Vec<Claim>,
    /// There may be more, but behind the cursor: look again from then on.
    pub look_again_at: Option<Instant>,
}

impl Queue {
    /// Claims up to `limit` recordings that are due: those of this project and those whose
    /// project nobody knows yet. Concurrent claimers never get the same recording.
    ///
    /// # Errors
    /// When the database failed before anything was claimed.
    pub async fn claim_due(&self, cursor: &mut Cursor, limit: usize) -> Result<Due, QueueError> {
        let began_at = Instant::now();
        let from_the_front = began_at >= cursor.front_due_at();
        if from_the_front {
            self.give_back_expired().await?;
            cursor.begin_at(self.fronts().await?);
        }
        let mut claims = Vec::new();
        for lane in cursor.next_turn() {
            match self.claim_from(lane, cursor, limit - claims.len()).await {
                Ok(more) => claims.extend(more),
                Err(error) if claims.is_empty() => return Err(error),
                // What is claimed must be worked on; the next claim meets the same error.
                Err(_) => break,
            }
            if claims.len() == limit {
                break;
            }
        }
        if from_the_front {
            cursor.put_off_the_front(began_at.elapsed());
        }
        let seen_all = from_the_front || claims.len() == limit;
        Ok(Due {
            claims,
            look_again_at: (!seen_all).then_some(cursor.front_due_at()),
        })
    }

    /// Makes recordings whose workers died or were cut off claimable again.
    async fn give_back_expired(&self) -> Result<(), QueueError> {
        sqlx::query!(
            r#"-- queue::give_back_expired
            WITH expired AS (
                SELECT recording_id FROM archiver.recordings
                 WHERE state = 'in_progress'
                   -- A lease that lasts for more than a week was written by a wrong clock.
                   AND (lease_expires_at <= now() OR lease_expires_at > now() + interval '7 days')
                   FOR UPDATE SKIP LOCKED
            ), lost AS (
                UPDATE archiver.attempts a
                   SET outcome = 'lost', finished_at = now(), error_kind = 'lease_lost',
                       error_message = 'the lease ran out; the worker died or was cut off'
                  FROM expired e
                 WHERE a.recording_id = e.recording_id AND a.outcome IS NULL
            )
            UPDATE archiver.recordings r
               SET state = 'pending', lease_token = NULL, lease_expires_at = NULL, leased_by = NULL
              FROM expired e
             WHERE r.recording_id = e.recording_id"#
        )
        .execute(&self.pool)
        .answered("give back expired leases")
        .await
        .map(drop)
    }

    /// Where each lane begins: right before its first row that is due, or now if it has none.
    async fn fronts(&self) -> Result<[Place; LANES.len()], QueueError> {
        let fronts = sqlx::query_scalar!(
            r#"-- queue::fronts
            SELECT coalesce((SELECT next_attempt_at FROM archiver.recordings
                              WHERE state = 'pending'
                                AND least(attempts, 1) = lane.tries
                                AND coalesce(project_id, '') = lane.owner
                                AND next_attempt_at <= now()
                              ORDER BY next_attempt_at, recording_id
                              LIMIT 1), now()) AS "front!"
              FROM unnest($1::int[], $2::text[]) WITH ORDINALITY AS lane(tries, owner, number)
             ORDER BY lane.number"#,
            &LANES.map(|lane| lane.tries as i32),
            &LANES.map(|lane| lane.owner_id(&self.project_id).to_owned()),
        )
        .fetch_all(&self.pool)
        .answered("look for what is due")
        .await?;
        let mut fronts = fronts.into_iter();
        Ok(LANES.map(|_| (fronts.next().unwrap_or_default(), Uuid::nil())))
    }

    async fn claim_from(
        &self,
        lane: Lane,
        cursor: &mut Cursor,
        limit: usize,
    ) -> Result<Vec<Claim>, QueueError> {
        let claimed_at = Instant::now();
        let (due_at, recording_id) = cursor.end(lane);
        let rows = sqlx::query_as!(
            ClaimedRow,
            r#"-- queue::claim_due
            WITH due AS (
                SELECT recording_id FROM archiver.recordings
                 WHERE state = 'pending'
                   AND least(attempts, 1) = $1
                   AND coalesce(project_id, '') = $2
                   AND next_attempt_at <= now()
                   AND (next_attempt_at, recording_id) > ($3, $4)
                   AND ($5 <> ALL (not_found_in) OR NOT archiver.others_to_ask(not_found_in))
                 ORDER BY next_attempt_at, recording_id
                 LIMIT $6
                   FOR UPDATE SKIP LOCKED
            ), claimed AS (
                UPDATE archiver.recordings r
                   SET state = 'in_progress', attempts = r.attempts + 1,
                       lease_token = gen_random_uuid(), lease_expires_at = now() + $7,
                       leased_by = $8
                  FROM due
                 WHERE r.recording_id = due.recording_id
             RETURNING r.recording_id, r.next_attempt_at, r.lease_token, r.attempts,
                       r.not_ready_since, r.mismatched_size_bytes, r.error_kind,
                       r.damage_found_at IS NOT NULL AS is_damaged
            ), begun AS (
                INSERT INTO archiver.attempts (recording_id, attempt, leased_by, lease_token)
                SELECT recording_id, attempts, $8, lease_token FROM claimed
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
            lane.tries as i32,
            lane.owner_id(&self.project_id),
            due_at,
            recording_id,
            self.project_id,
            i64::try_from(limit).unwrap_or(i64::MAX),
            interval(self.lease),
            self.holder,
        )
        .fetch_all(&self.pool)
        .answered("claim what is due")
        .await?;
        for row in &rows {
            cursor.pass(lane, (row.next_attempt_at, row.recording_id));
        }
        Ok(rows
            .into_iter()
            .map(|row| row.into_claim(claimed_at))
            .collect())
    }
}
