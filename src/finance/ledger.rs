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
///
/// The caller's transaction holds the row already, so two observers cannot write the same change.
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
        recording_status.map(|word| word.replace('\0', "\u{fffd}")),
        observed_by.as_str(),
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Recordings of a project whose cost may still change and was not asked for within `pause`,
/// those that wait longest first. Those that are deleted at the provider are asked for no more.
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
           AND r.recording_status IS NOT NULL AND r.source_deleted_at IS NULL
           AND coalesce(r.cost_asked_at, r.enqueued_at) <= now() - make_interval(secs => $2)
         ORDER BY coalesce(r.cost_asked_at, r.enqueued_at)"#,
        project_id,
        pause.as_secs_f64(),
    )
    .fetch_all(pool)
    .await?;
    Ok(ids.into_iter().map(RecordingId::from).collect())
}

/// Writes down that the provider was asked, and keeps its status current: a cost is final only
/// once the recording is completed. Locks the row for the observation that may follow.
pub async fn note_asked(
    connection: &mut PgConnection,
    recording_id: RecordingId,
    recording_status: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"-- finance::note_asked
        UPDATE archiver.recordings
           SET recording_status = coalesce($2, recording_status), cost_asked_at = now()
         WHERE recording_id = $1"#,
        recording_id.uuid(),
        recording_status.map(|word| word.replace('\0', "\u{fffd}")),
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
