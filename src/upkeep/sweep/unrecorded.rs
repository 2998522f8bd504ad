//! Uploads that the store shows and no record knows: begun by a process that was killed before it
//! could write them down, or by one whose database is lost. Others' uploads are never touched: only
//! those whose keys are exactly of this prefix and layout are aborted.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use super::{Orphan, Swept, Why};
use crate::error::chain;
use crate::printable::printable;
use crate::queue::{QueueError, held_recordings, recorded_uploads};
use crate::recording::RecordingId;
use crate::storage::{Storage, Unfinished};

/// An upload is written down within seconds. Clocks differ, but not by an hour.
const WRITTEN_DOWN_WITHIN: TimeDelta = TimeDelta::hours(1);
/// No upload takes longer, whoever's it is.
const FINISHED_WITHIN: TimeDelta = TimeDelta::days(7);

/// Aborts, or only tells, those that are nobody's.
pub(super) async fn sweep(
    pool: &PgPool,
    storage: &Storage,
    now: DateTime<Utc>,
    dry_run: bool,
    swept: &mut Swept,
) -> Result<(), QueueError> {
    let has_prefix = !storage.location().prefix().is_empty();
    let mut walk = storage.unfinished();
    loop {
        let page = match walk.next().await {
            Ok(Some(page)) => page,
            Ok(None) => return Ok(()),
            Err(error) => {
                tracing::warn!("uploads on no record are not looked for: {}", chain(&error));
                return Ok(());
            }
        };
        let ids: Vec<String> = page.iter().map(|it| it.upload_id.clone()).collect();
        let recorded = recorded_uploads(pool, &ids).await?;
        let recording_of = |upload: &Unfinished| storage.recording_at(&upload.key);
        let named = page.iter().filter_map(recording_of);
        let named: Vec<Uuid> = named.map(RecordingId::uuid).collect();
        let known = held_recordings(pool, &named).await?;
        for upload in page {
            if recorded.contains(&upload.upload_id) {
                continue;
            }
            let Some(id) = recording_of(&upload) else {
                continue;
            };
            let Some(why) = orphaned(id, upload.initiated, &known, has_prefix, now) else {
                continue;
            };
            if dry_run {
                swept.found.push(Orphan {
                    object_key: upload.key,
                    upload_id: upload.upload_id,
                    begun_at: upload.initiated,
                    why,
                });
                continue;
            }
            match storage.abort_unfinished(&upload).await {
                Ok(()) => {
                    swept.aborted += 1;
                    let key = printable(&upload.key);
                    tracing::info!(object.key = %key, "aborted an upload {why}");
                }
                Err(error) => {
                    swept.left += 1;
                    tracing::warn!(error.kind = error.kind().as_str(), "{}", chain(&error));
                }
            }
        }
    }
}

/// Why an upload for a recording that is on no record is nobody's; `None` if it may be somebody's.
fn orphaned(
    id: RecordingId,
    begun_at: Option<DateTime<Utc>>,
    known: &HashMap<Uuid, bool>,
    has_prefix: bool,
    now: DateTime<Utc>,
) -> Option<Why> {
    let age = now - begun_at?;
    match known.get(&id.uuid()) {
        Some(true) => None,
        Some(false) => (age > WRITTEN_DOWN_WITHIN).then_some(Why::Unrecorded(id.uuid())),
        // Without a prefix the bucket is not ours alone.
        None => (has_prefix && age > FINISHED_WITHIN).then_some(Why::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upload_is_an_orphan_by_its_age_and_by_what_is_known_of_the_recording() {
        let id = RecordingId::from(Uuid::from_u128(1));
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let (two_hours, eight_days) = (TimeDelta::hours(2), TimeDelta::days(8));
        for (is_held, has_prefix, age, is_orphan) in [
            (Some(false), true, two_hours, true),
            (Some(false), false, two_hours, true),
            (Some(false), true, TimeDelta::minutes(59), false),
            (Some(true), true, eight_days, false),
            (None, true, eight_days, true),
            (None, true, two_hours, false),
            (None, false, eight_days, false),
        ] {
            let known = is_held.map(|is_held| (id.uuid(), is_held));
            let known = known.into_iter().collect();
            let why = orphaned(id, Some(now - age), &known, has_prefix, now);
            assert_eq!(why.is_some(), is_orphan, "{is_held:?} {has_prefix} {age}");
            assert_eq!(orphaned(id, None, &known, has_prefix, now), None);
        }
    }
}
