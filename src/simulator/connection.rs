//! Answers for the sockets: a listener whose connections can be told to die the hard way.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::pace::Pace;

/// The handle a request has on the connection it came by.
#[derive(Clone, Default)]
pub(super) struct Connection(Arc<Shared>);

#[derive(Default)]
struct Shared {
    reset: AtomicBool,
    flushes: AtomicU64,
    flushed: Notify,
    pace: Pace,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("reset", &self.is_reset())
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// From now on nothing is written any more, and the peer gets a TCP reset.
    pub(super) fn reset(&self) {
        self.0.reset.store(true, Ordering::Release);
    }

    pub(super) fn pace(&self) -> &Pace {
        &self.0.pace
    }

    fn is_reset(&self) -> bool {
        self.0.reset.load(Ordering::Acquire)
    }

    /// Waits until all that was handed to the HTTP layer before this call is with the kernel.
    pub(super) async fn flushed(&self) {
        let seen = self.0.flushes.load(Ordering::Acquire);
        while self.0.flushes.load(Ordering::Acquire) == seen {
            self.0.flushed.notified().await;
        }
    }
}

/// A TCP stream that obeys its [`Connection`].
#[derive(Debug)]
pub(super) struct ObedientStream {
    stream: TcpStream,
    connection: Connection,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl ObedientStream {
    /// A write that waits for a client which never reads must not outlive the simulator.
    fn until_stopped<T>(
        &mut self,
        context: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_pending() && self.stopping.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        polled
    }

    fn refuse_after_reset(&self) -> io::Result<()> {
        if self.connection.is_reset() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl Drop for ObedientStream {
    fn drop(&mut self) {
        if self.connection.is_reset()
            && let Err(error) = self.stream.set_zero_linger()
        {
            tracing::warn!(%error, "simulator: connection closes without a reset");
        }
    }
}

impl AsyncRead for ObedientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for ObedientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.refuse_after_reset()?;
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.until_stopped(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.refuse_after_reset()?;
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.until_stopped(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.refuse_after_reset()?;
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        if matches!(polled, Poll::Ready(Ok(()))) {
            let shared = &self.connection.0;
            shared.flushes.fetch_add(1, Ordering::Release);
            shared.flushed.notify_one();
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.refuse_after_reset()?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Accepts [`ObedientStream`]s.
#[derive(Debug)]
pub(super) struct ObedientListener {
    pub(super) listener: TcpListener,
    /// Ends the writes under way.
    pub(super) stopping: CancellationToken,
}

impl Listener for ObedientListener {
    type Io = ObedientStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "simulator: TCP_NODELAY not set");
                    }
                    let stopping = Box::pin(self.stopping.clone().cancelled_owned());
                    let connection = Connection::default();
                    return (
                        ObedientStream {
                            stream,
                            connection,
                            stopping,
                        },
                        peer,
                    );
                }
                Err(error) => {
                    // Out of descriptors, most likely: wait for one to come free.
                    tracing::warn!(%error, "simulator: accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connected<IncomingStream<'_, ObedientListener>> for Connection {
    fn connect_info(stream: IncomingStream<'_, ObedientListener>) -> Self {
        stream.io().connection.clone()
    }
}
