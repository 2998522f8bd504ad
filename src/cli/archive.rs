//! `archive`: these recordings, now, by the same story as the daemon's.

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sqlx::PgPool;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::bars::Bars;
use super::exit::Exit;
use super::ids::IdArgs;
use super::lines::{Line, LineFormat, LineOutcome};
use super::session::{Session, holder};
use crate::archive::Archiver;
use crate::daemon::{Hangups, Shutdown};
use crate::error::ErrorKind;
use crate::progress::Board;
use crate::queue::{self, Finished};
use crate::recording::RecordingId;
use crate::upkeep::look;

mod attempt;
mod dry_run;
mod tally;
mod teller;
mod waiting;

use attempt::{Again, failed_before};
use teller::Teller;
use waiting::{Errand, Waiting};

/// After Ctrl-C there is nothing to drain for: what runs is released and can be taken up again.
const DRAIN: Duration = Duration::ZERO;
/// So many recordings are looked up in one statement.
const LOOK_UP: usize = 1000;

#[derive(Debug, clap::Args)]
pub(super) struct ArchiveArgs {
    #[command(flatten)]
    ids: IdArgs,
    /// Try failed recordings again, and archived ones whose object is gone
    #[arg(long)]
    force: bool,
    /// Take files in whatever size they have; otherwise one whose size is not the declared one
    /// fails as `size_mismatch`
    #[arg(long)]
    accept_size: bool,
    /// Go on trying for this long, by the usual backoff, until every recording is settled
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    wait: Option<Duration>,
    /// Say what would be done; write nothing anywhere
    #[arg(long)]
    dry_run: bool,
    /// Lines for people, or one JSON object a line
    #[arg(long, value_enum, default_value_t = LineFormat::Text)]
    output: LineFormat,
}

pub(super) async fn run(
    session: &Session,
    args: &ArchiveArgs,
    out: &mut impl Write,
) -> anyhow::Result<Exit> {
    let ids = args.ids.read()?;
    session.demand_everything()?;
    if args.dry_run {
        return dry_run::run(session, &ids, args.force, out).await;
    }
    let shutdown = Shutdown::on_signals(DRAIN, Hangups::watch_unless_ignored()?)?;
    let impatient = shutdown.impatient.clone();
    let (database, mut archiver) = session.ready().await?;
    archiver.policy.accept_size = args.accept_size;
    let backfill = Arc::new(Backfill {
        archiver,
        pool: database.pool().clone(),
        board: Board::default(),
        force: args.force,
        give_up_at: args.wait.map(|wait| Instant::now() + wait),
        halted: OnceLock::new(),
        stop: shutdown.soft.clone(),
    });
    let space = &session.config.signalwire()?.space;
    backfill.archiver.queue.register_project(space).await?;
    queue::enqueue(database.pool(), &ids).await?;
    let result = tokio::select! {
        result = backfill.run(session, &ids, args.output, out) => result,
        () = impatient.cancelled() => Ok(Exit::Later),
    };
    database.close().await;
    result
}

/// One run over a list of recordings.
#[derive(Debug)]
struct Backfill {
    archiver: Archiver,
    pool: PgPool,
    board: Board,
    force: bool,
    /// With `--wait`: until when.
    give_up_at: Option<Instant>,
    /// Set at the first refusal that all others would meet as well: nothing more is begun.
    halted: OnceLock<(ErrorKind, String)>,
    stop: CancellationToken,
}

impl Backfill {
    /// Puts on record what the store was seen to do, if it was probed; warns if that is not enough.
    async fn warn_of_the_store(&self) {
        let storage = &self.archiver.storage;
        if storage.known_enforcement().is_none() {
            return;
        }
        if let Ok(known) = Box::pin(look(storage)).await {
            known.on_record(&self.pool, &holder()).await.warn();
        }
    }

    async fn run(
        self: &Arc<Self>,
        session: &Session,
        ids: &[RecordingId],
        format: LineFormat,
        out: &mut impl Write,
    ) -> anyhow::Result<Exit> {
        let total = Some(ids.len() as u64);
        let bars = Bars::follow(self.board.clone(), &session.progress, total);
        let mut teller = Teller::new(&bars, format, out, self.stop.clone());
        let unfinished = self.tell_finished(ids, &mut teller).await?;
        let slots = session.config.worker.concurrency;
        self.archive_all(unfinished, slots, &mut teller).await;
        let told = teller.end();
        drop(bars);
        self.warn_of_the_store().await;
        let tally = match told {
            Ok(tally) => tally,
            // A reader such as `head` has what it wants.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                tracing::debug!("stopped: the output is closed");
                return Ok(Exit::Later);
            }
            Err(error) => {
                let hint =
                    "recordings that were not begun stay in the queue; run the command again";
                tracing::error!("stopped: write the output: {error}; {hint}");
                return Ok(Exit::Later);
            }
        };
        if ids.len() > 1 {
            match format {
                LineFormat::Text => tally.write(out)?,
                // The lines are for a program, the sum is for whoever watches it.
                LineFormat::Jsonl => drop(tally.write(&mut std::io::stderr())),
            }
        }
        if let Some((kind, message)) = self.halted.get() {
            tracing::error!("stopped: {message}. Cure: {}", kind.cure());
            return Ok(Exit::of_halt(*kind));
        }
        Ok(tally.exit())
    }

    /// Tells of those that need no work, many at once, and gives the others.
    async fn tell_finished(
        &self,
        ids: &[RecordingId],
        teller: &mut Teller<'_, impl Write>,
    ) -> Result<VecDeque<RecordingId>, queue::QueueError> {
        if self.force {
            return Ok(ids.iter().copied().collect());
        }
        let mut unfinished = VecDeque::new();
        for some in ids.chunks(LOOK_UP) {
            if self.stop.is_cancelled() {
                unfinished.extend(some);
                continue;
            }
            let mut finished = queue::finished(&self.pool, some).await?;
            let mut lines = Vec::with_capacity(finished.len());
            for id in some {
                match finished.remove(id).and_then(|it| self.line_of(*id, it)) {
                    Some(line) => lines.push(line),
                    None => unfinished.push_back(*id),
                }
            }
            teller.tell(&lines);
        }
        Ok(unfinished)
    }

    /// The line of a recording that needs no work; `None` if the operator's word has it tried again.
    fn line_of(&self, id: RecordingId, finished: Finished) -> Option<Line> {
        match finished {
            Finished::Archived(row) => Some(Line::already_archived(id, *row)),
            Finished::Failed {
                error_kind: Some(ErrorKind::SizeMismatch),
                ..
            } if self.archiver.policy.accept_size => None,
            Finished::Failed {
                error_kind,
                error_message,
            } => Some(failed_before(id, error_kind, error_message)),
        }
    }

    /// Has as many recordings tried side by side as there are slots. One that waits, for its next
    /// try or for another process, takes no slot from the others.
    async fn archive_all(
        self: &Arc<Self>,
        mut todo: VecDeque<RecordingId>,
        slots: usize,
        teller: &mut Teller<'_, impl Write>,
    ) {
        let mut waiting = Waiting::default();
        // Each in a task of its own: whoever reads our lines slowly must not hold up transfers
        // and their leases.
        let mut running = JoinSet::new();
        let mut errands: HashMap<Id, Errand> = HashMap::new();
        loop {
            self.give_up(&mut todo, &mut waiting, teller).await;
            while running.len() < slots
                && let Some(errand) = waiting
                    .take_due(Instant::now())
                    .or_else(|| todo.pop_front().map(Errand::new))
            {
                let (backfill, id) = (Arc::clone(self), errand.id);
                let task = running.spawn(async move { backfill.attempt(id).await });
                errands.insert(task.id(), errand);
            }
            if running.is_empty() && waiting.is_empty() {
                break;
            }
            let next_due = waiting.next_due();
            tokio::select! {
                Some(ended) = running.join_next_with_id() => {
                    let (task, result) = match ended {
                        Ok((task, result)) => (task, Ok(result)),
                        Err(panic) => (panic.id(), Err(panic)),
                    };
                    if let Some(errand) = errands.remove(&task) {
                        self.tried(errand, result, &mut waiting, teller);
                    }
                }
                () = tokio::time::sleep_until(next_due.unwrap_or_else(Instant::now)),
                    if next_due.is_some() && running.len() < slots => {}
                () = self.stop.cancelled(), if !(todo.is_empty() && waiting.is_empty()) => {}
            }
        }
    }

    /// Tells how a try ended, or has it wait for the next one.
    fn tried(
        &self,
        mut errand: Errand,
        result: Result<(Line, Again), JoinError>,
        waiting: &mut Waiting,
        teller: &mut Teller<'_, impl Write>,
    ) {
        let (line, again) = match result {
            Ok(tried) => tried,
            Err(panic) => (panicked(errand.id, &panic), Again::Never),
        };
        let now = Instant::now();
        let pause = errand.pause(again);
        match (pause, self.give_up_at) {
            (Some(pause), Some(until)) if now < until => {
                errand.last_word = Some(line);
                waiting.put(errand, (now + pause).min(until));
            }
            _ => teller.tell(&[errand.told(line)]),
        }
    }

    /// Tells of those that will not be tried (again), if it is over: told to stop, refused, or, for
    /// those that wait, out of time.
    async fn give_up(
        &self,
        todo: &mut VecDeque<RecordingId>,
        waiting: &mut Waiting,
        teller: &mut Teller<'_, impl Write>,
    ) {
        let refused = self.halted.get();
        let over = self.stop.is_cancelled() || refused.is_some();
        let out_of_time = self.give_up_at.is_some_and(|until| until <= Instant::now());
        if over || out_of_time {
            let left = waiting.take_all();
            let ids: Vec<RecordingId> = left.iter().map(|errand| errand.id).collect();
            // Those that others were busy with may be done by now.
            let mut finished = HashMap::new();
            if !over && !ids.is_empty() {
                finished = queue::finished(&self.pool, &ids).await.unwrap_or_default();
            }
            for mut errand in left {
                let found = finished.remove(&errand.id);
                let line = found.and_then(|it| self.line_of(errand.id, it));
                if let Some(line) = line.or_else(|| errand.last_word.take()) {
                    teller.tell(&[errand.told(line)]);
                }
            }
        }
        if over {
            let (kind, message) = match refused {
                Some((kind, message)) => (*kind, message.as_str()),
                None => (ErrorKind::Cancelled, "stopped before it was begun"),
            };
            let lines: Vec<Line> = todo
                .drain(..)
                .map(|id| deferred(id, kind, message))
                .collect();
            teller.not_begun(&lines);
        }
    }
}

fn deferred(id: RecordingId, kind: ErrorKind, message: &str) -> Line {
    Line::bare(
        id,
        LineOutcome::Deferred,
        Some(kind),
        Some(message.to_owned()),
    )
}

fn panicked(id: RecordingId, panic: &JoinError) -> Line {
    let message = format!("a defect; it is tried again when its lease has run out: {panic}");
    Line::bare(
        id,
        LineOutcome::Retrying,
        Some(ErrorKind::Internal),
        Some(message),
    )
}
