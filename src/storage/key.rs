//! Where an object stands: the only place that spells a path in the store.
//!
//! A key depends on the recording and the configuration alone, so that every attempt, on every
//! host, arrives at the same one.

use std::fmt;

use object_store::path::Path;
use uuid::Uuid;

use crate::error::ErrorKind;
use crate::printable::printable;
use crate::recording::Recording;

mod layout;
mod matching;

pub use layout::{Layout, LayoutError};

/// What a manifest's key adds to its object's.
pub const MANIFEST_SUFFIX: &str = ".manifest.json";
/// A UUID with its hyphens.
const UUID_LENGTH: usize = 36;
/// The longest key that S3 takes, in bytes.
const MAX_KEY_BYTES: usize = 1024;
/// The longest file name that common file systems take, in bytes.
const MAX_SEGMENT_BYTES: usize = 255;

/// The whole key of an object in its bucket or directory, prefix included.
///
/// Guarantees: no segment is empty, `.` or `..`; it neither begins nor ends with `/`; it holds
/// only ASCII letters, digits and `-_.=+@,:;!$&'()`, which every store and file system keeps as
/// they are; it is no manifest's key; the manifest's key fits the store too.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey(String);

/// A key cannot be made or is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error(
        "spell the object key: the recording has neither created_at nor started_at, and storage.layout asks for a date"
    )]
    NoDate,
    #[error("`{}` is not an object key: {reason}", printable(key))]
    Invalid { key: String, reason: &'static str },
}

impl KeyError {
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NoDate => ErrorKind::BadMetadata,
            // Layout, prefix and project ID are checked when they are configured, so this is a
            // key that somebody else has written, or a defect.
            Self::Invalid { .. } => ErrorKind::Internal,
        }
    }
}

impl ObjectKey {
    /// Takes a key that was read back from the database or from a listing.
    pub fn from_stored(key: String) -> Result<Self, KeyError> {
        let reason = match fault_in_path(&key) {
            Some(reason) => reason,
            None if key.ends_with(MANIFEST_SUFFIX) => "it is a manifest's key",
            None if key.len() + MANIFEST_SUFFIX.len() > MAX_KEY_BYTES => {
                "it is longer than a store takes (1024 bytes, with `.manifest.json`)"
            }
            None => {
                let name = key.rsplit('/').next().unwrap_or_default();
                if name.len() + MANIFEST_SUFFIX.len() <= MAX_SEGMENT_BYTES {
                    return Ok(Self(key));
                }
                "its name is longer than a file system takes (255 bytes, with `.manifest.json`)"
            }
        };
        Err(KeyError::Invalid { key, reason })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key as `object_store` takes it, unchanged.
    pub fn location(&self) -> Path {
        Path::from(self.0.as_str())
    }

    /// Where the object's manifest stands.
    pub fn manifest(&self) -> Path {
        Path::from(format!("{}{MANIFEST_SUFFIX}", self.0))
    }

    /// The key of the object that a manifest at this place speaks of; `None` for other objects.
    pub fn of_manifest(place: &str) -> Option<Self> {
        let key = place.strip_suffix(MANIFEST_SUFFIX)?;
        Self::from_stored(key.to_owned()).ok()
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks a prefix such as `video/2026`; the empty one is fine.
pub fn check_prefix(prefix: &str) -> Result<(), KeyError> {
    match fault_in_path(prefix) {
        Some(reason) if !prefix.is_empty() => Err(KeyError::Invalid {
            key: prefix.to_owned(),
            reason,
        }),
        _ => Ok(()),
    }
}

/// The UUIDs that a key holds: the recording's, and perhaps others.
pub fn uuids_in(key: &str) -> impl Iterator<Item = Uuid> + '_ {
    let last = (key.len() + 1).saturating_sub(UUID_LENGTH);
    (0..last).filter_map(|at| {
        let text = key.get(at..at + UUID_LENGTH)?;
        // The form without hyphens has another length; braces and URNs have too.
        Uuid::try_parse(text).ok()
    })
}

impl Layout {
    /// The key of a recording: `prefix`, `/`, and the layout filled in. Dates are UTC, of
    /// `created_at`, else of `started_at`. A missing room session is spelled `none`, an unknown
    /// media type gets the extension `bin`.
    pub fn key_for(
        &self,
        prefix: &str,
        project_id: &str,
        recording: &Recording,
    ) -> Result<ObjectKey, KeyError> {
        let path = self.render(project_id, recording)?;
        ObjectKey::from_stored(match prefix.trim_matches('/') {
            "" => path,
            prefix => format!("{prefix}/{path}"),
        })
    }
}

/// What stands in a key as it is. `object_store` would encode others, and then the key in the
/// database would not be the key in the bucket; `#` and digits is its name for unfinished files.
const fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric()
        || matches!(
            character,
            '-' | '_'
                | '.'
                | '='
                | '+'
                | '@'
                | ','
                | ':'
                | ';'
                | '!'
                | '$'
                | '&'
                | '\''
                | '('
                | ')'
        )
}

fn fault_in_path(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("it is empty");
    }
    path.split('/').find_map(fault_in_segment)
}

fn fault_in_segment(segment: &str) -> Option<&'static str> {
    match segment {
        "" => Some("it has an empty segment"),
        "." | ".." => Some("it has a segment `.` or `..`"),
        _ if segment.len() > MAX_SEGMENT_BYTES => {
            Some("a segment is longer than a file system takes (255 bytes)")
        }
        _ if !segment.chars().all(is_plain) => {
            Some("only ASCII letters, digits and -_.=+@,:;!$&'() are taken")
        }
        _ => None,
    }
}

/// A value from outside as part of one segment: never empty, never only dots.
fn path_safe(value: &str) -> String {
    let safe: String = value
        .chars()
        .map(|character| match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' => character,
            _ => '_',
        })
        .collect();
    if safe.is_empty() {
        "none".to_owned()
    } else if safe.bytes().all(|byte| byte == b'.') {
        safe.replace('.', "_")
    } else {
        safe
    }
}

#[cfg(test)]
mod tests;
