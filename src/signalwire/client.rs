//! The HTTP client of the API: Basic auth, paced, no redirects, bounded answers.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

use reqwest::header::{ACCEPT, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode, redirect};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use url::Url;

use super::listing::{Catalogue, NextPage, Page};
use super::outage::{Check, LastCheck, Outage};
use super::pace::Pace;
use super::wire;
use crate::config::{SignalWireConfig, is_loopback};
use crate::error::ErrorKind;
use crate::recording::{Recording, RecordingId};
use crate::retry::{parse_retry_after, throttle_delay};

/// One answer must come whole within this time.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The same of the shortest list, which is requested while recordings wait for what it shows.
const CHECK_TIMEOUT: Duration = Duration::from_secs(15);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A recording's metadata takes about 1 KiB; what is larger than this is not metadata.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// The same of a page of a thousand, whose links are longer than all else.
const MAX_PAGE_BYTES: usize = 32 * 1024 * 1024;
/// Links that nobody will follow are asked for with the shortest life there is.
const UNUSED_LINK_TTL: Duration = Duration::from_secs(1);

/// A client for one project's recordings.
///
/// It never follows redirects and shares nothing with the media client, so the credentials
/// cannot leave the API's host.
pub struct SignalWire {
    http: reqwest::Client,
    api_base: Url,
    project_id: String,
    api_token: std::sync::RwLock<SecretString>,
    media_ttl: Duration,
    pace: Pace,
    /// Set by a 429: until then nothing is sent.
    silent_until: std::sync::Mutex<Option<Instant>>,
    last_check: LastCheck,
}

/// Why the API gave no usable metadata.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("the API knows no such recording (404), or it belongs to another project")]
    NotFound,
    #[error("the API refuses the credentials ({status})")]
    Unauthorized { status: StatusCode },
    #[error("the API asks for fewer requests (429)")]
    Throttled { retry_after: Option<Duration> },
    #[error("the API answers {status}")]
    ServerError { status: StatusCode },
    #[error("the API's address answers {status} with a page or text, not with the API's JSON")]
    NotTheApi { status: StatusCode },
    #[error("the API does not answer within {CHECK_TIMEOUT:?}")]
    Silent,
    #[error("ask the API for the recording's metadata")]
    Unreachable(#[source] reqwest::Error),
    #[error("the API rejects the request ({status}): {message}")]
    Rejected { status: StatusCode, message: String },
    #[error("the API's answer is not a recording: {problem}")]
    BadMetadata { problem: String },
    #[error("{}; the list of recordings fails likewise", .0.problem())]
    Outage(Outage),
}

impl ApiError {
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound => ErrorKind::NotFound,
            Self::Unauthorized { .. } => ErrorKind::Unauthorized,
            Self::Throttled { .. } => ErrorKind::Throttled,
            Self::ServerError { .. }
            | Self::NotTheApi { .. }
            | Self::Silent
            | Self::Unreachable(_) => ErrorKind::ApiUnavailable,
            Self::Rejected { .. } => ErrorKind::ApiRefused,
            Self::BadMetadata { .. } => ErrorKind::BadMetadata,
            Self::Outage(outage) => outage.kind(),
        }
    }

    /// Whether every other request meets the same.
    pub const fn is_outage(&self) -> bool {
        matches!(self, Self::Outage(_))
    }

    /// Whether a smaller page may be answered: the size was refused, or the answer took too long.
    pub fn is_of_a_large_page(&self) -> bool {
        match self {
            Self::Rejected { status, .. } => *status != StatusCode::NOT_FOUND,
            Self::ServerError { status } => {
                matches!(
                    *status,
                    StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT
                )
            }
            Self::Unreachable(error) => error.is_timeout(),
            Self::Silent
            | Self::NotFound
            | Self::Unauthorized { .. }
            | Self::Throttled { .. }
            | Self::NotTheApi { .. }
            | Self::BadMetadata { .. }
            | Self::Outage(_) => false,
        }
    }

    /// How long the API wants to be left alone, if it said so.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after } => *retry_after,
            Self::NotFound
            | Self::Unauthorized { .. }
            | Self::ServerError { .. }
            | Self::NotTheApi { .. }
            | Self::Silent
            | Self::Unreachable(_)
            | Self::Rejected { .. }
            | Self::BadMetadata { .. }
            | Self::Outage(_) => None,
        }
    }
}

impl SignalWire {
    /// Builds the client; nothing is sent yet.
    ///
    /// # Errors
    /// When the TLS roots of the system cannot be loaded.
    pub fn new(config: &SignalWireConfig) -> Result<Self, reqwest::Error> {
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("recording-archiver/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .referer(false)
            .https_only(config.require_https)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            // An answer's size is its size, whatever features other crates turn on.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate();
        if is_loopback(&config.api_base) {
            // Whatever proxy the environment names: this machine is not behind it.
            http = http.no_proxy();
        }
        Ok(Self {
            http: http.build()?,
            api_base: config.api_base.clone(),
            project_id: config.project_id.clone(),
            api_token: std::sync::RwLock::new(config.api_token.clone()),
            media_ttl: config.media_ttl,
            pace: Pace::new(config.requests_per_second),
            silent_until: std::sync::Mutex::default(),
            last_check: LastCheck::default(),
        })
    }

    /// The project whose recordings this client sees.
    pub fn project_id(&self) -> &str {
        &self.project_id
    }

    /// Signs in with another token from now on.
    pub fn set_api_token(&self, token: SecretString) {
        *self
            .api_token
            .write()
            .unwrap_or_else(PoisonError::into_inner) = token;
    }

    /// Asks at most so often from now on.
    pub fn set_requests_per_second(&self, requests_per_second: NonZeroU32) {
        self.pace.set(requests_per_second);
    }

    /// Requests a recording's metadata, with a link that lives `signalwire.media_ttl`.
    ///
    /// # Errors
    /// [`ApiError::Outage`] if the list of recordings fails too; any other error is this recording's own.
    pub async fn recording(&self, id: RecordingId) -> Result<Recording, ApiError> {
        let url = self.address(&format!("api/video/room_recordings/{id}"), self.media_ttl)?;
        let answered = async {
            let body = self.ask(url, MAX_ANSWER_BYTES).await?;
            wire::recording(id, &body).map_err(|problem| ApiError::BadMetadata { problem })
        };
        match answered.await {
            Err(error) => Err(self.outage_or(error).await),
            recording => recording,
        }
    }

    /// Asks for one page of a list of recordings: the first one with at most `page_size` of them,
    /// or the one that a page before led to.
    ///
    /// The links on it are not to be fetched from: they die at once.
    pub async fn page(
        &self,
        catalogue: Catalogue,
        page_size: NonZeroU16,
        at: Option<&NextPage>,
    ) -> Result<Page, ApiError> {
        let path = catalogue.path();
        let mut url = match at {
            // Only its query: whatever host it names, the credentials stay where they belong.
            Some(next) => self.joined(&format!("{path}?{}", next.as_str()))?,
            None => self.joined(&format!("{path}?page_size={page_size}"))?,
        };
        append_media_ttl(&mut url, UNUSED_LINK_TTL);
        let body = match self.ask(url, MAX_PAGE_BYTES).await {
            // The project's own list always exists: the address is wrong.
            Err(ApiError::NotFound) if at.is_none() && catalogue == Catalogue::All => {
                return Err(ApiError::Rejected {
                    status: StatusCode::NOT_FOUND,
                    message: "no list of recordings at this address".to_owned(),
                });
            }
            body => body?,
        };
        wire::page(&self.api_base, &body).map_err(|problem| ApiError::BadMetadata { problem })
    }

    /// Has the provider delete a recording, for good.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] if it has none of this ID: it is gone already. Any answer but the
    /// documented 204 is an error: whether it is gone is not known then.
    pub async fn delete(&self, id: RecordingId) -> Result<(), ApiError> {
        let url = self.joined(&format!("api/video/room_recordings/{id}"))?;
        let status = match self.send(Method::DELETE, url).await {
            // A wrong address knows no recording at all.
            Err(error @ ApiError::NotFound) => return Err(self.outage_or(error).await),
            answer => answer?.status(),
        };
        if status == StatusCode::NO_CONTENT {
            Ok(())
        } else {
            let problem = format!("DELETE is answered with {status}, not with 204");
            Err(ApiError::BadMetadata { problem })
        }
    }

    /// Requests the shortest list, with the link lifetime that recordings are requested with: are
    /// address, credentials and `signalwire.media_ttl` accepted, and does the API answer?
    pub async fn check_credentials(&self) -> Result<(), ApiError> {
        let mut last_check = self.last_check.lock().await;
        let started_at = Instant::now();
        let checked = self.request_shortest_list().await;
        *last_check = Some(Check::new(started_at, &checked));
        checked
    }

    /// Returns `error` if it is one recording's own, otherwise what the API's outage is.
    async fn outage_or(&self, error: ApiError) -> ApiError {
        if matches!(error, ApiError::Throttled { .. } | ApiError::Outage(_)) {
            return error;
        }
        let failed_at = Instant::now();
        let mut last_check = self.last_check.lock().await;
        // Requests that failed together share one check.
        let shared = last_check.take().filter(|check| check.covers(failed_at));
        let check = if let Some(check) = shared {
            check
        } else {
            let started_at = Instant::now();
            match self.request_shortest_list().await {
                Err(throttled @ ApiError::Throttled { .. }) => return throttled,
                checked => Check::new(started_at, &checked),
            }
        };
        let outage = check.outage();
        *last_check = Some(check);
        drop(last_check);
        match (outage, error) {
            (Some(outage), _) => ApiError::Outage(outage),
            // The credentials are good for the list.
            (None, ApiError::Unauthorized { status }) => ApiError::Rejected {
                status,
                message: "the credentials are accepted for the list of recordings".to_owned(),
            },
            (None, error) => error,
        }
    }

    async fn request_shortest_list(&self) -> Result<(), ApiError> {
        let url = self.address("api/video/room_recordings?page_size=1", self.media_ttl)?;
        self.turn().await?;
        let answered = async {
            let response = self.transmit(Method::GET, url).await?;
            read_json(response, MAX_ANSWER_BYTES).await
        };
        let answered = tokio::time::timeout(CHECK_TIMEOUT, answered).await;
        let body = answered.unwrap_or(Err(ApiError::Silent))?;
        let page = wire::page(&self.api_base, &body);
        page.map_err(|problem| ApiError::BadMetadata { problem })?;
        Ok(())
    }

    fn joined(&self, path: &str) -> Result<Url, ApiError> {
        self.api_base.join(path).map_err(|e| ApiError::BadMetadata {
            problem: format!("no address for {path}: {e}"),
        })
    }

    fn address(&self, path: &str, media_ttl: Duration) -> Result<Url, ApiError> {
        let mut url = self.joined(path)?;
        append_media_ttl(&mut url, media_ttl);
        Ok(url)
    }

    /// Requests a JSON text, when it is its turn.
    async fn ask(&self, url: Url, max_bytes: usize) -> Result<String, ApiError> {
        read_json(self.send(Method::GET, url).await?, max_bytes).await
    }

    /// Sends one request, when it is its turn and no outage is known.
    async fn send(&self, method: Method, url: Url) -> Result<Response, ApiError> {
        self.turn().await?;
        if let Some(outage) = self.last_check.known_outage().await {
            return Err(ApiError::Outage(outage));
        }
        self.transmit(method, url).await
    }

    /// Waits for this request's turn, unless the API is rate-limiting.
    async fn turn(&self) -> Result<(), ApiError> {
        self.stay_silent_if_told()?;
        self.pace.turn().await;
        self.stay_silent_if_told()
    }

    /// Sends one request. Any answer but a success is an error.
    async fn transmit(&self, method: Method, url: Url) -> Result<Response, ApiError> {
        let request = self.http.request(method, url);
        let request = request.header(ACCEPT, "application/json");
        let response = self.signed(request).send().await.map_err(unreachable)?;

        let status = response.status();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| parse_retry_after(value, SystemTime::now()));
        if status.is_success() {
            return Ok(response);
        }
        Err(match status {
            // A missing scope is documented as 401 in one place and as 403 in another.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ApiError::Unauthorized { status },
            StatusCode::TOO_MANY_REQUESTS => self.throttled(retry_after),
            // 503 with Retry-After is throttling by another name.
            StatusCode::SERVICE_UNAVAILABLE if retry_after.is_some() => self.throttled(retry_after),
            _ if status.is_client_error() => {
                // An unread body may be a page: it says nothing of the recording.
                refusal(status, &read_bounded(response, MAX_ANSWER_BYTES).await?)
            }
            _ => ApiError::ServerError { status },
        })
    }
}

impl SignalWire {
    fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        let token = self
            .api_token
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        request.basic_auth(&self.project_id, Some(token.expose_secret()))
    }

    /// The API throttles the project, not the recording: nobody asks until it is over.
    fn throttled(&self, retry_after: Option<Duration>) -> ApiError {
        let until = Instant::now() + throttle_delay(retry_after);
        *self
            .silent_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(until);
        ApiError::Throttled { retry_after }
    }

    /// Until when the API wants to be left alone, if it does: nothing is sent before.
    pub fn silent_until(&self) -> Option<Instant> {
        let silent_until = *self
            .silent_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        silent_until.filter(|until| *until > Instant::now())
    }

    fn stay_silent_if_told(&self) -> Result<(), ApiError> {
        match self.silent_until() {
            Some(until) => Err(ApiError::Throttled {
                retry_after: Some(until.saturating_duration_since(Instant::now())),
            }),
            None => Ok(()),
        }
    }
}

/// Reads a refusal. The API gives its reasons as JSON; a load balancer or a wrong address answers
/// 404 to everything, and says nothing of a recording.
fn refusal(status: StatusCode, body: &str) -> ApiError {
    if serde_json::from_str::<serde::de::IgnoredAny>(body).is_err() {
        ApiError::NotTheApi { status }
    } else if status == StatusCode::NOT_FOUND {
        ApiError::NotFound
    } else {
        ApiError::Rejected {
            status,
            message: wire::error_message(body),
        }
    }
}

/// Reads an answer of success.
async fn read_json(response: Response, max_bytes: usize) -> Result<String, ApiError> {
    let status = response.status();
    let body = read_bounded(response, max_bytes).await?;
    // A login page or a proxy's: no recording is to blame for it.
    if body.trim_start().starts_with('<') {
        return Err(ApiError::NotTheApi { status });
    }
    Ok(body)
}

async fn read_bounded(mut response: Response, max_bytes: usize) -> Result<String, ApiError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > max_bytes {
            return Err(ApiError::BadMetadata {
                problem: format!("it is longer than {max_bytes} bytes"),
            });
        }
        body.extend_from_slice(&chunk);
    }
    // A wrong byte in one name is no reason to lose all others.
    Ok(String::from_utf8(body)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

fn append_media_ttl(url: &mut Url, media_ttl: Duration) {
    let secs = media_ttl.as_secs().to_string();
    url.query_pairs_mut().append_pair("media_ttl", &secs);
}

fn unreachable(error: reqwest::Error) -> ApiError {
    ApiError::Unreachable(error.without_url())
}

impl std::fmt::Debug for SignalWire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignalWire")
            .field("api_base", &self.api_base.as_str())
            .field("project_id", &self.project_id)
            .finish_non_exhaustive()
    }
}
