//! The HTTP client of the store: one for all who talk to it, so that they share connections and
//! load the TLS roots once. It passes on what the store says of an object's checksum, which the
//! store's client would drop.

use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt as _;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use reqwest::Method;

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
            let mut response = HttpService::call(&self.0, request).await?;
            let said = Checksums::of(response.headers());
            response.extensions_mut().insert(said);
            if reads && response.status().is_success() {
                return Ok(response);
            }
            // The client would take in the whole of it, and set aside at once what is announced.
            let (head, body) = response.into_parts();
            let most_bytes = if lists {
                MAX_LIST_BYTES
            } else {
                MAX_ANSWER_BYTES
            };
            let body = beginning(body, most_bytes).await?;
            Ok(HttpResponse::from_parts(head, body.into()))
        })
    }
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
