//! The worker: at every bell (the schedule's, or a notification's) and whenever a slot falls free,
//! claims as many recordings as it has free slots, archives them side by side, and never holds
//! more than it can work on now.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::lifecycle::Shutdown;
use super::readiness::Readiness;
use crate::archive::{Archiver, Report};
use crate::database::present_cause;
use crate::error::ErrorKind;
use crate::progress::Board;
use crate::queue::{Claim, Cursor, QueueError};
use crate::recording::RecordingId;

mod controls;
mod halt;
mod pulse;

pub use controls::Controls;
use halt::Halt;
pub use pulse::Pulse;

/// Without a bell the loop still turns this often, for its pulse and what has gone wrong.
const TURN: Duration = Duration::from_secs(15);
/// A check that takes longer has failed.
const CHECK_WITHIN: Duration = Duration::from_secs(20);
/// While the database is away, the first and the longest wait between two tries.
const FIRST_OUTAGE: Duration = Duration::from_secs(1);
const LONGEST_OUTAGE: Duration = Duration::from_secs(30);

/// Why a run that drains the queue once has ended.
#[derive(Debug)]
pub enum Ending {
    /// Nothing was due any more, or it was told to stop.
    Done,
    /// Every recording would meet the same: wrong credentials or configuration, or one side is down.
    Halted {
        kind: ErrorKind,
        message: String,
    },
    Database(QueueError),
}

/// Claims and archives, several recordings at a time.
#[derive(Debug)]
pub struct Worker {
    archiver: Arc<Archiver>,
    cursor: Cursor,
    controls: Controls,
    board: Board,
    reports: mpsc::UnboundedSender<Report>,
    running: JoinSet<Report>,
    ids: HashMap<Id, RecordingId>,
    pulse: Pulse,
    readiness: Readiness,
    /// After a full store has taken a test object: recordings are archived one at a time until one
    /// is through. More would each be fetched whole, only to find it full again.
    on_trial: bool,
}

impl Worker {
    /// `reports` hears how every attempt ended; `board` shows what is running.
    pub fn new(
        archiver: Arc<Archiver>,
        concurrency: usize,
        board: Board,
        reports: mpsc::UnboundedSender<Report>,
    ) -> Self {
        Self {
            archiver,
            cursor: Cursor::default(),
            controls: Controls::new(concurrency),
            board,
            reports,
            running: JoinSet::new(),
            ids: HashMap::new(),
            pulse: Pulse::new(),
            readiness: Readiness::default(),
            on_trial: false,
        }
    }

    /// Changes how it goes on while it runs.
    pub fn controls(&self) -> Controls {
        self.controls.clone()
    }

    /// Says at any time how long ago the loop was last seen alive.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Says at any time whether it claims, and if not, why.
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Archives all that is due now and what becomes due meanwhile, then ends.
    pub async fn run_once(mut self, shutdown: &Shutdown) -> Ending {
        let ending = loop {
            if shutdown.soft.is_cancelled() {
                break Ending::Done;
            }
            let silent_until = self.archiver.signalwire.silent_until();
            self.readiness.silenced(silent_until);
            match self.fill_slots(shutdown).await {
                Ok(Some(look_again_at)) if self.running.is_empty() => {
                    if silent_until.is_some() {
                        let waiting = tokio::time::sleep_until(look_again_at);
                        shutdown.soft.run_until_cancelled(waiting).await;
                    } else {
                        // Nobody works whom the look that ends the run could hold up.
                        self.cursor.begin_at_the_front();
                    }
                    continue;
                }
                Ok(_) if self.running.is_empty() => break Ending::Done,
                Ok(_) => {}
                Err(error) => break Ending::Database(error),
            }
            if let Some((kind, message)) = self.next_report().await {
                break Ending::Halted { kind, message };
            }
        };
        self.finish_running().await;
        ending
    }

    /// Archives whatever comes until told to stop: the daemon's life. Neither wrong credentials
    /// nor a database that is away end it; both are looked at again at growing intervals.
    pub async fn run(mut self, bell: &Notify, shutdown: &Shutdown) {
        let mut halt: Option<Halt> = None;
        let mut last_halt: Option<Halt> = None;
        let mut outage: Option<Duration> = None;
        // The next look at the queue, if nothing rings before.
        let mut look_at = Some(Instant::now());
        let controls = self.controls();
        loop {
            self.pulse.beat();
            let wake_at = if let Some(halted) = &mut halt {
                let check = self.is_cured(halted);
                if shutdown.soft.run_until_cancelled(check).await == Some(true) {
                    tracing::info!("{} is cured: claiming again", halted.kind);
                    (last_halt, halt) = (halt, None);
                    self.readiness.claiming();
                    look_at = Some(Instant::now());
                    continue;
                }
                Some(halted.next_check)
            } else {
                if look_at.is_some_and(|at| at <= Instant::now()) {
                    look_at = self.claim_or_wait(&mut outage, shutdown).await;
                }
                look_at
            };
            let turn_at = Instant::now() + TURN;
            tokio::select! {
                () = shutdown.soft.cancelled() => break,
                refused = self.next_report(), if !self.running.is_empty() => {
                    look_at = Some(Instant::now());
                    if let (Some((kind, message)), None) = (refused, &halt) {
                        tracing::error!(
                            error.kind = kind.as_str(),
                            "claiming is halted: {message}. Cure: {}. It is checked again by itself",
                            kind.cure()
                        );
                        self.readiness.halt(kind, &message);
                        halt = Some(Halt::after(last_halt.take(), kind, self.on_trial));
                    }
                }
                () = bell.notified(), if halt.is_none() && outage.is_none() => {
                    look_at = Some(Instant::now());
                }
                () = controls.changed.notified() => {
                    look_at = Some(Instant::now());
                    // What was changed may be the cure.
                    if let Some(halted) = &mut halt {
                        halted.next_check = Instant::now();
                    }
                }
                () = tokio::time::sleep_until(wake_at.map_or(turn_at, |at| at.min(turn_at))) => {}
            }
        }
        self.readiness.stopping();
        self.finish_running().await;
    }

    /// Fills the free slots, and says when to look again if nothing rings.
    async fn claim_or_wait(
        &mut self,
        outage: &mut Option<Duration>,
        shutdown: &Shutdown,
    ) -> Option<Instant> {
        let silent_until = self.archiver.signalwire.silent_until();
        match self.fill_slots(shutdown).await {
            Ok(look_again_at) => {
                // While the API is left alone, the database was not asked.
                if silent_until.is_none() && outage.take().is_some() {
                    tracing::info!("the database is back: claiming again");
                    self.readiness.claiming();
                }
                if outage.is_none() {
                    self.readiness.silenced(silent_until);
                }
                look_again_at
            }
            Err(error) => {
                // On the heap: outages are rare.
                let cause = Box::pin(present_cause(self.archiver.queue.pool(), &error));
                let message = shutdown.soft.run_until_cancelled(cause).await?;
                let is_new = self.readiness.no_database(&message);
                let wait = match *outage {
                    None => {
                        tracing::error!("nothing is claimed until the database is back: {message}");
                        FIRST_OUTAGE
                    }
                    Some(wait) => {
                        if is_new {
                            tracing::error!(
                                "database unavailable for another cause now: {message}"
                            );
                        }
                        (wait * 2).min(LONGEST_OUTAGE)
                    }
                };
                *outage = Some(wait);
                Some(Instant::now() + wait)
            }
        }
    }

    /// Starts what is due, as far as slots are free. Says when to look again if there may be more.
    /// While the API wants to be left alone nothing is claimed: each recording would only be given
    /// back.
    async fn fill_slots(&mut self, shutdown: &Shutdown) -> Result<Option<Instant>, QueueError> {
        let concurrency = if self.on_trial {
            1
        } else {
            self.controls.concurrency()
        };
        let free = concurrency.saturating_sub(self.running.len());
        if free == 0 {
            return Ok(None);
        }
        if let Some(silent_until) = self.archiver.signalwire.silent_until() {
            return Ok(Some(silent_until));
        }
        let queue = &self.archiver.queue;
        let due = queue.claim_due(&mut self.cursor, free).await?;
        for claim in due.claims {
            self.start(claim, shutdown);
        }
        Ok(due.look_again_at)
    }

    fn start(&mut self, claim: Claim, shutdown: &Shutdown) {
        let recording_id = claim.recording_id();
        let (archiver, stop) = (Arc::clone(&self.archiver), shutdown.hard.clone());
        let place = self.board.enter(recording_id);
        let task = self
            .running
            .spawn(async move { archiver.attempt(claim, place.progress(), &stop).await });
        self.ids.insert(task.id(), recording_id);
    }

    /// Waits for one attempt to end and passes its report on, with those of all others that have
    /// ended by then: a claim for many costs little more than one. Returns the refusal if there was
    /// one that every other recording would meet as well.
    async fn next_report(&mut self) -> Option<(ErrorKind, String)> {
        let ended = self.running.join_next_with_id().await?;
        let mut refused = self.pass_on(ended);
        while let Some(ended) = self.running.try_join_next_with_id() {
            let next = self.pass_on(ended);
            refused = refused.or(next);
        }
        refused
    }

    fn pass_on(&mut self, ended: Result<(Id, Report), JoinError>) -> Option<(ErrorKind, String)> {
        match ended {
            Ok((task, report)) => {
                self.ids.remove(&task);
                self.on_trial &= report.object.is_none();
                let refused = report
                    .failure
                    .as_ref()
                    .filter(|_| report.halt)
                    .map(|failure| (failure.kind, failure.message.clone()));
                // If nobody listens any more, the row still has the verdict.
                let _unheard = self.reports.send(report);
                refused
            }
            Err(panic) => {
                // A defect, but not the daemon's end: the lease runs out, and the attempt counts.
                let recording_id = self.ids.remove(&panic.id());
                tracing::error!(
                    recording.id = recording_id.map(tracing::field::display),
                    error.kind = ErrorKind::Internal.as_str(),
                    "an attempt ended in a panic; it is tried again when its lease has run out: {panic}"
                );
                None
            }
        }
    }

    async fn finish_running(&mut self) {
        while !self.running.is_empty() {
            self.pulse.beat();
            tokio::select! {
                _ = self.next_report() => {}
                () = tokio::time::sleep(TURN) => {}
            }
        }
    }

    /// Checks, when it is time, whether what halted the claiming has been cured.
    async fn is_cured(&mut self, halt: &mut Halt) -> bool {
        if halt.until_next_check() > Duration::ZERO {
            return false;
        }
        let storage = &self.archiver.storage;
        // On the heap: halts are rare.
        let check = Box::pin(async {
            match halt.kind {
                ErrorKind::StorageFull => storage.check_room().await.is_ok(),
                ErrorKind::StorageDenied
                | ErrorKind::StorageRefused
                | ErrorKind::StorageUnavailable => storage.check_access().await.is_ok(),
                _ => self.archiver.signalwire.check_credentials().await.is_ok(),
            }
        });
        // A side that accepts and stays silent must not hold up the loop and its watchdog.
        let cured = tokio::time::timeout(CHECK_WITHIN, check).await == Ok(true);
        if cured {
            self.archiver.breaker.close(halt.kind);
            self.on_trial = halt.kind == ErrorKind::StorageFull;
        } else {
            halt.put_off();
        }
        cured
    }
}
