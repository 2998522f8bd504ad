//! A server that sends whatever bytes a test wants, and counts how many were taken.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::harness::s3::on_server_threads;
use crate::harness::world::MIB;

/// What is sent: a beginning, and then something again and again.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) head: Vec<u8>,
    pub(super) again: Vec<u8>,
    /// Of the whole; then the connection ends.
    pub(super) bytes: u64,
}

/// Answers all alike, or, in front of somebody, only requests whose first line holds some word.
/// Ends when dropped.
pub(super) struct Liar {
    pub(super) address: SocketAddr,
    taken: Arc<AtomicU64>,
    /// First line and headers of each request.
    pub(super) asked: Arc<std::sync::Mutex<Vec<String>>>,
    _stop: DropGuard,
}

/// One GiB is far more than anybody would take in.
pub(super) const GIB: u64 = 1024 * MIB;

impl Answer {
    /// A body of exactly these bytes. The connection ends after it, and the client must not send
    /// its next request there.
    pub(super) fn whole(status: &str, headers: &str, body: &[u8]) -> Self {
        let mut head = format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        )
        .into_bytes();
        head.extend_from_slice(body);
        Self {
            bytes: head.len() as u64,
            head,
            again: Vec::new(),
        }
    }

    pub(super) fn json(body: &str) -> Self {
        Self::whole(
            "200 OK",
            "Content-Type: application/json\r\n",
            body.as_bytes(),
        )
    }

    /// A body of a GiB that begins so and goes on like that.
    pub(super) fn endless(status: &str, begin: &str, again: &str) -> Self {
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {GIB}\r\n\r\n{begin}"
        );
        Self {
            head: head.into_bytes(),
            again: again.repeat(65_536 / again.len()).into_bytes(),
            bytes: GIB,
        }
    }

    /// The same in chunks, its length not announced.
    pub(super) fn chunked(status: &str, begin: &str, again: &str) -> Self {
        let head = format!(
            "HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{begin}\r\n",
            begin.len()
        );
        let again = again.repeat(4096 / again.len());
        Self {
            head: head.into_bytes(),
            again: format!("{:x}\r\n{again}\r\n", again.len()).into_bytes(),
            bytes: GIB,
        }
    }

    /// Headers that do not end.
    pub(super) fn headers() -> Self {
        Self {
            head: b"HTTP/1.1 200 OK\r\n".to_vec(),
            again: format!("X-More: {}\r\n", "x".repeat(1000)).into_bytes(),
            bytes: GIB,
        }
    }
}

impl Liar {
    pub(super) async fn start(answer: Answer) -> Self {
        Self::in_front_of(None, answer).await
    }

    pub(super) async fn in_front_of(other: Option<(SocketAddr, String)>, answer: Answer) -> Self {
        let stop = CancellationToken::new();
        let (taken, asked) = (Arc::<AtomicU64>::default(), Arc::default());
        let (counted, heard, stopped) = (Arc::clone(&taken), Arc::clone(&asked), stop.clone());
        let address = on_server_threads(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(stopped.clone().run_until_cancelled_owned(async move {
                while let Ok((client, _)) = listener.accept().await {
                    let serving = serve(
                        client,
                        other.clone(),
                        answer.clone(),
                        Arc::clone(&counted),
                        Arc::clone(&heard),
                    );
                    tokio::spawn(stopped.clone().run_until_cancelled_owned(serving));
                }
            }));
            address
        })
        .await;
        Self {
            address,
            taken,
            asked,
            _stop: stop.drop_guard(),
        }
    }

    /// Demands that no more was taken in than a bounded reader and the buffers between take.
    pub(super) fn demand_not_taken_in(&self, most_bytes: u64, about: &str) {
        let taken = self.taken.load(Ordering::Relaxed);
        // Some MiB are on their way before the other end is seen to be closed.
        assert!(taken <= most_bytes + 16 * MIB, "{about}: {taken}");
    }
}

/// One request, and then the connection ends: nobody here speaks HTTP any further.
async fn serve(
    mut client: TcpStream,
    other: Option<(SocketAddr, String)>,
    answer: Answer,
    taken: Arc<AtomicU64>,
    asked: Arc<std::sync::Mutex<Vec<String>>>,
) {
    let mut head = Vec::new();
    while !head.windows(4).any(|it| it == b"\r\n\r\n") {
        match client.read_buf(&mut head).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    let request = String::from_utf8_lossy(&head).into_owned();
    let first_line = request.lines().next().unwrap_or_default().to_owned();
    asked.lock().unwrap().push(request);
    if let Some((address, word)) = other
        && !first_line.contains(&word)
    {
        let mut server = TcpStream::connect(address).await.unwrap();
        // The next request is to be looked at too.
        let end = head
            .windows(4)
            .position(|it| it == b"\r\n\r\n")
            .unwrap_or_default();
        head.splice(end..end, *b"\r\nConnection: close");
        server.write_all(&head).await.unwrap();
        drop(copy_bidirectional(&mut client, &mut server).await);
        return;
    }
    let mut left = answer.bytes;
    let mut next = &answer.head;
    while left > 0 && !next.is_empty() {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(next.len());
        if client.write_all(&next[..most]).await.is_err() {
            return;
        }
        taken.fetch_add(most as u64, Ordering::Relaxed);
        left -= most as u64;
        next = &answer.again;
    }
    if left > 0 {
        // More was promised, and does not come.
        std::future::pending::<()>().await;
    }
    // Until the other end has read it all: closing at once might take it away.
    drop(client.shutdown().await);
    let mut rest = Vec::new();
    drop(client.read_to_end(&mut rest).await);
}
