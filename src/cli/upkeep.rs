//! `sweep` and `reprice`: the daemon's chores, by hand.

use std::io::Write;
use std::time::Duration;

use super::exit::Exit;
use super::human;
use super::session::Session;
use crate::printable::printable;
use crate::upkeep::{self, Orphan};

/// Characters of an upload's ID that are shown.
const SHOWN_OF_ID: usize = 12;

#[derive(Debug, clap::Args)]
pub(super) struct SweepArgs {
    /// Only tell them: key, upload, when it was begun, and why nobody goes on with it
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
        for orphan in &swept.found {
            writeln!(out, "{}", line(orphan))?;
        }
        writeln!(out, "orphaned uploads: {}", swept.found.len())?;
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

fn line(orphan: &Orphan) -> String {
    // Enough to tell them apart; some stores' are longer than a line.
    let upload_id: String = orphan.upload_id.chars().take(SHOWN_OF_ID).collect();
    let begun_at = orphan.begun_at.map_or("unknown".to_owned(), human::time);
    printable(&format!(
        "{}  upload {upload_id}, begun {begun_at}: {}",
        orphan.object_key, orphan.why
    ))
    .into_owned()
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
