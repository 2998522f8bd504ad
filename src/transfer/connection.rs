//! One connection of a download: takes part after part and fetches each to its last byte.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::body::Body;
use super::error::TransferError;
use super::host::{Host, Slot, StepReason};
use super::plan::{Assignment, Part, Plan};
use super::source::File;
use crate::progress::{Fetching, Progress};

/// So many breaks in a row that brought next to nothing end the transfer.
const MAX_BARREN_BREAKS: u32 = 5;
/// A break after at least so many bytes was worth the request.
const WORTHWHILE_BYTES: u64 = 64 * 1024;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Refusals in a row, while others receive, after which a connection gives way to them.
const MAX_REFUSALS: u32 = 3;
/// Answers in a row that are not the range asked for, after which ranges are given up.
const MAX_ODD_ANSWERS: u32 = 3;
/// How often a connection gives way before it has received a byte again.
const MAX_YIELDS: u32 = 3;

/// What a connection tells the download.
#[derive(Debug)]
pub(super) enum News {
    Fetched(Part),
    /// The file of unknown size has so many parts.
    Ended {
        parts: u32,
    },
    /// This part and all later ones are fetched again: forget those that are waiting.
    WentBack {
        to: u32,
    },
    /// The link of this generation is dead; the connection waits for another one.
    LinkDied {
        generation: u64,
        error: TransferError,
    },
    Failed(TransferError),
}

pub(super) struct Connection {
    pub(super) file: Arc<File>,
    pub(super) plan: Arc<Plan>,
    pub(super) progress: Arc<Progress>,
    pub(super) news: UnboundedSender<News>,
    pub(super) slot: Option<Slot>,
    /// While bytes are expected: not in a pause that the host asked for.
    pub(super) fetching: Option<Fetching>,
    /// An answer that goes on where the last part ended.
    pub(super) open: Option<Body>,
    /// How often it gave way since it last received a byte.
    pub(super) yields: u32,
}

/// Why a part was not fetched.
enum Stopped {
    /// The host refuses this connection while it serves others.
    CrowdedOut,
    Failed(TransferError),
}

impl From<TransferError> for Stopped {
    fn from(error: TransferError) -> Self {
        Self::Failed(error)
    }
}

/// Answers in a row without a byte.
struct Streak {
    barren_breaks: u32,
    refusals: u32,
    odd_answers: u32,
    /// What the host had sent to all connections when it began.
    host_received_bytes: u64,
}

impl Streak {
    fn begin(host: &Host) -> Self {
        Self {
            barren_breaks: 0,
            refusals: 0,
            odd_answers: 0,
            host_received_bytes: host.received_bytes(),
        }
    }

    /// Whether other connections receive meanwhile.
    fn others_receive(&self, host: &Host) -> bool {
        host.answers() > 0 || host.received_bytes() > self.host_received_bytes
    }
}

impl Connection {
    /// Fetches parts until there are no more, or until one cannot be had.
    pub(super) async fn run(mut self) {
        loop {
            // Always the slot before the memory: who has memory must not wait for a slot.
            let slot = match self.slot.take() {
                Some(slot) => slot,
                None => self.file.host.slot().await,
            };
            let Some(mut assignment) = self.plan.next().await else {
                return;
            };
            if let Some(open) = assignment.open.take() {
                self.open = Some(open);
            }
            self.fetching = Some(self.progress.fetching());
            let withdrawn = assignment.withdrawn.clone();
            let fetched = withdrawn
                .run_until_cancelled(self.fetch(&mut assignment))
                .await;
            self.fetching = None;
            match fetched {
                Some(Ok(())) => {
                    if self.complete(assignment) {
                        return;
                    }
                    // An answer that goes on keeps its connection.
                    self.slot = self.open.is_some().then_some(slot);
                }
                Some(Err(Stopped::CrowdedOut)) => {
                    self.yields += 1;
                    self.file.host.narrow();
                    self.plan
                        .go_back(&assignment, |to| self.tell(News::WentBack { to }));
                }
                Some(Err(Stopped::Failed(error))) => {
                    self.tell(News::Failed(error));
                    return;
                }
                // Another connection gave way with an earlier part.
                None => self.open = None,
            }
        }
    }

    /// Hands a part over and says whether it was the end of a file of unknown size.
    fn complete(&self, assignment: Assignment) -> bool {
        let (number, got) = (assignment.number, assignment.filled_bytes());
        let ended = got < assignment.bytes;
        // An empty rest is no part.
        if got > 0 {
            self.plan
                .complete(assignment, |part| self.tell(News::Fetched(part)));
        }
        if ended {
            let parts = number - u32::from(got == 0);
            self.tell(News::Ended { parts });
        }
        ended
    }

    /// Fetches a part to its last byte; fewer only where the file of unknown size ends. What breaks
    /// is resumed from the last good byte.
    async fn fetch(&mut self, assignment: &mut Assignment) -> Result<(), Stopped> {
        let host = Arc::clone(&self.file.host);
        let mut streak = Streak::begin(&host);
        loop {
            let before = assignment.filled_bytes();
            let generation = self.file.link.current().generation;
            let Err(error) = self.fill(assignment).await else {
                self.yields = 0;
                return Ok(());
            };
            self.open = None;
            if self.file.validator.is_none() {
                // Nothing says that another answer is of the same file.
                return Err(error.into());
            }
            let got = assignment.filled_bytes() - before;
            if got > 0 {
                self.yields = 0;
                streak = Streak {
                    barren_breaks: streak.barren_breaks,
                    ..Streak::begin(&host)
                };
            }
            if let Some(reason) = error.refuses_ranges() {
                streak.odd_answers += 1;
                if streak.odd_answers >= MAX_ODD_ANSWERS {
                    host.go_plain(reason, true);
                    return Err(TransferError::Unjoinable { reason }.into());
                }
            } else if got == 0 && self.is_crowded_out(&mut streak, &error) {
                return Err(Stopped::CrowdedOut);
            }
            if error.is_dead_link() {
                self.file.client.limits.traffic.link_died();
                self.tell(News::LinkDied { generation, error });
                self.fetching = None;
                self.file.link.after(generation).await;
                self.fetching = Some(self.progress.fetching());
                continue;
            }
            if !error.is_break() {
                return Err(error.into());
            }
            self.file.client.limits.traffic.broke();
            if got >= self.worthwhile_bytes(&error) {
                streak.barren_breaks = 0;
                continue;
            }
            streak.barren_breaks += 1;
            if streak.barren_breaks > MAX_BARREN_BREAKS {
                return Err(error.into());
            }
            let usual = FIRST_PAUSE * (1 << (streak.barren_breaks - 1));
            let client = &self.file.client;
            let pause = client.pause_after(&error, usual).ok_or(error)?;
            self.fetching = None;
            tokio::time::sleep(pause).await;
            self.fetching = Some(self.progress.fetching());
        }
    }

    /// The least that must have come before a break for the request to have been worth it. What
    /// is too slow does not become worth it by going on for long.
    fn worthwhile_bytes(&self, error: &TransferError) -> u64 {
        let client = &self.file.client;
        match error {
            TransferError::Stalled { .. } => client.least_bytes().max(WORTHWHILE_BYTES),
            _ => WORTHWHILE_BYTES,
        }
    }

    /// Counts a refusal, and says whether the host serves others instead of this connection.
    fn is_crowded_out(&self, streak: &mut Streak, error: &TransferError) -> bool {
        if !(error.is_refusal() || error.is_dead_link()) {
            return false;
        }
        streak.refusals += 1;
        let is_told_to_wait = error
            .retry_after()
            .is_some_and(|wanted| wanted > self.file.client.idle_timeout);
        (is_told_to_wait || streak.refusals >= MAX_REFUSALS)
            && self.yields < MAX_YIELDS
            && streak.others_receive(&self.file.host)
    }

    async fn fill(&mut self, assignment: &mut Assignment) -> Result<(), TransferError> {
        while !assignment.is_full() {
            let position = assignment.offset + assignment.filled_bytes();
            let body = match &mut self.open {
                Some(body) if body.position() == position => body,
                _ => {
                    let link = self.file.link.current().link;
                    let end = assignment.offset + assignment.bytes;
                    let body = self.file.continue_at(&link, position, end).await?;
                    self.open.insert(body)
                }
            };
            let Some(mut chunk) = body.next(&self.file.client.limits, &self.progress).await? else {
                self.open = None;
                match self.file.size_bytes {
                    // It covered less than was asked for; the rest needs another request.
                    Some(_) => continue,
                    None => return Ok(()),
                }
            };
            let taken = assignment.fill(&chunk);
            self.progress.add(taken as u64);
            let rest = chunk.split_off(taken);
            if !rest.is_empty() {
                body.put_back(rest);
            }
            if body.is_exhausted() {
                self.finish().await?;
            }
        }
        Ok(())
    }

    /// Reads the end of an answer whose bytes are all there.
    async fn finish(&mut self) -> Result<(), TransferError> {
        let Some(body) = self.open.take() else {
            return Ok(());
        };
        let whole = !body.is_partial();
        match body.finish(&self.file.client.limits, &self.progress).await {
            Err(TransferError::WrongRange) => {
                let reason = StepReason::Ranges;
                self.file.host.go_plain(reason, true);
                Err(TransferError::Unjoinable { reason })
            }
            // The range was counted against its `Content-Range`: its end marker adds nothing.
            Err(error) if whole => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn tell(&self, news: News) {
        // Nobody listens any more when the download was dropped, which ends this task.
        drop(self.news.send(news));
    }
}
