//! `enqueue`, `retry` and `migrate`: commands that need only the database.

use std::io::Write;

use sqlx::PgPool;

use super::exit::{Exit, UsageError};
use super::human;
use super::ids::IdArgs;
use super::session::Session;
use crate::database::{Access, grant};
use crate::error::ErrorKind;
use crate::queue::{self, Chosen};
use crate::recording::RecordingId;

#[derive(Debug, clap::Args)]
pub(super) struct EnqueueArgs {
    #[command(flatten)]
    ids: IdArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct RetryArgs {
    /// Recording ID; repeat it for several
    #[arg(long, value_name = "UUID", required_unless_present = "failed")]
    id: Vec<RecordingId>,
    /// Everything that has failed
    #[arg(long, conflicts_with = "id")]
    failed: bool,
    /// Of what has failed, only this kind
    #[arg(long, value_name = "ERROR_KIND", requires = "failed")]
    kind: Option<ErrorKind>,
}

#[derive(Debug, clap::Args)]
pub(super) struct MigrateArgs {
    /// Let this role read the finance views, and nothing else
    #[arg(long = "grant-finance", value_name = "ROLE")]
    finance: Option<String>,
    /// Let this role run the service and every command but this one
    #[arg(long = "grant-service", value_name = "ROLE")]
    service: Option<String>,
    /// Let this role enqueue recordings by SQL, and nothing else
    #[arg(long = "grant-enqueue", value_name = "ROLE")]
    enqueue: Option<String>,
}

pub(super) async fn enqueue(
    session: &Session,
    args: &EnqueueArgs,
    out: &mut impl Write,
) -> anyhow::Result<Exit> {
    let ids = args.ids.read()?;
    let database = session.database().await?;
    let new = queue::enqueue(database.pool(), &ids).await;
    database.close().await;
    let new = new?;
    let known = ids.len() as u64 - new;
    writeln!(out, "queued {new}, known already {known}")?;
    Ok(Exit::Done)
}

pub(super) async fn retry(
    session: &Session,
    args: &RetryArgs,
    out: &mut impl Write,
) -> anyhow::Result<Exit> {
    let chosen = if args.failed {
        Chosen::Failed { kind: args.kind }
    } else {
        Chosen::Ids(args.id.clone())
    };
    let database = session.look().await?;
    let retried = queue::retry(database.pool(), &chosen).await;
    database.close().await;
    let retried = retried?;
    writeln!(
        out,
        "{} pending again",
        human::count(
            i64::try_from(retried.len()).unwrap_or(i64::MAX),
            "recording"
        )
    )?;
    if args.failed {
        return Ok(Exit::Done);
    }
    let left: Vec<String> = args
        .id
        .iter()
        .filter(|id| !retried.contains(id))
        .map(ToString::to_string)
        .collect();
    if left.is_empty() {
        return Ok(Exit::Done);
    }
    Err(UsageError(format!(
        "not failed, so left as they are (see `status --id`): {}",
        left.join(", ")
    ))
    .into())
}

pub(super) async fn migrate(
    session: &Session,
    args: &MigrateArgs,
    out: &mut impl Write,
) -> anyhow::Result<Exit> {
    let database = session.migrated().await?;
    writeln!(out, "the schema is up to date")?;
    let granted = grant_all(database.pool(), args, out).await;
    database.close().await;
    granted
}

async fn grant_all(
    pool: &PgPool,
    args: &MigrateArgs,
    out: &mut impl Write,
) -> anyhow::Result<Exit> {
    for (role, access, rights) in [
        (
            &args.finance,
            Access::Finance,
            "read the views of schema finance",
        ),
        (&args.service, Access::Service, "run the service"),
        (&args.enqueue, Access::Enqueue, "enqueue recordings"),
    ] {
        if let Some(role) = role {
            grant(pool, access, role).await?;
            writeln!(out, "{role} may {rights}")?;
        }
    }
    Ok(Exit::Done)
}
