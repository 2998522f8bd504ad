//! A line to the test's database that can be cut: what a process sees of a server that is away.

use std::sync::Arc;

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

use super::s3::on_server_threads;

/// Forwards connections while it is whole. Ends when dropped.
pub(crate) struct Line {
    port: u16,
    whole: watch::Sender<bool>,
    _stop: DropGuard,
}

impl Line {
    /// A line to the server of these options, cut at first.
    pub(crate) async fn cut_off(server: PgConnectOptions) -> Self {
        let (whole, seen) = watch::channel(false);
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let port = on_server_threads(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = Arc::new(server);
            tokio::spawn(stopping.run_until_cancelled_owned(async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(carry(client, Arc::clone(&server), seen.clone()));
                }
            }));
            port
        })
        .await;
        Self {
            port,
            whole,
            _stop: stop.drop_guard(),
        }
    }

    /// Mends the line.
    pub(crate) fn mend(&self) {
        self.whole.send_replace(true);
    }

    /// Ends every connection, and each new one at once.
    pub(crate) fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// The database's URL over this line.
    pub(crate) fn url(&self, direct: &str) -> String {
        let direct = Url::parse(direct).unwrap();
        let mut over = Url::parse("postgres://127.0.0.1/?sslmode=disable").unwrap();
        over.set_username(direct.username()).unwrap();
        over.set_password(direct.password()).unwrap();
        over.set_port(Some(self.port)).unwrap();
        over.set_path(direct.path());
        over.into()
    }
}

async fn carry(
    mut client: TcpStream,
    server: Arc<PgConnectOptions>,
    mut whole: watch::Receiver<bool>,
) {
    if !*whole.borrow_and_update() {
        return;
    }
    let Some(mut server) = connect(&server).await else {
        return;
    };
    let cut = async { while *whole.borrow() && whole.changed().await.is_ok() {} };
    tokio::select! {
        _ended = copy_bidirectional(&mut client, &mut server) => {}
        () = cut => {}
    }
}

async fn connect(server: &PgConnectOptions) -> Option<Box<dyn Stream>> {
    if let Some(directory) = server.get_socket() {
        let path = directory.join(format!(".s.PGSQL.{}", server.get_port()));
        return Some(Box::new(UnixStream::connect(path).await.ok()?));
    }
    let address = (server.get_host(), server.get_port());
    Some(Box::new(TcpStream::connect(address).await.ok()?))
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
