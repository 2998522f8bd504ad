//! Which step of its story a recording is at, and how long each step took.

use std::time::Duration;

use tokio::time::Instant;

/// A step of the story, in its order. Fetching, hashing and uploading are one: they overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The API is asked.
    Metadata,
    /// Does something stand under the key already, or in parts?
    Look,
    /// Bytes are fetched, hashed and sent.
    Transfer,
    Publish,
    Prove,
    Manifest,
    /// Row, attempt and ledger are written.
    Settle,
}

impl Stage {
    pub const ALL: [Self; 7] = [
        Self::Metadata,
        Self::Look,
        Self::Transfer,
        Self::Publish,
        Self::Prove,
        Self::Manifest,
        Self::Settle,
    ];

    /// The word in rows and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Look => "look",
            Self::Transfer => "transfer",
            Self::Publish => "publish",
            Self::Prove => "prove",
            Self::Manifest => "manifest",
            Self::Settle => "settle",
        }
    }
}

/// How long an attempt spent in each stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageTimes([Option<Duration>; Stage::ALL.len()]);

impl StageTimes {
    /// Of an attempt that reached none.
    pub const NONE: Self = Self([None; Stage::ALL.len()]);

    /// The stages that were reached, with the time spent in each; one that was done twice has
    /// both.
    pub fn reached(&self) -> impl Iterator<Item = (Stage, Duration)> {
        let stages = Stage::ALL.into_iter().zip(self.0);
        stages.filter_map(|(stage, spent)| Some((stage, spent?)))
    }

    fn add(&mut self, stage: Stage, spent: Duration) {
        let total = &mut self.0[stage as usize];
        *total = Some(total.unwrap_or_default() + spent);
    }
}

/// Runs for the stage that was entered last.
#[derive(Debug, Default)]
pub(super) struct StageClock {
    current: Option<(Stage, Instant)>,
    times: StageTimes,
}

impl StageClock {
    pub(super) fn enter(&mut self, stage: Stage) {
        self.stop();
        self.current = Some((stage, Instant::now()));
    }

    pub(super) fn stage(&self) -> Option<Stage> {
        self.current.map(|(stage, _)| stage)
    }

    /// Ends the current stage.
    pub(super) fn stop(&mut self) -> StageTimes {
        if let Some((stage, since)) = self.current.take() {
            self.times.add(stage, since.elapsed());
        }
        self.times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_stage_has_its_own_time_and_one_done_twice_has_both() {
        let mut clock = StageClock::default();
        for (stage, secs) in [
            (Stage::Metadata, 1),
            (Stage::Transfer, 10),
            (Stage::Metadata, 2),
        ] {
            clock.enter(stage);
            assert_eq!(clock.stage(), Some(stage));
            tokio::time::advance(Duration::from_secs(secs)).await;
        }
        let times: Vec<_> = clock.stop().reached().collect();
        let secs = Duration::from_secs;
        assert_eq!(
            times,
            [(Stage::Metadata, secs(3)), (Stage::Transfer, secs(10))]
        );
        assert_eq!(clock.stage(), None);
    }

    #[test]
    fn each_stage_stands_at_its_own_place() {
        for (place, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, place);
        }
    }
}
