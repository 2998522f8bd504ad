//! `rebuild`: the database from the bucket.

use std::io::Write;

use indicatif::ProgressBar;

use super::exit::Exit;
use super::session::Session;
use crate::cli::human;
use crate::printable::printable;
use crate::upkeep::{self, NotRebuilt, Rebuilt, Trust};

#[derive(Debug, clap::Args)]
pub(super) struct RebuildArgs {
    /// Do not read the objects: believe what the manifests say of them. The evidence of such rows
    /// is `manifest`, and `verify` reads them first
    #[arg(long)]
    trust_manifests: bool,
}

pub(super) async fn run(
    session: &Session,
    args: &RebuildArgs,
    out: &mut impl Write,
) -> anyhow::Result<Exit> {
    let trust = if args.trust_manifests {
        Trust::Manifests
    } else {
        Trust::Nothing
    };
    let storage = session.storage_to_look_at()?;
    let database = session.database().await?;
    let bar = session.progress.add(ProgressBar::new_spinner());
    let told = |refusal: &NotRebuilt| {
        bar.suspend(|| writeln!(out, "not rebuilt  {}", printable(&refusal.to_string())))
    };
    let seen = |so_far: &Rebuilt| {
        bar.set_message(format!(
            "{} manifests, {} rows rebuilt, {} read",
            so_far.manifests,
            so_far.rebuilt,
            human::size(so_far.read_bytes.into())
        ));
        bar.tick();
    };
    let rebuilt = Box::pin(upkeep::rebuild(
        database.pool(),
        &storage,
        trust,
        told,
        seen,
    ))
    .await;
    bar.finish_and_clear();
    database.close().await;
    let rebuilt = rebuilt?;
    writeln!(
        out,
        "manifests read: {}; rows rebuilt: {}, known already: {}, in the queue and left there: {}, not rebuilt: {}",
        rebuilt.manifests, rebuilt.rebuilt, rebuilt.known, rebuilt.unfinished, rebuilt.refused
    )?;
    Ok(if rebuilt.refused == 0 {
        Exit::Done
    } else {
        Exit::Failed
    })
}
