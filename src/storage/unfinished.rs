//! `ListMultipartUploads`: what the store has begun and not finished, under a key or everywhere.

use chrono::{DateTime, Utc};
use object_store::path::Path;
use reqwest::Method;
use serde::Deserialize;

use super::answer::quoted;
use super::error::Operation;
use super::inventory::{is_own, not_documented};
use super::listing::demand_under;
use super::s3::S3;
use super::signed::Ask;
use super::{AnswerClass, Backend, ObjectKey, Storage, StorageError};

/// So many are looked at when a crash may have left one.
const MAX_OF_A_KEY: usize = 1000;
/// Maximum number of pages in a row that show no upload, or lead to no further key. One key has a
/// handful of uploads, so a list that stays there longer leads in a circle.
const MAX_IDLE_PAGES: u32 = 100;

#[derive(Debug, Deserialize)]
pub(super) struct UploadsXml {
    #[serde(rename = "Upload", default)]
    pub(super) uploads: Vec<Unfinished>,
    #[serde(rename = "IsTruncated", default)]
    is_truncated: bool,
    #[serde(rename = "NextKeyMarker")]
    next_key: Option<String>,
    #[serde(rename = "NextUploadIdMarker")]
    next_upload_id: Option<String>,
}

/// An upload that is begun and not finished, as the store lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Unfinished {
    /// The whole key, prefix included. Anybody may have chosen it.
    #[serde(rename = "Key")]
    pub key: String,
    #[serde(rename = "UploadId")]
    pub upload_id: String,
    /// When it was begun, by the store's clock.
    #[serde(rename = "Initiated")]
    pub initiated: Option<DateTime<Utc>>,
}

/// A walk through all unfinished uploads under a prefix, page by page.
#[derive(Debug)]
pub struct UnfinishedWalk<'a> {
    s3: Option<&'a S3>,
    prefix: String,
    after: Option<Marker>,
    idle_pages: u32,
}

/// Where a page ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marker {
    key: String,
    upload_id: String,
}

impl Storage {
    /// The IDs of the multipart uploads that were begun under exactly this key, known to us or
    /// not. None where the store cannot tell, or does not let us look.
    pub async fn unfinished_uploads(&self, key: &ObjectKey) -> Result<Vec<String>, StorageError> {
        match &self.backend {
            Backend::S3(s3) => {
                let uploads = s3.list_uploads(key.as_str()).await?.into_iter();
                let of_key = uploads.filter(|upload| upload.key == key.as_str());
                Ok(of_key.map(|upload| upload.upload_id).collect())
            }
            Backend::Local(_) => Ok(Vec::new()),
        }
    }

    /// Begins a walk through the unfinished uploads under the prefix, whoever began them; without
    /// a prefix, of the whole bucket. Those of the folders that this program keeps for itself are
    /// left out.
    pub fn unfinished(&self) -> UnfinishedWalk<'_> {
        let s3 = match &self.backend {
            Backend::S3(s3) => Some(&**s3),
            Backend::Local(_) => None,
        };
        UnfinishedWalk::new(s3, self.location.listing_prefix())
    }

    /// Aborts an upload that the store has listed. One that is gone already is fine.
    pub async fn abort_unfinished(&self, upload: &Unfinished) -> Result<(), StorageError> {
        let Backend::S3(s3) = &self.backend else {
            return Ok(());
        };
        let path = Path::parse(&upload.key).map_err(|error| StorageError::Unexpected {
            operation: Operation::new("abort the upload of", &upload.key),
            cause: error.to_string(),
        })?;
        s3.abort(&path, &upload.upload_id).await
    }
}

impl<'a> UnfinishedWalk<'a> {
    const fn new(s3: Option<&'a S3>, prefix: String) -> Self {
        Self {
            s3,
            prefix,
            after: None,
            idle_pages: 0,
        }
    }

    /// The next page; `None` after the last.
    ///
    /// # Errors
    /// When the store cannot list uploads, does not let us look, lists what is not under the
    /// prefix, or leads in a circle.
    pub async fn next(&mut self) -> Result<Option<Vec<Unfinished>>, StorageError> {
        let mut page = self.next_of_all().await??;
        if let Some(uploads) = &mut page {
            uploads.retain(|upload| !is_own(&upload.key));
        }
        Ok(page)
    }

    /// The same with the uploads of this program's own folders; the inner error is a store that has
    /// no such list, or none that can be relied on.
    async fn next_of_all(
        &mut self,
    ) -> Result<Result<Option<Vec<Unfinished>>, StorageError>, StorageError> {
        let Some(s3) = self.s3 else {
            return Ok(Ok(None));
        };
        let page = match s3.uploads_page(&self.prefix, self.after.as_ref()).await? {
            Ok(page) => page,
            Err(error) => return Ok(Err(error)),
        };
        let next = match page.next(&self.prefix, self.after.as_ref()) {
            Ok(next) => next,
            Err(error) => return Ok(Err(error)),
        };
        let is_idle = page.uploads.is_empty()
            || next.as_ref().map(|it| &it.key) == self.after.as_ref().map(|it| &it.key);
        self.idle_pages = if is_idle { self.idle_pages + 1 } else { 0 };
        if self.idle_pages > MAX_IDLE_PAGES {
            return Ok(Err(StorageError::Unexpected {
                operation: listing(&self.prefix),
                cause: format!("its list does not get any further: {MAX_IDLE_PAGES} pages"),
            }));
        }
        self.after = next;
        if self.after.is_none() {
            self.s3 = None;
        }
        Ok(Ok(Some(page.uploads)))
    }
}

impl UploadsXml {
    /// Where the next page begins, if there is one.
    fn next(&self, prefix: &str, after: Option<&Marker>) -> Result<Option<Marker>, StorageError> {
        if !self.is_truncated {
            return Ok(None);
        }
        let next = Marker {
            key: self.next_key.clone().unwrap_or_default(),
            upload_id: self.next_upload_id.clone().unwrap_or_default(),
        };
        if next.key.is_empty() || Some(&next) == after {
            return Err(StorageError::Unexpected {
                operation: listing(prefix),
                cause: "the list is truncated and names no new marker".to_owned(),
            });
        }
        if after.is_some_and(|after| next.key < after.key) {
            return Err(StorageError::Unexpected {
                operation: listing(prefix),
                cause: format!(
                    "its list leads back to {}; does it ignore the key marker?",
                    quoted(&next.key, 200)
                ),
            });
        }
        Ok(Some(next))
    }
}

impl S3 {
    /// The uploads whose keys begin with this prefix; none where the store does not tell.
    pub(super) async fn list_uploads(&self, prefix: &str) -> Result<Vec<Unfinished>, StorageError> {
        let mut walk = UnfinishedWalk::new(Some(self), prefix.to_owned());
        let mut uploads = Vec::new();
        // One key has a handful of them. Those that are left over are swept.
        while uploads.len() <= MAX_OF_A_KEY {
            match walk.next_of_all().await? {
                Ok(Some(page)) => uploads.extend(page),
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!("cannot look for uploads that a crash left: {error}");
                    break;
                }
            }
        }
        Ok(uploads)
    }

    /// One page of uploads; the inner error is a store that has no such list, does not show it, or
    /// lists what is not under the prefix.
    pub(super) async fn uploads_page(
        &self,
        prefix: &str,
        after: Option<&Marker>,
    ) -> Result<Result<UploadsXml, StorageError>, StorageError> {
        let mut query = vec![("prefix", prefix), ("uploads", "")];
        if let Some(Marker { key, upload_id }) = after {
            query.extend([
                ("key-marker", key.as_str()),
                ("upload-id-marker", upload_id),
            ]);
        }
        let ask = Ask {
            query: &query,
            ..Ask::default()
        };
        let operation = || listing(prefix);
        let said = match self.inquire(&Path::default(), ask, operation).await {
            Ok(said) => said,
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => return Ok(Err(error)),
        };
        let page = quick_xml::de::from_str::<UploadsXml>(&said.body);
        let page = page.map_err(|error| StorageError::Unexpected {
            operation: operation(),
            cause: not_documented(&error),
        });
        Ok(page.and_then(|page| {
            demand_under(operation, prefix, page.uploads.iter().map(|it| &*it.key))?;
            Ok(page)
        }))
    }

    /// Aborts a multipart upload. One that is gone already is fine.
    pub(super) async fn abort(&self, path: &Path, upload_id: &str) -> Result<(), StorageError> {
        let operation = || Operation::new("abort the upload of", path);
        let ask = Ask {
            method: Method::DELETE,
            query: &[("uploadId", upload_id)],
            ..Ask::default()
        };
        match self.inquire(path, ask, operation).await {
            Ok(_) => Ok(()),
            Err(error) if error.class() == Some(AnswerClass::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn listing(prefix: &str) -> Operation {
    Operation::new("list the uploads under", &format!("`{prefix}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Bucket>b</Bucket><KeyMarker/><UploadIdMarker/><Prefix>a/b.mp4</Prefix>
  <MaxUploads>1000</MaxUploads><IsTruncated>false</IsTruncated>
  <Upload><Key>a/b.mp4</Key><UploadId>one</UploadId>
    <Initiated>2026-11-25T01:02:03.000Z</Initiated><StorageClass>STANDARD</StorageClass></Upload>
  <Upload><Key>a/b.mp4.manifest.json</Key><UploadId>two</UploadId></Upload>
  <Upload><Key>a/b.mp4</Key><UploadId>three</UploadId></Upload>
</ListMultipartUploadsResult>"#;

    #[test]
    fn a_list_is_read_as_s3_documents_it() {
        let listed: UploadsXml = quick_xml::de::from_str(LIST).unwrap();
        let ids: Vec<_> = listed.uploads.iter().map(|it| &*it.upload_id).collect();
        assert_eq!(ids, ["one", "two", "three"]);
        assert_eq!(listed.uploads[1].key, "a/b.mp4.manifest.json");
        let initiated = listed.uploads[0].initiated.unwrap();
        assert_eq!(initiated.to_rfc3339(), "2026-11-25T01:02:03+00:00");
        assert_eq!(listed.uploads[1].initiated, None);
    }

    #[test]
    fn more_follows_where_the_page_says() {
        let page = |truncated, key: &str| UploadsXml {
            uploads: Vec::new(),
            is_truncated: truncated,
            next_key: (!key.is_empty()).then(|| key.to_owned()),
            next_upload_id: Some("id".to_owned()),
        };
        let marker = page(true, "a").next("", None).unwrap();
        assert_eq!(marker.as_ref().map(|it| &*it.key), Some("a"));
        assert!(page(true, "b").next("", marker.as_ref()).unwrap().is_some());
        let further = page(true, "b").next("", None).unwrap();
        assert!(page(true, "a").next("", further.as_ref()).is_err());
        assert_eq!(page(false, "a").next("", marker.as_ref()).unwrap(), None);
        assert!(page(true, "a").next("", marker.as_ref()).is_err());
        assert!(page(true, "").next("", None).is_err());
    }
}
