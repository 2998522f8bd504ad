//! What nobody queued: the provider's list is walked, and what is unknown is queued.
//!
//! The list has no filter by date and no documented order, so every walk is a whole one: nothing
//! tells that what follows is known already.

use std::num::NonZeroU16;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use super::observe::{observe, renew_manifests};
use super::walk::{Walk, WalkError};
use crate::finance::ledger::ObservedBy;
use crate::queue::{self, DiscoveryWalk, QueueError, WalkedSoFar};
use crate::recording::{Recording, RecordingId};
use crate::signalwire::{Catalogue, NextPage, Page, SignalWire};
use crate::storage::Storage;

/// What a walk needs.
#[derive(Debug, Clone, Copy)]
pub struct Discovery<'a> {
    pub pool: &'a PgPool,
    pub signalwire: &'a SignalWire,
    /// Its manifests follow when the cost of an archived recording changes.
    pub storage: &'a Storage,
    pub page_size: NonZeroU16,
}

/// What a walk found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Discovered {
    pub pages: u64,
    pub listed: u64,
    /// Unknown until now, and queued.
    pub queued: u64,
    /// Known, and described anew.
    pub changed: u64,
    /// Entries that could not be understood; those with an ID are queued all the same.
    pub unreadable: u64,
    /// Entries without an ID that could be read: they cannot be queued.
    pub lost_sight_of: u64,
    /// Changed costs that could not be brought into their manifests now.
    pub left: u64,
    /// Pages that an earlier walk had read; they are counted above.
    pub resumed_pages: u64,
}

/// Why a walk did not reach the end.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    #[error("{0}")]
    Walk(#[from] WalkError),
    #[error("{0}")]
    Queue(#[from] QueueError),
}

impl Discovery<'_> {
    /// Walks through all recordings of the project, from where the last walk was cut off within a
    /// day unless `from_start`. Each page is written down whole, with how far the walk is;
    /// `seen` hears of it.
    pub async fn discover(
        &self,
        from_start: bool,
        seen: impl FnMut(&Discovered),
    ) -> Result<Discovered, DiscoverError> {
        let project_id = self.signalwire.project_id();
        let walk = DiscoveryWalk::begin(self.pool, project_id, from_start).await?;
        let mut seen = seen;
        match self.go_on(&walk, &mut seen).await {
            // What was written down yesterday leads nowhere today.
            Err(DiscoverError::Walk(WalkError::NoSuchPage)) if walk.next_page.is_some() => {
                tracing::info!("the page to go on with is gone: the list is walked from its start");
                let walk = DiscoveryWalk::begin(self.pool, project_id, true).await?;
                self.go_on(&walk, &mut seen).await
            }
            result => result,
        }
    }

    async fn go_on(
        &self,
        walk: &DiscoveryWalk,
        seen: &mut impl FnMut(&Discovered),
    ) -> Result<Discovered, DiscoverError> {
        let mut found = Discovered {
            pages: walk.before.pages,
            listed: walk.before.listed,
            queued: walk.before.queued,
            resumed_pages: walk.before.pages,
            ..Discovered::default()
        };
        let at = walk.next_page.clone().map(NextPage::from_stored);
        let mut pages = Walk::new(self.signalwire, Catalogue::All, self.page_size, at);
        loop {
            let asked_at = queue::database_time(self.pool).await?;
            let Some(page) = pages.next().await? else {
                return Ok(found);
            };
            self.take_in(&page, asked_at, Some(walk), &mut found)
                .await?;
            seen(&found);
        }
    }

    /// Walks through the recordings of one room session.
    pub async fn discover_session(
        &self,
        room_session_id: Uuid,
        mut seen: impl FnMut(&Discovered),
    ) -> Result<Discovered, DiscoverError> {
        let mut found = Discovered::default();
        let catalogue = Catalogue::OfSession(room_session_id);
        let mut pages = Walk::new(self.signalwire, catalogue, self.page_size, None);
        loop {
            let asked_at = queue::database_time(self.pool).await?;
            let Some(page) = pages.next().await? else {
                return Ok(found);
            };
            self.take_in(&page, asked_at, None, &mut found).await?;
            seen(&found);
        }
    }

    /// Writes one page down: its recordings, and that the walk is past it, or neither.
    async fn take_in(
        &self,
        page: &Page,
        asked_at: DateTime<Utc>,
        walk: Option<&DiscoveryWalk>,
        found: &mut Discovered,
    ) -> Result<(), DiscoverError> {
        let left = renew_manifests(self.pool, self.storage, &page.recordings, asked_at).await?;
        let kept: Vec<Recording>;
        let recordings = if left.is_empty() {
            &page.recordings
        } else {
            let in_time = page.recordings.iter().filter(|it| !left.contains(&it.id));
            kept = in_time.cloned().collect();
            &kept
        };
        found.left += left.len() as u64;
        found.unreadable += page.unreadable.len() as u64;
        let mut bare = Vec::new();
        for entry in &page.unreadable {
            match entry.id {
                Some(id) => bare.push(RecordingId::from(id)),
                None => found.lost_sight_of += 1,
            }
            tracing::warn!(
                recording.id = entry.id.map(tracing::field::display),
                "an entry of the provider's list cannot be understood: {}",
                entry.problem
            );
        }
        let project_id = self.signalwire.project_id();
        let mut tx = queue::begin(self.pool).await?;
        let noted = observe(
            &mut tx,
            project_id,
            recordings,
            asked_at,
            ObservedBy::Discover,
        )
        .await?;
        let bare = queue::enqueue_in(&mut *tx, &bare).await?;
        found.pages += 1;
        found.listed += (page.recordings.len() + page.unreadable.len()) as u64;
        found.queued += noted.queued.len() as u64 + bare;
        found.changed += noted.changed.len() as u64;
        if let Some(walk) = walk {
            let so_far = WalkedSoFar {
                pages: found.pages,
                listed: found.listed,
                queued: found.queued,
            };
            let next = page.next.as_ref().map(NextPage::as_str);
            walk.note(&mut tx, so_far, next).await?;
        }
        Ok(queue::commit(tx, "write a page down").await?)
    }

    /// Walks through a list and hands on the IDs that are unknown; nothing is written.
    pub async fn unknown(
        &self,
        catalogue: Catalogue,
        mut unknown: impl FnMut(RecordingId) -> std::io::Result<()>,
        mut seen: impl FnMut(&Discovered),
    ) -> Result<Discovered, UnknownError> {
        let mut found = Discovered::default();
        let mut pages = Walk::new(self.signalwire, catalogue, self.page_size, None);
        while let Some(page) = pages.next().await.map_err(DiscoverError::from)? {
            let readable = page.recordings.iter().map(|it| it.id);
            let others = page.unreadable.iter().filter_map(|it| it.id);
            let ids: Vec<RecordingId> = readable.chain(others.map(RecordingId::from)).collect();
            let known = queue::states(self.pool, &ids)
                .await
                .map_err(DiscoverError::from)?;
            for id in ids.into_iter().filter(|id| !known.contains_key(id)) {
                found.queued += 1;
                unknown(id)?;
            }
            found.pages += 1;
            found.listed += (page.recordings.len() + page.unreadable.len()) as u64;
            found.unreadable += page.unreadable.len() as u64;
            seen(&found);
        }
        Ok(found)
    }
}

/// Why the unknown ones could not all be handed on.
#[derive(Debug, thiserror::Error)]
pub enum UnknownError {
    #[error("{0}")]
    Discover(#[from] DiscoverError),
    #[error("write an ID")]
    Write(#[from] std::io::Error),
}
