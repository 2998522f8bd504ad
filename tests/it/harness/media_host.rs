//! A raw media server whose every answer a test decides: status, headers, framing, and where the
//! bytes end. Speaks HTTP/1.1 with keep-alive.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use recording_archiver::simulator::{Media, MetadataFault, SimulatedRecording, Times};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::s3::on_server_threads;
use super::world::World;

/// A request as the server received it.
#[derive(Debug, Clone)]
pub(crate) struct MediaRequest {
    /// From 0, over all connections.
    pub(crate) number: u64,
    /// The request target, byte for byte.
    pub(crate) target: String,
    /// By lower-case name.
    pub(crate) headers: BTreeMap<String, String>,
    /// `Range: bytes=a-b` as positions, its end not included and not beyond the file.
    pub(crate) range: Option<Range<u64>>,
    /// Requests in service, this one included.
    pub(crate) in_service: usize,
}

/// How the end of a body is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    ContentLength,
    Chunked,
    /// The connection is closed.
    Close,
}

/// What the server does with one request.
#[derive(Debug, Clone)]
pub(crate) struct MediaReply {
    pub(crate) status: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Positions in the file.
    pub(crate) body: Range<u64>,
    pub(crate) framing: Framing,
    /// Instead of an answer.
    pub(crate) reset: bool,
}

type Behaviour = dyn Fn(&MediaRequest, u64) -> MediaReply + Send + Sync;

pub(crate) struct MediaHost {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

struct Shared {
    bytes: Bytes,
    /// Between pieces of a body; none lets it go at once.
    pace: Option<Duration>,
    behave: Box<Behaviour>,
    requests: AtomicU64,
    in_service: AtomicUsize,
    seen: Mutex<Vec<MediaRequest>>,
}

/// One request in service.
struct InService<'a>(&'a AtomicUsize);

impl Drop for InService<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

const PIECE_BYTES: usize = 64 * 1024;

impl MediaReply {
    pub(crate) fn new(status: &'static str, body: Range<u64>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body,
            framing: Framing::ContentLength,
            reset: false,
        }
    }

    /// No body, and no file.
    pub(crate) fn status(status: &'static str) -> Self {
        Self::new(status, 0..0)
    }

    pub(crate) fn reset() -> Self {
        Self {
            reset: true,
            ..Self::status("200 OK")
        }
    }

    /// As RFC 9110 says for a range or the whole of a file of this size.
    pub(crate) fn regular(request: &MediaRequest, size: u64) -> Self {
        match request.range.clone() {
            Some(range) if range.is_empty() => Self::status("416 Range Not Satisfiable")
                .with("Content-Range", format!("bytes */{size}")),
            Some(range) => Self::partial(range.clone()).with(
                "Content-Range",
                format!("bytes {}-{}/{size}", range.start, range.end - 1),
            ),
            None => Self::whole(size),
        }
    }

    pub(crate) fn whole(size: u64) -> Self {
        Self::new("200 OK", 0..size)
    }

    /// A 206 without a `Content-Range`.
    pub(crate) fn partial(range: Range<u64>) -> Self {
        Self::new("206 Partial Content", range)
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn framed(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    pub(crate) fn etag(self, etag: &str) -> Self {
        self.with("ETag", format!("\"{etag}\""))
    }
}

impl MediaHost {
    /// Serves `bytes` under every path, as `behave` says for each request and the file's size.
    pub(crate) async fn start(
        bytes: Bytes,
        pace: Option<Duration>,
        behave: impl Fn(&MediaRequest, u64) -> MediaReply + Send + Sync + 'static,
    ) -> Self {
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            bytes,
            pace,
            behave: Box::new(behave),
            requests: AtomicU64::new(0),
            in_service: AtomicUsize::new(0),
            seen: Mutex::default(),
        });
        let (serving, stopped) = (Arc::clone(&shared), stop.clone());
        let address = on_server_threads(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(stopped.clone().run_until_cancelled_owned(async move {
                while let Ok((client, _)) = listener.accept().await {
                    let connection = connection(client, Arc::clone(&serving));
                    tokio::spawn(stopped.clone().run_until_cancelled_owned(connection));
                }
            }));
            address
        })
        .await;
        Self {
            address,
            shared,
            _stop: stop.drop_guard(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/recording.mp4", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<MediaRequest> {
        self.shared.seen.lock().unwrap().clone()
    }
}

/// Serves one connection; an error is the client's going away.
async fn connection(mut client: TcpStream, shared: Arc<Shared>) {
    client.set_nodelay(true).unwrap();
    let mut read = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = read.windows(4).position(|it| it == b"\r\n\r\n") {
                break at + 4;
            }
            match client.read_buf(&mut read).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        };
        let head: Vec<u8> = read.drain(..end).collect();
        let in_service = shared.in_service.fetch_add(1, Ordering::SeqCst) + 1;
        let serving = InService(&shared.in_service);
        let request = shared.request(&head, in_service);
        shared.seen.lock().unwrap().push(request.clone());
        let reply = (shared.behave)(&request, shared.bytes.len() as u64);
        if reply.reset {
            // What was not read makes the close a reset.
            client.set_zero_linger().unwrap();
            return;
        }
        if shared.send(&mut client, &reply, serving).await.is_err()
            || reply.framing == Framing::Close
        {
            return;
        }
    }
}

impl Shared {
    fn request(&self, head: &[u8], in_service: usize) -> MediaRequest {
        let head = String::from_utf8_lossy(head);
        let mut lines = head.lines();
        let target = lines.next().unwrap_or_default().split(' ').nth(1);
        let headers: BTreeMap<String, String> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let range = headers
            .get("range")
            .and_then(|range| range.strip_prefix("bytes=")?.split_once('-'))
            .map(|(first, last)| {
                let last = last.parse().unwrap_or(u64::MAX - 1);
                first.parse().unwrap()..(last + 1).min(self.bytes.len() as u64)
            });
        MediaRequest {
            number: self.requests.fetch_add(1, Ordering::SeqCst),
            target: target.unwrap_or_default().to_owned(),
            headers,
            range,
            in_service,
        }
    }

    /// A client that has the whole reply may send its next request at once, so the reply no longer
    /// counts as in service when its last piece is sent.
    async fn send(
        &self,
        client: &mut TcpStream,
        reply: &MediaReply,
        serving: InService<'_>,
    ) -> std::io::Result<()> {
        use std::fmt::Write as _;

        let mut serving = Some(serving);

        let mut head = format!("HTTP/1.1 {}\r\n", reply.status);
        for (name, value) in &reply.headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        let length = reply.body.end.saturating_sub(reply.body.start);
        match reply.framing {
            Framing::ContentLength => write!(head, "Content-Length: {length}\r\n").unwrap(),
            Framing::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
            Framing::Close => head.push_str("Connection: close\r\n"),
        }
        head.push_str("\r\n");
        let position = |at| usize::try_from(at).unwrap();
        let body = &self.bytes[position(reply.body.start)..position(reply.body.end)];
        if body.is_empty() {
            drop(serving.take());
        }
        client.write_all(head.as_bytes()).await?;
        let mut pieces = body.chunks(PIECE_BYTES).peekable();
        while let Some(piece) = pieces.next() {
            if let Some(pace) = self.pace {
                tokio::time::sleep(pace).await;
            }
            if pieces.peek().is_none() {
                drop(serving.take());
            }
            if reply.framing == Framing::Chunked {
                client
                    .write_all(format!("{:x}\r\n", piece.len()).as_bytes())
                    .await?;
                client.write_all(piece).await?;
                client.write_all(b"\r\n").await?;
            } else {
                client.write_all(piece).await?;
            }
        }
        match reply.framing {
            Framing::ContentLength => Ok(()),
            Framing::Chunked => client.write_all(b"0\r\n\r\n").await,
            Framing::Close => client.shutdown().await,
        }
    }
}

/// Bytes of an MP4 that differ everywhere.
pub(crate) fn mp4(size_bytes: u64) -> Bytes {
    let words = u32::try_from(size_bytes.div_ceil(4)).unwrap();
    let mut bytes: Vec<u8> = (0..words)
        .flat_map(|word| word.wrapping_mul(0x9e37_79b9).to_le_bytes())
        .take(usize::try_from(size_bytes).unwrap())
        .collect();
    bytes[..12].copy_from_slice(b"\0\0\0\x0cftypisom");
    bytes.into()
}

/// Queues a recording whose bytes are at `host`; `declared` is what the provider says of its size.
pub(crate) async fn add_at(
    world: &World,
    host: &MediaHost,
    bytes: &Bytes,
    declared: Option<u64>,
) -> Uuid {
    let mut recording = SimulatedRecording::new(Uuid::new_v4(), 0);
    recording.media = Media::Bytes(bytes.clone());
    recording.declared_size_bytes = declared;
    if declared.is_none() {
        recording.extra_fields = vec![("size_in_bytes".into(), "null".into())];
    }
    let id = world.add(recording).await;
    let link = MetadataFault::Uri(host.url());
    world.simulator.inject(id, link, Times::Always);
    id
}
