//! Serves HTTP/1 with limits: on connections, on the time for a request's head, and at the end.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// Maximum connections: tools and a few browsers. Each may hold a file descriptor that a transfer
/// needs.
const MAX_CONNECTIONS: usize = 64;
/// A connection without a whole request head for this long is closed, an idle one included.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// After the stop, responses under way get this long.
const FINISH_WITHIN: Duration = Duration::from_millis(500);
/// Pause after a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// An open connection, and how many requests it is answering.
struct Open {
    connection: AbortHandle,
    answering: Arc<AtomicUsize>,
}

/// Counts one request for as long as it is answered.
struct Answering(Arc<AtomicUsize>);

impl Answering {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves until `stop`, and ends shortly after it whatever clients do.
pub(super) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    let mut open: VecDeque<Open> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        open.retain(|it| !it.connection.is_finished());
        match accepted {
            Ok((stream, _)) if make_room(&mut open) => {
                let answering = Arc::default();
                let served =
                    connection(stream, router.clone(), Arc::clone(&answering), stop.clone());
                open.push_back(Open {
                    connection: connections.spawn(served),
                    answering,
                });
            }
            // Dropped: every connection is answering.
            Ok(_) => {}
            Err(error) if is_of_client(&error) => {}
            Err(error) => {
                tracing::warn!("accept an HTTP connection: {error}");
                let pause = tokio::time::sleep(ACCEPT_PAUSE);
                if stop.run_until_cancelled(pause).await.is_none() {
                    break;
                }
            }
        }
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    // What is left is aborted with the set.
    drop(tokio::time::timeout(FINISH_WITHIN, finished).await);
}

/// Whether one more fits. If not, the oldest connection that is answering nothing is closed, so that
/// clients that send nothing keep nobody out.
fn make_room(open: &mut VecDeque<Open>) -> bool {
    if open.len() < MAX_CONNECTIONS {
        return true;
    }
    let idle = open
        .iter()
        .position(|it| it.answering.load(Ordering::Relaxed) == 0);
    let closed = idle.and_then(|place| open.remove(place));
    if let Some(closed) = &closed {
        closed.connection.abort();
    }
    closed.is_some()
}

async fn connection(
    stream: TcpStream,
    router: Router,
    answering: Arc<AtomicUsize>,
    stop: CancellationToken,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request| {
        let answered = (Answering::begin(&answering), router.call(request));
        async move {
            let (_answering, response) = answered;
            response.await.map_err(|never: Infallible| never)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!("HTTP connection: {error}");
    }
}

/// Whether the client has ended the connection before it was accepted.
fn is_of_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn served() -> (std::net::SocketAddr, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let router = Router::new().route("/", get(|| async { "ok" }));
        tokio::spawn(serve(listener, router, stop.clone()));
        (address, stop)
    }

    /// All that the server sends before it closes.
    async fn sent(address: std::net::SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut bytes = Vec::new();
        drop(stream.read_to_end(&mut bytes).await);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    // Time runs as soon as every task waits.
    #[tokio::test(start_paused = true)]
    async fn half_a_head_is_closed_after_the_timeout() {
        let (address, _stop) = served().await;
        let began = tokio::time::Instant::now();
        sent(address, b"GET / HTTP/1.1\r\nHost: x\r\n").await;
        assert!(began.elapsed() >= HEAD_WITHIN, "{:?}", began.elapsed());
        assert!(began.elapsed() < HEAD_WITHIN * 2, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn http_2_is_not_spoken() {
        let (address, _stop) = served().await;
        let answer = sent(
            address,
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        )
        .await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
            "{answer:?}"
        );
    }

    #[tokio::test]
    async fn silent_connections_beyond_the_limit_keep_nobody_out() {
        let (address, stop) = served().await;
        let mut silent = Vec::new();
        for _ in 0..MAX_CONNECTIONS * 3 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let answer = sent(address, request).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        // The oldest were closed for the others.
        let mut oldest = silent.remove(0);
        assert_eq!(oldest.read(&mut [0]).await.unwrap_or(0), 0);
        stop.cancel();
    }
}
