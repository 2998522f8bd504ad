//! The window over a file that is being fetched: several parts at once, handed over in order.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::body::Body;
use super::connection::{Connection, News};
use super::error::TransferError;
use super::host::Slot;
use super::plan::{Part, Plan};
use super::source::File;
use crate::memory::MemoryBudget;
use crate::progress::Progress;
use crate::signed_url::SignedUrl;

/// Parts of one recording beyond those being fetched: being hashed, or on its way out.
const PARTS_BEYOND_CONNECTIONS: usize = 2;
/// So many fresh links in a row that brought no byte are the link's end.
const MAX_BARREN_LINKS: u32 = 3;

/// What comes next of a file.
#[derive(Debug)]
pub enum Next {
    Part(Part),
    /// The link is dead. Get another one and [`Download::relink`]; what was fetched stays.
    LinkDied,
    /// Every byte was handed over.
    End,
}

/// A file that is being fetched; dropped, it stops.
#[derive(Debug)]
pub struct Download {
    file: Arc<File>,
    progress: Arc<Progress>,
    news: mpsc::UnboundedReceiver<News>,
    connections: JoinSet<()>,
    /// Fetched before its turn.
    waiting: BTreeMap<u32, Part>,
    next_number: u32,
    /// Parts in all, once that is known.
    parts: Option<u32>,
    barren_links: u32,
    received_at_relink: u64,
}

impl Download {
    pub(super) fn start(
        file: File,
        (first, slot): (Body, Slot),
        part_bytes: u64,
        budget: &MemoryBudget,
        progress: &Arc<Progress>,
    ) -> Self {
        let part_bytes = NonZeroU64::new(part_bytes).unwrap_or(NonZeroU64::MIN);
        let parts_before = first.position() / part_bytes;
        let next_number = u32::try_from(parts_before + 1).unwrap_or(u32::MAX);
        let wanted = match (&file.validator, file.size_bytes) {
            (Some(_), Some(size)) => {
                let left = size.div_ceil(part_bytes.get()).saturating_sub(parts_before);
                let left = usize::try_from(left).unwrap_or(usize::MAX);
                let connections = file.client.connections.min(file.host.connections());
                connections.min(left).max(1)
            }
            // One stream.
            _ => 1,
        };
        let share = budget.share(wanted + PARTS_BEYOND_CONNECTIONS);
        let plan = Plan::new(
            next_number,
            Some(first),
            part_bytes.get(),
            file.size_bytes,
            share,
        );
        let (file, plan) = (Arc::new(file), Arc::new(plan));
        let (sender, news) = mpsc::unbounded_channel();
        let mut connections = JoinSet::new();
        let mut slot = Some(slot);
        for _ in 0..wanted {
            let connection = Connection {
                file: Arc::clone(&file),
                plan: Arc::clone(&plan),
                progress: Arc::clone(progress),
                news: sender.clone(),
                slot: slot.take(),
                fetching: None,
                open: None,
                yields: 0,
            };
            connections.spawn(connection.run());
        }
        Self {
            received_at_relink: progress.received_bytes(),
            parts: plan.parts(),
            file,
            progress: Arc::clone(progress),
            news,
            connections,
            waiting: BTreeMap::new(),
            next_number,
            barren_links: 0,
        }
    }

    /// The next part, in order. Waits for it; may be called again after it was cut off.
    pub async fn next(&mut self) -> Result<Next, TransferError> {
        loop {
            if self.parts.is_some_and(|parts| self.next_number > parts) {
                return Ok(Next::End);
            }
            if let Some(part) = self.waiting.remove(&self.next_number) {
                self.next_number += 1;
                return Ok(Next::Part(part));
            }
            // News first: a connection that is done has told all it had to tell.
            let news = tokio::select! {
                biased;
                news = self.news.recv() => news,
                Some(ended) = self.connections.join_next() => {
                    ended?;
                    continue;
                }
            };
            match news {
                Some(News::Fetched(part)) => {
                    self.waiting.insert(part.number, part);
                }
                Some(News::WentBack { to }) => drop(self.waiting.split_off(&to)),
                Some(News::Ended { parts }) => self.parts = Some(parts),
                Some(News::LinkDied { generation, error }) => {
                    if generation == self.file.link.current().generation {
                        self.demand_progress(error)?;
                        return Ok(Next::LinkDied);
                    }
                }
                Some(News::Failed(error)) => return Err(error),
                None => return Err(TransferError::Lost),
            }
        }
    }

    /// Size of the whole file in bytes, as far as anybody has named it.
    pub fn size_bytes(&self) -> Option<u64> {
        self.file.size_bytes
    }

    /// Goes on with another link to the same file.
    pub fn relink(&mut self, link: SignedUrl) {
        self.received_at_relink = self.progress.received_bytes();
        self.file.link.replace(link);
    }

    /// Links that die as soon as they are used are not asked for again and again.
    fn demand_progress(&mut self, error: TransferError) -> Result<(), TransferError> {
        if self.progress.received_bytes() > self.received_at_relink {
            self.barren_links = 0;
        }
        self.barren_links += 1;
        if self.barren_links > MAX_BARREN_LINKS {
            return Err(error);
        }
        Ok(())
    }
}
