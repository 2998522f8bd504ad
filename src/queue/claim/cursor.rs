//! Where in the queue the next claim begins, and whose turn it is.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use uuid::Uuid;

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
    turn: u32,
    /// The next look from the front is due from here on.
    front_due_at: Instant,
}

/// One row's place in its lane.
pub(super) type Place = (DateTime<Utc>, Uuid);

/// Rows that are claimed in one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lane {
    pub(super) tries: Tries,
    owner: Owner,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tries {
    First,
    Further,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// Nobody knows yet whose they are.
    Unknown,
    /// Our own project.
    Ours,
}

pub(super) const LANES: [Lane; 4] = [
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

    pub(super) fn owner_id(self, project_id: &str) -> &str {
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

    /// Begins anew, with each lane at its front.
    pub(super) const fn begin_at(&mut self, fronts: [Place; LANES.len()]) {
        self.ends = fronts;
    }

    pub(super) const fn end(&self, lane: Lane) -> Place {
        self.ends[lane.index()]
    }

    pub(super) fn pass(&mut self, lane: Lane, place: Place) {
        let end = &mut self.ends[lane.index()];
        *end = (*end).max(place);
    }

    /// First tries come before further ones, or a recording that fails again and again would hold
    /// up the others; but every so often it is the other way round, or it would wait for ever. Of
    /// equal ones, the lane comes first that is further behind.
    pub(super) fn next_turn(&mut self) -> [Lane; LANES.len()] {
        self.turn = self.turn.wrapping_add(1);
        let first = if self.turn.is_multiple_of(TURNS_OF_FURTHER_TRIES) {
            Tries::Further
        } else {
            Tries::First
        };
        let mut lanes = LANES;
        lanes.sort_by_key(|lane| (lane.tries != first, self.end(*lane)));
        lanes
    }

    pub(super) fn put_off_the_front(&mut self, took: Duration) {
        self.front_due_at = Instant::now() + took * FRONT_SHARE;
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
    fn lanes_are_found_by_their_index() {
        for (index, lane) in LANES.into_iter().enumerate() {
            assert_eq!(lane.index(), index);
        }
    }
}
