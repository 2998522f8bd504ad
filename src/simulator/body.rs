//! Answers for the bytes of one media response on their way out, and for the ways they fail to
//! arrive.

use std::{io, ops::Range, sync::Arc};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    connection::Connection,
    media::{CHUNK_BYTES, MediaSource},
    pace::slice_bytes,
    world::{OpenResponse, World},
};

/// What happens after the last byte that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The body ends as HTTP says.
    Regular,
    /// The connection is closed in order.
    Closed,
    Reset,
    /// Nothing more until the client gives up.
    Stall,
}

/// One response's share of the media.
#[derive(Debug)]
pub(super) struct MediaBody {
    pub(super) world: Arc<World>,
    pub(super) connection: Connection,
    pub(super) id: Uuid,
    pub(super) source: MediaSource,
    /// The bytes that go out, by their position in the media.
    pub(super) range: Range<u64>,
    pub(super) ending: Ending,
    pub(super) bytes_per_second: Option<u64>,
    /// The position of the byte that goes out wrong.
    pub(super) flipped: Option<u64>,
}

struct Sending {
    body: MediaBody,
    position: u64,
    over: bool,
    open: Option<OpenResponse>,
}

impl MediaBody {
    pub(super) fn into_body(self) -> Body {
        let sending = Sending {
            open: Some(OpenResponse::new(&self.world, self.id)),
            position: self.range.start,
            over: false,
            body: self,
        };
        Body::from_stream(stream::unfold(sending, async |mut sending| {
            let chunk = sending.next().await?;
            sending.over = chunk.is_err();
            Some((chunk, sending))
        }))
    }
}

impl Sending {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.over {
            return None;
        }
        let stopping = self.body.world.stopping.clone();
        tokio::select! {
            biased;
            () = stopping.cancelled() => Some(Err(io::ErrorKind::ConnectionAborted.into())),
            chunk = self.next_chunk() => chunk,
        }
    }

    async fn next_chunk(&mut self) -> Option<io::Result<Bytes>> {
        if self.position >= self.body.range.end {
            return self.end().await;
        }
        let slice = self.body.bytes_per_second.map_or(CHUNK_BYTES, slice_bytes);
        let wanted = (self.body.range.end - self.position).min(slice);
        self.keep_pace(wanted).await;
        Some(self.read(wanted).await.inspect_err(|error| {
            tracing::warn!(%error, recording.id = %self.body.id, "simulator: read media");
        }))
    }

    /// Waits until so many bytes are due.
    async fn keep_pace(&self, bytes: u64) {
        if let Some(rate) = self.body.bytes_per_second {
            let now = Instant::now();
            let due = self.body.connection.pace().take(now, bytes, rate);
            // At a high rate most slices are due already, and cost no timer.
            if due > now {
                tokio::time::sleep_until(due).await;
            }
        }
    }

    async fn read(&mut self, wanted: u64) -> io::Result<Bytes> {
        let (source, position) = (self.body.source.clone(), self.position);
        let mut chunk = match source {
            MediaSource::File { .. } => {
                tokio::task::spawn_blocking(move || source.read_at(position, wanted)).await??
            }
            MediaSource::Generated { .. } | MediaSource::Bytes(_) => {
                source.read_at(position, wanted)?
            }
        };
        if let Some(at) = self
            .body
            .flipped
            .and_then(|flipped| flipped.checked_sub(position))
            && let Ok(at) = usize::try_from(at)
            && at < chunk.len()
        {
            let mut changed = chunk.to_vec();
            changed[at] ^= 1;
            chunk = changed.into();
        }
        let sent = chunk.len() as u64;
        self.position += sent;
        self.body
            .world
            .count(self.body.id, |counts| counts.media_bytes_sent += sent);
        if self.position >= self.body.range.end && self.body.ending == Ending::Regular {
            // Not later: a client that has read all may ask again before the body is dropped.
            self.open = None;
        }
        Ok(chunk)
    }

    async fn end(&mut self) -> Option<io::Result<Bytes>> {
        match self.body.ending {
            Ending::Regular => None,
            Ending::Closed => {
                self.body.connection.flushed().await;
                self.open = None;
                Some(Err(io::ErrorKind::UnexpectedEof.into()))
            }
            Ending::Reset => {
                self.body.connection.flushed().await;
                self.body.connection.reset();
                self.open = None;
                Some(Err(io::ErrorKind::ConnectionReset.into()))
            }
            Ending::Stall => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;
    use crate::simulator::{SimulatedRecording, SimulatorConfig};

    #[tokio::test]
    async fn a_response_is_open_until_its_last_byte_is_handed_over() {
        let recording = SimulatedRecording::new(Uuid::nil(), CHUNK_BYTES * 2);
        let source = MediaSource::open(&recording.media).unwrap().unwrap();
        let world = Arc::new(World::new(SimulatorConfig::default()));
        world.add(recording);
        let response = || {
            let body = MediaBody {
                world: Arc::clone(&world),
                connection: Connection::default(),
                id: Uuid::nil(),
                source: source.clone(),
                range: 0..CHUNK_BYTES * 2,
                ending: Ending::Regular,
                bytes_per_second: None,
                flipped: None,
            };
            body.into_body().into_data_stream()
        };
        let mut first = response();
        first.next().await.unwrap().unwrap();
        first.next().await.unwrap().unwrap();
        let mut second = response();
        assert_eq!(world.counts(Uuid::nil()).peak_media_responses, 1);
        second.next().await.unwrap().unwrap();
        let _third = response();
        assert_eq!(world.counts(Uuid::nil()).peak_media_responses, 2);
        assert!(first.next().await.is_none());
    }
}
