//! Periodic chores: many hosts hear the bell, one of them does the chore.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use super::{Answered, Queue, QueueError, exactly_one, interval};

/// A turn that is not renewed for this long is another host's for the taking.
const LEASE: Duration = Duration::from_mins(1);
/// Clocks differ, so the hosts' bells ring one after the other: a chore that was begun less than
/// this ago is not begun again.
const PAUSE: Duration = Duration::from_mins(1);

/// A chore, and what it is done for.
#[derive(Debug, Clone)]
pub struct Chore {
    pub name: &'static str,
    /// A store or a project: hosts that serve another one have their own turns.
    pub scope: String,
}

/// When each chore of these scopes last ended well, whichever host did it.
pub async fn succeeded_chores(
    pool: &PgPool,
    scopes: &[String],
) -> Result<Vec<(String, DateTime<Utc>)>, QueueError> {
    let rows = sqlx::query!(
        r#"-- queue::succeeded_chores
        SELECT chore, max(succeeded_at) AS "succeeded_at!" FROM archiver.chores
         WHERE scope = ANY ($1) AND succeeded_at IS NOT NULL
         GROUP BY chore"#,
        scopes,
    )
    .fetch_all(pool)
    .answered("look at the chores")
    .await?;
    let rows = rows.into_iter().map(|row| (row.chore, row.succeeded_at));
    Ok(rows.collect())
}

/// The right to do a chore now.
#[derive(Debug)]
struct Turn<'a> {
    pool: &'a PgPool,
    chore: &'a Chore,
    lease_token: Uuid,
}

impl Queue {
    /// Does `work` if it is this host's turn; `None` if another host does it, or did so just now.
    /// Whoever loses the turn in the middle stops.
    ///
    /// # Errors
    /// When the database could not be asked whose turn it is.
    pub async fn in_turn<T, E>(
        &self,
        chore: &Chore,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<Option<Result<T, E>>, QueueError> {
        let Some(turn) = self.take_turn(chore).await? else {
            return Ok(None);
        };
        let done = tokio::select! {
            done = work => done,
            () = turn.keep() => return Ok(None),
        };
        turn.end(done.is_ok()).await?;
        Ok(Some(done))
    }

    async fn take_turn<'a>(&'a self, chore: &'a Chore) -> Result<Option<Turn<'a>>, QueueError> {
        let lease_token = sqlx::query_scalar!(
            r#"-- queue::take_turn
            INSERT INTO archiver.chores AS c (chore, scope, leased_by, lease_token, lease_expires_at)
            VALUES ($1, $2, $3, gen_random_uuid(), now() + $4)
                ON CONFLICT (chore, scope) DO UPDATE
                   SET leased_by = excluded.leased_by, lease_token = excluded.lease_token,
                       lease_expires_at = excluded.lease_expires_at,
                       begun_at = now(), ended_at = NULL
                 -- No lease lasts an hour longer: a later end was written by a wrong clock. An end
                 -- slightly later was not: now() is the start of this transaction, and the holder
                 -- may have written after it.
                 WHERE c.lease_expires_at <= now()
                    OR c.lease_expires_at > now() + $4 + interval '1 hour'
             RETURNING lease_token"#,
            chore.name,
            chore.scope,
            self.holder,
            interval(LEASE),
        )
        .fetch_optional(&self.pool)
        .answered("take the turn at a chore")
        .await?;
        Ok(lease_token.map(|lease_token| Turn {
            pool: &self.pool,
            chore,
            lease_token,
        }))
    }
}

impl Turn<'_> {
    /// Returns when the turn is lost.
    async fn keep(&self) {
        let mut renewed_at = tokio::time::Instant::now();
        while renewed_at.elapsed() < LEASE {
            tokio::time::sleep(LEASE / 4).await;
            let asked_at = tokio::time::Instant::now();
            match self.renew().await {
                Ok(()) => renewed_at = asked_at,
                Err(QueueError::LeaseLost) => return,
                Err(error) => tracing::debug!("{}", crate::error::chain(&error)),
            }
        }
    }

    async fn renew(&self) -> Result<(), QueueError> {
        let renewed = sqlx::query!(
            r#"-- queue::renew_turn
            UPDATE archiver.chores SET lease_expires_at = now() + $4
             WHERE chore = $1 AND scope = $2 AND lease_token = $3"#,
            self.chore.name,
            self.chore.scope,
            self.lease_token,
            interval(LEASE),
        )
        .execute(self.pool)
        .answered("keep the turn at a chore")
        .await?;
        exactly_one(&renewed)
    }

    /// Nobody begins it again before the pause is over.
    async fn end(&self, succeeded: bool) -> Result<(), QueueError> {
        sqlx::query!(
            r#"-- queue::end_turn
            UPDATE archiver.chores
               SET ended_at = now(), lease_expires_at = begun_at + $4,
                   succeeded_at = CASE WHEN $5 THEN now() ELSE succeeded_at END
             WHERE chore = $1 AND scope = $2 AND lease_token = $3"#,
            self.chore.name,
            self.chore.scope,
            self.lease_token,
            interval(PAUSE),
            succeeded,
        )
        .execute(self.pool)
        .answered("end the turn at a chore")
        .await
        .map(drop)
    }
}
