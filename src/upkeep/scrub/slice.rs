//! The daemon's share of reading: slice by slice, so that all is read again within a certain time.

use std::time::Duration;

use super::{Found, Scrub, Scrubbed, Supply};
use crate::queue::{
    ArchivedObject, Chore, QueueError, Unread, keep_pace, pace_kept_until, to_try_again,
};

/// The first slice makes up for this time at most: nobody asked before.
const FIRST_SLICE: Duration = Duration::from_hours(24);

/// What did not read as equal is tried again after this time.
const TRY_AGAIN_AFTER: Duration = Duration::from_hours(24);
/// So many of those at the end of each slice: they may be large, and nobody may have repaired them.
const TRIED_AGAIN: u16 = 5;

/// What a slice was to read, and what it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sliced {
    /// The share of the archive that was due.
    pub due_bytes: u64,
    pub scrubbed: Scrubbed,
}

/// Reads the share of the archive that became due since the last slice of this chore: of all
/// bytes as much as that time is of `within`, and at least one object. Then some of what did not
/// read as equal a day ago or earlier is tried again: it may be repaired by now, or can be. A slice that is cut short
/// does not count: the next one makes up for its time as well.
pub async fn slice(
    scrub: &Scrub<'_>,
    chore: &Chore,
    within: Duration,
    mut tell: impl FnMut(&ArchivedObject, &Found),
) -> Result<Sliced, QueueError> {
    let walk = Unread::begin(scrub.pool, scrub.storage.url_root()).await?;
    let begun_at = walk.begun_at();
    let elapsed = match pace_kept_until(scrub.pool, chore).await? {
        // A pace that was kept until some time in the future was kept by a wrong clock.
        Some(until) => (begun_at - until).to_std().unwrap_or(FIRST_SLICE),
        None => FIRST_SLICE,
    };
    let due_bytes = share(walk.ahead().await?.bytes, elapsed, within);
    let mut supply = Supply::walk(walk, None);
    let mut scrubbed = scrub.run(&mut supply, Some(due_bytes), &mut tell).await?;
    if !scrubbed.cut_short {
        keep_pace(scrub.pool, chore, begun_at).await?;
        let url_root = scrub.storage.url_root();
        let again = to_try_again(scrub.pool, &url_root, TRY_AGAIN_AFTER, TRIED_AGAIN).await?;
        let tried = scrub.run(&mut Supply::these(again), None, tell).await?;
        scrubbed.add(&tried);
    }
    Ok(Sliced {
        due_bytes,
        scrubbed,
    })
}

/// Rounded up: many small slices must not fall behind.
fn share(bytes: u64, elapsed: Duration, within: Duration) -> u64 {
    let (elapsed, within) = (elapsed.min(within).as_millis(), within.as_millis().max(1));
    let share = (u128::from(bytes) * elapsed).div_ceil(within);
    u64::try_from(share).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_that_of_the_time_and_never_more_than_all() {
        let day = Duration::from_hours(24);
        assert_eq!(share(900, day, 90 * day), 10);
        assert_eq!(share(901, day, 90 * day), 11);
        assert_eq!(share(900, 400 * day, 90 * day), 900);
        assert_eq!(share(900, Duration::ZERO, 90 * day), 0);
        assert_eq!(share(0, day, 90 * day), 0);
        assert_eq!(share(u64::MAX, 90 * day, 90 * day), u64::MAX);
    }
}
