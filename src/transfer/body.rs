//! The bytes of one answer: counted against what it covers, watched for standing still.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::answer::{Coverage, has_an_end};
use super::client::MediaClient;
use super::error::TransferError;
use super::host::OpenAnswer;
use super::http::{Response, chunk};
use super::limits::Limits;
use crate::progress::Progress;

/// An answer's body, read in order.
pub(super) struct Body {
    response: Response,
    /// First bytes, read ahead to be looked at, or a rest that did not fit into a part.
    ahead: Bytes,
    /// Position in the file of the next byte to be handed out.
    position: u64,
    /// Position after the last byte: announced by the headers, else declared by the provider.
    end: Option<u64>,
    /// The headers announce no length, so the body must be read to its end: more may follow.
    unannounced: bool,
    /// The end of the body is marked: it cannot be mistaken for a broken connection.
    end_is_marked: bool,
    /// A range of the file, not the whole.
    partial: bool,
    received: u64,
    watch: Watch,
    answer: OpenAnswer,
}

/// Tells a slow connection from one that stands still.
#[derive(Debug)]
struct Watch {
    idle_timeout: Duration,
    least_bytes: u64,
    /// Spent waiting for the host since the last `least_bytes` came. What this process spends on
    /// its own bandwidth limit or on memory is nobody's standstill.
    waited: Duration,
    bytes: u64,
}

impl Body {
    pub(super) fn new(
        response: Response,
        covers: Coverage,
        client: &MediaClient,
        answer: OpenAnswer,
    ) -> Self {
        Self {
            end_is_marked: has_an_end(&response),
            response,
            ahead: Bytes::new(),
            position: covers.first,
            end: covers.end,
            unannounced: covers.end.is_none(),
            partial: covers.partial,
            received: 0,
            watch: Watch::new(client.idle_timeout, client.least_bytes()),
            answer,
        }
    }

    /// Position in the file of the next byte.
    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// Whether every byte that was announced has been handed out.
    pub(super) fn is_exhausted(&self) -> bool {
        self.end == Some(self.position)
    }

    /// Sets the size that the provider declares, where the headers announce none.
    ///
    /// # Errors
    /// [`TransferError::TooLong`] if more bytes were read already.
    pub(super) const fn expect_end(&mut self, end: u64) -> Result<(), TransferError> {
        if self.end.is_none() {
            if self.received > end {
                return Err(TransferError::TooLong { declared: end });
            }
            self.end = Some(end);
        }
        Ok(())
    }

    /// The next bytes; `None` at the end, and only if exactly the announced bytes came.
    pub(super) async fn next(
        &mut self,
        limits: &Limits,
        progress: &Progress,
    ) -> Result<Option<Bytes>, TransferError> {
        if self.ahead.is_empty() {
            match self.read(limits, Some(progress)).await? {
                Some(chunk) => self.ahead = chunk,
                None => return Ok(None),
            }
        }
        let chunk = std::mem::take(&mut self.ahead);
        self.position += chunk.len() as u64;
        Ok(Some(chunk))
    }

    /// Whether the bytes are a range of the file rather than the whole.
    pub(super) const fn is_partial(&self) -> bool {
        self.partial
    }

    /// Reads the end of the body after its last expected byte. A body that goes on is longer than
    /// announced or declared, and one that breaks before its end marker may have been cut.
    pub(super) async fn finish(
        mut self,
        limits: &Limits,
        progress: &Progress,
    ) -> Result<(), TransferError> {
        while self.read(limits, Some(progress)).await?.is_some() {}
        Ok(())
    }

    /// Puts back the end of a chunk that was handed out last.
    pub(super) fn put_back(&mut self, rest: Bytes) {
        debug_assert!(self.ahead.is_empty(), "only the last chunk can be put back");
        self.position -= rest.len() as u64;
        self.ahead = rest;
    }

    /// The first bytes, at least so many of them unless the body is shorter; they stay in it.
    pub(super) async fn peek(
        &mut self,
        least_bytes: usize,
        limits: &Limits,
    ) -> Result<&Bytes, TransferError> {
        while self.ahead.len() < least_bytes
            && let Some(chunk) = self.read(limits, None).await?
        {
            self.ahead = if self.ahead.is_empty() {
                // The usual case, without a copy.
                chunk
            } else {
                [&self.ahead[..], &chunk].concat().into()
            };
        }
        Ok(&self.ahead)
    }

    async fn read(
        &mut self,
        limits: &Limits,
        progress: Option<&Progress>,
    ) -> Result<Option<Bytes>, TransferError> {
        let asked_at = Instant::now();
        let next = timeout(self.watch.patience(), chunk(self.response.body_mut()))
            .await
            .map_err(|_| TransferError::Stalled {
                received: self.received,
                idle: self.watch.idle_timeout,
            })?;
        self.watch.waited += asked_at.elapsed();
        let announced = self.announced();
        match next {
            Ok(Some(chunk)) => {
                self.received += chunk.len() as u64;
                limits.traffic.received(chunk.len());
                self.answer.received(chunk.len());
                if let Some(progress) = progress {
                    // They came; how long this process takes to let them pass is its own affair.
                    progress.touch();
                }
                match announced {
                    Some(announced) if self.received > announced => {
                        return Err(if self.partial {
                            TransferError::WrongRange
                        } else if self.unannounced {
                            TransferError::TooLong {
                                declared: announced,
                            }
                        } else {
                            TransferError::SizeMismatch {
                                declared: announced,
                                actual: self.received,
                            }
                        });
                    }
                    _ => {}
                }
                limits.bandwidth.pass(chunk.len()).await;
                if let Some(progress) = progress {
                    progress.touch();
                }
                self.watch.saw(chunk.len());
                Ok(Some(chunk))
            }
            Ok(None) => match announced {
                // The body is whole: the file has another size than the provider declares.
                Some(declared)
                    if self.received < declared && self.unannounced && self.end_is_marked =>
                {
                    Err(TransferError::SizeMismatch {
                        declared,
                        actual: self.received,
                    })
                }
                Some(announced) if self.received < announced => Err(TransferError::Truncated {
                    received: self.received,
                    announced,
                    cause: None,
                }),
                _ => Ok(None),
            },
            Err(error) => match announced {
                Some(announced) => Err(TransferError::Truncated {
                    received: self.received,
                    announced,
                    cause: Some(error),
                }),
                None => Err(error.into()),
            },
        }
    }

    /// How many bytes this answer is to bring in all.
    fn announced(&self) -> Option<u64> {
        let first = self.position + self.ahead.len() as u64 - self.received;
        self.end.map(|end| end.saturating_sub(first))
    }
}

/// Without the response, which knows the whole link.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("position", &self.position)
            .field("end", &self.end)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

impl Watch {
    const fn new(idle_timeout: Duration, least_bytes: u64) -> Self {
        Self {
            idle_timeout,
            least_bytes,
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    /// How long the host may still take.
    fn patience(&self) -> Duration {
        self.idle_timeout.saturating_sub(self.waited)
    }

    fn saw(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if self.bytes >= self.least_bytes {
            self.bytes = 0;
            self.waited = Duration::ZERO;
        }
    }
}
