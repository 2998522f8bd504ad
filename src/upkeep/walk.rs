//! A walk through one of the provider's lists, page by page to its end.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU16;
use std::time::Duration;

use crate::error::{Disposition, chain};
use crate::retry::throttle_delay;
use crate::signalwire::{ApiError, Catalogue, NextPage, Page, SignalWire};

/// A page is asked for so often in all while the provider has trouble with it.
const TRIES: u32 = 6;
/// The same while the next page is one that was read before.
const CIRCLES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// A list that leads on and on without a recording is none.
const MOST_EMPTY_PAGES: u32 = 1000;
/// Pages that are remembered, 16 MiB of them at most: a circle of up to this length is noticed. At
/// [`PAGE_SIZE`], these are a billion recordings.
const REMEMBERED_PAGES: usize = 1 << 20;
/// The provider's maximum.
pub const PAGE_SIZE: NonZeroU16 = NonZeroU16::new(1000).expect("it is not zero");
/// Page sizes to step down to, while the provider refuses larger pages or takes too long for them.
const SMALLER_PAGES: [NonZeroU16; 2] = [
    NonZeroU16::new(200).expect("it is not zero"),
    NonZeroU16::new(50).expect("it is not zero"),
];

/// Why a list could not be walked to its end.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    #[error("list the provider's recordings")]
    Api(#[source] ApiError),
    #[error("the provider's list leads in a circle: page {page} comes before itself")]
    Circle { page: u64 },
    #[error("the provider's list leads on without a recording: {MOST_EMPTY_PAGES} empty pages")]
    Endless,
    #[error("the provider's list has no such page any more")]
    NoSuchPage,
}

/// Where a walk is.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    signalwire: &'a SignalWire,
    catalogue: Catalogue,
    page_size: NonZeroU16,
    /// The page to come.
    at: Option<NextPage>,
    visited: Visited,
    pages: u64,
    empty_in_a_row: u32,
    ended: bool,
}

impl<'a> Walk<'a> {
    /// Begins at the first page, or where an earlier walk was.
    pub(super) fn new(
        signalwire: &'a SignalWire,
        catalogue: Catalogue,
        page_size: NonZeroU16,
        at: Option<NextPage>,
    ) -> Self {
        Self {
            signalwire,
            catalogue,
            page_size,
            visited: at.iter().collect(),
            at,
            pages: 0,
            empty_in_a_row: 0,
            ended: false,
        }
    }

    /// The next page; `None` after the last. What passes is waited for.
    ///
    /// # Errors
    /// Credentials that are refused at once; anything else when it does not pass.
    pub(super) async fn next(&mut self) -> Result<Option<Page>, WalkError> {
        if self.ended {
            return Ok(None);
        }
        let mut tries = 1;
        let page = loop {
            let asked = self
                .signalwire
                .page(self.catalogue, self.page_size, self.at.as_ref());
            let error = match asked.await {
                Ok(page) if !self.leads_back(&page) => break page,
                // Lists have been seen to name the same next page again, for a while.
                Ok(_) => WalkError::Circle {
                    page: self.pages + 1,
                },
                Err(ApiError::Rejected { .. } | ApiError::NotFound) if self.at.is_some() => {
                    return Err(WalkError::NoSuchPage);
                }
                Err(error) => WalkError::Api(error),
            };
            let Some(pause) = error.pause_after(tries) else {
                return Err(error);
            };
            self.step_down_after(&error);
            let page_size = self.page_size;
            if tries == 1 {
                tracing::info!(page_size, "{}; retried in {pause:?}", chain(&error));
            } else {
                tracing::debug!(page_size, "{}; retried in {pause:?}", chain(&error));
            }
            tries += 1;
            tokio::time::sleep(pause).await;
        };
        self.pages += 1;
        let is_empty = page.recordings.is_empty() && page.unreadable.is_empty();
        self.empty_in_a_row = if is_empty { self.empty_in_a_row + 1 } else { 0 };
        if self.empty_in_a_row > MOST_EMPTY_PAGES {
            return Err(WalkError::Endless);
        }
        self.at.clone_from(&page.next);
        if let Some(next) = &page.next {
            self.visited.add(next);
        }
        self.ended = page.next.is_none();
        Ok(Some(page))
    }

    /// Requests a smaller first page. The pages after it have the size of the link that led to them.
    fn step_down_after(&mut self, error: &WalkError) {
        let smaller = SMALLER_PAGES.into_iter().find(|it| *it < self.page_size);
        if let (WalkError::Api(error), None, Some(smaller)) = (error, &self.at, smaller)
            && error.is_of_a_large_page()
        {
            self.page_size = smaller;
        }
    }

    fn leads_back(&self, page: &Page) -> bool {
        let next = page.next.as_ref();
        next.is_some_and(|next| self.visited.contains(next))
    }
}

/// The pages that a walk has come by, as hashes: their names are the provider's, and may be long.
#[derive(Debug, Default)]
struct Visited {
    hasher: RandomState,
    hashes: HashSet<u64>,
}

impl Visited {
    fn add(&mut self, page: &NextPage) {
        if self.hashes.len() == REMEMBERED_PAGES {
            self.hashes.clear();
        }
        self.hashes.insert(self.hasher.hash_one(page));
    }

    fn contains(&self, page: &NextPage) -> bool {
        self.hashes.contains(&self.hasher.hash_one(page))
    }
}

impl<'a> FromIterator<&'a NextPage> for Visited {
    fn from_iter<T: IntoIterator<Item = &'a NextPage>>(pages: T) -> Self {
        let mut visited = Self::default();
        pages.into_iter().for_each(|page| visited.add(page));
        visited
    }
}

impl WalkError {
    /// How long to wait before the page is asked for again; `None` if that is of no use.
    fn pause_after(&self, tries: u32) -> Option<Duration> {
        let growing = FIRST_PAUSE * (1 << (2 * (tries - 1)));
        if tries == TRIES {
            return None;
        }
        match self {
            Self::Circle { .. } => (tries < CIRCLES).then_some(FIRST_PAUSE),
            Self::Endless | Self::NoSuchPage => None,
            // The address is wrong, and stays so.
            Self::Api(error @ ApiError::Rejected { .. }) if !error.is_of_a_large_page() => None,
            Self::Api(error) => match error.kind().disposition() {
                Disposition::Throttle => Some(throttle_delay(error.retry_after())),
                Disposition::Retry => Some(growing),
                Disposition::Defer
                | Disposition::Fail
                | Disposition::Halt
                | Disposition::Release => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visited_pages_are_remembered_within_bounds() {
        let page = |number: usize| NextPage::from_stored(number.to_string());
        let mut visited = Visited::default();
        for number in 0..REMEMBERED_PAGES {
            visited.add(&page(number));
        }
        assert!(visited.contains(&page(0)) && visited.contains(&page(REMEMBERED_PAGES - 1)));
        assert!(!visited.contains(&page(REMEMBERED_PAGES)));
        visited.add(&page(REMEMBERED_PAGES));
        assert_eq!(visited.hashes.len(), 1);
        assert!(visited.contains(&page(REMEMBERED_PAGES)));
    }
}
