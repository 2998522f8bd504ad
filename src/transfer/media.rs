//! One recording's bytes, as a stream that either ends whole or says what was wrong.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RANGE, RETRY_AFTER,
    TRANSFER_ENCODING,
};
use reqwest::{Response, StatusCode, Version, redirect};

use super::container::{self, HEAD_BYTES};
use super::guard::{GuardedResolver, LinkPolicy, LinkRefused};
use crate::config::TransferConfig;
use crate::error::ErrorKind;
use crate::retry::parse_retry_after;
use crate::signed_url::SignedUrl;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_REDIRECTS: usize = 5;
/// An error body is read this far, to tell an expired link from another refusal.
const MAX_ERROR_BODY_BYTES: usize = 4096;

/// Fetches media. Shares nothing with the API client: no credentials, no cookies, no proxy (a
/// proxy would resolve names where the guard cannot see).
#[derive(Debug, Clone)]
pub struct MediaClient {
    http: reqwest::Client,
    policy: LinkPolicy,
    idle_timeout: Duration,
}

/// What the provider declared about the file.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    pub size_bytes: Option<u64>,
    pub format: Option<String>,
}

/// Why the bytes did not come, or not whole.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("the media link is refused")]
    Refused(#[from] LinkRefused),
    #[error("the media link is dead ({status})")]
    Expired { status: StatusCode },
    #[error("the media host asks for fewer requests (429)")]
    Throttled { retry_after: Option<Duration> },
    #[error("the media host answers {status}")]
    Status { status: StatusCode },
    #[error("fetch the media")]
    Unreachable(#[source] reqwest::Error),
    #[error("the media host answers with another range than was asked for")]
    WrongRange,
    #[error("what came is a document ({content_type}), not media")]
    Document { content_type: String },
    #[error("the first bytes are not those of {format}")]
    WrongContainer { format: String },
    #[error("the provider declares {declared} bytes, the file has {actual}")]
    SizeMismatch { declared: u64, actual: u64 },
    #[error("{received} of {announced} bytes came, then the connection ended")]
    Truncated {
        received: u64,
        announced: u64,
        #[source]
        cause: Option<reqwest::Error>,
    },
    #[error("nothing tells how long the file is, so a cut would look like its end")]
    Endless,
    #[error("the file is empty, and the provider does not say that it should be")]
    Empty,
    #[error("no byte came for {} after {received} bytes", humantime::format_duration(*idle))]
    Stalled { received: u64, idle: Duration },
}

impl TransferError {
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused(_) => ErrorKind::LinkRefused,
            Self::Expired { .. } => ErrorKind::LinkExpired,
            Self::Throttled { .. } => ErrorKind::Throttled,
            Self::Status { .. } | Self::Unreachable(_) | Self::WrongRange | Self::Endless => {
                ErrorKind::MediaUnavailable
            }
            Self::Document { .. } | Self::WrongContainer { .. } => ErrorKind::NotMedia,
            Self::SizeMismatch { .. } => ErrorKind::SizeMismatch,
            Self::Truncated { .. } | Self::Empty => ErrorKind::Truncated,
            Self::Stalled { .. } => ErrorKind::Stalled,
        }
    }

    /// How long the media host wants to be left alone, if it said so.
    pub const fn retry_after(&self) -> Option<Duration> {
        if let Self::Throttled { retry_after } = self {
            *retry_after
        } else {
            None
        }
    }

    /// The real size, when that is what was wrong.
    pub const fn mismatched_size_bytes(&self) -> Option<u64> {
        if let Self::SizeMismatch { actual, .. } = self {
            Some(*actual)
        } else {
            None
        }
    }
}

impl MediaClient {
    /// Builds the client; nothing is sent yet.
    ///
    /// # Errors
    /// When the TLS roots of the system cannot be loaded.
    pub fn new(config: &TransferConfig, policy: LinkPolicy) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("recording-archiver/", env!("CARGO_PKG_VERSION")))
            .referer(false)
            .no_proxy()
            .dns_resolver(Arc::new(GuardedResolver(policy)))
            .redirect(redirect::Policy::custom(move |attempt| {
                if attempt.previous().len() > MAX_REDIRECTS {
                    return attempt.error(format!("more than {MAX_REDIRECTS} redirects"));
                }
                match policy.check(attempt.url()) {
                    Ok(()) => attempt.follow(),
                    Err(refused) => attempt.error(refused),
                }
            }))
            .connect_timeout(CONNECT_TIMEOUT)
            .build()?;
        Ok(Self {
            http,
            policy,
            idle_timeout: config.idle_timeout,
        })
    }

    /// Asks for the whole file and checks all that can be told before its bytes: status, range,
    /// content type, announced length, first bytes.
    pub async fn open(
        &self,
        link: &SignedUrl,
        expected: &Expected,
    ) -> Result<Media, TransferError> {
        self.policy.check(link.expose())?;
        let mut response = self.get(link, Some("bytes=0-")).await?;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            // An empty file has no byte 0: ask for it plainly.
            response = self.get(link, None).await?;
        }
        let announced = announced_size(&response)?;
        if let Some(content_type) = response.headers().get(CONTENT_TYPE)
            && container::is_document(content_type)
        {
            return Err(TransferError::Document {
                content_type: String::from_utf8_lossy(content_type.as_bytes()).into_owned(),
            });
        }
        let mismatch = match (expected.size_bytes, announced) {
            (Some(0), Some(0)) => None,
            (_, Some(0)) => return Err(TransferError::Empty),
            (Some(declared), Some(actual)) if declared != actual => {
                Some(TransferError::SizeMismatch { declared, actual })
            }
            _ => None,
        };
        if announced.is_none() && expected.size_bytes.is_none() && !has_an_end(&response) {
            return Err(TransferError::Endless);
        }
        let mut media = Media {
            response,
            head: Bytes::new(),
            declared: expected.size_bytes.filter(|_| mismatch.is_none()),
            announced,
            received: 0,
            idle_timeout: self.idle_timeout,
        };
        // The first bytes before the size: an error page has another size, too, and always the
        // same one, which would be taken for the file's.
        media.read_head(expected.format.as_deref()).await?;
        mismatch.map_or(Ok(media), Err)
    }

    async fn get(
        &self,
        link: &SignedUrl,
        range: Option<&'static str>,
    ) -> Result<Response, TransferError> {
        let mut request = self
            .http
            .get(link.expose().clone())
            // Bytes are archived as the store keeps them.
            .header(ACCEPT_ENCODING, "identity");
        if let Some(range) = range {
            request = request.header(RANGE, range);
        }
        let response = tokio::time::timeout(self.idle_timeout, request.send())
            .await
            .map_err(|_| TransferError::Stalled {
                received: 0,
                idle: self.idle_timeout,
            })?
            .map_err(unreachable)?;
        if let Some(address) = response.remote_addr().as_ref().map(SocketAddr::ip) {
            self.policy.check_address(address)?;
        }
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(response),
            StatusCode::RANGE_NOT_SATISFIABLE if range.is_some() => Ok(response),
            StatusCode::TOO_MANY_REQUESTS => Err(TransferError::Throttled {
                retry_after: response
                    .headers()
                    .get(RETRY_AFTER)
                    .and_then(|value| value.to_str().ok())
                    .and_then(|value| parse_retry_after(value, SystemTime::now())),
            }),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::GONE) => {
                Err(TransferError::Expired { status })
            }
            status if status.is_client_error() && self.says_expired(response).await => {
                Err(TransferError::Expired { status })
            }
            status => Err(TransferError::Status { status }),
        }
    }

    /// S3 says 403 for a dead link; others say 400 or 404 and explain in the body.
    async fn says_expired(&self, mut response: Response) -> bool {
        let mut body = BytesMut::new();
        while body.len() < MAX_ERROR_BODY_BYTES {
            match tokio::time::timeout(self.idle_timeout, response.chunk()).await {
                Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk),
                _ => break,
            }
        }
        String::from_utf8_lossy(&body)
            .to_ascii_lowercase()
            .contains("expired")
    }
}

/// A recording on its way. Read it to its end with [`Media::next_chunk`].
#[derive(Debug)]
pub struct Media {
    response: Response,
    /// First bytes, read ahead to be looked at.
    head: Bytes,
    declared: Option<u64>,
    announced: Option<u64>,
    received: u64,
    idle_timeout: Duration,
}

impl Media {
    /// The size in bytes as far as anybody has named it.
    pub fn size_hint(&self) -> Option<u64> {
        self.announced.or(self.declared)
    }

    /// The next bytes; `None` at the end, and only if exactly the announced bytes came.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, TransferError> {
        if !self.head.is_empty() {
            return Ok(Some(std::mem::take(&mut self.head)));
        }
        self.read().await
    }

    async fn read(&mut self) -> Result<Option<Bytes>, TransferError> {
        let next = tokio::time::timeout(self.idle_timeout, self.response.chunk())
            .await
            .map_err(|_| TransferError::Stalled {
                received: self.received,
                idle: self.idle_timeout,
            })?;
        match next {
            Ok(Some(chunk)) => {
                self.received += chunk.len() as u64;
                match self.declared {
                    Some(declared) if self.received > declared => {
                        Err(TransferError::SizeMismatch {
                            declared,
                            actual: self.received,
                        })
                    }
                    _ => Ok(Some(chunk)),
                }
            }
            Ok(None) => match self.size_hint() {
                _ if self.received == 0 && self.declared != Some(0) => Err(TransferError::Empty),
                Some(announced) if self.received != announced => Err(TransferError::Truncated {
                    received: self.received,
                    announced,
                    cause: None,
                }),
                _ => Ok(None),
            },
            Err(error) => match self.size_hint() {
                Some(announced) => Err(TransferError::Truncated {
                    received: self.received,
                    announced,
                    cause: Some(error.without_url()),
                }),
                None => Err(unreachable(error)),
            },
        }
    }

    /// Reads the first bytes and compares them with the format; they stay in the stream.
    async fn read_head(&mut self, format: Option<&str>) -> Result<(), TransferError> {
        let mut head = BytesMut::new();
        while head.len() < HEAD_BYTES {
            match self.read().await? {
                Some(chunk) if head.is_empty() && chunk.len() >= HEAD_BYTES => {
                    // The usual case, without a copy.
                    self.head = chunk;
                    break;
                }
                Some(chunk) => head.extend_from_slice(&chunk),
                None => break,
            }
        }
        if self.head.is_empty() {
            self.head = head.freeze();
        }
        if self.head.is_empty() || container::matches_format(&self.head, format) {
            return Ok(());
        }
        Err(TransferError::WrongContainer {
            format: format.unwrap_or("any media").to_owned(),
        })
    }
}

/// Whether the end of the body is marked, rather than being the end of the connection.
fn has_an_end(response: &Response) -> bool {
    response.version() >= Version::HTTP_2
        || response
            .headers()
            .get(TRANSFER_ENCODING)
            .is_some_and(|value| value.as_bytes().ends_with(b"chunked"))
}

/// The whole file's size by the answer's headers, which must agree with each other.
fn announced_size(response: &Response) -> Result<Option<u64>, TransferError> {
    let number = |value: &HeaderValue| value.to_str().ok()?.trim().parse::<u64>().ok();
    let content_length = response.headers().get(CONTENT_LENGTH).and_then(number);
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return Ok(content_length);
    }
    let range = response
        .headers()
        .get(CONTENT_RANGE)
        .and_then(|value| value.to_str().ok())
        .and_then(parse_content_range)
        .ok_or(TransferError::WrongRange)?;
    let whole = range.first == 0
        && range.last.checked_add(1) == Some(range.total)
        && content_length.is_none_or(|length| length == range.total);
    if whole {
        Ok(Some(range.total))
    } else {
        Err(TransferError::WrongRange)
    }
}

struct ContentRange {
    first: u64,
    last: u64,
    total: u64,
}

/// Reads `bytes FIRST-LAST/TOTAL`.
fn parse_content_range(value: &str) -> Option<ContentRange> {
    let (range, total) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some(ContentRange {
        first: first.trim().parse().ok()?,
        last: last.trim().parse().ok()?,
        total: total.trim().parse().ok()?,
    })
}

/// A refusal by the guard arrives wrapped in the client's error; the link must not.
fn unreachable(error: reqwest::Error) -> TransferError {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(refused) = cause.downcast_ref::<LinkRefused>() {
            return TransferError::Refused(refused.clone());
        }
        source = cause.source();
    }
    TransferError::Unreachable(error.without_url())
}
