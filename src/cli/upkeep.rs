//! `sweep` and `reprice`: the daemon's chores, by hand.

use std::io::Write;
use std::time::Duration;

use super::exit::Exit;
use super::session::Session;
use crate::upkeep;

#[derive(Debug, clap::Args)]
pub(super) struct SweepArgs {
    /// Only count them
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn sweep(
    session: &Session,
    args: &SweepArgs,
    out: &mut impl Write,
) -> anyhow::Result<Exit> {
    let storage = session.storage()?;
    let database = session.look().await?;
    let swept = upkeep::sweep(database.pool(), &storage, args.dry_run).await;
    database.close().await;
    let swept = swept?;
    if args.dry_run {
        writeln!(out, "orphaned uploads: {}", swept.left)?;
        return Ok(Exit::Done);
    }
    writeln!(
        out,
        "orphaned uploads aborted: {}, left: {}",
        swept.aborted, swept.left
    )?;
    Ok(if swept.left == 0 {
        Exit::Done
    } else {
        Exit::Later
    })
}

pub(super) async fn reprice(session: &Session, out: &mut impl Write) -> anyhow::Result<Exit> {
    let signalwire = session.signalwire()?;
    let storage = session.storage()?;
    let database = session.look().await?;
    let repriced = upkeep::reprice(database.pool(), &signalwire, &storage, Duration::ZERO).await;
    database.close().await;
    let repriced = repriced?;
    writeln!(
        out,
        "asked for {} costs; {} recordings are gone at the provider, {} could not be asked",
        repriced.asked, repriced.gone, repriced.left
    )?;
    Ok(if repriced.left == 0 {
        Exit::Done
    } else {
        Exit::Later
    })
}
