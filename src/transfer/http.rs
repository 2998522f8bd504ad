//! HTTP/1.1 to media hosts: hyper's client behind the guard.
//!
//! A URL type would normalise a link before it is sent (`'` becomes `%27`, `/./` is resolved), and a
//! signature over the link as the provider spelled it would not hold any more. This client sends
//! [`SignedUrl::request_target`] as it is.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderMap, LOCATION, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::{HttpConnector, HttpInfo};
use hyper_util::client::legacy::{Client, Error as RequestError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls_platform_verifier::BuilderVerifierExt as _;
use tower_service::Service;

use super::error::TransferError;
use super::guard::{GuardedResolver, LinkPolicy, Resolved};
use crate::signed_url::SignedUrl;

pub(super) type Response = hyper::Response<Incoming>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_REDIRECTS: usize = 5;
/// Maximum number of response headers. Their bytes are bounded by hyper's read buffer.
const MAX_HEADERS: usize = 1000;

/// Sends requests to media hosts; clones share connections.
#[derive(Debug, Clone)]
pub(super) struct HttpClient {
    client: Client<HttpsConnector<HttpConnector<GuardedResolver>>, Empty<Bytes>>,
    /// Of redirects.
    policy: LinkPolicy,
}

/// Why no answer came, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("send the request")]
    Request(#[source] RequestError),
    #[error("read the body")]
    Body(#[source] hyper::Error),
    #[error("the link cannot be written as an HTTP request")]
    Link(#[from] hyper::http::Error),
    #[error("more than {MAX_REDIRECTS} redirects")]
    TooManyRedirects,
}

impl HttpClient {
    /// # Errors
    /// When the TLS roots of the system cannot be loaded.
    pub(super) fn new(
        policy: LinkPolicy,
        resolver: GuardedResolver,
    ) -> Result<Self, rustls::Error> {
        let tls = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_platform_verifier()?
            .with_no_client_auth();
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        // Ranges in parallel are for separate connections; over HTTP/2 they would share one.
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .http1_max_headers(MAX_HEADERS)
            .build(https);
        Ok(Self { client, policy })
    }

    /// Sends a GET and follows redirects, each of which the policy must allow.
    pub(super) async fn get(
        &self,
        link: &SignedUrl,
        headers: &HeaderMap,
    ) -> Result<Response, TransferError> {
        let mut link = link.clone();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.client.request(request(&link, headers)?);
            let response = response.await.map_err(HttpError::Request)?;
            let Some(next) = redirect(&link, &response) else {
                return Ok(response);
            };
            self.policy.check(next.expose())?;
            link = next;
        }
        Err(HttpError::TooManyRedirects.into())
    }
}

fn request(link: &SignedUrl, headers: &HeaderMap) -> Result<Request<Empty<Bytes>>, HttpError> {
    let url = link.expose();
    let authority = match (url.host_str().unwrap_or_default(), url.port()) {
        (host, Some(port)) => format!("{host}:{port}"),
        (host, None) => host.to_owned(),
    };
    let uri = Uri::builder()
        .scheme(url.scheme())
        .authority(authority)
        .path_and_query(link.request_target())
        .build()?;
    let mut request = Request::get(uri)
        .header(HOST, link.host_header())
        .header(
            USER_AGENT,
            concat!("recording-archiver/", env!("CARGO_PKG_VERSION")),
        )
        .body(Empty::new())?;
    request.headers_mut().extend(headers.clone());
    Ok(request)
}

/// Where the answer leads on to, if it does.
fn redirect(from: &SignedUrl, response: &Response) -> Option<SignedUrl> {
    let is_redirect = matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let location = response.headers().get(LOCATION).filter(|_| is_redirect)?;
    from.join(std::str::from_utf8(location.as_bytes()).ok()?)
}

/// The address that an answer came from.
pub(super) fn address_of(response: &Response) -> Option<std::net::IpAddr> {
    let info = response.extensions().get::<HttpInfo>()?;
    Some(info.remote_addr().ip())
}

/// The next bytes of a body; `None` at its end.
pub(super) async fn chunk(body: &mut Incoming) -> Result<Option<Bytes>, HttpError> {
    while let Some(frame) = body.frame().await {
        // All but data is a trailer.
        if let Ok(data) = frame.map_err(HttpError::Body)?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

impl Service<Name> for GuardedResolver {
    type Response = Resolved;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Resolved, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        self.resolve(name.as_str().to_owned())
    }
}
