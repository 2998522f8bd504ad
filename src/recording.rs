//! A recording as the provider describes it: parsed once, then trusted.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::money::Usd;
use crate::signed_url::SignedUrl;

mod media;
mod metadata;

pub use media::{Container, FormatMismatch, content_type, extension};
pub use metadata::{Metadata, string_of};

/// The provider's ID of a recording: a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, sqlx::Type)]
#[sqlx(transparent)]
pub struct RecordingId(Uuid);

impl RecordingId {
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for RecordingId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

/// The text is not a UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a recording ID (a UUID such as c22d24f6-5a47-4597-9a23-c7d01e696b92)")]
pub struct InvalidRecordingId(String);

impl FromStr for RecordingId {
    type Err = InvalidRecordingId;

    fn from_str(text: &str) -> Result<Self, InvalidRecordingId> {
        Uuid::try_parse(text)
            .map(Self)
            .map_err(|_| InvalidRecordingId(text.chars().take(80).collect()))
    }
}

impl fmt::Display for RecordingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl serde::Serialize for RecordingId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// The longest recording that is believed, about 31 years: no sum of lengths overflows 64 bits.
pub const MAX_DURATION_SECS: i64 = 1_000_000_000;

/// How far the provider is with a recording. The documented words, and room for others: the list
/// was a free string until 2026.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordingStatus {
    Recording,
    Paused,
    Processing,
    Completed,
    Other(String),
}

impl RecordingStatus {
    pub fn as_str(&self) -> &str {
        match self {
            Self::Recording => "recording",
            Self::Paused => "paused",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Other(word) => word,
        }
    }
}

impl From<&str> for RecordingStatus {
    fn from(word: &str) -> Self {
        match word {
            "recording" => Self::Recording,
            "paused" => Self::Paused,
            "processing" => Self::Processing,
            "completed" => Self::Completed,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// What the provider says of one recording. Everything but the ID may be missing: fields are null
/// while it is in progress, and payloads may be partial.
#[derive(Debug, Clone)]
pub struct Recording {
    pub id: RecordingId,
    pub room_session_id: Option<Uuid>,
    pub status: Option<RecordingStatus>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub created_at: Option<DateTime<Utc>>,
    pub updated_at: Option<DateTime<Utc>>,
    pub duration_secs: Option<i64>,
    pub declared_size_bytes: Option<u64>,
    pub media_format: Option<String>,
    pub cost: Option<Usd>,
    pub link: Option<SignedUrl>,
    /// The provider's object as sent, without the link.
    pub metadata: Metadata,
    /// Names of fields that were sent but could not be read: they are `None` here, and as sent in
    /// the metadata.
    pub unread_fields: Vec<&'static str>,
}

/// Whether a recording can be fetched now.
#[derive(Debug)]
pub enum Readiness<'a> {
    Ready(&'a SignedUrl),
    /// Still being recorded or processed.
    NotReady,
    /// Completed, but without a file.
    NoMedia,
}

impl Recording {
    /// The date under which the object is filed: of `created_at`, else of `started_at`. One that
    /// was sent in a form that cannot be read must not keep the recording from being archived: its
    /// object is filed under 1970-01-01. `None` if the provider sent neither, as in a partial
    /// payload.
    pub fn filing_date(&self) -> Option<DateTime<Utc>> {
        self.created_at.or(self.started_at).or_else(|| {
            ["created_at", "started_at"]
                .iter()
                .any(|name| self.unread_fields.contains(name))
                .then_some(DateTime::UNIX_EPOCH)
        })
    }

    /// A recording of which nothing but its ID is known.
    pub fn unknown(id: RecordingId) -> Self {
        Self {
            id,
            room_session_id: None,
            status: None,
            started_at: None,
            finished_at: None,
            created_at: None,
            updated_at: None,
            duration_secs: None,
            declared_size_bytes: None,
            media_format: None,
            cost: None,
            link: None,
            metadata: Metadata::default(),
            unread_fields: Vec::new(),
        }
    }

    /// Ready means `completed` with a link. A missing or unknown status counts as ready when a
    /// link and the end are there; `recording`, `paused` and `processing` never do, because a
    /// link may appear before the file is whole.
    pub fn readiness(&self) -> Readiness<'_> {
        use RecordingStatus::{Completed, Other, Paused, Processing, Recording};

        match (&self.status, &self.link) {
            (Some(Completed), Some(link)) => Readiness::Ready(link),
            (Some(Completed), None) => Readiness::NoMedia,
            (None | Some(Other(_)), Some(link)) if self.finished_at.is_some() => {
                Readiness::Ready(link)
            }
            (None | Some(Other(_) | Recording | Paused | Processing), _) => Readiness::NotReady,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording(status: Option<&str>, link: bool, finished: bool) -> Recording {
        Recording {
            status: status.map(RecordingStatus::from),
            finished_at: finished.then_some(DateTime::UNIX_EPOCH),
            link: link.then(|| SignedUrl::parse("https://example.com/x").unwrap()),
            ..Recording::unknown(Uuid::nil().into())
        }
    }

    #[test]
    fn readiness_follows_status_link_and_end() {
        let verdict = |status, link, finished| match recording(status, link, finished).readiness() {
            Readiness::Ready(_) => "ready",
            Readiness::NotReady => "not ready",
            Readiness::NoMedia => "no media",
        };
        assert_eq!(verdict(Some("completed"), true, false), "ready");
        assert_eq!(verdict(Some("completed"), false, true), "no media");
        for status in ["recording", "paused", "processing"] {
            assert_eq!(verdict(Some(status), true, true), "not ready", "{status}");
        }
        for status in [None, Some("archived"), Some("Completed")] {
            assert_eq!(verdict(status, true, true), "ready", "{status:?}");
            assert_eq!(verdict(status, true, false), "not ready", "{status:?}");
            assert_eq!(verdict(status, false, true), "not ready", "{status:?}");
        }
    }

    #[test]
    fn an_id_is_a_uuid() {
        let text = "c22d24f6-5a47-4597-9a23-c7d01e696b92";
        assert_eq!(text.parse::<RecordingId>().unwrap().to_string(), text);
        assert!("c22d24f6".parse::<RecordingId>().is_err());
    }
}
