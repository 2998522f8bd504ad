//! The ledger: one more row for each changed cost; nothing there is ever altered.

use std::time::Duration;

use sqlx::{PgConnection, PgPool};

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

/// Recordings of a project whose cost may still change and was not asked for within `pause`,
/// those that wait longest first.
pub async fn not_final(
    pool: &PgPool,
    project_id: &str,
    pause: Duration,
) -> Result<Vec<RecordingId>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        r#"-- finance::not_final
        SELECT r.recording_id AS "recording_id!"
          FROM archiver.recordings r
          JOIN finance.recordings f USING (recording_id)
         WHERE r.project_id = $1 AND f.cost_state <> 'final'
           AND r.recording_status IS NOT NULL
           AND coalesce(r.cost_observed_at, r.enqueued_at) <= now() - make_interval(secs => $2)
         ORDER BY r.cost_observed_at NULLS FIRST"#,
        project_id,
        pause.as_secs_f64(),
    )
    .fetch_all(pool)
    .await?;
    Ok(ids.into_iter().map(RecordingId::from).collect())
}

/// Keeps the provider's status current beside the cost: a cost is final only once it is completed.
pub async fn note_status(
    connection: &mut PgConnection,
    recording_id: RecordingId,
    recording_status: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"-- finance::note_status
        UPDATE archiver.recordings SET recording_status = coalesce($2, recording_status)
         WHERE recording_id = $1"#,
        recording_id.uuid(),
        recording_status,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Writes the rule by which the finance views call a cost final.
pub async fn set_final_after(pool: &PgPool, final_after: Duration) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"-- finance::set_final_after
        UPDATE archiver.finance_rules SET final_after = make_interval(secs => $1)
         WHERE final_after <> make_interval(secs => $1)"#,
        final_after.as_secs_f64(),
    )
    .execute(pool)
    .await
    .map(drop)
}
