//! `verify`: archived objects are read again and compared with what is on record.

use std::io::{self, Write};
use std::str::FromStr;
use std::time::Duration;

use sqlx::PgPool;

use super::bars::Bars;
use super::exit::Exit;
use super::human;
use super::ids::NamedIds;
use super::named::{self, Named};
use super::session::Session;
use crate::archive::Archiver;
use crate::bandwidth::Bandwidth;
use crate::daemon::{Hangups, Shutdown};
use crate::printable::printable;
use crate::progress::Board;
use crate::queue::{ArchivedObject, QueueError, Unread};
use crate::recording::RecordingId;
use crate::storage::Storage;
use crate::upkeep::{Found, Sample, Scrub, Scrubbed, Supply};

/// After Ctrl-C there is nothing to drain for: what is being read is left.
const DRAIN: Duration = Duration::ZERO;

#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    ids: NamedIds,
    /// Only so many objects, or so many of a hundred, chosen at random
    #[arg(long, value_name = "N|P%", conflicts_with_all = ["id", "ids_file"])]
    sample: Option<SampleSize>,
    /// Archive again what is damaged or gone, while the provider still has it; the bad object is
    /// kept aside
    #[arg(long)]
    repair: bool,
}

/// How many objects are read.
#[derive(Debug, Clone, Copy, PartialEq)]
enum SampleSize {
    Objects(u64),
    Percent(f64),
}

impl FromStr for SampleSize {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected a number of objects (100) or a percentage (5%)";
        match text.strip_suffix('%') {
            Some(percent) => match percent.parse() {
                Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(Self::Percent(percent)),
                _ => Err(expected),
            },
            None => match text.parse() {
                Ok(objects @ 1..) => Ok(Self::Objects(objects)),
                _ => Err(expected),
            },
        }
    }
}

impl SampleSize {
    /// A percentage is rounded up: of anything, something is read.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "nobody has 2^52 recordings, and a percentage is not negative"
    )]
    fn of(self, all: u64) -> u64 {
        match self {
            Self::Objects(objects) => objects.min(all),
            Self::Percent(percent) => ((all as f64 * percent / 100.0).ceil() as u64).min(all),
        }
    }
}

pub(super) async fn run(
    session: &Session,
    args: &VerifyArgs,
    out: &mut impl Write,
) -> anyhow::Result<Exit> {
    let ids = if args.ids.is_empty() {
        None
    } else {
        Some(args.ids.read()?)
    };
    session.config.storage()?;
    let database = if args.repair {
        session.demand_everything()?;
        session.database().await?
    } else {
        session.look().await?
    };
    let pool = database.pool();
    let shutdown = Shutdown::on_signals(DRAIN, Hangups::watch_unless_ignored()?)?;
    let verified = async {
        if !args.repair {
            let storage = session.storage_to_look_at()?;
            return verify(session, args, ids, (pool, &storage, None), &shutdown, out).await;
        }
        let archiver = session.archiver(pool)?;
        let space = &session.config.signalwire()?.space;
        archiver.queue.register_project(space).await?;
        let parts = (pool, &archiver.storage, Some(&archiver));
        verify(session, args, ids, parts, &shutdown, out).await
    };
    let verified = tokio::select! {
        verified = verified => verified,
        () = shutdown.impatient.cancelled() => Ok(Exit::Later),
    };
    database.close().await;
    verified
}

async fn verify(
    session: &Session,
    args: &VerifyArgs,
    ids: Option<Vec<RecordingId>>,
    (pool, storage, repair): (&PgPool, &Storage, Option<&Archiver>),
    shutdown: &Shutdown,
    out: &mut impl Write,
) -> anyhow::Result<Exit> {
    let root = storage.url_root();
    let (mut supply, total, told) = match ids {
        Some(ids) => {
            let named = named::look_up(pool, &ids, &root).await?;
            tell_unreadable(&named, out)?;
            let objects = named.here.len() as u64;
            let told = Told {
                elsewhere: named.elsewhere.len() as u64,
                not_archived: named.not_archived.len() as u64,
            };
            (Supply::these(named.here), objects, told)
        }
        None => unread(pool, root, args.sample).await?,
    };
    let (board, bandwidth) = (Board::default(), Bandwidth::new(None));
    let scrub = Scrub {
        pool,
        storage,
        repair,
        bandwidth: &bandwidth,
        side_by_side: session.config.worker.concurrency,
        board: &board,
        stop: &shutdown.soft,
    };
    let bars = Bars::follow(board.clone(), &session.progress, Some(total));
    let mut closed = None;
    let scrubbed = scrub
        .run(&mut supply, None, |object, found| {
            let told = bars.beside(|| tell(object, found, out));
            if let Err(error) = told {
                // Nobody reads any more: what is begun comes to its end.
                shutdown.soft.cancel();
                closed = Some(error);
            }
            bars.done(1);
        })
        .await?;
    drop(bars);
    if let Some(error) = closed {
        return Err(error.into());
    }
    write_summary(&scrubbed, told, args.repair, out)?;
    Ok(exit(&scrubbed, told))
}

/// Those that are not read.
#[derive(Debug, Clone, Copy)]
struct Told {
    elsewhere: u64,
    not_archived: u64,
}

async fn unread(
    pool: &PgPool,
    root: String,
    sample: Option<SampleSize>,
) -> Result<(Supply, u64, Told), QueueError> {
    let walk = Unread::begin(pool, root).await?;
    let ahead = walk.ahead().await?;
    let total = sample.map_or(ahead.recordings, |sample| sample.of(ahead.recordings));
    let sample = sample.map(|_| Sample::new(total, ahead.recordings));
    let told = Told {
        elsewhere: ahead.elsewhere,
        not_archived: 0,
    };
    Ok((Supply::walk(walk, sample), total, told))
}

fn tell_unreadable(named: &Named, out: &mut impl Write) -> io::Result<()> {
    for (id, why) in &named.not_archived {
        writeln!(out, "{id}  {why}")?;
    }
    for object in &named.elsewhere {
        let (id, url) = (object.recording_id, &object.object_url);
        writeln!(out, "{id}  in another store: {}", printable(url))?;
    }
    Ok(())
}

/// One line for each that is not equal.
fn tell(object: &ArchivedObject, found: &Found, out: &mut impl Write) -> io::Result<()> {
    let id = object.recording_id;
    match found {
        Found::Equal => return Ok(()),
        Found::Damaged { damage, repair } => {
            let repair = repair.as_ref().map(|repair| format!("; {repair}"));
            let line = format!(
                "{}: {}{}",
                damage.kind,
                damage.message,
                repair.unwrap_or_default()
            );
            writeln!(out, "{id}  {}", printable(&line))?;
        }
        Found::NotRead { kind, message } => {
            writeln!(out, "{id}  not read, {kind}: {}", printable(message))?;
        }
        Found::Cold { message } => {
            writeln!(out, "{id}  not read, cold: {}", printable(message))?;
        }
        Found::Replaced => writeln!(out, "{id}  archived again meanwhile")?,
    }
    out.flush()
}

fn write_summary(
    scrubbed: &Scrubbed,
    told: Told,
    repair: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    let Scrubbed {
        equal,
        damaged,
        repaired,
        left,
        read_bytes,
        cut_short,
        denied: _,
        cold,
    } = scrubbed;
    let size = human::size((*read_bytes).into());
    write!(out, "{equal} equal, {damaged} different")?;
    if repair {
        write!(out, " ({repaired} repaired)")?;
    }
    if *cold > 0 {
        write!(out, ", {cold} in a cold storage class")?;
    }
    let begun = if *cut_short {
        ", stopped before the end"
    } else {
        ""
    };
    writeln!(
        out,
        ", {left} not read, {} in another store; {size} read{begun}",
        told.elsewhere
    )
}

fn exit(scrubbed: &Scrubbed, told: Told) -> Exit {
    if scrubbed.damaged > 0 || told.not_archived > 0 {
        Exit::Failed
    } else if scrubbed.denied > 0 {
        Exit::Usage
    } else if scrubbed.left > 0 || scrubbed.cut_short {
        Exit::Later
    } else {
        Exit::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_number_or_a_percentage() {
        let parse = |text: &str| text.parse::<SampleSize>();
        assert_eq!(parse("100"), Ok(SampleSize::Objects(100)));
        assert_eq!(parse("0.5%"), Ok(SampleSize::Percent(0.5)));
        for wrong in ["0", "-1", "0%", "101%", "x", "%", "", "NaN%", "inf%"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(SampleSize::Objects(100).of(7), 7);
        assert_eq!(SampleSize::Percent(1.0).of(7), 1);
        assert_eq!(SampleSize::Percent(100.0).of(7), 7);
        assert_eq!(SampleSize::Percent(50.0).of(0), 0);
    }
}
