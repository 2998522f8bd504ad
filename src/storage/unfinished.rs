//! `ListMultipartUploads`: what the store has begun under a key and not finished.

use chrono::{DateTime, Utc};
use object_store::path::Path;
use reqwest::StatusCode;
use serde::Deserialize;

use super::error::Operation;
use super::s3::S3;
use super::signed::Ask;
use super::{Backend, ObjectKey, Storage, StorageError};

#[derive(Deserialize)]
struct UploadsXml {
    #[serde(rename = "Upload", default)]
    uploads: Vec<Unfinished>,
}

/// An upload that is begun and not finished.
#[derive(Debug, Deserialize)]
pub(super) struct Unfinished {
    #[serde(rename = "Key")]
    pub(super) key: String,
    #[serde(rename = "UploadId")]
    pub(super) upload_id: String,
    #[serde(rename = "Initiated")]
    pub(super) initiated: Option<DateTime<Utc>>,
}

impl Storage {
    /// The IDs of the multipart uploads that were begun under exactly this key, known to us or
    /// not. None where the store cannot tell, or does not let us look.
    pub async fn unfinished_uploads(&self, key: &ObjectKey) -> Result<Vec<String>, StorageError> {
        match &self.backend {
            Backend::S3(s3) => {
                let uploads = s3.list_uploads(&key.location()).await?.into_iter();
                let of_key = uploads.filter(|upload| upload.key == key.as_str());
                Ok(of_key.map(|upload| upload.upload_id).collect())
            }
            Backend::Local(_) => Ok(Vec::new()),
        }
    }
}

impl S3 {
    /// The uploads whose keys begin with this path, the first thousand of them: a key has a few at
    /// most, and sorts before all that it is a prefix of.
    pub(super) async fn list_uploads(&self, path: &Path) -> Result<Vec<Unfinished>, StorageError> {
        let operation = || Operation::new("list the uploads of", path);
        let ask = Ask {
            query: &[("prefix", path.as_ref()), ("uploads", "")],
            ..Ask::default()
        };
        let said = self.inquire(&Path::default(), ask, operation).await?;
        if said.status != StatusCode::OK {
            let error = StorageError::said(operation(), said.status, &said.body);
            tracing::warn!("cannot look for uploads that a crash left: {error}");
            return Ok(Vec::new());
        }
        let listed: Option<UploadsXml> = quick_xml::de::from_str(&said.body).ok();
        Ok(listed.map(|listed| listed.uploads).unwrap_or_default())
    }
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
}
