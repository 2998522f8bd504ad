//! Uploads that the store shows and no record knows: begun by a process that was killed before it
//! could write them down, or by one whose database is lost. Others' uploads are never touched.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use super::{Orphan, Swept, Why};
use crate::error::chain;
use crate::printable::printable;
use crate::queue::{QueueError, held_recordings, recorded_uploads};
use crate::storage::{Storage, Unfinished, uuids_in};

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
        let named: Vec<Uuid> = page.iter().flat_map(|it| uuids_in(&it.key)).collect();
        let known = held_recordings(pool, &named).await?;
        for upload in page {
            if recorded.contains(&upload.upload_id) {
                continue;
            }
            let Some(why) = orphaned(&upload, &known, has_prefix, now) else {
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

/// Why an upload that is on no record is nobody's; `None` if it may be somebody's.
fn orphaned(
    upload: &Unfinished,
    known: &HashMap<Uuid, bool>,
    has_prefix: bool,
    now: DateTime<Utc>,
) -> Option<Why> {
    let age = now - upload.initiated?;
    let mut of = uuids_in(&upload.key)
        .filter_map(|id| Some((id, *known.get(&id)?)))
        .peekable();
    match of.peek().copied() {
        Some((id, _)) => (age > WRITTEN_DOWN_WITHIN
            && is_named_by(&upload.key, id)
            && of.all(|(_, is_held)| !is_held))
        .then_some(Why::Unrecorded(id)),
        // Without a prefix the bucket is not ours alone.
        None => (has_prefix && age > FINISHED_WITHIN).then_some(Why::Unknown),
    }
}

/// Whether the file name is the recording's ID with an extension, as this program names objects:
/// a transcoder's `<id>/hd.mp4` is another's.
fn is_named_by(key: &str, id: Uuid) -> bool {
    let name = key.rsplit('/').next().unwrap_or_default();
    name.split_once('.')
        .is_some_and(|(stem, extension)| stem == id.to_string() && !extension.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(0xc22d_24f6_5a47_4597_9a23_c7d0_1e69_6b92);

    fn begun_before(key: &str, age: TimeDelta) -> (Unfinished, DateTime<Utc>) {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let upload = Unfinished {
            key: key.to_owned(),
            upload_id: "id".to_owned(),
            initiated: Some(now - age),
        };
        (upload, now)
    }

    #[test]
    fn a_key_that_only_speaks_of_a_recording_is_another_programs() {
        let known = HashMap::from([(ID, false)]);
        let day = TimeDelta::days(1);
        for (key, is_ours) in [
            (format!("2022/{ID}.mp4"), true),
            (format!("{ID}.bin"), true),
            (format!("transcoded/{ID}/hd.mp4"), false),
            (format!("exports/{ID}-hd.mp4"), false),
            (format!("exports/{ID}.tar.gz"), false),
            (format!("exports/{ID}"), false),
        ] {
            for has_prefix in [true, false] {
                let (upload, now) = begun_before(&key, day);
                let why = orphaned(&upload, &known, has_prefix, now);
                assert_eq!(why.is_some(), is_ours, "{key}");
            }
        }
    }

    #[test]
    fn one_without_a_time_is_never_an_orphan() {
        let (mut upload, now) = begun_before("a/b", TimeDelta::days(99));
        assert!(orphaned(&upload, &HashMap::new(), true, now).is_some());
        upload.initiated = None;
        assert_eq!(orphaned(&upload, &HashMap::new(), true, now), None);
    }
}
