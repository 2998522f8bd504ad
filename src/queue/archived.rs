//! Where archived recordings are, for those who look after them.

use sqlx::PgPool;
use uuid::Uuid;

use super::{Answered, QueueError};
use crate::money::Usd;
use crate::recording::RecordingId;

/// The object of an archived recording.
#[derive(Debug, Clone)]
pub struct ArchivedObject {
    pub recording_id: RecordingId,
    pub object_key: String,
    /// Names the store: several may share one database.
    pub object_url: String,
}

/// Which of these are archived, and have another cost on record than this.
pub async fn archived_with_other_cost(
    pool: &PgPool,
    costs: impl IntoIterator<Item = (RecordingId, Usd)>,
) -> Result<Vec<ArchivedObject>, QueueError> {
    let costs = costs.into_iter();
    let (ids, costs): (Vec<Uuid>, Vec<String>) = costs
        .map(|(id, cost)| (id.uuid(), cost.to_string()))
        .unzip();
    sqlx::query_as!(
        ArchivedObject,
        r#"-- queue::archived_with_other_cost
        SELECT r.recording_id AS "recording_id: RecordingId", r.object_key AS "object_key!",
               r.object_url AS "object_url!"
          FROM unnest($1::uuid[], $2::text[]) AS s(recording_id, cost)
          JOIN archiver.recordings r USING (recording_id)
         WHERE r.state = 'archived' AND r.cost_usd IS DISTINCT FROM s.cost::numeric"#,
        &ids,
        &costs,
    )
    .fetch_all(pool)
    .answered("look for changed costs")
    .await
}
