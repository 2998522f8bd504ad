//! The HTTP client of media links: what it refuses, and what its answers mean by their status.

use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use hyper::StatusCode;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, HeaderMap, HeaderValue, IF_RANGE, RANGE, RETRY_AFTER,
};

use super::error::TransferError;
use super::guard::{GuardedResolver, LinkPolicy};
use super::http::{HttpClient, HttpError, Response, address_of, chunk};
use super::limits::{Limits, Traffic};
use super::refusal::refusal;
use crate::checkpoint::Validator;
use crate::config::TransferConfig;
use crate::retry::parse_retry_after;
use crate::signed_url::SignedUrl;

/// An error body is read this far, to tell an expired link from another refusal.
const MAX_ERROR_BODY_BYTES: usize = 4096;

/// Fetches media. Shares nothing with the API client: no credentials, no cookies, no proxy (a
/// proxy would resolve names where the guard cannot see). Clones share connections and limits.
#[derive(Debug, Clone)]
pub struct MediaClient {
    http: HttpClient,
    policy: LinkPolicy,
    pub(super) limits: Arc<Limits>,
    /// Connections of one recording at the same time.
    pub(super) connections: usize,
    pub(super) idle_timeout: Duration,
    pub(super) min_bytes_per_second: u64,
}

impl MediaClient {
    /// Builds the client; nothing is sent yet.
    ///
    /// # Errors
    /// When the TLS roots of the system cannot be loaded.
    pub fn new(config: &TransferConfig, policy: LinkPolicy) -> Result<Self, rustls::Error> {
        Self::build(config, policy, policy, GuardedResolver::new(policy))
    }

    fn build(
        config: &TransferConfig,
        policy: LinkPolicy,
        redirects: LinkPolicy,
        resolver: GuardedResolver,
    ) -> Result<Self, rustls::Error> {
        let http = HttpClient::new(redirects, resolver)?;
        Ok(Self {
            http,
            policy,
            limits: Arc::new(Limits::new(
                config.bandwidth_limit_bytes,
                config.connections_per_host,
            )),
            connections: usize::from(config.connections.get()),
            idle_timeout: config.idle_timeout,
            min_bytes_per_second: config.min_bytes_per_second,
        })
    }

    /// A connection that is slower than `transfer.min_rate` for this long is broken.
    pub const fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// How long to wait before a request is repeated that failed with `error`: `usual`, or as long
    /// as the host asks for. `None` if that is longer than a transfer may stand still.
    pub(super) fn pause_after(&self, error: &TransferError, usual: Duration) -> Option<Duration> {
        match error.retry_after() {
            Some(wanted) if wanted > self.idle_timeout => None,
            Some(wanted) => Some(wanted.max(usual)),
            None => Some(usual),
        }
    }

    /// Bytes that a connection must bring within the idle time-out.
    pub(super) fn least_bytes(&self) -> u64 {
        let bytes = u128::from(self.min_bytes_per_second) * self.idle_timeout.as_millis() / 1000;
        u64::try_from(bytes).unwrap_or(u64::MAX).max(1)
    }

    /// What all connections of this client did so far.
    pub fn traffic(&self) -> &Traffic {
        &self.limits.traffic
    }

    /// Receives so many bytes a second from now on, running transfers included; `None` means no
    /// limit.
    pub fn limit_bandwidth(&self, bytes_per_second: Option<NonZeroU64>) {
        self.limits.bandwidth.limit(bytes_per_second);
    }

    /// Asks for bytes of the file, or plainly for all of it. Any answer but a whole file, a range
    /// or "no such range" is an error.
    pub(super) async fn get(
        &self,
        link: &SignedUrl,
        range: Option<Range<u64>>,
        if_range: Option<&Validator>,
    ) -> Result<Response, TransferError> {
        self.policy.check(link.expose())?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        // Bytes are archived as the store keeps them.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(range) = &range {
            let last = range.end.saturating_sub(1);
            headers.insert(RANGE, header(format!("bytes={}-{last}", range.start))?);
        }
        if let Some(validator) = if_range {
            headers.insert(IF_RANGE, header(validator.as_str().to_owned())?);
        }
        let response = tokio::time::timeout(self.idle_timeout, self.http.get(link, &headers))
            .await
            .map_err(|_| TransferError::Stalled {
                received: 0,
                idle: self.idle_timeout,
            })??;
        if let Some(address) = address_of(&response) {
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
            status if status.is_client_error() => {
                Err(refusal(status, &self.read_error(response).await))
            }
            status => Err(TransferError::Status { status }),
        }
    }

    /// Returns as much of an error document as comes in time.
    async fn read_error(&self, mut response: Response) -> BytesMut {
        let mut body = BytesMut::new();
        let reading = async {
            while body.len() < MAX_ERROR_BODY_BYTES
                && let Ok(Some(chunk)) = chunk(response.body_mut()).await
            {
                body.extend_from_slice(&chunk);
            }
        };
        drop(tokio::time::timeout(self.idle_timeout, reading).await);
        body
    }
}

fn header(value: String) -> Result<HeaderValue, HttpError> {
    HeaderValue::try_from(value).map_err(|error| HttpError::Link(error.into()))
}

#[cfg(test)]
mod tests;
