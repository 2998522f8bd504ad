//! The provider's lists of recordings, page by page.
//!
//! They have no filter by date and no documented order, a page may be empty and yet lead on, and
//! what is added or deleted meanwhile shifts the pages to come. So a list is walked to its end.

use uuid::Uuid;

use crate::recording::Recording;

/// A list that the provider keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Catalogue {
    /// All recordings of the project.
    All,
    /// Those of one room session.
    OfSession(Uuid),
}

/// Where the page after this one is: the query of the link to it, without the life of its links.
/// Holds nothing secret, and may be written down to go on later.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NextPage(String);

/// One page of a list.
#[derive(Debug)]
pub struct Page {
    pub recordings: Vec<Recording>,
    /// What could not be understood.
    pub unreadable: Vec<Unreadable>,
    /// `None`: this was the last one.
    pub next: Option<NextPage>,
}

/// An entry of a list that is no recording as this program knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its ID, if that much could be read.
    pub id: Option<Uuid>,
    pub problem: String,
}

impl Catalogue {
    pub(super) fn path(self) -> String {
        match self {
            Self::All => "api/video/room_recordings".to_owned(),
            Self::OfSession(id) => format!("api/video/room_sessions/{id}/recordings"),
        }
    }
}

impl NextPage {
    pub(super) const fn new(query: String) -> Self {
        Self(query)
    }

    /// Takes what was written down.
    pub const fn from_stored(query: String) -> Self {
        Self(query)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}
