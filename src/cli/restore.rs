//! `restore`: archived recordings become files again.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use futures_util::StreamExt;
use futures_util::stream;

use super::bars::Bars;
use super::exit::{Exit, UsageError};
use super::human;
use super::ids::IdArgs;
use super::named::{self, Named};
use super::session::Session;
use crate::daemon::{Hangups, Shutdown};
use crate::error::{ErrorKind, chain};
use crate::printable::printable;
use crate::progress::Board;
use crate::queue::ArchivedObject;
use crate::restore::{Restore, RestoreError, Restored};
use crate::storage::Storage;

/// After Ctrl-C there is nothing to drain for: what came is kept.
const DRAIN: Duration = Duration::ZERO;

#[derive(Debug, clap::Args)]
#[group(id = "destination", required = true, multiple = false, args = ["to", "to_dir"])]
pub(super) struct RestoreArgs {
    #[command(flatten)]
    ids: IdArgs,
    /// The file to write one recording to, `-` for stdout
    #[arg(long, value_name = "FILE", conflicts_with = "ids_file")]
    to: Option<PathBuf>,
    /// The directory to write them to, each under its ID; it is created
    #[arg(long, value_name = "DIR")]
    to_dir: Option<PathBuf>,
    /// Replace a file that is there and is something else
    #[arg(long)]
    overwrite: bool,
}

/// Where the bytes go.
#[derive(Debug, Clone, Copy)]
enum Destination<'a> {
    Pipe,
    File(&'a Path),
    Directory(&'a Path),
}

impl Destination<'_> {
    /// The file for an object.
    fn path_of(self, object: &ArchivedObject) -> PathBuf {
        match self {
            Self::Pipe => PathBuf::from("-"),
            Self::File(path) => path.to_owned(),
            Self::Directory(directory) => {
                let id = object.recording_id;
                let extension = Path::new(&object.object_key).extension();
                let extension = extension.and_then(|it| it.to_str()).unwrap_or("bin");
                directory.join(format!("{id}.{extension}"))
            }
        }
    }
}

/// How many ended how.
#[derive(Debug, Default)]
struct Tally {
    restored: u64,
    already_there: u64,
    failed: u64,
    left: u64,
    denied: bool,
}

pub(super) async fn run(
    session: &Session,
    args: &RestoreArgs,
    out: &mut impl Write,
) -> anyhow::Result<Exit> {
    let ids = args.ids.read()?;
    let destination = match (&args.to, &args.to_dir) {
        (Some(to), None) if to == Path::new("-") => Destination::Pipe,
        (Some(to), None) => Destination::File(to),
        (None, Some(directory)) => Destination::Directory(directory),
        _ => return Err(UsageError("give either --to or --to-dir".to_owned()).into()),
    };
    if ids.len() > 1 && !matches!(destination, Destination::Directory(_)) {
        let cure = "--to takes one recording; --to-dir takes many";
        return Err(UsageError(cure.to_owned()).into());
    }
    let storage = session.storage_to_look_at()?;
    let shutdown = Shutdown::on_signals(DRAIN, Hangups::watch_unless_ignored()?)?;
    let database = session.look().await?;
    let named = named::look_up(database.pool(), &ids, &storage.url_root()).await;
    // All that is needed of it is known: a long transfer holds no connection.
    database.close().await;
    let named = named?;
    if let Destination::Directory(directory) = destination {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("create the directory {}", directory.display()))?;
    }
    let restoring = restore_all(
        session,
        args,
        (&storage, &named),
        destination,
        &shutdown,
        out,
    );
    tokio::select! {
        tally = restoring => Ok(tally?.exit()),
        () = shutdown.impatient.cancelled() => Ok(Exit::Later),
    }
}

async fn restore_all(
    session: &Session,
    args: &RestoreArgs,
    (storage, named): (&Storage, &Named),
    destination: Destination<'_>,
    shutdown: &Shutdown,
    out: &mut impl Write,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    for (id, why) in &named.not_archived {
        tally.failed += 1;
        tracing::error!(recording.id = %id, "{id} is {why}");
    }
    for object in &named.elsewhere {
        tally.failed += 1;
        let (id, url) = (object.recording_id, &object.object_url);
        tracing::error!(recording.id = %id, "{id} is archived at {url}, which is not in the store that is configured");
    }
    let (board, total) = (Board::default(), named.here.len() as u64);
    let bars = Bars::follow(board.clone(), &session.progress, Some(total));
    let (board, stop) = (&board, &shutdown.soft);
    let restoring = named.here.iter().map(|object| async move {
        let place = board.enter(object.recording_id);
        let restore = Restore {
            storage,
            object,
            progress: place.progress(),
            stop,
        };
        let path = destination.path_of(object);
        let restored = match destination {
            Destination::Pipe => {
                let piped = restore.to_pipe(&mut tokio::io::stdout()).await;
                piped.map(|()| Restored::Written)
            }
            Destination::File(_) | Destination::Directory(_) => {
                restore.to_file(&path, args.overwrite).await
            }
        };
        (object, path, restored)
    });
    let mut restoring = stream::iter(restoring).buffer_unordered(session.config.worker.concurrency);
    while let Some((object, path, restored)) = restoring.next().await {
        bars.done(1);
        if let Err(RestoreError::Pipe(error)) = restored {
            return Err(error).context("write to the pipe");
        }
        tally.count(&restored);
        let id = object.recording_id;
        let word = match restored {
            Ok(Restored::Written) => "restored",
            Ok(Restored::AlreadyThere) => "already there",
            Err(error) => {
                tracing::error!(recording.id = %id, "{id} is not restored: {}", chain(&error));
                continue;
            }
        };
        // The pipe is for the bytes.
        if !matches!(destination, Destination::Pipe) {
            let size = human::size(object.size_bytes.into());
            let path = path.display().to_string();
            bars.beside(|| writeln!(out, "{id}  {word}  {}  {size}", printable(&path)))?;
        }
    }
    drop(bars);
    if let (Destination::Directory(_), 2..) = (destination, tally.all()) {
        tally.write(out)?;
    }
    Ok(tally)
}

impl Tally {
    fn count(&mut self, restored: &Result<Restored, RestoreError>) {
        match restored {
            Ok(Restored::Written) => self.restored += 1,
            Ok(Restored::AlreadyThere) => self.already_there += 1,
            Err(error) => match error.trouble() {
                Some(kind) => {
                    self.left += 1;
                    self.denied |= kind == ErrorKind::StorageDenied;
                }
                None => self.failed += 1,
            },
        }
    }

    const fn all(&self) -> u64 {
        self.restored + self.already_there + self.failed + self.left
    }

    fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        let Self {
            restored,
            already_there,
            failed,
            left,
            denied: _,
        } = self;
        writeln!(
            out,
            "{restored} restored, {already_there} already there, {failed} failed, {left} not yet"
        )
    }

    const fn exit(&self) -> Exit {
        if self.failed > 0 {
            Exit::Failed
        } else if self.denied {
            Exit::Usage
        } else if self.left > 0 {
            Exit::Later
        } else {
            Exit::Done
        }
    }
}
