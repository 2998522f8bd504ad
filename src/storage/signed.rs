//! Requests that the store's client cannot make, signed in their headers as it signs its own:
//! conditions at Complete, lists of parts, whole-object checksums.

use std::time::Duration;

use bytes::Bytes;
use object_store::aws::AwsAuthorizer;
use object_store::client::HttpRequest;
use object_store::path::Path;
use object_store::signer::Signer;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::S3;
use super::answer::StoreAnswer;
use super::error::{Operation, StorageError};
use super::http::{MAX_ANSWER_BYTES, MAX_LIST_BYTES};
use crate::digest::Sha256Digest;

/// A question is asked so often in all while the store has trouble.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// A request about one object.
#[derive(Debug, Clone, Default)]
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
    pub(super) signed_body: SignedBody,
}

/// How a signature covers the body.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum SignedBody {
    #[default]
    Whole,
    /// By its SHA-256, which is known.
    By(Sha256Digest),
    /// Something else proves it.
    Not,
}

/// A success.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// Runs a request again while the store has trouble, and returns its last result.
pub(super) async fn retrying<T, F>(mut request: impl FnMut() -> F) -> Result<T, StorageError>
where
    F: Future<Output = Result<T, StorageError>>,
{
    let mut tries = 1;
    loop {
        match request().await {
            Err(error) if error.is_transient() && tries < TRIES => {
                tokio::time::sleep(FIRST_PAUSE * (1 << (tries - 1))).await;
                tries += 1;
            }
            result => return result,
        }
    }
}

impl S3 {
    /// Asks something that changes nothing, again while the store has trouble.
    pub(super) async fn inquire(
        &self,
        path: &Path,
        ask: Ask<'_>,
        operation: impl Fn() -> Operation,
    ) -> Result<Said, StorageError> {
        retrying(|| self.ask(path, ask.clone(), &operation)).await
    }

    /// Sends a request once.
    ///
    /// # Errors
    /// Every answer that is not a success, and none.
    pub(super) async fn ask(
        &self,
        path: &Path,
        ask: Ask<'_>,
        operation: impl Fn() -> Operation,
    ) -> Result<Said, StorageError> {
        let signed = self.sign(path, &ask).await;
        let (url, headers) = signed.map_err(|error| StorageError::Unavailable {
            operation: operation(),
            cause: format!("sign the request: {error}"),
        })?;
        let unanswered = |e: reqwest::Error| StorageError::unanswered(operation(), e);
        // What changes something may fail after it has said 200.
        let fails_late = matches!(ask.method, Method::PUT | Method::POST);
        let mut answer = self
            .http
            .request(ask.method, url)
            .headers(headers)
            .body(ask.body)
            .send()
            .await
            .map_err(unanswered)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unanswered)? {
            body.extend_from_slice(&chunk);
            if !status.is_success() && body.len() > MAX_ANSWER_BYTES {
                // What it says at length is said by now.
                break;
            }
            if body.len() > MAX_LIST_BYTES {
                return Err(StorageError::Unexpected {
                    operation: operation(),
                    cause: format!("the answer has more than {MAX_LIST_BYTES} bytes"),
                });
            }
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        if !status.is_success() {
            let answer = StoreAnswer::parse(status, &body);
            return Err(StorageError::answered(operation(), answer));
        }
        let late = StoreAnswer::in_success(status, &body).filter(|_| fails_late);
        match late {
            Some(answer) => Err(StorageError::answered(operation(), answer)),
            None => Ok(Said { headers, body }),
        }
    }

    /// The request's address and all its headers, the signature among them; or why there are none.
    async fn sign(&self, path: &Path, ask: &Ask<'_>) -> Result<(Url, HeaderMap), String> {
        // Its client tells an object's address only as a link that it has signed.
        let link = self
            .plain
            .signed_url(Method::HEAD, path, Duration::from_secs(1));
        let mut url = link.await.map_err(|e| e.to_string())?;
        url.set_query(None);
        if !ask.query.is_empty() {
            url.query_pairs_mut().extend_pairs(ask.query);
        }
        let mut request = HttpRequest::new(ask.body.clone().into());
        *request.method_mut() = ask.method.clone();
        *request.uri_mut() = url.as_str().parse().map_err(|_| "no address".to_owned())?;
        for (name, value) in &ask.headers {
            let value = HeaderValue::from_str(value)
                .map_err(|_| format!("{name} cannot hold what it should"))?;
            let name = HeaderName::from_static(name);
            request.headers_mut().insert(name, value);
        }
        let credential = self.plain.credentials().get_credential().await;
        let credential = credential.map_err(|e| e.to_string())?;
        let digest = match &ask.signed_body {
            SignedBody::By(sha256) => Some(&sha256.as_bytes()[..]),
            SignedBody::Whole | SignedBody::Not => None,
        };
        AwsAuthorizer::new(&credential, "s3", &self.region)
            .with_sign_payload(!matches!(ask.signed_body, SignedBody::Not))
            .try_authorize(&mut request, digest)
            .map_err(|e| e.to_string())?;
        Ok((url, std::mem::take(request.headers_mut())))
    }
}
