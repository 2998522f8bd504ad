//! Answers for the faults that wait for their requests.

use std::collections::VecDeque;

use super::{Schedule, Times};

/// Faults waiting for their requests, in the order of their injection.
#[derive(Debug)]
pub(in crate::simulator) struct FaultQueue<F>(VecDeque<Waiting<F>>);

/// A fault with what is left of its schedule.
#[derive(Debug)]
struct Waiting<F> {
    fault: F,
    left: Times,
    every: u64,
    /// The requests that could have met it.
    seen: u64,
    /// The first request it is due at.
    due_at: u64,
}

impl<F> Default for FaultQueue<F> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<F: Clone> FaultQueue<F> {
    pub(in crate::simulator) fn push(&mut self, fault: F, schedule: Schedule) {
        if schedule.times == Times::Count(0) {
            return;
        }
        let every = u64::from(schedule.every);
        self.0.push_back(Waiting {
            fault,
            left: schedule.times,
            every,
            seen: 0,
            due_at: u64::from(schedule.skip) + every,
        });
    }

    /// Takes the first fault that `applies` to this request and is due. All that apply count the
    /// request; `met` is what it has met elsewhere, and then it takes nothing here.
    pub(in crate::simulator) fn meet(
        &mut self,
        mut met: Option<F>,
        applies: impl Fn(&F) -> bool,
    ) -> Option<F> {
        self.0.retain_mut(|waiting| {
            if !applies(&waiting.fault) {
                return true;
            }
            waiting.seen += 1;
            if met.is_some() || waiting.seen < waiting.due_at {
                return true;
            }
            met = Some(waiting.fault.clone());
            waiting.goes_on()
        });
        met
    }

    pub(in crate::simulator) fn clear(&mut self) {
        self.0.clear();
    }
}

impl<F> Waiting<F> {
    /// Counts one time; false when it was the last.
    fn goes_on(&mut self) -> bool {
        // Back to the beat, however late it was: what was missed meanwhile is not made up.
        let missed = (self.seen - self.due_at) / self.every;
        self.due_at += self.every * (missed + 1);
        match &mut self.left {
            Times::Always => true,
            Times::Count(left) => {
                *left -= 1;
                *left > 0
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(faults: &[(char, Schedule)]) -> FaultQueue<char> {
        let mut queue = FaultQueue::default();
        for (fault, schedule) in faults {
            queue.push(*fault, *schedule);
        }
        queue
    }

    /// What so many requests meet, one letter each.
    fn met(queue: &mut FaultQueue<char>, requests: usize) -> String {
        (0..requests)
            .map(|_| queue.meet(None, |_| true).unwrap_or('.'))
            .collect()
    }

    #[test]
    fn faults_happen_in_order_and_as_often_as_said() {
        let mut queue = queue(&[
            ('a', Times::Count(2).into()),
            ('-', Times::Count(0).into()),
            ('b', Times::ONCE.into()),
            ('c', Times::Always.into()),
        ]);
        assert_eq!(met(&mut queue, 5), "aabcc");
    }

    #[test]
    fn a_fault_waits_for_later_requests_or_for_every_nth() {
        for (schedule, expected) in [
            (Times::ONCE.after(3), "...a........"),
            (Times::Count(2).after(3), "...aa......."),
            (Times::Always.every(5), "....a....a.."),
            (Times::ONCE.every(5), "....a......."),
            (Times::Count(2).after(1).every(3), "...a..a....."),
            (Times::Always.after(9).every(0), ".........aaa"),
        ] {
            let mut queue = queue(&[('a', schedule)]);
            assert_eq!(met(&mut queue, 12), expected, "{schedule:?}");
        }
    }

    #[test]
    fn a_fault_that_waits_keeps_none_behind_it_waiting() {
        let mut queue = queue(&[
            ('a', Times::ONCE.after(3)),
            ('b', Times::Always.every(4)),
            ('c', Times::Count(2).into()),
        ]);
        // The 4th request is for both `a` and `b`: `b` happens one later, and keeps its beat.
        assert_eq!(met(&mut queue, 12), "cc.ab..b...b");
    }

    #[test]
    fn what_another_fault_took_the_place_of_is_made_up_once() {
        let mut queue = queue(&[('a', Times::Count(7).into()), ('b', Times::Always.every(3))]);
        assert_eq!(met(&mut queue, 12), "aaaaaaabb..b");
    }

    #[test]
    fn a_fault_that_does_not_apply_waits_for_its_request() {
        let mut queue = queue(&[('a', Times::ONCE.after(1)), ('b', Times::ONCE.into())]);
        assert_eq!(queue.meet(None, |fault| *fault == 'b'), Some('b'));
        assert_eq!(queue.meet(None, |_| false), None);
        assert_eq!(met(&mut queue, 2), ".a");
    }

    #[test]
    fn a_request_that_met_a_fault_elsewhere_only_counts() {
        let mut queue = queue(&[('a', Times::ONCE.after(1))]);
        for _ in 0..2 {
            assert_eq!(queue.meet(Some('x'), |_| true), Some('x'));
        }
        assert_eq!(met(&mut queue, 2), "a.");
    }
}
