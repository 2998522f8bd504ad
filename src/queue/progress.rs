//! How far a running attempt is, written down for whoever looks from another process.

use super::{Answered, Claim, Queue, QueueError};
use crate::progress::{HowFar, Stage};

impl Queue {
    /// Notes on the running attempt how far it is. A lease that is lost changes nothing: its
    /// attempt is closed.
    pub async fn note_progress(&self, claim: &Claim, how_far: &HowFar) -> Result<(), QueueError> {
        let bytes = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        sqlx::query!(
            r#"-- queue::note_progress
            UPDATE archiver.attempts
               SET stage = $3, bytes_fetched = $4, bytes_resumed = $5, size_bytes = $6,
                   progress_at = now()
             WHERE recording_id = $1 AND lease_token = $2 AND outcome IS NULL"#,
            claim.recording_id().uuid(),
            claim.lease_token(),
            how_far.stage.map(Stage::as_str),
            bytes(how_far.received_bytes),
            bytes(how_far.resumed_bytes),
            how_far.total_bytes.map(bytes),
        )
        .execute(&self.pool)
        .answered("note how far an attempt is")
        .await
        .map(drop)
    }
}
