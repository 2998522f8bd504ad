//! Whether a store refuses wrong checksums, by algorithm, of a PUT and of a part.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use object_store::path::Path;
use reqwest::Method;
use serde::Deserialize;

use super::PROBE_BODY;
use crate::digest::{Fingerprint, Fingerprinting};
use crate::storage::error::{Operation, StorageError};
use crate::storage::multipart::{CRC64NVME, SHA256};
use crate::storage::signed::{Ask, SignedBody};
use crate::storage::{Algorithm, AnswerClass, S3};

/// What is refused by one algorithm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) put: bool,
    pub(super) part: bool,
}

/// What the store said to a checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Taken,
    RefusedAsDamaged,
    /// For another reason: it may not know the header at all.
    Refused,
}

/// Only a store that takes the right checksum and calls the wrong one wrong enforces anything.
fn enforces(right: Answer, wrong: Answer) -> bool {
    right == Answer::Taken && wrong == Answer::RefusedAsDamaged
}

#[derive(Clone, Copy)]
pub(super) enum Honesty {
    Right,
    Wrong,
}

#[derive(Deserialize)]
struct BegunXml {
    #[serde(rename = "UploadId")]
    upload_id: String,
}

impl S3 {
    /// What is refused by an algorithm. The one that uploads do not use is only of interest: that
    /// it cannot be asked about keeps nobody from archiving.
    pub(super) async fn probe_checksums(
        &self,
        folder: &Path,
        algorithm: Algorithm,
    ) -> Result<Refused, StorageError> {
        let Some(asked) = Algorithm::of(self.checksum) else {
            return Ok(Refused::default());
        };
        let place = |name: &str| {
            folder
                .clone()
                .join(format!("{name}-{}", algorithm.as_str()))
        };
        let (object, parts) = (place("checksum"), place("parts"));
        let found = tokio::try_join!(
            self.probe_put(&object, algorithm),
            self.probe_part(&parts, algorithm)
        );
        match found {
            Ok((put, part)) => Ok(Refused { put, part }),
            Err(error) if algorithm == asked => Err(error),
            Err(error) => {
                tracing::debug!("cannot tell of {}: {error}", algorithm.as_str());
                Ok(Refused::default())
            }
        }
    }

    async fn probe_put(&self, path: &Path, algorithm: Algorithm) -> Result<bool, StorageError> {
        let wrong = self.send(path, &[], algorithm, Honesty::Wrong).await?;
        let right = self.send(path, &[], algorithm, Honesty::Right).await?;
        self.discard(path).await;
        Ok(enforces(right, wrong))
    }

    async fn probe_part(&self, path: &Path, algorithm: Algorithm) -> Result<bool, StorageError> {
        let Some(upload_id) = self.begin_probe(path, Some(algorithm)).await? else {
            // A store that does not know the algorithm enforces nothing.
            return Ok(false);
        };
        let query = [("partNumber", "1"), ("uploadId", upload_id.as_str())];
        let wrong = self.send(path, &query, algorithm, Honesty::Wrong).await;
        let right = self.send(path, &query, algorithm, Honesty::Right).await;
        drop(self.abort(path, &upload_id).await);
        Ok(enforces(right?, wrong?))
    }

    /// Begins a multipart upload; `None` if the store does not do so with this algorithm.
    pub(super) async fn begin_probe(
        &self,
        path: &Path,
        algorithm: Option<Algorithm>,
    ) -> Result<Option<String>, StorageError> {
        let spelled = |algorithm| match algorithm {
            Algorithm::Crc64Nvme => "CRC64NVME".to_owned(),
            Algorithm::Sha256 => "SHA256".to_owned(),
        };
        let header = algorithm.map(|it| ("x-amz-checksum-algorithm", spelled(it)));
        let ask = Ask {
            method: Method::POST,
            query: &[("uploads", "")],
            headers: header.into_iter().collect(),
            ..Ask::default()
        };
        let operation = || Operation::new("probe the store with", path);
        match self.inquire(path, ask, operation).await {
            Ok(said) => {
                let begun: Option<BegunXml> = quick_xml::de::from_str(&said.body).ok();
                Ok(begun.map(|begun| begun.upload_id))
            }
            // Without a checksum there is nothing else that it may have refused.
            Err(error) if error.is_denied() && algorithm.is_none() => Err(error),
            Err(error) if error.is_of_this_request() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends the probe's body with a checksum, true or false; says whether the store took it.
    async fn send(
        &self,
        path: &Path,
        query: &[(&str, &str)],
        algorithm: Algorithm,
        honesty: Honesty,
    ) -> Result<Answer, StorageError> {
        let operation = || Operation::new("probe the store with", path);
        let ask = Ask {
            method: Method::PUT,
            query,
            headers: vec![checksum(algorithm, honesty)],
            body: Bytes::from_static(PROBE_BODY),
            // As uploads do where checksums are enforced.
            signed_body: SignedBody::Not,
        };
        match self.inquire(path, ask, operation).await {
            Ok(_) => Ok(Answer::Taken),
            Err(error) if error.class() == Some(AnswerClass::Damaged) => {
                Ok(Answer::RefusedAsDamaged)
            }
            Err(error) if error.is_of_this_request() => Ok(Answer::Refused),
            Err(error) => Err(error),
        }
    }
}

/// Of the probe's body, true or false.
pub(super) fn checksum(algorithm: Algorithm, honesty: Honesty) -> (&'static str, String) {
    let mut fingerprint = Fingerprinting::new();
    fingerprint.update(PROBE_BODY);
    if matches!(honesty, Honesty::Wrong) {
        fingerprint.update(b"!");
    }
    header(algorithm, &fingerprint.finish())
}

fn header(algorithm: Algorithm, of: &Fingerprint) -> (&'static str, String) {
    match algorithm {
        Algorithm::Crc64Nvme => (CRC64NVME, of.crc64nvme.to_string()),
        Algorithm::Sha256 => (SHA256, BASE64.encode(of.sha256.as_bytes())),
    }
}
