//! The ledger: one more row for each changed cost; nothing there is ever altered.

use sqlx::PgConnection;

use crate::money::Usd;
use crate::recording::RecordingId;

/// Which path saw a cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObservedBy {
    Archive,
    Reprice,
}

impl ObservedBy {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Archive => "archive",
            Self::Reprice => "reprice",
        }
    }
}

/// Writes down that the provider states this cost now. Only a changed value becomes a row; an
/// unchanged one confirms the last. A cost that is missing is no observation: the last one stays.
pub async fn observe(
    connection: &mut PgConnection,
    recording_id: RecordingId,
    cost: Usd,
    recording_status: Option<&str>,
    observed_by: ObservedBy,
) -> Result<(), sqlx::Error> {
    // As text, because the scale of a zero (`0.00`) is lost in Postgres' binary numerics.
    sqlx::query!(
        r#"-- finance::observe
        WITH changed AS (
            INSERT INTO archiver.cost_observations
                   (recording_id, cost_usd, recording_status, observed_by)
            SELECT recording_id, $2::text::numeric, $3, $4 FROM archiver.recordings
             WHERE recording_id = $1 AND cost_usd IS DISTINCT FROM $2::text::numeric
        )
        UPDATE archiver.recordings
           SET cost_observed_at = now(),
               cost_changed_at = CASE WHEN cost_usd IS DISTINCT FROM $2::text::numeric THEN now()
                                      ELSE cost_changed_at END,
               cost_usd = $2::text::numeric
         WHERE recording_id = $1"#,
        recording_id.uuid(),
        cost.to_string(),
        recording_status,
        observed_by.as_str(),
    )
    .execute(connection)
    .await
    .map(drop)
}
