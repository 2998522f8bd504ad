//! Answers for when a fault happens: how often, after how many requests, at every which of them.

/// How often a fault happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    Count(u32),
    Always,
}

impl Times {
    pub const ONCE: Self = Self::Count(1);

    /// The first `requests` pass.
    pub const fn after(self, requests: u32) -> Schedule {
        Schedule::new(self).after(requests)
    }

    /// Only every `nth` request is met.
    pub const fn every(self, nth: u32) -> Schedule {
        Schedule::new(self).every(nth)
    }
}

/// Which of the requests that could meet a fault do: `Times::Count(2).after(3).every(5)` is met
/// by the 8th and the 13th.
///
/// Requests count from the injection on, also those that met another fault. What is due while
/// another fault comes first happens at the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    pub(super) times: Times,
    pub(super) skip: u32,
    pub(super) every: u32,
}

impl Schedule {
    const fn new(times: Times) -> Self {
        Self {
            times,
            skip: 0,
            every: 1,
        }
    }

    /// The first `requests` pass.
    #[must_use]
    pub const fn after(self, requests: u32) -> Self {
        Self {
            skip: requests,
            ..self
        }
    }

    /// Only every `nth` request is met, once the first ones have passed; 0 is read as 1.
    #[must_use]
    pub const fn every(self, nth: u32) -> Self {
        let every = if nth == 0 { 1 } else { nth };
        Self { every, ..self }
    }
}

impl From<Times> for Schedule {
    fn from(times: Times) -> Self {
        Self::new(times)
    }
}
