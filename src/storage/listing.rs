//! The check that every list of the store passes, of objects and of uploads: all entries are under
//! the prefix that was requested.
//!
//! Some stores and proxies ignore `prefix` and list the whole bucket. Whoever believes such a list
//! deletes other people's objects.

use super::answer::quoted;
use super::error::Operation;
use super::{PROBE_FOLDER, Storage, StorageError};

/// Longest part of a foreign key that is shown.
const MAX_SHOWN_CHARS: usize = 200;

/// Demands that every key of a page begins with exactly the prefix that was requested.
///
/// # Errors
/// When one does not: then no entry of the list can be relied on.
pub(super) fn demand_under<'a>(
    operation: impl FnOnce() -> Operation,
    prefix: &str,
    mut keys: impl Iterator<Item = &'a str>,
) -> Result<(), StorageError> {
    match keys.find(|key| !key.starts_with(prefix)) {
        None => Ok(()),
        Some(foreign) => Err(StorageError::Unexpected {
            operation: operation(),
            cause: format!(
                "its list ignores the prefix: it contains {}",
                quoted(foreign, MAX_SHOWN_CHARS)
            ),
        }),
    }
}

impl Storage {
    /// The prefix of all temporary objects and uploads that probing the store writes.
    pub(super) fn probe_prefix(&self) -> String {
        format!("{}{PROBE_FOLDER}/", self.location.listing_prefix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_key_in_a_list_is_an_error() {
        let demand = |prefix, keys: &[&str]| {
            let operation = || Operation::new("list", &prefix);
            demand_under(operation, prefix, keys.iter().copied())
        };
        assert!(demand("video/", &["video/", "video/a", "video/b/c"]).is_ok());
        assert!(demand("", &["anything", "at/all"]).is_ok());
        for foreign in ["video2/a", "video", "other/video/a", "", "VIDEO/a"] {
            let error = demand("video/", &["video/a", foreign]).unwrap_err();
            assert!(error.to_string().contains("ignores the prefix"), "{error}");
        }
    }
}
