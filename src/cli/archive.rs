//! `archive`: these recordings, now, by the same story as the daemon's.

use std::io::Write;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::task::JoinError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::bars::Bars;
use super::exit::Exit;
use super::ids::IdArgs;
use super::lines::{Line, LineFormat, LineOutcome};
use super::session::Session;
use crate::archive::{Archiver, Report};
use crate::daemon::Shutdown;
use crate::digest::Fingerprint;
use crate::error::{ErrorKind, chain};
use crate::progress::Board;
use crate::queue::{self, ArchivedRow, Direct, Outcome, Wish};
use crate::recording::RecordingId;
use crate::storage::ObjectKey;

mod dry_run;

/// While another process holds a recording, it is looked at this often.
const ELSEWHERE_POLL: Duration = Duration::from_secs(1);
/// After Ctrl-C there is nothing to drain for: what runs is released and can be taken up again.
const DRAIN: Duration = Duration::ZERO;

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
    let shutdown = Shutdown::on_signals(DRAIN)?;
    let impatient = shutdown.impatient.clone();
    let database = session.database().await?;
    let mut archiver = session.archiver(database.pool())?;
    archiver.policy.accept_size = args.accept_size;
    let backfill = Arc::new(Backfill {
        archiver,
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
        result = backfill.run(session, ids, args.output, out) => result,
        () = impatient.cancelled() => Ok(Exit::Later),
    };
    database.close().await;
    result
}

/// One run over a list of recordings.
#[derive(Debug)]
struct Backfill {
    archiver: Archiver,
    board: Board,
    force: bool,
    /// With `--wait`: until when.
    give_up_at: Option<Instant>,
    /// Set at the first refusal that all others would meet as well: nothing more is begun.
    halted: OnceLock<(ErrorKind, String)>,
    stop: CancellationToken,
}

impl Backfill {
    async fn run(
        self: &Arc<Self>,
        session: &Session,
        ids: Vec<RecordingId>,
        format: LineFormat,
        out: &mut impl Write,
    ) -> anyhow::Result<Exit> {
        let total = ids.len();
        let bars = Bars::follow(self.board.clone(), &session.progress, Some(total as u64));
        // Each in a task of its own: whoever reads our lines slowly must not hold up transfers
        // and their leases.
        let mut lines = stream::iter(ids)
            .map(|id| {
                let backfill = Arc::clone(self);
                let attempt = tokio::spawn(async move { backfill.one(id).await });
                async move { attempt.await.unwrap_or_else(|panic| panicked(id, &panic)) }
            })
            .buffer_unordered(session.config.worker.concurrency);
        let mut tally = Tally::default();
        let mut unheard = None;
        while let Some(line) = lines.next().await {
            tally.count(line.outcome);
            bars.one_done();
            if unheard.is_none()
                && let Err(error) = bars.beside(|| line.write(format, out))
            {
                // Nobody reads any more: what runs is given back, in order.
                self.stop.cancel();
                unheard = Some(error);
            }
        }
        drop(bars);
        if let Some(error) = unheard {
            tracing::debug!("stopped, because the output is closed: {error}");
            return Ok(Exit::Later);
        }
        if format == LineFormat::Text && total > 1 {
            writeln!(out, "{}", tally.summary())?;
        }
        if let Some((kind, message)) = self.halted.get() {
            tracing::error!("stopped: {message}. Cure: {}", kind.cure());
            return Ok(Exit::of_halt(*kind));
        }
        Ok(tally.exit())
    }

    /// Takes one recording as far as it goes, within the time there is.
    async fn one(&self, id: RecordingId) -> Line {
        let started = Instant::now();
        let line = loop {
            if self.stop.is_cancelled() {
                break deferred(id, ErrorKind::Cancelled, "stopped before it was begun");
            }
            if let Some((kind, message)) = self.halted.get() {
                break deferred(id, *kind, message);
            }
            let (line, again_after) = match self.step(id).await {
                Ok(step) => step,
                Err(error) => {
                    break deferred(id, error.kind(), &chain(&error));
                }
            };
            let Some(delay) = again_after else { break line };
            let left = self
                .give_up_at
                .map(|until| until.saturating_duration_since(Instant::now()));
            match left {
                Some(left) if left > Duration::ZERO => {
                    let pause = tokio::time::sleep(delay.min(left));
                    self.stop.run_until_cancelled(pause).await;
                    // The time is up: what the last try said is the answer.
                    if delay > left {
                        break line;
                    }
                }
                _ => break line,
            }
        };
        line.lasting(started.elapsed())
    }

    /// One try, and after which delay another one could help.
    async fn step(&self, id: RecordingId) -> Result<(Line, Option<Duration>), queue::QueueError> {
        let wish = if self.force {
            Wish::EvenFailed
        } else {
            Wish::Unfinished
        };
        let mut direct = self.archiver.queue.claim_direct(id, wish).await?;
        if let Direct::Failed { error_kind, .. } = &direct
            && self.archiver.policy.accept_size
            && *error_kind == Some(ErrorKind::SizeMismatch)
        {
            // The operator's word is what it failed for want of.
            let queue = &self.archiver.queue;
            direct = queue.claim_direct(id, Wish::EvenFailed).await?;
        }
        Ok(match direct {
            Direct::Archived(row) if self.force => self.archived_by_force(id, *row).await?,
            Direct::Archived(row) => (Line::already_archived(id, *row), None),
            direct => self.unarchived(id, direct).await,
        })
    }

    async fn unarchived(&self, id: RecordingId, direct: Direct) -> (Line, Option<Duration>) {
        match direct {
            Direct::Claimed(claim) => {
                let place = self.board.enter(id);
                let report = self
                    .archiver
                    .attempt(claim, place.progress(), &self.stop)
                    .await;
                drop(place);
                let again_after = self.again_after(&report);
                (report.into(), again_after)
            }
            Direct::Failed {
                error_kind,
                error_message,
            } => {
                let message = error_message
                    .map(|message| format!("{message} (failed before; --force tries again)"));
                (
                    Line::bare(id, LineOutcome::Failed, error_kind, message),
                    None,
                )
            }
            Direct::Elsewhere { leased_by } => {
                let message = leased_by.map(|holder| format!("held by {holder}"));
                let line = Line::bare(id, LineOutcome::InProgressElsewhere, None, message);
                (line, Some(ELSEWHERE_POLL))
            }
            Direct::OtherProject { project_id } => {
                let message =
                    format!("it belongs to project {project_id}, whose archiver has to do it");
                (
                    deferred(id, ErrorKind::NotFound, &message),
                    Some(ELSEWHERE_POLL),
                )
            }
            Direct::OtherProjectFirst => {
                let message =
                    "this project does not know it; another project's archiver is to be asked";
                (
                    deferred(id, ErrorKind::NotFound, message),
                    Some(ELSEWHERE_POLL),
                )
            }
            Direct::Archived(row) => (Line::already_archived(id, *row), None),
            Direct::Unknown => {
                let message = "its row vanished from the queue".to_owned();
                let kind = Some(ErrorKind::Internal);
                (
                    Line::bare(id, LineOutcome::Failed, kind, Some(message)),
                    None,
                )
            }
        }
    }

    /// After which delay an attempt is worth repeating; notes a halt.
    fn again_after(&self, report: &Report) -> Option<Duration> {
        if let (true, Some(failure)) = (report.halt, &report.failure) {
            // The first refusal is the one that is told.
            drop(self.halted.set((failure.kind, failure.message.clone())));
            return None;
        }
        match report.outcome {
            Outcome::Archived | Outcome::AlreadyArchived | Outcome::Failed => None,
            Outcome::Deferred | Outcome::Retrying => {
                Some(report.delay.unwrap_or(ELSEWHERE_POLL).max(ELSEWHERE_POLL))
            }
            Outcome::Released => Some(ELSEWHERE_POLL),
        }
    }

    /// `--force` on an archived recording: read back, and archived again only if it is gone.
    async fn archived_by_force(
        &self,
        id: RecordingId,
        row: ArchivedRow,
    ) -> Result<(Line, Option<Duration>), queue::QueueError> {
        let found = match ObjectKey::from_stored(row.object_key.clone()) {
            Ok(key) if self.archiver.storage.object_url(&key) != row.object_url => {
                let message = format!(
                    "it is archived at {}, which is not in the store that is configured",
                    row.object_url
                );
                let kind = Some(ErrorKind::ObjectConflict);
                let line = Line::bare(id, LineOutcome::Failed, kind, Some(message));
                return Ok((line, None));
            }
            Ok(key) => self.archiver.storage.read_back(&key).await,
            Err(error) => Err(error.into()),
        };
        let problem = match found {
            Ok(Some(Fingerprint {
                size_bytes, sha256, ..
            })) if size_bytes == row.size_bytes && sha256 == row.sha256 => {
                return Ok((Line::already_archived(id, row), None));
            }
            Ok(None) => {
                let direct = self
                    .archiver
                    .queue
                    .claim_direct(id, Wish::EvenArchived)
                    .await?;
                return Ok(self.unarchived(id, direct).await);
            }
            Ok(Some(found)) => Line::bare(
                id,
                LineOutcome::Failed,
                Some(ErrorKind::ObjectConflict),
                Some(format!(
                    "the archived object has changed: it has {} bytes and SHA-256 {}, recorded are {} and {}",
                    found.size_bytes, found.sha256, row.size_bytes, row.sha256
                )),
            ),
            Err(error) => deferred(id, error.kind(), &chain(&error)),
        };
        Ok((problem, None))
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

/// How many ended how.
#[derive(Debug, Default)]
struct Tally {
    archived: u64,
    already: u64,
    failed: u64,
    later: u64,
}

impl Tally {
    const fn count(&mut self, outcome: LineOutcome) {
        match outcome {
            LineOutcome::Archived => self.archived += 1,
            LineOutcome::AlreadyArchived => self.already += 1,
            LineOutcome::Failed => self.failed += 1,
            LineOutcome::Deferred | LineOutcome::Retrying | LineOutcome::InProgressElsewhere => {
                self.later += 1;
            }
        }
    }

    fn summary(&self) -> String {
        format!(
            "{} archived, {} already archived, {} failed, {} not yet",
            self.archived, self.already, self.failed, self.later
        )
    }

    const fn exit(&self) -> Exit {
        if self.failed > 0 {
            Exit::Failed
        } else if self.later > 0 {
            Exit::Later
        } else {
            Exit::Done
        }
    }
}
