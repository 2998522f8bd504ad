//! Places at which a test may kill the process. Release builds know none of this.
//!
//! `ARCHIVER_TEST_CRASH_AT=after-part:3` kills a debug build with SIGKILL when it comes to that
//! place for the third time: no destructor runs and no buffer is written, as in a power cut.
//! `ARCHIVER_TEST_PANIC_AT`, spelled alike, has it panic there once, as a defect would.

/// A place in the life of a recording where a crash has to be harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPoint {
    AfterClaim,
    /// The store has begun an upload that nothing else knows of yet.
    AfterCreateUpload,
    AfterRememberUpload,
    AfterPart,
    BeforeComplete,
    AfterComplete,
    AfterManifest,
    BeforeSettle,
    AfterSettle,
}

impl CrashPoint {
    pub const ALL: [Self; 9] = [
        Self::AfterClaim,
        Self::AfterCreateUpload,
        Self::AfterRememberUpload,
        Self::AfterPart,
        Self::BeforeComplete,
        Self::AfterComplete,
        Self::AfterManifest,
        Self::BeforeSettle,
        Self::AfterSettle,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AfterClaim => "after-claim",
            Self::AfterCreateUpload => "after-create-upload",
            Self::AfterRememberUpload => "after-remember-upload",
            Self::AfterPart => "after-part",
            Self::BeforeComplete => "before-complete",
            Self::AfterComplete => "after-complete",
            Self::AfterManifest => "after-manifest",
            Self::BeforeSettle => "before-settle",
            Self::AfterSettle => "after-settle",
        }
    }

    /// Kills the process if a test wants it to die here.
    #[cfg(debug_assertions)]
    pub fn pass(self) {
        armed::pass(self);
    }

    /// Nothing, in a release build.
    #[cfg(not(debug_assertions))]
    #[inline]
    pub const fn pass(self) {}
}

#[cfg(debug_assertions)]
mod armed {
    use std::env;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use nix::sys::signal::{Signal, raise};

    use super::CrashPoint;

    static DEATH: LazyLock<Option<Order>> = LazyLock::new(|| order("ARCHIVER_TEST_CRASH_AT"));
    static PANIC: LazyLock<Option<Order>> = LazyLock::new(|| order("ARCHIVER_TEST_PANIC_AT"));

    /// Where it is to happen, and at which pass from now on, counted from 1.
    struct Order {
        point: CrashPoint,
        left: AtomicU32,
    }

    fn order(variable: &str) -> Option<Order> {
        let order = env::var(variable).ok()?;
        let (name, nth) = order.split_once(':').unwrap_or((&order, "1"));
        let point = CrashPoint::ALL
            .into_iter()
            .find(|point| point.as_str() == name)
            .unwrap_or_else(|| panic!("{name} is no crash point"));
        let nth: u32 = nth.parse().expect("after the colon stands a number");
        let left = AtomicU32::new(nth);
        Some(Order { point, left })
    }

    impl Order {
        /// Whether its time has come: once.
        fn is_due(&self, point: CrashPoint) -> bool {
            let one_less = |left: u32| left.checked_sub(1);
            self.point == point
                && self
                    .left
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
                    == Ok(1)
        }
    }

    pub(super) fn pass(point: CrashPoint) {
        let is_due = |order: &Option<Order>| order.as_ref().is_some_and(|it| it.is_due(point));
        if is_due(&DEATH) {
            raise(Signal::SIGKILL).expect("a process may kill itself");
        }
        assert!(!is_due(&PANIC), "ordered at {}", point.as_str());
    }
}
