//! Rights in the database: which each role gets, and which a role lacks.

use sqlx::{AssertSqlSafe, PgConnection, PgPool};

/// What a role is to be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To read every view of schema `finance`, and nothing else.
    Finance,
    /// All that the service and its commands need but `migrate`: the schema is another role's, no
    /// recording is ever deleted, nor an attempt, and ledger and audit only grow.
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

/// A right on one object, as `GRANT` spells it.
#[derive(Debug, Clone, Copy)]
enum Right {
    /// `USAGE` on a schema.
    Schema(&'static str),
    /// `SELECT` on every table and view of a schema.
    Read(&'static str),
    /// Privileges on a whole table.
    Table(&'static [&'static str], &'static str),
    /// One privilege on some columns of a table.
    Columns(&'static str, &'static [&'static str], &'static str),
    /// `EXECUTE` on a function.
    Function(&'static str),
}

use Right::{Columns, Function, Read, Schema, Table};

const WRITE: &[&str] = &["INSERT", "UPDATE"];
const WRITE_AND_DELETE: &[&str] = &["INSERT", "UPDATE", "DELETE"];

const FINANCE: &[Right] = &[Schema("finance"), Read("finance")];

const SERVICE: &[Right] = &[
    Schema("archiver"),
    Schema("finance"),
    Read("archiver"),
    Read("finance"),
    Table(WRITE, "archiver.recordings"),
    Table(WRITE, "archiver.attempts"),
    Table(WRITE, "archiver.projects"),
    Table(WRITE, "archiver.discoveries"),
    Table(WRITE, "archiver.chores"),
    Table(WRITE, "archiver.store_probes"),
    Table(WRITE_AND_DELETE, "archiver.uploads"),
    Table(WRITE_AND_DELETE, "archiver.upload_parts"),
    Columns(
        "INSERT",
        &[
            "recording_id",
            "observed_at",
            "cost_usd",
            "recording_status",
            "observed_by",
        ],
        "archiver.cost_observations",
    ),
    Columns("UPDATE", &["final_after"], "archiver.finance_rules"),
    Columns(
        "INSERT",
        &[
            "recording_id",
            "retired_by",
            "object_url",
            "size_bytes",
            "sha256",
            "evidence",
            "cost_usd",
        ],
        "archiver.retirements",
    ),
    Columns(
        "UPDATE",
        &[
            "begun_at",
            "ended_at",
            "retired_by",
            "outcome",
            "reason",
            "object_url",
            "size_bytes",
            "sha256",
            "evidence",
            "cost_usd",
        ],
        "archiver.retirements",
    ),
    Function("archiver.coverage(interval)"),
    Function("archiver.others_to_ask(text[])"),
];

/// `ON CONFLICT DO NOTHING` needs no right beyond the insert.
const ENQUEUE: &[Right] = &[
    Schema("archiver"),
    Columns("INSERT", &["recording_id"], "archiver.recordings"),
];

impl Access {
    const fn rights(self) -> &'static [Right] {
        match self {
            Self::Finance => FINANCE,
            Self::Service => SERVICE,
            Self::Enqueue => ENQUEUE,
        }
    }

    /// What versions before granted and this one does not.
    const fn revoked(self) -> &'static [&'static str] {
        match self {
            Self::Finance => &[],
            Self::Service => &[
                "REVOKE INSERT, UPDATE ON archiver.cost_observations, archiver.retirements,
                     archiver.finance_rules FROM %I",
            ],
            Self::Enqueue => &["REVOKE SELECT (recording_id) ON archiver.recordings FROM %I"],
        }
    }
}

impl Right {
    /// The statement without its role.
    fn grant(self) -> String {
        match self {
            Schema(name) => format!("GRANT USAGE ON SCHEMA {name} TO "),
            Read(schema) => format!("GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO "),
            Table(privileges, table) => {
                format!("GRANT {} ON {table} TO ", privileges.join(", "))
            }
            Columns(privilege, columns, table) => {
                format!("GRANT {privilege} ({}) ON {table} TO ", columns.join(", "))
            }
            Function(signature) => format!("GRANT EXECUTE ON FUNCTION {signature} TO "),
        }
    }

    /// A query whether the session's role lacks it. Looks into the catalogs by OID, because a name
    /// is not resolved in a schema that may not be used.
    fn is_missing(self) -> String {
        let any_table = |condition: &str, of: &str| {
            format!(
                "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
                                 WHERE relkind IN ('r', 'p', 'v', 'm') AND {of} AND ({condition}))"
            )
        };
        let named = |table: &str| format!("nspname || '.' || relname = '{table}'");
        match self {
            Schema(name) => format!(
                "SELECT NOT has_schema_privilege(oid, 'USAGE') FROM pg_namespace
                  WHERE nspname = '{name}'"
            ),
            Read(schema) => any_table(
                "NOT has_table_privilege(c.oid, 'SELECT')",
                &format!("nspname = '{schema}'"),
            ),
            Table(privileges, table) => {
                let lacks: Vec<String> = privileges
                    .iter()
                    .map(|privilege| format!("NOT has_table_privilege(c.oid, '{privilege}')"))
                    .collect();
                any_table(&lacks.join(" OR "), &named(table))
            }
            // By number: a name would be looked for in every table.
            Columns(privilege, columns, table) => format!(
                "SELECT EXISTS (SELECT FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
                                  JOIN pg_namespace n ON n.oid = relnamespace
                                 WHERE nspname || '.' || relname = '{table}'
                                   AND attname IN ('{}') AND attnum > 0
                                   AND NOT has_column_privilege(c.oid, attnum, '{privilege}'))",
                columns.join("', '"),
            ),
            Function(signature) => {
                let name = signature.split('(').next().unwrap_or_default();
                format!(
                    "SELECT EXISTS (SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
                                     WHERE nspname || '.' || proname = '{name}'
                                       AND NOT has_function_privilege(p.oid, 'EXECUTE'))"
                )
            }
        }
    }
}

/// Gives an existing role its rights. May be run again at any time, and must be after a migration
/// that adds a table, a view or a function. Either all is granted or nothing.
pub async fn grant(pool: &PgPool, access: Access, role: &str) -> Result<(), GrantError> {
    let failed = |source| GrantError::Database {
        role: role.to_owned(),
        source,
    };
    let mut transaction = pool.begin().await.map_err(failed)?;
    let revoked = access.revoked().iter().map(ToString::to_string);
    let granted = access.rights().iter().map(|right| right.grant() + "%I");
    // Templates for `format()` of Postgres, which quotes the name: a role may be called anything.
    let templates: Vec<String> = revoked.chain(granted).collect();
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

/// The rights that the session's role lacks for the service and its commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingRights {
    /// Quoted as SQL wants it.
    pub role: String,
    /// The statements that grant them, for the owner of the schemas, or of the database.
    pub grants: Vec<String>,
}

/// Returns what the session's role may not do of what the service and its commands do; `None` if
/// nothing is missing. An object that does not exist is not missing.
pub async fn missing_rights(pool: &PgPool) -> Result<Option<MissingRights>, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let connection: &mut PgConnection = &mut connection;
    let (role, database, lacks_temporary): (String, String, bool) = sqlx::query_as(
        "SELECT quote_ident(current_user), quote_ident(current_database()),
                NOT has_database_privilege(current_database(), 'TEMPORARY')",
    )
    .fetch_one(&mut *connection)
    .await?;
    let mut grants = Vec::new();
    for right in Access::Service.rights() {
        let missing: Option<bool> = sqlx::query_scalar(AssertSqlSafe(right.is_missing()))
            .fetch_optional(&mut *connection)
            .await?;
        if missing == Some(true) {
            grants.push(format!("{}{role};", right.grant()));
        }
    }
    // `reconcile` keeps the provider's list in a temporary table.
    if lacks_temporary {
        grants.push(format!("GRANT TEMPORARY ON DATABASE {database} TO {role};"));
    }
    Ok((!grants.is_empty()).then_some(MissingRights { role, grants }))
}
