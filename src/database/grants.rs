//! Rights in the database: who may do what, and no more.

use sqlx::{AssertSqlSafe, PgPool};

/// What a role is to be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To read every view of schema `finance`, and nothing else.
    Finance,
    /// All that the service and its commands need but `migrate`: the schema is another role's, no
    /// recording is ever deleted, nor an attempt, and the ledger only grows.
    Service,
    /// To enqueue recordings, and nothing else: `INSERT INTO archiver.recordings (recording_id)`.
    Enqueue,
}

/// Why a role was not given access.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    #[error("role `{role}` does not exist; create it with `{cure}` and run this again")]
    NoSuchRole { role: String, cure: String },
    #[error("grant rights to `{role}`; this needs the owner of the schemas archiver and finance")]
    Database {
        role: String,
        #[source]
        source: sqlx::Error,
    },
}

impl Access {
    /// Templates for `format()` of Postgres, which quotes the name: a role may be called anything.
    const fn statements(self) -> &'static [&'static str] {
        match self {
            Self::Finance => &[
                "GRANT USAGE ON SCHEMA finance TO %I",
                "GRANT SELECT ON ALL TABLES IN SCHEMA finance TO %I",
            ],
            Self::Service => &[
                "GRANT USAGE ON SCHEMA archiver, finance TO %I",
                "GRANT SELECT ON ALL TABLES IN SCHEMA archiver, finance TO %I",
                "GRANT INSERT, UPDATE ON archiver.recordings, archiver.attempts, archiver.uploads,
                     archiver.upload_parts, archiver.projects, archiver.discoveries,
                     archiver.chores, archiver.retirements, archiver.store_probes TO %I",
                "GRANT INSERT ON archiver.cost_observations TO %I",
                "GRANT UPDATE ON archiver.finance_rules TO %I",
                "GRANT DELETE ON archiver.uploads, archiver.upload_parts TO %I",
            ],
            Self::Enqueue => &[
                "GRANT USAGE ON SCHEMA archiver TO %I",
                "GRANT INSERT (recording_id), SELECT (recording_id) ON archiver.recordings TO %I",
            ],
        }
    }
}

/// Gives an existing role its rights. May be run again at any time, and must be after a migration
/// that adds a table or a view. Either all is granted or nothing.
pub async fn grant(pool: &PgPool, access: Access, role: &str) -> Result<(), GrantError> {
    let failed = |source| GrantError::Database {
        role: role.to_owned(),
        source,
    };
    let mut transaction = pool.begin().await.map_err(failed)?;
    let templates: Vec<_> = access
        .statements()
        .iter()
        .map(ToString::to_string)
        .collect();
    let spelled = sqlx::query!(
        r#"-- database::grant
        SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1) AS "exists!",
               format('CREATE ROLE %I LOGIN', $1::text) AS "create_role!",
               ARRAY (SELECT format(template, $1::text)
                        FROM unnest($2::text[]) WITH ORDINALITY AS t(template, place)
                       ORDER BY place) AS "statements!""#,
        role,
        &templates,
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
    for statement in spelled.statements {
        sqlx::query(AssertSqlSafe(statement))
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)
}
