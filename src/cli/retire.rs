//! `retire`: deletes recordings at the provider that are archived beyond doubt.

use std::io::Write;
use std::num::NonZeroU32;
use std::time::Duration;

use super::exit::{Exit, UsageError};
use super::human;
use super::session::{Session, holder};
use crate::money::Usd;
use crate::printable::printable;
use crate::queue::RetireWish;
use crate::recording::RecordingId;
use crate::upkeep::{Candidate, Chosen, RetireError, Retired, Retirer};

#[derive(Debug, clap::Args)]
pub(super) struct RetireArgs {
    /// Only recordings that were archived at least this long ago, such as `90d`
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    older_than: Duration,
    /// At most so many in this run
    #[arg(long, value_name = "N", default_value = "100")]
    limit: NonZeroU32,
    /// Look, ask and read everything, say what would be deleted, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Only this recording; repeat it for several
    #[arg(long, value_name = "UUID")]
    id: Vec<RecordingId>,
}

/// What came of it all.
#[derive(Debug, Default)]
struct Sum {
    deleted: u64,
    deleted_bytes: u128,
    deleted_cost: rust_decimal::Decimal,
    gone: u64,
    refused: u64,
}

pub(super) async fn run(
    session: &Session,
    args: &RetireArgs,
    out: &mut impl Write,
) -> anyhow::Result<Exit> {
    let enabled = session.config.retire.enabled;
    if !enabled && !args.dry_run {
        let cure = "`retire` deletes recordings at the provider, for good, and is off: set \
                    retire.enabled = true in the configuration (--dry-run works without it)";
        return Err(UsageError(cure.to_owned()).into());
    }
    let signalwire = session.signalwire()?;
    let storage = if args.dry_run {
        session.storage_to_look_at()?
    } else {
        session.storage()?
    };
    let database = session.look().await?;
    let retirer = Retirer {
        pool: database.pool(),
        signalwire: &signalwire,
        storage: &storage,
        retired_by: holder(),
        dry_run: args.dry_run,
    };
    let ended = retire(&retirer, args, enabled, out).await;
    database.close().await;
    ended
}

async fn retire(
    retirer: &Retirer<'_>,
    args: &RetireArgs,
    enabled: bool,
    out: &mut impl Write,
) -> anyhow::Result<Exit> {
    let wish = RetireWish {
        project_id: retirer.signalwire.project_id().to_owned(),
        older_than: args.older_than,
        ids: (!args.id.is_empty()).then(|| args.id.clone()),
    };
    let limit = usize::try_from(args.limit.get()).unwrap_or(usize::MAX);
    let chosen = retirer
        .choose(&wish, limit)
        .await
        .map_err(RetireError::from)?;
    let mut sum = Sum::default();
    for (id, refusal) in &chosen.refused {
        sum.refused += 1;
        writeln!(out, "refused {id}: {refusal}")?;
    }
    let mut stopped = None;
    for candidate in &chosen.candidates {
        match retirer.retire(candidate).await {
            Ok(outcome) => {
                sum.add(candidate, &outcome);
                writeln!(out, "{}", line(candidate, &outcome))?;
                out.flush()?;
            }
            Err(error) => {
                stopped = Some(error);
                break;
            }
        }
    }
    sum.write(&chosen, retirer.dry_run, out)?;
    if retirer.dry_run && !enabled {
        writeln!(out, "retire.enabled is not set: only --dry-run works")?;
    }
    match stopped {
        Some(error) => Err(error.into()),
        None if sum.refused > 0 && !retirer.dry_run => Ok(Exit::Failed),
        None => Ok(Exit::Done),
    }
}

fn line(candidate: &Candidate, retired: &Retired) -> String {
    let id = candidate.recording_id();
    let size = human::size(candidate.size_bytes().into());
    let facts = format!("{id} {size} ${}", candidate.cost());
    match retired {
        Retired::Deleted => format!("deleted {facts}"),
        Retired::Gone => format!("gone {facts}"),
        Retired::WouldDelete => format!("would delete {facts}"),
        Retired::WouldBeGone => format!("gone already {facts}"),
        Retired::Refused(refusal) => format!("refused {id}: {}", printable(&refusal.to_string())),
    }
}

impl Sum {
    fn add(&mut self, candidate: &Candidate, retired: &Retired) {
        match retired {
            Retired::Deleted | Retired::WouldDelete => {
                self.deleted += 1;
                self.deleted_bytes += u128::from(candidate.size_bytes());
                self.deleted_cost += candidate.cost().decimal();
            }
            Retired::Gone | Retired::WouldBeGone => self.gone += 1,
            Retired::Refused(_) => self.refused += 1,
        }
    }

    fn write(&self, chosen: &Chosen, dry_run: bool, out: &mut impl Write) -> std::io::Result<()> {
        let deleted = if dry_run { "would delete" } else { "deleted" };
        let bytes = i128::try_from(self.deleted_bytes).unwrap_or(i128::MAX);
        writeln!(
            out,
            "{deleted}: {} ({}, ${}), gone already: {}, refused: {}",
            self.deleted,
            human::size(bytes),
            Usd::from(self.deleted_cost),
            self.gone,
            self.refused,
        )?;
        for (reason, number) in &chosen.kept {
            let number = i64::try_from(*number).unwrap_or(i64::MAX);
            writeln!(
                out,
                "kept: {}, because {reason}",
                human::count(number, "recording")
            )?;
        }
        if chosen.left > 0 {
            writeln!(out, "left for another run, by --limit: {}", chosen.left)?;
        }
        out.flush()
    }
}
