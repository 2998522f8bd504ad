//! Archived recordings that were named one by one.

use std::collections::HashMap;

use sqlx::PgPool;

use crate::queue::{self, ArchivedObject, QueueError};
use crate::recording::RecordingId;

/// So many recordings are looked up in one statement.
const LOOK_UP: usize = 1000;

/// Recordings by whether their objects can be read here, each kind in the order given.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) here: Vec<ArchivedObject>,
    /// Archived in another store than the one that is configured.
    pub(super) elsewhere: Vec<ArchivedObject>,
    /// And why.
    pub(super) not_archived: Vec<(RecordingId, String)>,
}

/// Looks recordings up; `url_root` is what all object URLs of the store begin with.
pub(super) async fn look_up(
    pool: &PgPool,
    ids: &[RecordingId],
    url_root: &str,
) -> Result<Named, QueueError> {
    let mut named = Named::default();
    for some in ids.chunks(LOOK_UP) {
        let archived = queue::archived(pool, some).await?;
        let mut archived: HashMap<RecordingId, ArchivedObject> = archived
            .into_iter()
            .map(|object| (object.recording_id, object))
            .collect();
        let mut others = some.to_vec();
        others.retain(|id| !archived.contains_key(id));
        let states = queue::states(pool, &others).await?;
        for id in some {
            match archived.remove(id) {
                Some(object) if object.object_url.starts_with(url_root) => named.here.push(object),
                Some(object) => named.elsewhere.push(object),
                None => named.not_archived.push((*id, why_not(states.get(id)))),
            }
        }
    }
    Ok(named)
}

fn why_not(state: Option<&String>) -> String {
    match state {
        Some(state) => format!("not archived: it is {state}"),
        None => "unknown: it is not in the queue".to_owned(),
    }
}
