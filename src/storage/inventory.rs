//! What the store holds under our prefix, one object after the other in the order of their keys.

use std::collections::VecDeque;
use std::path::Path as FilePath;

use chrono::{DateTime, Utc};
use object_store::path::Path;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::answer::quoted;
use super::error::Operation;
use super::listing::demand_under;
use super::s3::S3;
use super::signed::Ask;
use super::{Backend, OWN_NAMES, Storage, StorageError};
use crate::config::StorageLocation;

/// Files that are read ahead of whoever asks.
const AHEAD: usize = 1000;
/// A list that leads on and on without an object is none.
const MOST_EMPTY_PAGES: u32 = 100;

/// An object as the store lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its whole key, prefix included.
    pub key: String,
    pub size_bytes: u64,
    /// When it was last written, by the store's clock.
    pub written_at: DateTime<Utc>,
}

/// A walk through the store. Holds a page of it at most.
#[derive(Debug)]
pub struct Inventory<'a> {
    pages: Pages<'a>,
    /// Whether objects in the folders that this program keeps for itself are listed too.
    shows_own: bool,
    read: VecDeque<Listed>,
    last_key: String,
    empty_pages_in_a_row: u32,
}

#[derive(Debug)]
enum Pages<'a> {
    S3 {
        s3: &'a S3,
        prefix: String,
        /// `None` after the last page.
        next: Option<Next>,
    },
    Files(mpsc::Receiver<Result<Listed, StorageError>>),
}

#[derive(Debug)]
enum Next {
    First,
    After(String),
}

#[derive(Deserialize)]
struct ObjectsXml {
    #[serde(rename = "Contents", default)]
    objects: Vec<ObjectXml>,
    #[serde(rename = "IsTruncated", default)]
    is_truncated: bool,
    #[serde(rename = "NextContinuationToken")]
    next: Option<String>,
}

#[derive(Deserialize)]
struct ObjectXml {
    #[serde(rename = "Key")]
    key: String,
    #[serde(rename = "Size")]
    size_bytes: u64,
    #[serde(rename = "LastModified")]
    written_at: DateTime<Utc>,
}

impl Storage {
    /// Begins a walk through all that stands under the prefix, in the bytewise order of the keys.
    /// What this program keeps for itself there is left out, and so are files that are being
    /// written.
    pub fn inventory(&self) -> Inventory<'_> {
        self.inventory_under(self.location.listing_prefix(), false)
    }

    /// Begins a walk through all that exists under a prefix that ends in `/`, or under the empty one.
    pub(super) fn inventory_under(&self, prefix: String, shows_own: bool) -> Inventory<'_> {
        let pages = match (&self.backend, &self.location) {
            (Backend::S3(s3), _) => Pages::S3 {
                s3,
                prefix,
                next: Some(Next::First),
            },
            (Backend::Local(_), StorageLocation::File { root }) => {
                let (found, files) = mpsc::channel(AHEAD);
                let directory = root.join(&prefix);
                tokio::task::spawn_blocking(move || {
                    if let Err(error) = walk(&directory, &prefix, &found) {
                        // Nobody listens any more, or this is the last that is heard.
                        drop(found.blocking_send(Err(error)));
                    }
                });
                Pages::Files(files)
            }
            (Backend::Local(_), StorageLocation::S3 { .. }) => {
                unreachable!("a bucket is no directory")
            }
        };
        Inventory {
            pages,
            shows_own,
            read: VecDeque::new(),
            last_key: String::new(),
            empty_pages_in_a_row: 0,
        }
    }
}

impl Inventory<'_> {
    /// The next object; `None` after the last.
    ///
    /// # Errors
    /// When the store cannot be asked, lists objects that are not under the prefix, or lists its
    /// objects in another order than S3 documents: also one that ignores the continuation token.
    pub async fn next(&mut self) -> Result<Option<Listed>, StorageError> {
        loop {
            let Some(listed) = self.next_of_all().await? else {
                return Ok(None);
            };
            if listed.key <= self.last_key {
                return Err(StorageError::Unexpected {
                    operation: Operation::new("list", &listed.key),
                    cause: format!(
                        "listed after {}, out of order; does the list ignore the continuation \
                         token?",
                        quoted(&self.last_key, 1100)
                    ),
                });
            }
            self.last_key.clone_from(&listed.key);
            if self.shows_own || !is_own(&listed.key) {
                return Ok(Some(listed));
            }
        }
    }

    async fn next_of_all(&mut self) -> Result<Option<Listed>, StorageError> {
        loop {
            if let Some(listed) = self.read.pop_front() {
                return Ok(Some(listed));
            }
            match &mut self.pages {
                Pages::Files(files) => return files.recv().await.transpose(),
                Pages::S3 { next: None, .. } => return Ok(None),
                Pages::S3 { s3, prefix, next } => {
                    let after = match next {
                        Some(Next::After(token)) => Some(token.as_str()),
                        Some(Next::First) | None => None,
                    };
                    let page = s3.list_objects(prefix, after).await?;
                    if page.objects.is_empty() {
                        self.empty_pages_in_a_row += 1;
                    } else {
                        self.empty_pages_in_a_row = 0;
                    }
                    if self.empty_pages_in_a_row > MOST_EMPTY_PAGES {
                        return Err(StorageError::Unexpected {
                            operation: Operation::new("list the objects under", prefix),
                            cause: format!(
                                "the list goes on without an object: {MOST_EMPTY_PAGES} empty pages"
                            ),
                        });
                    }
                    *next = page.next.map(Next::After);
                    self.read
                        .extend(page.objects.into_iter().map(|object| Listed {
                            key: object.key,
                            size_bytes: object.size_bytes,
                            written_at: object.written_at,
                        }));
                }
            }
        }
    }
}

impl S3 {
    async fn list_objects(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<ObjectsXml, StorageError> {
        let operation = || Operation::new("list the objects under", &format!("`{prefix}`"));
        let mut query = vec![("list-type", "2"), ("prefix", prefix)];
        query.extend(after.map(|token| ("continuation-token", token)));
        let ask = Ask {
            query: &query,
            ..Ask::default()
        };
        let said = self.inquire(&Path::default(), ask, operation).await?;
        let page: Result<ObjectsXml, _> = quick_xml::de::from_str(&said.body);
        let page = page.map_err(|error| StorageError::Unavailable {
            operation: operation(),
            cause: not_documented(&error),
        })?;
        demand_under(operation, prefix, page.objects.iter().map(|it| &*it.key))?;
        if page.is_truncated && page.next.is_none() {
            return Err(StorageError::Unexpected {
                operation: operation(),
                cause: "the list is truncated and names no continuation token".to_owned(),
            });
        }
        Ok(page)
    }
}

/// What is wrong with a list, which may quote it.
pub(super) fn not_documented(error: &quick_xml::DeError) -> String {
    let error = quoted(&error.to_string(), 200);
    format!("the list is not what S3 documents: {error}")
}

/// Whether a key is one that this program keeps for itself.
pub(super) fn is_own(key: &str) -> bool {
    key.split('/').any(|segment| OWN_NAMES.contains(&segment))
}

/// Sends the files below a directory in the order of their keys: a directory sorts as its name
/// with the slash.
fn walk(
    directory: &FilePath,
    prefix: &str,
    found: &mpsc::Sender<Result<Listed, StorageError>>,
) -> Result<(), StorageError> {
    let failed = |path: &FilePath, error: &std::io::Error| StorageError::Unavailable {
        operation: Operation::new("list", &path.display()),
        cause: error.to_string(),
    };
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(directory, &error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| failed(directory, &error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type();
        let is_directory = kind
            .map_err(|error| failed(&entry.path(), &error))?
            .is_dir();
        let slash = if is_directory { "/" } else { "" };
        names.push(format!("{name}{slash}"));
    }
    names.sort_unstable();
    for name in names {
        let key = format!("{prefix}{name}");
        let path = directory.join(&name);
        if name.ends_with('/') {
            walk(&path, &key, found)?;
            continue;
        }
        // Objects are written to such names first.
        if name.contains('#') {
            continue;
        }
        let file = match std::fs::metadata(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(&path, &error)),
        };
        let written_at = file.modified().map_err(|error| failed(&path, &error))?;
        let listed = Listed {
            key,
            size_bytes: file.len(),
            written_at: written_at.into(),
        };
        if found.blocking_send(Ok(listed)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_as_s3_documents_it() {
        let page = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Name>b</Name><Prefix>a/</Prefix><KeyCount>2</KeyCount><MaxKeys>1000</MaxKeys>
  <IsTruncated>true</IsTruncated><NextContinuationToken>to/ken==</NextContinuationToken>
  <Contents><Key>a/b &amp; c.mp4</Key><LastModified>2026-11-25T01:02:03.000Z</LastModified>
    <ETag>&quot;e&quot;</ETag><Size>5368709120</Size><StorageClass>STANDARD</StorageClass></Contents>
  <Contents><Key>a/d</Key><LastModified>2026-11-25T01:02:03.000Z</LastModified><Size>0</Size></Contents>
</ListBucketResult>"#;
        let page: ObjectsXml = quick_xml::de::from_str(page).unwrap();
        assert_eq!(page.next.as_deref(), Some("to/ken=="));
        assert_eq!(page.objects[0].key, "a/b & c.mp4");
        assert_eq!(page.objects[0].size_bytes, 5_368_709_120);
        assert_eq!(page.objects[1].size_bytes, 0);
    }

    #[tokio::test]
    async fn files_come_in_the_order_of_their_keys() {
        let directory = tempfile::tempdir().unwrap();
        for key in ["a/b", "a-b/c", "a.d", "a/a/a", "z#1", "b"] {
            let path = directory.path().join(key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let (found, mut files) = mpsc::channel(10);
        let root = directory.path().to_owned();
        tokio::task::spawn_blocking(move || walk(&root, "", &found).unwrap())
            .await
            .unwrap();
        let mut keys = Vec::new();
        while let Some(listed) = files.recv().await {
            keys.push(listed.unwrap().key);
        }
        assert_eq!(keys, ["a-b/c", "a.d", "a/a/a", "a/b", "b"]);
    }

    #[test]
    fn what_the_program_keeps_for_itself_is_no_object_of_the_archive() {
        assert!(is_own("video/.recording-archiver-probe/x/object"));
        assert!(is_own(".recording-archiver-damaged/a.mp4"));
        assert!(!is_own("video/recording-archiver/a.mp4"));
    }
}
