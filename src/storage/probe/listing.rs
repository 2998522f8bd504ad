//! Whether a store lists an unfinished upload and its parts, and forgets it when it is aborted.

use object_store::path::Path;

use crate::storage::S3;
use crate::storage::error::StorageError;

/// What a store does with an unfinished upload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Unfinished {
    pub(super) is_listed: bool,
    pub(super) lists_parts: bool,
    pub(super) is_aborted: bool,
}

impl S3 {
    /// What archiving can do without: a refusal counts as a no.
    pub(super) async fn probe_unfinished(&self, path: &Path) -> Result<Unfinished, StorageError> {
        let Some(trial) = self.trial(path).await? else {
            return Ok(Unfinished::default());
        };
        let upload_id = &trial.upload_id;
        let is_listed = self.is_listed(path, upload_id).await? == Some(true);
        let parts = self.list_parts(path, upload_id).await?;
        let is_aborted = match self.abort(path, upload_id).await {
            Ok(()) => !is_listed || self.is_listed(path, upload_id).await? == Some(false),
            Err(error) if error.is_of_this_request() => {
                tracing::warn!("a temporary upload stays: {error}");
                false
            }
            Err(error) => return Err(error),
        };
        Ok(Unfinished {
            is_listed,
            lists_parts: parts.is_some_and(|parts| parts.len() == 1),
            is_aborted,
        })
    }

    /// `None` where the store does not tell. Lists by the folder, as the sweep does: some stores
    /// list by nothing but a whole key.
    async fn is_listed(&self, path: &Path, upload_id: &str) -> Result<Option<bool>, StorageError> {
        let folder = path.as_ref().trim_end_matches(|it| it != '/');
        match self.uploads_page(folder, None).await? {
            Ok(page) => {
                let mut uploads = page.uploads.iter();
                Ok(Some(uploads.any(|it| it.upload_id == upload_id)))
            }
            Err(error) if error.is_about_every_request() => Err(error),
            Err(_) => Ok(None),
        }
    }
}
