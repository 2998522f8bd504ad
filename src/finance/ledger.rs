//! The ledger: one more row for each changed cost; nothing there is ever altered.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::database::storable;
use crate::money::Usd;
use crate::recording::RecordingId;

/// Which path saw a cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObservedBy {
    Archive,
    Discover,
    Reprice,
    Rebuild,
}

impl ObservedBy {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Archive => "archive",
            Self::Discover => "discover",
            Self::Reprice => "reprice",
            Self::Rebuild => "rebuild",
        }
    }
}

/// A cost as somebody saw it.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    pub recording_id: RecordingId,
    pub cost: Usd,
    /// What the provider said of the recording then.
    pub recording_status: Option<&'a str>,
    /// `None`: now.
    pub observed_at: Option<DateTime<Utc>>,
}

/// What the row of a recording has to say after an observation that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub recording_id: RecordingId,
    pub cost: Usd,
    pub observed_at: DateTime<Utc>,
    /// Since when it is this cost.
    pub changed_at: DateTime<Utc>,
}

/// Writes down that the provider states these costs, of each recording one at most: [`record`],
/// and the rows as well.
pub async fn observe(
    connection: &mut PgConnection,
    project_id: Option<&str>,
    observations: &[Observation<'_>],
    observed_by: ObservedBy,
) -> Result<(), sqlx::Error> {
    let standings = record(&mut *connection, project_id, observations, observed_by).await?;
    let ids: Vec<Uuid> = standings.iter().map(|it| it.recording_id.uuid()).collect();
    let costs: Vec<String> = standings.iter().map(|it| it.cost.to_string()).collect();
    let observed: Vec<_> = standings.iter().map(|it| it.observed_at).collect();
    let changed: Vec<_> = standings.iter().map(|it| it.changed_at).collect();
    sqlx::query!(
        r#"-- finance::observe
        UPDATE archiver.recordings r
           SET cost_usd = s.cost::numeric, cost_observed_at = s.observed_at,
               cost_changed_at = s.changed_at,
               cost_asked_at = greatest(r.cost_asked_at, s.observed_at)
          FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::timestamptz[])
                   AS s(recording_id, cost, observed_at, changed_at)
         WHERE r.recording_id = s.recording_id"#,
        &ids,
        &costs,
        &observed,
        &changed,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// The statement that writes observed costs into the ledger and says what the rows have to say then.
/// `$observed` gives the observations: rows of `recording_id`, `cost`, `status`, `at` and `place`.
macro_rules! record_observed {
    ($name:literal, $observed:literal, $($argument:expr),* $(,)?) => {
        sqlx::query_as!(
            Recorded,
            "-- finance::" + $name + r#"
        WITH seen AS (
            SELECT s.place, r.recording_id, s.cost::numeric AS cost, s.status,
                   least(s.at, now()) AS at, r.cost_observed_at, r.cost_changed_at,
                   r.cost_usd IS DISTINCT FROM s.cost::numeric AS is_changed
              FROM "# + $observed + r#" AS s(recording_id, cost, status, at, place)
              JOIN archiver.recordings r USING (recording_id)
             WHERE (r.cost_observed_at IS NULL OR r.cost_observed_at <= coalesce(s.at, now()))
               AND ($6::text IS NULL OR coalesce(r.project_id, $6) = $6)
               FOR NO KEY UPDATE OF r
        ), changed AS (
            INSERT INTO archiver.cost_observations
                   (recording_id, cost_usd, recording_status, observed_at, observed_by)
            SELECT recording_id, cost, status, CASE WHEN $5 = 'rebuild' THEN at ELSE now() END, $5
              FROM seen WHERE is_changed
             ORDER BY recording_id
        )
        SELECT s.place AS "place!", s.at AS "observed_at!",
               CASE WHEN s.is_changed THEN s.at ELSE s.cost_changed_at END AS "changed_at!"
          FROM seen s, archiver.finance_rules rules
         WHERE s.is_changed OR s.cost_observed_at - s.cost_changed_at < rules.final_after"#,
            $($argument),*
        )
    };
}

/// An observation that counts.
struct Recorded {
    /// Which of the observations it is, from 1.
    place: i64,
    observed_at: DateTime<Utc>,
    changed_at: DateTime<Utc>,
}

impl Recorded {
    fn of(self, observations: &[Observation<'_>]) -> Option<Standing> {
        let observation = observations.get(usize::try_from(self.place - 1).ok()?)?;
        Some(Standing {
            recording_id: observation.recording_id,
            cost: observation.cost,
            observed_at: self.observed_at,
            changed_at: self.changed_at,
        })
    }
}

/// Writes into the ledger that the provider states these costs, and returns what the rows have to
/// say then, for the caller to write with what else there is, in the same transaction.
///
/// Only a changed value becomes a row of the ledger; an unchanged one confirms the last, until that
/// is final. A cost that is missing is no observation, nor is one that is older than the last: that
/// one stays. The ledger's date is when the row is written, so that no sum that was reported before
/// included it; a rebuild restores the manifest's. With `project_id`, recordings that are known to be another project's are left alone.
///
/// Locks the rows, so that two observers cannot write the same change.
pub async fn record(
    connection: &mut PgConnection,
    project_id: Option<&str>,
    observations: &[Observation<'_>],
    observed_by: ObservedBy,
) -> Result<Vec<Standing>, sqlx::Error> {
    let ids: Vec<Uuid> = observations
        .iter()
        .map(|it| it.recording_id.uuid())
        .collect();
    let costs: Vec<String> = observations.iter().map(cost_text).collect();
    let statuses: Vec<Option<String>> = observations
        .iter()
        .map(|it| it.recording_status.map(storable))
        .collect();
    let times: Vec<Option<DateTime<Utc>>> = observations.iter().map(|it| it.observed_at).collect();
    let recorded = record_observed!(
        "record",
        "unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[]) WITH ORDINALITY",
        &ids,
        &costs,
        &statuses as &[Option<String>],
        &times as &[Option<DateTime<Utc>>],
        observed_by.as_str(),
        project_id,
    )
    .fetch_all(connection)
    .await?;
    let standings = recorded.into_iter().filter_map(|it| it.of(observations));
    Ok(standings.collect())
}

/// [`record`] of one observation; `None` if it does not count.
///
/// How many an array holds, Postgres knows only when it plans with the array at hand, and it does
/// so for each settling: that takes longer than the statement itself.
pub async fn record_one(
    connection: &mut PgConnection,
    project_id: Option<&str>,
    observation: &Observation<'_>,
    observed_by: ObservedBy,
) -> Result<Option<Standing>, sqlx::Error> {
    let recorded = record_observed!(
        "record_one",
        "(VALUES ($1::uuid, $2::text, $3::text, $4::timestamptz, 1::bigint))",
        observation.recording_id.uuid(),
        cost_text(observation),
        observation.recording_status.map(storable),
        observation.observed_at,
        observed_by.as_str(),
        project_id,
    )
    .fetch_optional(connection)
    .await?;
    Ok(recorded.and_then(|it| it.of(std::slice::from_ref(observation))))
}

/// As text, because the scale of a zero (`0.00`) is lost in Postgres' binary numerics.
fn cost_text(observation: &Observation<'_>) -> String {
    observation.cost.to_string()
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

/// Writes down that the provider was asked and answered. Locks the row.
pub async fn note_asked(
    connection: &mut PgConnection,
    recording_id: RecordingId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"-- finance::note_asked
        UPDATE archiver.recordings SET cost_asked_at = now() WHERE recording_id = $1"#,
        recording_id.uuid(),
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Writes the rule by which the finance views call a cost final. Under another one than before, all
/// recordings are counted anew: at millions of them, this takes many seconds, in which writers wait.
pub async fn set_final_after(pool: &PgPool, final_after: Duration) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    sqlx::query("SET LOCAL statement_timeout = '10min'")
        .execute(&mut *transaction)
        .await?;
    sqlx::query!(
        r#"-- finance::set_final_after
        UPDATE archiver.finance_rules SET final_after = make_interval(secs => $1)
         WHERE final_after <> make_interval(secs => $1)"#,
        final_after.as_secs_f64(),
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}
