//! What is asked over HTTP: alive, ready, how much, by the operator's tools; and the page, by the
//! operator.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::gauges::Gauges;
use super::page;
use super::readiness::{Readiness, Standing};
use super::worker::Pulse;
use crate::error::chain;
use crate::metrics::Metrics;

mod connections;

/// A loop that has not been seen for this long is stuck: it beats every 15 s, but a claim or a
/// check may hold it up for a query's time-out.
const STUCK_AFTER: Duration = Duration::from_secs(90);
/// A database that does not answer within this time is not ready.
const READY_WITHIN: Duration = Duration::from_secs(3);
const OPEN_METRICS: &str = "application/openmetrics-text";

/// What the answers are made from.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// Empty until the database has been reached: alive, but not ready.
    pub running: Arc<OnceLock<Service>>,
    /// Why the database has not been reached yet.
    waits_for: Arc<Mutex<String>>,
    pub metrics: Metrics,
}

impl Health {
    /// Answers with the cause from now on that the database has not been reached.
    pub fn wait_for(&self, cause: &str) {
        let mut waits_for = self
            .waits_for
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        cause.clone_into(&mut waits_for);
    }
}

/// The service once it runs.
#[derive(Debug)]
pub struct Service {
    pub pulse: Pulse,
    pub readiness: Readiness,
    pub pool: PgPool,
    pub gauges: Gauges,
}

/// The listening server.
#[derive(Debug)]
pub struct HttpServer {
    listener: TcpListener,
}

impl HttpServer {
    /// Takes the address, so that a taken port is an error at start and not a log line later.
    pub async fn bind(address: SocketAddr) -> std::io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(address).await?,
        })
    }

    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`. The page answers to `hosts` beside addresses and `localhost`; what tools
    /// ask for shows nothing personal, and is answered by any name.
    pub async fn serve(self, health: Health, hosts: Vec<String>, stop: CancellationToken) {
        let router = Router::new()
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(health.clone())
            .merge(page::router(health, hosts));
        connections::serve(self.listener, router, stop).await;
    }
}

async fn livez(State(health): State<Health>) -> (StatusCode, String) {
    let running = health.running.get();
    let age = running.map_or(Duration::ZERO, |service| service.pulse.age());
    if age < STUCK_AFTER {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        let text = format!("the worker's loop was last seen {} s ago\n", age.as_secs());
        (StatusCode::SERVICE_UNAVAILABLE, text)
    }
}

async fn readyz(State(health): State<Health>) -> (StatusCode, String) {
    match is_ready(&health).await {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(text) => (StatusCode::SERVICE_UNAVAILABLE, text),
    }
}

/// Ready is who claims and reaches the database; else the reason.
async fn is_ready(health: &Health) -> Result<(), String> {
    let Some(service) = health.running.get() else {
        let cause = health
            .waits_for
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let error = if cause.is_empty() {
            String::new()
        } else {
            format!("error: {cause}\n")
        };
        return Err(format!("waiting for the database\n{error}"));
    };
    match service.readiness.standing() {
        // It does what it is told to, and goes on at a known time.
        Standing::Claiming | Standing::Silenced { .. } => {}
        standing => return Err(standing.to_string()),
    }
    let asked = sqlx::query("SELECT 1").execute(&service.pool);
    match tokio::time::timeout(READY_WITHIN, asked).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!(
            "the database does not answer\nerror: {}\n",
            chain(&error)
        )),
        Err(_) => Err("the database does not answer\n".to_owned()),
    }
}

/// In `OpenMetrics` for whoever asks for it, as Prometheus does; else in the older format, which
/// everybody reads.
async fn metrics(State(health): State<Health>, headers: HeaderMap) -> impl IntoResponse {
    if let Some(service) = health.running.get() {
        service.gauges.look(service, &health.metrics).await;
    }
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let (content_type, text) = if accept.is_some_and(|accept| accept.contains(OPEN_METRICS)) {
        let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        (content_type, health.metrics.encode())
    } else {
        let content_type = "text/plain; version=0.0.4; charset=utf-8";
        (content_type, health.metrics.encode_classic())
    };
    ([(CONTENT_TYPE, content_type)], text)
}
