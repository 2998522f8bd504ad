//! Recordings that wait for another try. They hold no slot.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::attempt::Again;
use crate::cli::lines::Line;
use crate::recording::RecordingId;

/// One that another process is busy with is looked at after this time, then more and more rarely.
const FIRST_LOOK: Duration = Duration::from_secs(1);
const RAREST_LOOK: Duration = Duration::from_secs(16);

/// A recording on its way through a run.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) id: RecordingId,
    begun: Instant,
    looks: u32,
    /// What the last try said: the answer if there is no other.
    pub(super) last_word: Option<Line>,
}

impl Errand {
    pub(super) fn new(id: RecordingId) -> Self {
        Self {
            id,
            begun: Instant::now(),
            looks: 0,
            last_word: None,
        }
    }

    /// How long it waits for the next try; `None` if there is none.
    pub(super) fn pause(&mut self, again: Again) -> Option<Duration> {
        match again {
            Again::Never => None,
            Again::After(pause) => Some(pause),
            Again::AfterOthers => {
                let pause = FIRST_LOOK * 2_u32.saturating_pow(self.looks).min(16);
                self.looks += 1;
                Some(pause.min(RAREST_LOOK))
            }
        }
    }

    /// Its line, with the time that all tries and pauses took.
    pub(super) fn told(&self, line: Line) -> Line {
        line.lasting(self.begun.elapsed())
    }
}

/// Errands by when they are due.
#[derive(Debug, Default)]
pub(super) struct Waiting(BTreeMap<(Instant, RecordingId), Errand>);

impl Waiting {
    pub(super) fn put(&mut self, errand: Errand, due: Instant) {
        self.0.insert((due, errand.id), errand);
    }

    /// The one that has been due the longest.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Errand> {
        let first = self.0.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    pub(super) fn take_all(&mut self) -> Vec<Errand> {
        std::mem::take(&mut self.0).into_values().collect()
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.0.first_key_value().map(|((due, _), _)| *due)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errand(number: u128) -> Errand {
        Errand::new(uuid::Uuid::from_u128(number).into())
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_due_the_longest_comes_first_and_nobody_early() {
        let now = Instant::now();
        let mut waiting = Waiting::default();
        for (number, secs) in [(1, 9), (2, 3), (3, 6)] {
            waiting.put(errand(number), now + Duration::from_secs(secs));
        }
        assert!(waiting.take_due(now).is_none());
        assert_eq!(waiting.next_due(), Some(now + Duration::from_secs(3)));
        let due = now + Duration::from_secs(7);
        let taken: Vec<_> = std::iter::from_fn(|| waiting.take_due(due))
            .map(|errand| errand.id)
            .collect();
        assert_eq!(taken, [errand(2).id, errand(3).id]);
        assert_eq!(waiting.take_all().len(), 1);
        assert!(waiting.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_others_are_busy_with_is_looked_at_more_and_more_rarely() {
        let mut errand = errand(1);
        let secs = |errand: &mut Errand| errand.pause(Again::AfterOthers).unwrap().as_secs();
        let first: Vec<u64> = (0..7).map(|_| secs(&mut errand)).collect();
        assert_eq!(first, [1, 2, 4, 8, 16, 16, 16]);
        for _ in 0..100 {
            assert_eq!(secs(&mut errand), 16);
        }
        let pause = Duration::from_mins(30);
        assert_eq!(errand.pause(Again::After(pause)), Some(pause));
        assert_eq!(errand.pause(Again::Never), None);
    }
}
