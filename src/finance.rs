//! Money: the ledger of observed costs, the reports over it, and who may read them.
#![deny(
    clippy::float_arithmetic,
    clippy::float_cmp,
    clippy::cast_precision_loss
)]

use sqlx::{AssertSqlSafe, PgPool};

pub mod ledger;
pub mod reconcile;
pub mod report;

/// Why a role was not given access.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    #[error("role `{role}` does not exist; create it with `{cure}` and run this again")]
    NoSuchRole { role: String, cure: String },
    #[error("grant `{role}` the finance views; this needs the owner of schema finance")]
    Database {
        role: String,
        #[source]
        source: sqlx::Error,
    },
}

/// Lets an existing role read every view of schema `finance`, and nothing else of ours.
///
/// May be run again at any time, and must be after a migration that adds a view. Either all is
/// granted or nothing.
pub async fn grant_finance(pool: &PgPool, role: &str) -> Result<(), GrantError> {
    let failed = |source| GrantError::Database {
        role: role.to_owned(),
        source,
    };
    let mut transaction = pool.begin().await.map_err(failed)?;
    // Postgres quotes the name itself: a role may be called anything.
    let spelled = sqlx::query!(
        r#"-- finance::grant_finance
        SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1) AS "exists!",
               format('CREATE ROLE %I LOGIN', $1::text) AS "create_role!",
               format('GRANT USAGE ON SCHEMA finance TO %I', $1::text) AS "grant_schema!",
               format('GRANT SELECT ON ALL TABLES IN SCHEMA finance TO %I', $1::text)
                   AS "grant_views!""#,
        role,
    )
    .fetch_one(&mut *transaction)
    .await
    .map_err(failed)?;
    if !spelled.exists {
        return Err(GrantError::NoSuchRole {
            role: role.to_owned(),
            cure: spelled.create_role,
        });
    }
    for statement in [spelled.grant_schema, spelled.grant_views] {
        sqlx::query(AssertSqlSafe(statement))
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)
}
