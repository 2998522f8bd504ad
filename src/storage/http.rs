//! The HTTP client of the store: one for all who talk to it, so that they share connections and
//! load the TLS roots once. It passes on what the store says of an object's checksum, which the
//! store's client would drop, and every answer that is not a success as a [`StoreAnswer`] within
//! the client's error, which would otherwise be text.

use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt as _;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use reqwest::Method;

use super::answer::StoreAnswer;
use super::error_codes::AnswerClass;
use super::multipart::Checksums;

/// Of an answer that is no object, the store's client is given no more than this.
pub(super) const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// The same of a list, which has a thousand entries with keys of up to a KiB.
pub(super) const MAX_LIST_BYTES: usize = 16 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Shared(pub(super) reqwest::Client);

impl HttpConnector for Shared {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Self(self.0.clone())))
    }
}

impl HttpService for Shared {
    fn call<'a, 'b>(
        &'a self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let lists = request
                .uri()
                .query()
                .is_some_and(|it| it.contains("list-type="));
            let reads = request.method() == Method::GET && !lists;
            // What changes something may fail after it has said 200.
            let fails_late = matches!(*request.method(), Method::PUT | Method::POST);
            let mut response = HttpService::call(&self.0, request).await?;
            let said = Checksums::of(response.headers());
            response.extensions_mut().insert(said);
            let status = response.status();
            if reads && status.is_success() {
                return Ok(response);
            }
            // The client would take in the whole of it, and set aside at once what is announced.
            let (head, body) = response.into_parts();
            let most_bytes = if lists {
                MAX_LIST_BYTES
            } else {
                MAX_ANSWER_BYTES
            };
            let body = beginning(body, most_bytes).await;
            if !status.is_success() {
                // The status alone says something.
                let body = body.unwrap_or_default();
                let answer = StoreAnswer::parse(status, &String::from_utf8_lossy(&body));
                return Err(refusal(answer));
            }
            let body = body?;
            let late = StoreAnswer::in_success(status, &String::from_utf8_lossy(&body));
            match late.filter(|_| fails_late) {
                Some(answer) => Err(refusal(answer)),
                None => Ok(HttpResponse::from_parts(head, body.into())),
            }
        })
    }
}

/// An answer as an error of the client's, which repeats what may succeed in a moment.
fn refusal(answer: StoreAnswer) -> HttpError {
    let kind = match answer.class() {
        // The one kind that is repeated whatever the method is.
        AnswerClass::Busy => HttpErrorKind::Request,
        AnswerClass::Full
        | AnswerClass::Denied
        | AnswerClass::NoBucket
        | AnswerClass::Cold
        | AnswerClass::Damaged
        | AnswerClass::NotFound
        | AnswerClass::Exists
        | AnswerClass::Unsupported
        | AnswerClass::Refused => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, answer)
}

/// A body's first bytes; the rest is not read.
async fn beginning(body: HttpResponseBody, most_bytes: usize) -> Result<Bytes, HttpError> {
    let (mut body, mut read) = (body.bytes_stream(), BytesMut::new());
    while let Some(chunk) = body.try_next().await? {
        let room = most_bytes - read.len();
        if chunk.len() > room {
            read.extend_from_slice(&chunk[..room]);
            // A character that is cut in two would be no text.
            let text = String::from_utf8_lossy(&read).into_owned();
            return Ok(text.into());
        }
        read.extend_from_slice(&chunk);
    }
    Ok(read.freeze())
}
