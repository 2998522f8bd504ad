//! The page: queue, archive and costs at a glance, and one recording with its history. Read-only,
//! of one piece: HTML with its style sheet and its charts in it, no script, nothing from elsewhere.
//!
//! It has no login. It relies on `http.listen` being where only the operator comes, and lets no
//! other web site read it through the operator's browser: [`hosts`], [`seal`].

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use serde::Deserialize;
use tokio::sync::Semaphore;

use self::figures::Figures;
use self::hosts::Hosts;
use self::problem::Problem;
use super::http::{Health, Service};
use crate::finance::report::Month;
use crate::queue::overview::RecordingDetails;
use crate::recording::RecordingId;

mod amount;
mod archive;
mod chart;
mod costs;
mod dashboard;
mod figures;
mod frame;
mod hosts;
mod problem;
mod recording;
mod seal;
mod table;
mod trouble;
mod value;
mod work;

/// Who waits longer is told so.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// The server ends a statement that takes longer, before the waiting ends.
const STATEMENT_WITHIN: Duration = Duration::from_secs(4);
/// However many look at once, the connections are the worker's.
const LOOKING_AT_ONCE: usize = 2;

#[derive(Clone)]
struct Page {
    health: Health,
    hosts: Arc<Hosts>,
    turns: Arc<Semaphore>,
}

/// The page's routes, and an answer to every path that is nobody's. `names` are those of
/// `http.hosts`.
pub(super) fn router(health: Health, names: Vec<String>) -> Router {
    let page = Page {
        health,
        hosts: Arc::new(Hosts::new(names)),
        turns: Arc::new(Semaphore::new(LOOKING_AT_ONCE)),
    };
    Router::new()
        .route("/", get(dashboard))
        .route("/recordings", get(look_up))
        .route("/recordings/{id}", get(one_recording))
        .fallback(nothing_here)
        .method_not_allowed_fallback(nothing_here)
        .layer(middleware::from_fn_with_state(page.clone(), admit))
        .layer(middleware::map_response(seal::seal))
        .with_state(page)
}

/// Lets in who asks by a name of this server, and only to read.
async fn admit(State(page): State<Page>, request: Request, next: Next) -> Response {
    if let Err(refusal) = page.hosts.admit(&request) {
        return Problem::from(refusal).into_response();
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return Problem::ReadOnly.into_response();
    }
    next.run(request).await
}

async fn nothing_here() -> Problem {
    Problem::NothingHere
}

#[derive(Deserialize)]
struct Chosen {
    month: Option<String>,
}

async fn dashboard(
    State(page): State<Page>,
    chosen: Result<Query<Chosen>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(chosen) = chosen.map_err(|_| Problem::NoMonth)?;
    let month: Option<Month> = match chosen.month {
        Some(text) => Some(text.parse().map_err(|_| Problem::NoMonth)?),
        None => None,
    };
    let service = page.service()?;
    let figures: Figures = page.look(figures::read(service, month)).await?;
    Ok(dashboard::render(&figures, &service.readiness.standing()).into_response())
}

#[derive(Deserialize)]
struct Wanted {
    id: String,
}

/// Where the form leads.
async fn look_up(wanted: Result<Query<Wanted>, QueryRejection>) -> Result<Redirect, Problem> {
    let Query(wanted) = wanted.map_err(|_| Problem::NoId(String::new()))?;
    let id = wanted.id.trim();
    match id.parse::<RecordingId>() {
        Ok(id) => Ok(Redirect::to(&format!("/recordings/{id}"))),
        Err(_) => Err(Problem::NoId(id.to_owned())),
    }
}

async fn one_recording(
    State(page): State<Page>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(id) = id.map_err(|_| Problem::NoId(String::new()))?;
    let id: RecordingId = id.parse().map_err(|_| Problem::NoId(id))?;
    let service = page.service()?;
    let details: Option<RecordingDetails> = page.look(figures::one(service, id)).await?;
    let details = details.ok_or(Problem::Unknown(id))?;
    Ok(recording::render(&details).into_response())
}

impl Page {
    /// The service, once it has reached the database.
    fn service(&self) -> Result<&Service, Problem> {
        self.health.running.get().ok_or(Problem::NotYet)
    }

    async fn look<T>(
        &self,
        looking: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, Problem> {
        let in_turn = async {
            // It is never closed.
            let _turn = self.turns.acquire().await.ok();
            looking.await
        };
        match tokio::time::timeout(ANSWER_WITHIN, in_turn).await {
            Ok(Ok(seen)) => Ok(seen),
            Ok(Err(error)) => Err(Problem::from(&error)),
            Err(_) => Err(Problem::Slow),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, self.render()).into_response();
        let told = match status {
            StatusCode::METHOD_NOT_ALLOWED => Some(seal::ALLOW),
            StatusCode::SERVICE_UNAVAILABLE => Some(seal::RETRY),
            _ => None,
        };
        response.headers_mut().extend(told);
        response
    }
}
