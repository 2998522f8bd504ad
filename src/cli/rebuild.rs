//! `rebuild`: the database from the bucket.

use std::io::Write;

use indicatif::ProgressBar;

use super::exit::Exit;
use super::session::Session;
use crate::printable::printable;
use crate::upkeep::{self, NotRebuilt, Rebuilt};

pub(super) async fn run(session: &Session, out: &mut impl Write) -> anyhow::Result<Exit> {
    let storage = session.storage_to_look_at()?;
    let database = session.database().await?;
    let bar = session.progress.add(ProgressBar::new_spinner());
    let told = |refusal: &NotRebuilt| {
        bar.suspend(|| writeln!(out, "not rebuilt  {}", printable(&refusal.to_string())))
    };
    let seen = |so_far: &Rebuilt| {
        bar.set_message(format!(
            "{} manifests, {} rows rebuilt",
            so_far.manifests, so_far.rebuilt
        ));
        bar.tick();
    };
    let rebuilt = Box::pin(upkeep::rebuild(database.pool(), &storage, told, seen)).await;
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
