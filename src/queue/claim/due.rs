//! Claiming what is due, lane by lane, at a cost that does not grow with the queue.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Claim, ClaimedRow};
use crate::queue::{Answered, Queue, QueueError, interval};

/// Looks from the front may take this share of the time: one part in so many.
const FRONT_SHARE: u32 = 20;
/// One turn in so many serves further tries before first ones.
const TURNS_OF_FURTHER_TRIES: u32 = 4;

/// Where in the queue the next claim begins, and whose turn it is.
///
/// Claims go on where the last one ended. What was claimed before stays in the index until a
/// vacuum, and as long as any transaction holds an old snapshot; whoever began at the front each
/// time would walk over all of it. Looks from the front find what slipped in behind: leases that
/// have run out, and what a long transaction enqueued. They are as rare as they are expensive.
#[derive(Debug)]
pub struct Cursor {
    /// By lane: what comes up to here is claimed.
    ends: [Place; LANES.len()],
    /// By lane: nothing more was due when it was last looked at.
    drained: [bool; LANES.len()],
    turn: u32,
    /// The next look from the front is due from here on.
    front_due_at: Instant,
}

/// One row's place in its lane.
type Place = (DateTime<Utc>, Uuid);

/// Rows that are claimed in one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lane {
    tries: Tries,
    owner: Owner,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tries {
    First,
    Further,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// Nobody knows yet whose they are.
    Unknown,
    /// Our own project.
    Ours,
}

const LANES: [Lane; 4] = [
    Lane::new(Tries::First, Owner::Unknown),
    Lane::new(Tries::First, Owner::Ours),
    Lane::new(Tries::Further, Owner::Unknown),
    Lane::new(Tries::Further, Owner::Ours),
];

impl Lane {
    const fn new(tries: Tries, owner: Owner) -> Self {
        Self { tries, owner }
    }

    const fn index(self) -> usize {
        self.tries as usize * 2 + self.owner as usize
    }

    fn owner_id(self, project_id: &str) -> &str {
        match self.owner {
            Owner::Unknown => "",
            Owner::Ours => project_id,
        }
    }
}

impl Default for Cursor {
    /// At the front.
    fn default() -> Self {
        Self {
            ends: [(DateTime::UNIX_EPOCH, Uuid::nil()); LANES.len()],
            drained: [false; LANES.len()],
            turn: 0,
            front_due_at: Instant::now(),
        }
    }
}

impl Cursor {
    /// When a claim begins at the front again, and sees everything that is due.
    pub const fn front_due_at(&self) -> Instant {
        self.front_due_at
    }

    /// Has the next claim begin at the front, however soon after the last that did.
    pub fn begin_at_the_front(&mut self) {
        self.front_due_at = Instant::now();
    }

    const fn end(&self, lane: Lane) -> Place {
        self.ends[lane.index()]
    }

    fn pass(&mut self, lane: Lane, place: Place) {
        let end = &mut self.ends[lane.index()];
        *end = (*end).max(place);
    }

    /// First tries come before further ones, or a recording that fails again and again would hold
    /// up the others; but every so often it is the other way round, or it would wait for ever: not
    /// while no further try is known to be due, until the next look from the front. Of equal ones,
    /// the lane comes first that is further behind.
    fn next_turn(&mut self) -> [Lane; LANES.len()] {
        self.turn = self.turn.wrapping_add(1);
        let mut lanes = LANES;
        let is_due = |lane: &Lane| lane.tries == Tries::Further && !self.drained[lane.index()];
        let first = if self.turn.is_multiple_of(TURNS_OF_FURTHER_TRIES) && lanes.iter().any(is_due)
        {
            Tries::Further
        } else {
            Tries::First
        };
        lanes.sort_by_key(|lane| (lane.tries != first, self.end(*lane)));
        lanes
    }

    fn put_off_the_front(&mut self, took: Duration) {
        self.front_due_at = Instant::now() + took * FRONT_SHARE;
    }
}

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
        let from_the_front = began_at >= cursor.front_due_at;
        if from_the_front {
            self.give_back_expired().await?;
            cursor.ends = self.fronts().await?;
            cursor.drained = [false; LANES.len()];
        }
        let mut claims = Vec::new();
        for lane in cursor.next_turn() {
            let wanted = limit - claims.len();
            match self.claim_from(lane, cursor, wanted).await {
                Ok(more) => {
                    cursor.drained[lane.index()] = more.len() < wanted;
                    claims.extend(more);
                }
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
            look_again_at: (!seen_all).then_some(cursor.front_due_at),
        })
    }

    /// Makes recordings whose workers died or were cut off claimable again.
    async fn give_back_expired(&self) -> Result<(), QueueError> {
        sqlx::query!(
            r#"-- queue::give_back_expired
            WITH expired AS (
                SELECT recording_id FROM archiver.recordings
                 WHERE state = 'in_progress' AND lease_expires_at <= now()
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

#[cfg(test)]
mod tests {
    use super::Tries::{First, Further};
    use super::*;

    fn minutes(minutes: i64) -> Place {
        let at = DateTime::UNIX_EPOCH + chrono::TimeDelta::minutes(minutes);
        (at, Uuid::nil())
    }

    #[test]
    fn first_tries_come_first_in_three_turns_of_four() {
        let mut cursor = Cursor::default();
        let firsts = [(); 8].map(|()| cursor.next_turn()[0].tries);
        let expected = [First, First, First, Further, First, First, First, Further];
        assert_eq!(firsts, expected);
    }

    #[test]
    fn of_equal_tries_the_longest_due_come_first_whoever_owns_them() {
        let mut cursor = Cursor::default();
        let first = |cursor: &mut Cursor| cursor.next_turn()[0].owner;
        cursor.ends = [2, 1, 2, 1].map(minutes);
        assert_eq!(first(&mut cursor), Owner::Ours);
        cursor.pass(LANES[1], minutes(3));
        assert_eq!(first(&mut cursor), Owner::Unknown);
        cursor.pass(LANES[0], minutes(4));
        assert_eq!(first(&mut cursor), Owner::Ours);
        // The further tries' own order.
        assert_eq!(first(&mut cursor), Owner::Ours);
        cursor.pass(LANES[0], minutes(1));
        assert_eq!(cursor.end(LANES[0]), minutes(4), "it never goes back");
    }

    #[test]
    fn further_tries_have_no_turn_while_none_is_due_and_first_ones_always_have() {
        let mut cursor = Cursor::default();
        let firsts = |cursor: &mut Cursor| [(); 4].map(|()| cursor.next_turn()[0].tries);
        cursor.drained = [false, false, true, true];
        assert_eq!(firsts(&mut cursor), [First; 4]);
        cursor.drained = [true, true, false, true];
        assert_eq!(firsts(&mut cursor), [First, First, First, Further]);
    }

    #[test]
    fn lanes_are_found_by_their_index() {
        for (index, lane) in LANES.into_iter().enumerate() {
            assert_eq!(lane.index(), index);
        }
    }
}
