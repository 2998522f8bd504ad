//! Places at which a test may kill the process. Release builds know none of this.
//!
//! `ARCHIVER_TEST_CRASH_AT=after-part:3` kills a debug build with SIGKILL when it comes to that
//! place for the third time: no destructor runs and no buffer is written, as in a power cut.

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

    /// Where to die, and how often that place is passed alive.
    static DEATH: LazyLock<Option<(CrashPoint, AtomicU32)>> = LazyLock::new(|| {
        let order = env::var("ARCHIVER_TEST_CRASH_AT").ok()?;
        let (name, nth) = order.split_once(':').unwrap_or((&order, "1"));
        let point = CrashPoint::ALL
            .into_iter()
            .find(|point| point.as_str() == name)
            .unwrap_or_else(|| panic!("{name} is no crash point"));
        let nth: u32 = nth.parse().expect("after the colon stands a number");
        Some((point, AtomicU32::new(nth.saturating_sub(1))))
    });

    pub(super) fn pass(point: CrashPoint) {
        let Some((death, left)) = &*DEATH else { return };
        let alive = |left: u32| left.checked_sub(1);
        if *death == point
            && left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, alive)
                .is_err()
        {
            raise(Signal::SIGKILL).expect("a process may kill itself");
        }
    }
}
