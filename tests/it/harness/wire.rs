//! The network between a program and its database, which a test may cut or silence.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, split};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

use super::s3::on_server_threads;
use super::world::World;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    /// Connections break, and new ones are not taken.
    Cut,
    /// Nothing comes through, and nobody is told.
    Silent,
}

/// A stretch of network; everything on it ends when this is dropped.
pub(crate) struct Wire {
    address: SocketAddr,
    state: watch::Sender<State>,
    lost_answer: LostAnswer,
    _stop: DropGuard,
}

/// The next answer with these bytes does not arrive: its connection breaks instead.
type LostAnswer = Arc<Mutex<Option<&'static [u8]>>>;

#[derive(Debug, Clone)]
enum Target {
    Socket(PathBuf),
    Tcp(String, u16),
}

impl Wire {
    /// Leads to the database of this world.
    pub(crate) async fn to_database(world: &World) -> Self {
        let target = Target::of(&world.database_options());
        let (state, watching) = watch::channel(State::Whole);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let lost_answer = LostAnswer::default();
        let losing = Arc::clone(&lost_answer);
        let address = on_server_threads(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(stopped.run_until_cancelled_owned(async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(connection(
                        client,
                        target.clone(),
                        watching.clone(),
                        Arc::clone(&losing),
                    ));
                }
            }));
            address
        })
        .await;
        Self {
            address,
            state,
            lost_answer,
            _stop: stop.drop_guard(),
        }
    }

    /// The database's address at this end.
    pub(crate) fn database_url(&self, world: &World) -> String {
        let mut url: Url = world.database_url().parse().unwrap();
        url.set_query(None);
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(self.address.port())).unwrap();
        url.into()
    }

    /// Breaks a connection once, right before the client gets an answer with these bytes.
    pub(crate) fn lose_answer(&self, bytes: &'static [u8]) {
        *self.lost_answer.lock().unwrap() = Some(bytes);
    }

    /// Whether that answer was lost.
    pub(crate) fn has_lost_it(&self) -> bool {
        self.lost_answer.lock().unwrap().is_none()
    }

    pub(crate) fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    pub(crate) fn silence(&self) {
        self.state.send_replace(State::Silent);
    }

    /// New connections get through again. Those that were silenced stay so: the host at the other
    /// end does not know of them any more.
    pub(crate) fn mend(&self) {
        self.state.send_replace(State::Whole);
    }
}

impl Target {
    fn of(options: &PgConnectOptions) -> Self {
        match options.get_socket() {
            Some(directory) => {
                Self::Socket(directory.join(format!(".s.PGSQL.{}", options.get_port())))
            }
            None => Self::Tcp(options.get_host().to_owned(), options.get_port()),
        }
    }
}

async fn connection(
    client: TcpStream,
    target: Target,
    state: watch::Receiver<State>,
    lost_answer: LostAnswer,
) {
    if *state.borrow() == State::Cut {
        return;
    }
    match target {
        Target::Socket(path) => {
            let server = UnixStream::connect(path).await.unwrap();
            forward(client, server, state, lost_answer).await;
        }
        Target::Tcp(host, port) => {
            let server = TcpStream::connect((host, port)).await.unwrap();
            forward(client, server, state, lost_answer).await;
        }
    }
}

async fn forward<S: AsyncRead + AsyncWrite + Unpin>(
    client: TcpStream,
    server: S,
    mut state: watch::Receiver<State>,
    lost_answer: LostAnswer,
) {
    let (mut from_client, mut to_client) = split(client);
    let (mut from_server, mut to_server) = split(server);
    let asking = copy(&mut from_client, &mut to_server);
    let answering = async {
        let mut chunk = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = from_server.read(&mut chunk).await {
            let answer = &chunk[..length];
            let is_lost = lost_answer
                .lock()
                .unwrap()
                .take_if(|lost| answer.windows(lost.len()).any(|it| it == *lost))
                .is_some();
            if is_lost || to_client.write_all(answer).await.is_err() {
                return;
            }
        }
    };
    let trouble = tokio::select! {
        _ended = asking => return,
        () = answering => return,
        trouble = state.wait_for(|state| *state != State::Whole) => trouble.map(|it| *it).ok(),
    };
    if trouble == Some(State::Silent) {
        drop((from_server, to_server));
        // Open, and deaf, until the test is over.
        while state.changed().await.is_ok() {}
    }
}
