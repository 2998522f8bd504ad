//! One connection of a download: takes part after part and fetches each to its last byte.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::body::Body;
use super::error::TransferError;
use super::limits::Slot;
use super::plan::{Assignment, Part, Plan};
use super::source::File;
use crate::progress::{Fetching, Progress};

/// So many breaks in a row that brought next to nothing end the transfer.
const MAX_BARREN_BREAKS: u32 = 5;
/// A break after at least so many bytes was worth the request.
const WORTHWHILE_BYTES: u64 = 64 * 1024;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// What a connection tells the download.
#[derive(Debug)]
pub(super) enum News {
    Fetched(Part),
    /// The file of unknown size has so many parts.
    Ended {
        parts: u32,
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
}

impl Connection {
    /// Fetches parts until there are no more, or until one cannot be had.
    pub(super) async fn run(mut self) {
        loop {
            // Always the slot before the memory: who has memory must not wait for a slot.
            let slot = match self.slot.take() {
                Some(slot) => slot,
                None => self.file.client.limits.slot(&self.file.host).await,
            };
            let Some(mut assignment) = self.plan.next().await else {
                return;
            };
            if let Some(open) = assignment.open.take() {
                self.open = Some(open);
            }
            self.fetching = Some(self.progress.fetching());
            let fetched = self.fetch(&mut assignment).await;
            self.fetching = None;
            let (number, got) = (assignment.number, assignment.filled_bytes());
            let ended = got < assignment.bytes;
            let news = match fetched {
                Ok(()) => News::Fetched(assignment.into_part()),
                Err(error) => News::Failed(error),
            };
            let failed = matches!(news, News::Failed(_));
            // An empty rest is no part.
            if failed || got > 0 {
                self.tell(news);
            }
            if ended && !failed {
                let parts = number - u32::from(got == 0);
                self.tell(News::Ended { parts });
            }
            if ended || failed {
                return;
            }
            // An answer that goes on keeps its connection.
            self.slot = self.open.is_some().then_some(slot);
        }
    }

    /// Fetches a part to its last byte; fewer only where the file of unknown size ends. What breaks
    /// is gone on with from the last good byte.
    async fn fetch(&mut self, assignment: &mut Assignment) -> Result<(), TransferError> {
        let mut barren_breaks = 0;
        loop {
            let before = assignment.filled_bytes();
            let generation = self.file.link.current().generation;
            let Err(error) = self.fill(assignment).await else {
                return Ok(());
            };
            self.open = None;
            if self.file.validator.is_none() {
                // Nothing says that another answer is of the same file.
                return Err(error);
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
                return Err(error);
            }
            self.file.client.limits.traffic.broke();
            if assignment.filled_bytes() - before >= WORTHWHILE_BYTES {
                barren_breaks = 0;
                continue;
            }
            barren_breaks += 1;
            if barren_breaks > MAX_BARREN_BREAKS {
                return Err(error);
            }
            let pause = self.pause(barren_breaks, error)?;
            self.fetching = None;
            tokio::time::sleep(pause).await;
            self.fetching = Some(self.progress.fetching());
        }
    }

    /// How long to wait before asking again. A host that wants to be left alone for longer than a
    /// transfer may stand still ends this attempt.
    fn pause(&self, barren_breaks: u32, error: TransferError) -> Result<Duration, TransferError> {
        let usual = FIRST_PAUSE * (1 << (barren_breaks - 1));
        match error.retry_after() {
            Some(wanted) if wanted > self.file.client.idle_timeout => Err(error),
            Some(wanted) => Ok(wanted.max(usual)),
            None => Ok(usual),
        }
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
                self.open = None;
            }
        }
        Ok(())
    }

    fn tell(&self, news: News) {
        // Nobody listens any more when the download was dropped, which ends this task.
        drop(self.news.send(news));
    }
}
