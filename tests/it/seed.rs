//! Rows to begin a test with, and statements that must succeed or be refused.

use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

pub(crate) use crate::harness::postgres::migrated_database;

/// A row of `archiver.recordings`; what is not named stays as an enqueue leaves it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seed {
    pub(crate) number: u128,
    pub(crate) archived: bool,
    pub(crate) project_id: Option<&'static str>,
    pub(crate) session: Option<u128>,
    pub(crate) status: Option<&'static str>,
    pub(crate) started_at: Option<&'static str>,
    pub(crate) finished_at: Option<&'static str>,
    pub(crate) created_at: Option<&'static str>,
    pub(crate) duration_secs: Option<i64>,
    pub(crate) size_bytes: Option<i64>,
    pub(crate) cost_usd: Option<&'static str>,
    /// For how long the cost has been seen unchanged.
    pub(crate) same_for: Option<&'static str>,
    pub(crate) object_url: Option<&'static str>,
}

impl Seed {
    pub(crate) fn id(&self) -> Uuid {
        Uuid::from_u128(self.number)
    }

    pub(crate) async fn insert(self, pool: &PgPool) {
        sqlx::query(
            "INSERT INTO archiver.recordings
                 (recording_id, state, project_id, room_session_id, recording_status, started_at,
                  finished_at, created_at, duration_secs, size_bytes, cost_usd, cost_observed_at,
                  cost_changed_at, object_url, object_key, sha256, crc64nvme, evidence,
                  archived_at, finalized_at)
             SELECT $1, CASE WHEN $2 THEN 'archived' ELSE 'pending' END, $3, $4, $5,
                    $6::timestamptz, $7::timestamptz, $8::timestamptz, $9, $10, $11::numeric,
                    observed_at, observed_at - coalesce($12, '0')::interval,
                    CASE WHEN $2 THEN coalesce($13, 's3://bucket/key') END,
                    CASE WHEN $2 THEN 'key' END, CASE WHEN $2 THEN sha256('') END,
                    CASE WHEN $2 THEN 'AAAAAAAAAAA=' END, CASE WHEN $2 THEN 'read_back' END,
                    archived_at, archived_at
               FROM (SELECT CASE WHEN $11::numeric IS NOT NULL
                                 THEN timestamptz '2026-03-01T00:00:00Z' END AS observed_at,
                            CASE WHEN $2 THEN now() END AS archived_at) times",
        )
        .bind(self.id())
        .bind(self.archived)
        .bind(self.project_id)
        .bind(self.session.map(Uuid::from_u128))
        .bind(self.status)
        .bind(self.started_at)
        .bind(self.finished_at)
        .bind(self.created_at)
        .bind(self.duration_secs)
        .bind(self.size_bytes.or(self.archived.then_some(0)))
        .bind(self.cost_usd)
        .bind(self.same_for)
        .bind(self.object_url)
        .execute(pool)
        .await
        .unwrap();
    }
}

/// Runs statements that must succeed.
pub(crate) async fn execute(pool: &PgPool, statements: &str) {
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
        .execute(pool)
        .await
        .unwrap();
}

/// Runs a statement that Postgres must refuse, and gives its reason.
pub(crate) async fn refused(pool: &PgPool, statement: &str) -> sqlx::Error {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(pool)
        .await
        .expect_err(statement)
}
