//! Whether a store lists an unfinished upload and its parts, and forgets it when it is aborted.

use bytes::Bytes;
use object_store::path::Path;
use reqwest::Method;

use super::PROBE_BODY;
use super::checksums::{Honesty, checksum};
use crate::storage::error::{Operation, StorageError};
use crate::storage::signed::Ask;
use crate::storage::{Algorithm, S3};

/// What a store does with an unfinished upload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Unfinished {
    pub(super) is_listed: bool,
    pub(super) lists_parts: bool,
    pub(super) is_aborted: bool,
}

impl S3 {
    /// What archiving can do without: a question that has no answer counts as a no.
    pub(super) async fn probe_unfinished(&self, path: &Path) -> Result<Unfinished, StorageError> {
        let algorithm = Algorithm::of(self.checksum);
        let Some(upload_id) = self.begin_probe(path, algorithm).await? else {
            return Ok(Unfinished::default());
        };
        let part = Ask {
            method: Method::PUT,
            query: &[("partNumber", "1"), ("uploadId", upload_id.as_str())],
            headers: algorithm
                .map(|it| checksum(it, Honesty::Right))
                .into_iter()
                .collect(),
            body: Bytes::from_static(PROBE_BODY),
            ..Ask::default()
        };
        let operation = || Operation::new("probe the store with", path);
        let is_stored = self.ask(path, part, operation).await;
        let is_stored = is_stored.is_ok();
        let is_listed = self.is_listed(path, &upload_id).await == Some(true);
        let listed = self.list_parts(path, &upload_id).await;
        let lists_parts = is_stored && listed.is_ok_and(|it| it.is_some_and(|it| it.len() == 1));
        let is_aborted = match self.abort(path, &upload_id).await {
            Ok(()) => !is_listed || self.is_listed(path, &upload_id).await == Some(false),
            Err(error) => {
                tracing::warn!("a throw-away upload stays: {error}");
                false
            }
        };
        Ok(Unfinished {
            is_listed,
            lists_parts,
            is_aborted,
        })
    }

    /// `None` where the store does not tell.
    async fn is_listed(&self, path: &Path, upload_id: &str) -> Option<bool> {
        let page = self.uploads_page(path.as_ref(), None).await.ok()?.ok()?;
        Some(page.uploads.iter().any(|it| it.upload_id == upload_id))
    }
}
