//! `archive --dry-run`: asks and looks, writes nothing anywhere.

use std::io::Write;

use crate::cli::exit::Exit;
use crate::cli::human;
use crate::cli::session::Session;
use crate::database::Intent;
use crate::error::chain;
use crate::printable::printable;
use crate::queue;
use crate::recording::{Readiness, RecordingId};
use crate::signalwire::SignalWire;
use crate::storage::Storage;

/// Says for each recording what `archive` would do. Exits 0 whatever that is.
pub(in crate::cli) async fn run(
    session: &Session,
    ids: &[RecordingId],
    force: bool,
    out: &mut impl Write,
) -> anyhow::Result<Exit> {
    let signalwire = session.signalwire()?;
    let storage = session.storage_to_look_at()?;
    let states = known_states(session, ids).await?;
    for id in ids {
        let state = states.get(id).map(String::as_str);
        let plan = match state {
            Some("archived") if !force => "already archived".to_owned(),
            Some("failed") if !force => "failed before: --force would try again".to_owned(),
            _ => plan(&signalwire, &storage, *id).await,
        };
        let state = state.unwrap_or("not queued");
        writeln!(out, "{id}  {state:11}  {}", printable(&plan))?;
    }
    Ok(Exit::Done)
}

async fn plan(signalwire: &SignalWire, storage: &Storage, id: RecordingId) -> String {
    let recording = match signalwire.recording(id).await {
        Ok(recording) => recording,
        Err(error) => return format!("would meet {}: {}", error.kind(), chain(&error)),
    };
    match recording.readiness() {
        Readiness::NotReady => return "would be deferred: not ready yet".to_owned(),
        Readiness::NoMedia => return "would be deferred: the API offers no file".to_owned(),
        Readiness::Ready(_) => {}
    }
    let size = recording
        .declared_size_bytes
        .map_or("unknown size".to_owned(), |size| human::size(size.into()));
    let key = match storage.key_for(signalwire.project_id(), &recording) {
        Ok(key) => key,
        Err(error) => return format!("would meet {}: {}", error.kind(), chain(&error)),
    };
    match storage.size_of(&key).await {
        Ok(None) => format!("would archive {size} to {}", storage.object_url(&key)),
        Ok(Some(found)) => format!(
            "would compare {size} with the object of {} at {}",
            human::size(found.into()),
            storage.object_url(&key)
        ),
        Err(error) => format!("would meet {}: {}", error.kind(), chain(&error)),
    }
}

/// The states of those that the queue knows; nothing if there is no queue yet.
async fn known_states(
    session: &Session,
    ids: &[RecordingId],
) -> anyhow::Result<std::collections::HashMap<RecordingId, String>> {
    // A private Postgres that was never started has no rows, and is not created for looking.
    if session.config.database.url.is_none() && !session.has_private_postgres() {
        return Ok(std::collections::HashMap::new());
    }
    let database = session.connect(Intent::Read).await?;
    let states = queue::states(database.pool(), ids).await;
    database.close().await;
    Ok(states?)
}
