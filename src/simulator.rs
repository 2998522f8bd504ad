//! Answers for a SignalWire that stands on this machine: the Video API and the media host, as
//! strict as the real ones, with faults on demand.
//!
//! Everything happens over real sockets: links expire, signatures are checked, resets are TCP
//! resets. Where the provider's behaviour is not known, it does what S3 and RFC 9110 say. It
//! answers for nothing the archiver stores, and only plain HTTP is spoken.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use recording_archiver::simulator::{
//!     MediaFault, SimulatedRecording, Simulator, SimulatorConfig, Times,
//! };
//!
//! let simulator = Simulator::start(SimulatorConfig::default()).await?;
//! let recording = SimulatedRecording::documented_example();
//! let id = recording.id;
//! simulator.add(recording);
//! simulator.inject(id, MediaFault::ResetAfter(1 << 20), Times::ONCE);
//! println!("{}/api/video/room_recordings/{id}", simulator.base_url());
//! simulator.stop().await;
//! # std::io::Result::Ok(()) }).unwrap();
//! ```

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    http::{StatusCode, header},
    response::Response,
};
use tokio::{net::TcpListener, task::JoinHandle};
use uuid::Uuid;

mod answer;
mod api;
mod body;
mod catalog;
mod connection;
mod container;
mod deletion;
mod fault;
mod files;
mod link;
mod listing;
mod media;
mod pace;
mod range;
mod recording;
mod seen;
mod world;

pub use catalog::{generated_recordings, recordings_in};
pub use container::Container;
pub use fault::{
    DeletionFault, Fault, FaultOrder, MediaFault, MetadataFault, ParseFaultError, RetryAfter,
    Schedule, Times, fault_spellings, parse_fault,
};
pub use recording::{CostToken, Media, SimulatedRecording};
pub use seen::{RequestCounts, SeenRequest};

use connection::{Connection, ObedientListener};
use media::MediaSource;
use world::World;

/// What a simulator is to be like. The default listens on a free loopback port.
#[derive(Debug, Clone)]
pub struct SimulatorConfig {
    pub listen: SocketAddr,
    pub project_id: String,
    pub api_token: String,
    /// The longest `media_ttl` that is not answered with 422. Default: seven days, S3's own limit.
    pub max_media_ttl: Duration,
    pub error_shape: ErrorShape,
    /// Pages link to each other by path only, as one of the provider's documents shows it.
    pub relative_links: bool,
    /// The most bytes per second that the media host sends on one connection. Default: no limit.
    pub connection_rate: Option<u64>,
}

impl Default for SimulatorConfig {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            project_id: "5a8b1c2d-0000-4000-8000-000000000001".into(),
            api_token: "PTsimulated".into(),
            max_media_ttl: Duration::from_hours(7 * 24),
            error_shape: ErrorShape::Documented,
            relative_links: false,
            connection_rate: None,
        }
    }
}

/// The form of the API's error bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorShape {
    /// `{"error": …}`, and `{"errors": […]}` for 422.
    Documented,
    /// `{"type", "code", "message", "attribute", "url"}` for 400, 401 and 422, as until 2025.
    Flat,
}

/// A running simulator. Dropping it stops it; answers under way are cut off.
#[derive(Debug)]
pub struct Simulator {
    world: Arc<World>,
    address: SocketAddr,
    server: Option<JoinHandle<io::Result<()>>>,
}

impl Simulator {
    /// Binds the address and begins to serve. Fails when the address cannot be bound.
    pub async fn start(config: SimulatorConfig) -> io::Result<Self> {
        let listener = TcpListener::bind(config.listen).await?;
        let mut address = listener.local_addr()?;
        if address.ip().is_unspecified() {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        let world = Arc::new(World::new(config));
        let service = Router::new()
            .fallback(serve)
            .with_state(Arc::clone(&world))
            .into_make_service_with_connect_info::<Connection>();
        let stopping = world.stopping.clone().cancelled_owned();
        let server = axum::serve(
            ObedientListener {
                listener,
                stopping: world.stopping.clone(),
            },
            service,
        )
        .with_graceful_shutdown(stopping);
        let server = tokio::spawn(server.into_future());
        Ok(Self {
            world,
            address,
            server: Some(server),
        })
    }

    /// Stops accepting, cuts off the answers under way, and returns when all connections are gone.
    pub async fn stop(mut self) {
        self.world.stopping.cancel();
        if let Some(server) = self.server.take()
            && let Err(error) = server.await
        {
            tracing::warn!(%error, "simulator: serve");
        }
    }

    /// `http://127.0.0.1:PORT`, what `signalwire.space` is to be.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn project_id(&self) -> &str {
        &self.world.config.project_id
    }

    pub fn api_token(&self) -> &str {
        &self.world.config.api_token
    }

    /// Adds a recording, or replaces the one of the same id.
    pub fn add(&self, recording: SimulatedRecording) {
        self.world.add(recording);
    }

    /// Deletes a recording at the provider: 404 from now on, also behind its links. False when it
    /// is not there.
    pub fn remove(&self, id: Uuid) -> bool {
        self.world.remove(id)
    }

    /// Changes a recording between two requests. False when it is not there. `change` must not
    /// call the simulator.
    pub fn update(&self, id: Uuid, change: impl FnOnce(&mut SimulatedRecording)) -> bool {
        self.world.update(id, change)
    }

    /// Lets requests for this recording meet `fault`. Of several that are due the one injected
    /// first happens; one that waits for later requests keeps none waiting. False when the
    /// recording was never added.
    pub fn inject(&self, id: Uuid, fault: impl Into<Fault>, schedule: impl Into<Schedule>) -> bool {
        self.world.inject(Some(id), fault.into(), schedule.into())
    }

    /// Lets requests for any recording meet `fault`; an API fault meets listings as well. A
    /// recording's own faults come first.
    pub fn inject_for_all(&self, fault: impl Into<Fault>, schedule: impl Into<Schedule>) {
        self.world.inject(None, fault.into(), schedule.into());
    }

    /// Drops all faults that have not happened yet.
    pub fn clear_faults(&self) {
        self.world.clear_faults();
    }

    /// Every link issued so far is dead from now on; what is being sent goes on.
    pub fn expire_links(&self) {
        self.world.expire_links();
    }

    /// What was asked for this recording, also after its removal; all zero for an unknown one.
    pub fn counts(&self, id: Uuid) -> RequestCounts {
        self.world.counts(id)
    }

    /// The last 10,000 requests, oldest first.
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.world.requests()
    }

    /// The SHA-256 of the true bytes. Reads all of them; `None` when there are none.
    pub fn media_sha256(&self, id: Uuid) -> Option<[u8; 32]> {
        let recording = self.world.recording(id)?;
        MediaSource::open(&recording.media)
            .ok()
            .flatten()?
            .sha256()
            .ok()
    }

    /// The true size, whatever the metadata declares; `None` when there are no bytes.
    pub fn media_size_bytes(&self, id: Uuid) -> Option<u64> {
        let recording = self.world.recording(id)?;
        Some(
            MediaSource::open(&recording.media)
                .ok()
                .flatten()?
                .size_bytes(),
        )
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.world.stopping.cancel();
    }
}

async fn serve(
    State(world): State<Arc<World>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    world.remember(&parts);
    let Some(host) = seen::text(&parts.headers, header::HOST) else {
        return answer::api_error(world.config.error_shape, StatusCode::BAD_REQUEST);
    };
    let segments: Vec<_> = parts.uri.path().split('/').skip(1).collect();
    match segments.as_slice() {
        ["api", "video", rest @ ..] => {
            let connection = &connection;
            api::serve(
                api::ApiRequest {
                    world: &world,
                    connection,
                    parts: &parts,
                    host,
                },
                rest,
            )
            .await
        }
        ["files", ..] => files::serve(&world, &connection, &parts, host).await,
        _ => answer::api_error(world.config.error_shape, StatusCode::NOT_FOUND),
    }
}
