//! `discover`: the provider's list, and what of it nobody has queued.

use std::io::{self, Write};

use indicatif::{ProgressBar, ProgressStyle};
use uuid::Uuid;

use super::exit::Exit;
use super::human;
use super::session::Session;
use crate::signalwire::Catalogue;
use crate::upkeep::{Discovered, Discovery, PAGE_SIZE};

#[derive(Debug, clap::Args)]
pub(super) struct DiscoverArgs {
    /// Only the recordings of this room session
    #[arg(long, value_name = "UUID")]
    session: Option<Uuid>,
    /// Queue nothing: print the unknown IDs
    #[arg(long)]
    dry_run: bool,
    /// Begin with the first page, even if a walk was cut off within the last day
    #[arg(long, conflicts_with_all = ["session", "dry_run"])]
    from_start: bool,
}

pub(super) async fn run(
    session: &Session,
    args: &DiscoverArgs,
    out: &mut impl Write,
) -> anyhow::Result<Exit> {
    let signalwire = session.signalwire()?;
    let storage = session.storage_to_look_at()?;
    let database = if args.dry_run {
        session.look().await?
    } else {
        session.database().await?
    };
    let discovery = Discovery {
        pool: database.pool(),
        signalwire: &signalwire,
        storage: &storage,
        page_size: PAGE_SIZE,
    };
    let bar = session.progress.add(ProgressBar::new_spinner());
    bar.set_style(
        ProgressStyle::with_template("{spinner} {msg}  {elapsed_precise}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    let seen = |found: &Discovered| {
        bar.set_message(format!("{} listed, {} new", found.listed, found.queued));
        bar.tick();
    };
    let found = match (args.session, args.dry_run) {
        (session, true) => {
            let catalogue = session.map_or(Catalogue::All, Catalogue::OfSession);
            let unknown = |id| bar.suspend(|| writeln!(out, "{id}"));
            let found = discovery.unknown(catalogue, unknown, seen).await;
            found.map_err(anyhow::Error::from)
        }
        (Some(room_session_id), false) => {
            let found = discovery.discover_session(room_session_id, seen).await;
            found.map_err(anyhow::Error::from)
        }
        (None, false) => {
            let found = discovery.discover(args.from_start, seen).await;
            found.map_err(anyhow::Error::from)
        }
    };
    bar.finish_and_clear();
    database.close().await;
    let found = found?;
    if args.dry_run {
        // The IDs alone are data: they may go on into `enqueue --ids-file -`.
        writeln!(
            io::stderr(),
            "{} listed, of these {} unknown",
            human::count(signed(found.listed), "recording"),
            found.queued
        )?;
    } else {
        tell(&found, out)?;
    }
    Ok(match found {
        Discovered { left: 1.., .. } => Exit::Later,
        Discovered {
            lost_sight_of: 1.., ..
        } => Exit::Failed,
        _ => Exit::Done,
    })
}

fn tell(found: &Discovered, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{} listed on {}: {} queued, {} known that have changed",
        human::count(signed(found.listed), "recording"),
        human::count(signed(found.pages), "page"),
        found.queued,
        found.changed,
    )?;
    if found.resumed_pages > 0 {
        writeln!(
            out,
            "went on after page {}, where an earlier walk was cut off; --from-start begins anew",
            found.resumed_pages
        )?;
    }
    if found.unreadable > 0 {
        writeln!(
            out,
            "could not be understood: {}; of these without an ID, so that nothing is queued: {}",
            found.unreadable, found.lost_sight_of
        )?;
    }
    if found.left > 0 {
        writeln!(
            out,
            "changed costs left for the next time, because their manifests could not be written: {}",
            found.left
        )?;
    }
    Ok(())
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
