//! The HTTP client of the store: one for all who talk to it, so that they share connections and
//! load the TLS roots once. It passes on what the store says of an object's checksum, which the
//! store's client would drop.

use std::pin::Pin;

use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService,
};

use super::multipart::Checksums;

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
            let mut response = HttpService::call(&self.0, request).await?;
            let said = Checksums::of(response.headers());
            response.extensions_mut().insert(said);
            Ok(response)
        })
    }
}
