//! What the operator's tools ask over HTTP: alive, ready, how much.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::worker::Pulse;
use crate::metrics::Metrics;

/// A loop that has not been seen for this long is stuck: it beats every 15 s, but a claim or a
/// check may hold it up for a query's time-out.
const STUCK_AFTER: Duration = Duration::from_secs(90);
/// A database that does not answer within this time is not ready.
const READY_WITHIN: Duration = Duration::from_secs(3);

/// What the answers are made from.
///
/// Empty until the database has been reached: alive, but not ready.
#[derive(Debug, Clone, Default)]
pub struct Health {
    pub running: Arc<OnceLock<(Pulse, PgPool)>>,
    pub metrics: Metrics,
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

    /// Serves until `stop`.
    pub async fn serve(self, health: Health, stop: CancellationToken) {
        let router = Router::new()
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(health);
        let served = axum::serve(self.listener, router)
            .with_graceful_shutdown(stop.cancelled_owned())
            .await;
        if let Err(error) = served {
            tracing::error!("the HTTP server ended: {error}");
        }
    }
}

async fn livez(State(health): State<Health>) -> (StatusCode, String) {
    let age = health
        .running
        .get()
        .map_or(Duration::ZERO, |(pulse, _)| pulse.age());
    if age < STUCK_AFTER {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        let text = format!("the worker's loop was last seen {} s ago\n", age.as_secs());
        (StatusCode::SERVICE_UNAVAILABLE, text)
    }
}

async fn readyz(State(health): State<Health>) -> (StatusCode, &'static str) {
    let Some((_, pool)) = health.running.get() else {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "waiting for the database\n",
        );
    };
    let asked = sqlx::query("SELECT 1").execute(pool);
    match tokio::time::timeout(READY_WITHIN, asked).await {
        Ok(Ok(_)) => (StatusCode::OK, "ok\n"),
        _ => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the database does not answer\n",
        ),
    }
}

async fn metrics(State(health): State<Health>) -> impl IntoResponse {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, content_type)], health.metrics.encode())
}
