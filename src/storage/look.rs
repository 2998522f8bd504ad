//! Looking for an object. The answer to HEAD has no body: what the store has to say, a GET must ask.

use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use reqwest::{Method, StatusCode};

use super::error::{Operation, StorageError};
use super::proof::nothing_there;
use super::signed::Ask;
use super::{Backend, S3, Storage};

impl Storage {
    /// What the store says of what stands under a path; `None` if nothing does.
    pub(super) async fn head(
        &self,
        path: &Path,
        operation: impl Fn() -> Operation,
    ) -> Result<Option<ObjectMeta>, StorageError> {
        match self.backend.plain().head(path).await {
            Ok(meta) => Ok(Some(meta)),
            Err(error) => self.look_failed(path, error, operation).await,
        }
    }

    /// What to make of a HEAD that failed: no object is an answer.
    pub(super) async fn look_failed<T>(
        &self,
        path: &Path,
        error: object_store::Error,
        operation: impl Fn() -> Operation,
    ) -> Result<Option<T>, StorageError> {
        match nothing_there(error, |e| StorageError::of(operation(), &e)) {
            Err(error) => Err(match &self.backend {
                Backend::S3(s3) => s3.in_words(path, operation, error).await,
                Backend::Local(_) => error,
            }),
            nothing => nothing,
        }
    }
}

impl S3 {
    /// Why a HEAD was refused, if the store says it when asked for the first byte; else `error`,
    /// which tells a status at best. S3 answers 400 where the session credentials have ended.
    pub(super) async fn in_words(
        &self,
        path: &Path,
        operation: impl Fn() -> Operation,
        error: StorageError,
    ) -> StorageError {
        let ask = Ask {
            method: Method::GET,
            headers: vec![("range", "bytes=0-0".to_owned())],
            ..Ask::default()
        };
        if !is_wordless(&error) {
            return error;
        }
        match self.ask(path, ask, &operation).await {
            Err(worded) if is_refusal(&worded) => worded,
            Ok(_) | Err(_) => error,
        }
    }
}

fn is_refusal(error: &StorageError) -> bool {
    let StorageError::Answer { answer, .. } = error else {
        return false;
    };
    matches!(
        answer.status(),
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
    )
}

/// Whether it is a refusal without a code.
fn is_wordless(error: &StorageError) -> bool {
    let has_no_code =
        matches!(error, StorageError::Answer { answer, .. } if answer.code().is_none());
    has_no_code && is_refusal(error)
}
