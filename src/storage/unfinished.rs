//! `ListMultipartUploads`: what the store has begun under a key and not finished.

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
    uploads: Vec<UploadXml>,
}

#[derive(Deserialize)]
struct UploadXml {
    #[serde(rename = "Key")]
    key: String,
    #[serde(rename = "UploadId")]
    upload_id: String,
}

impl Storage {
    /// The IDs of the multipart uploads that were begun under exactly this key, known to us or
    /// not. None where the store cannot tell, or does not let us look.
    pub async fn unfinished_uploads(&self, key: &ObjectKey) -> Result<Vec<String>, StorageError> {
        match &self.backend {
            Backend::S3(s3) => s3.list_uploads(&key.location()).await,
            Backend::Local(_) => Ok(Vec::new()),
        }
    }
}

impl S3 {
    async fn list_uploads(&self, path: &Path) -> Result<Vec<String>, StorageError> {
        let operation = || Operation::new("list the uploads of", path);
        // One page is enough: a key has a few at most, and sorts before all that it is a prefix of.
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
        Ok(upload_ids(&said.body, path.as_ref()))
    }
}

fn upload_ids(body: &str, key: &str) -> Vec<String> {
    let listed = quick_xml::de::from_str(body).unwrap_or(UploadsXml {
        uploads: Vec::new(),
    });
    let uploads = listed.uploads.into_iter();
    uploads
        .filter(|upload| upload.key == key)
        .map(|upload| upload.upload_id)
        .collect()
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
    fn uploads_of_other_keys_are_left_out() {
        assert_eq!(upload_ids(LIST, "a/b.mp4"), ["one", "three"]);
        assert_eq!(upload_ids("no XML", "a/b.mp4"), Vec::<String>::new());
    }
}
