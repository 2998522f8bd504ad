//! When one side is down, every recording meets the same: after a few failures in a row without a success
//! between them, attempts are returned uncounted.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::ErrorKind;

/// Number of failures of one kind in a row that open the breaker.
const FAILURES_IN_A_ROW: u32 = 5;
/// The same after a check found that side well, and before anything was archived. One failure alone may be
/// the recording's own: its attempt must count, or it would halt everything again and again.
const FAILURES_ON_TRIAL: u32 = 2;

/// Counts failures in a row of the API, the media hosts and the store, over all recordings of the process.
#[derive(Debug, Default)]
pub struct Breaker {
    api: AtomicU32,
    /// Refusals of the API whose reason is not known to be the recording.
    api_refused: AtomicU32,
    media: AtomicU32,
    store: AtomicU32,
    /// Answers of the store that are not understood: what they are about is not known either.
    refused: AtomicU32,
}

impl Breaker {
    /// Notes how an attempt failed; says whether the breaker is open for that kind now.
    pub(super) fn note_failure(&self, kind: ErrorKind) -> bool {
        match self.counter(kind) {
            Some(counter) => counter.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_IN_A_ROW,
            None => false,
        }
    }

    /// Opens the breaker for a kind: no other recording would fare better.
    pub(super) fn open(&self, kind: ErrorKind) {
        if let Some(counter) = self.counter(kind) {
            counter.fetch_max(FAILURES_IN_A_ROW, Ordering::Relaxed);
        }
    }

    /// Notes that a recording was archived: all sides work.
    pub(super) fn note_success(&self) {
        for counter in [
            &self.api,
            &self.api_refused,
            &self.media,
            &self.store,
            &self.refused,
        ] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    /// Closes the breaker for a kind: a check has found that side well. Until something is archived, fewer
    /// failures open it again.
    pub fn close(&self, kind: ErrorKind) {
        if let Some(counter) = self.counter(kind) {
            counter.store(FAILURES_IN_A_ROW - FAILURES_ON_TRIAL, Ordering::Relaxed);
        }
    }

    /// Whether that side is taken to be down.
    pub fn is_open(&self, kind: ErrorKind) -> bool {
        self.counter(kind)
            .is_some_and(|counter| counter.load(Ordering::Relaxed) >= FAILURES_IN_A_ROW)
    }

    fn counter(&self, kind: ErrorKind) -> Option<&AtomicU32> {
        match kind {
            ErrorKind::ApiUnavailable => Some(&self.api),
            ErrorKind::ApiRefused => Some(&self.api_refused),
            ErrorKind::MediaUnavailable => Some(&self.media),
            ErrorKind::StorageUnavailable => Some(&self.store),
            ErrorKind::StorageRefused => Some(&self.refused),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_in_a_row_open_it_and_a_success_between_does_not() {
        let breaker = Breaker::default();
        let kind = ErrorKind::StorageUnavailable;
        for _ in 0..4 {
            assert!(!breaker.note_failure(kind));
        }
        breaker.note_success();
        for _ in 0..4 {
            assert!(!breaker.note_failure(kind));
        }
        assert!(!breaker.is_open(kind));
        assert!(breaker.note_failure(kind));
        assert!(breaker.is_open(kind) && !breaker.is_open(ErrorKind::ApiUnavailable));
        assert!(!breaker.note_failure(ErrorKind::ApiUnavailable));
    }

    #[test]
    fn breaker_on_trial_opens_at_the_second_failure() {
        let breaker = Breaker::default();
        let kind = ErrorKind::ApiUnavailable;
        breaker.open(kind);
        breaker.close(kind);
        assert!(!breaker.is_open(kind));
        assert!(!breaker.note_failure(kind));
        assert!(breaker.note_failure(kind));
        breaker.close(kind);
        breaker.note_success();
        for _ in 0..4 {
            assert!(!breaker.note_failure(kind));
        }
    }

    #[test]
    fn what_is_one_recordings_own_trouble_opens_nothing() {
        let breaker = Breaker::default();
        for _ in 0..100 {
            assert!(!breaker.note_failure(ErrorKind::Truncated));
        }
    }
}
