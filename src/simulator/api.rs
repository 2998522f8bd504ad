//! Answers for the Video API: who may ask, for which recording, and what comes back.

use std::{borrow::Cow, time::Duration};

use axum::{
    http::{StatusCode, header, request::Parts},
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use url::form_urlencoded;
use uuid::Uuid;

use super::{
    answer::{HTML_PAGE, Refusal, answer, api_error, invalid, json, redirect, throttled},
    connection::Connection,
    deletion,
    fault::MetadataFault,
    listing,
    recording::{JsonObject, quoted},
    seen::text,
    world::World,
};

/// Lifetime of a link when the request does not say.
const DEFAULT_MEDIA_TTL: Duration = Duration::from_mins(15);

/// One request to the API, with what its answer needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct ApiRequest<'a> {
    pub(super) world: &'a World,
    pub(super) connection: &'a Connection,
    pub(super) parts: &'a Parts,
    /// The name by which the client reached this service; its links carry it.
    pub(super) host: &'a str,
}

/// Answers the request for `/api/video/` followed by `rest`.
pub(super) async fn serve(request: ApiRequest<'_>, rest: &[&str]) -> Response {
    let shape = request.world.config.error_shape;
    if !request.is_authorized() {
        return api_error(shape, StatusCode::UNAUTHORIZED);
    }
    let outcome = match (request.parts.method.as_str(), rest) {
        ("GET", ["room_recordings"]) => listing::serve(request, None).await,
        ("GET", ["room_recordings", id]) => match request.id(id) {
            Ok(id) => one_recording(request, id).await,
            Err(refusal) => Err(refusal),
        },
        ("DELETE", ["room_recordings", id]) => match request.id(id) {
            Ok(id) => Ok(deletion::serve(request, id).await),
            Err(refusal) => Err(refusal),
        },
        ("GET", ["room_sessions", id, "recordings"]) => match request.id(id) {
            Ok(id) => listing::serve(request, Some(id)).await,
            Err(refusal) => Err(refusal),
        },
        _ => Ok(api_error(shape, StatusCode::NOT_FOUND)),
    };
    outcome.unwrap_or_else(Refusal::into_response)
}

impl ApiRequest<'_> {
    fn is_authorized(&self) -> bool {
        let config = &self.world.config;
        let expected = format!("{}:{}", config.project_id, config.api_token);
        text(&self.parts.headers, header::AUTHORIZATION)
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
            .and_then(|(_, encoded)| STANDARD.decode(encoded.trim()).ok())
            .is_some_and(|given| given == expected.as_bytes())
    }

    fn id(&self, given: &str) -> Result<Uuid, Refusal> {
        // Only the hyphenated form: the crate also reads braces, URNs and bare digits.
        Some(given)
            .filter(|given| given.len() == 36)
            .and_then(|given| Uuid::try_parse(given).ok())
            .ok_or_else(|| self.invalid("id", "is not a valid UUID"))
    }

    pub(super) fn invalid(&self, attribute: &str, problem: &str) -> Refusal {
        invalid(self.world.config.error_shape, attribute, problem).into()
    }

    pub(super) fn parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        form_urlencoded::parse(self.parts.uri.query().unwrap_or_default().as_bytes())
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    }

    /// An integer parameter from `min` to `max`; 422 for anything else.
    pub(super) fn integer(&self, name: &str, min: u64, max: u64) -> Result<Option<u64>, Refusal> {
        let Some(given) = self.parameter(name) else {
            return Ok(None);
        };
        match given.parse::<u64>() {
            Ok(number) if (min..=max).contains(&number) && !given.starts_with('+') => {
                Ok(Some(number))
            }
            _ => Err(self.invalid(name, &format!("must be an integer from {min} to {max}"))),
        }
    }

    pub(super) fn media_ttl(&self) -> Result<Duration, Refusal> {
        let max = self.world.config.max_media_ttl.as_secs();
        let asked = self.integer("media_ttl", 0, max)?;
        Ok(asked.map_or(DEFAULT_MEDIA_TTL, Duration::from_secs))
    }

    /// The answer of a fault that replaces the whole of it; `body` is what was to be sent.
    pub(super) async fn spoiled(&self, fault: &MetadataFault, body: &str) -> Option<Response> {
        let shape = self.world.config.error_shape;
        Some(match fault {
            MetadataFault::Status(code) => {
                api_error(shape, StatusCode::from_u16(*code).unwrap_or_default())
            }
            MetadataFault::Throttled(after) => {
                throttled(api_error(shape, StatusCode::TOO_MANY_REQUESTS), *after)
            }
            MetadataFault::Reset => {
                self.connection.reset();
                Response::default()
            }
            MetadataFault::Hang => {
                // The connection drops this future when the client goes away.
                self.world.stopping.cancelled().await;
                self.connection.reset();
                Response::default()
            }
            MetadataFault::Html => answer(StatusCode::OK, "text/html; charset=utf-8", HTML_PAGE),
            MetadataFault::TruncatedJson => {
                let half = body.char_indices().nth(body.chars().count() / 2);
                let half = half.map_or(body, |(at, _)| &body[..at]);
                json(StatusCode::OK, half.to_owned())
            }
            MetadataFault::EmptyBody => json(StatusCode::OK, String::new()),
            MetadataFault::Redirect(to) => redirect(to),
            _ => return None,
        })
    }
}

async fn one_recording(request: ApiRequest<'_>, id: Uuid) -> Result<Response, Refusal> {
    let world = request.world;
    world.count(id, |counts| counts.metadata_requests += 1);
    let ttl = request.media_ttl()?;
    let fault = world.take_metadata_fault(Some(id));
    let object = world.recording(id).map(|mut recording| {
        if fault == Some(MetadataFault::NotReady) {
            recording.status = Some("processing".into());
        }
        let mut object = world.describe(&recording, request.host, ttl);
        if let Some(fault) = &fault {
            misshape(&mut object, fault);
        }
        object
    });
    let body = object.as_ref().map(JsonObject::render);
    if let Some(fault) = &fault {
        let body = body.as_deref().unwrap_or_default();
        if let Some(response) = request.spoiled(fault, body).await {
            return Ok(response);
        }
    }
    let has_uri = object.is_some_and(|object| object.get("uri") != Some("null"));
    if has_uri && !matches!(fault, Some(MetadataFault::Uri(_))) {
        world.count(id, |counts| counts.links_issued += 1);
    }
    Ok(match body {
        Some(body) => json(StatusCode::OK, body),
        None => api_error(world.config.error_shape, StatusCode::NOT_FOUND),
    })
}

/// Applies a fault that changes what the object says.
fn misshape(object: &mut JsonObject, fault: &MetadataFault) {
    match fault {
        MetadataFault::OtherRecording => {
            object.set("id", quoted("00000000-0000-4000-8000-00000000000f"));
        }
        MetadataFault::NullUri => object.set("uri", "null".into()),
        MetadataFault::Uri(uri) => object.set("uri", quoted(uri)),
        MetadataFault::NullStatus => object.set("status", "null".into()),
        MetadataFault::UnknownStatus(status) => object.set("status", quoted(status)),
        MetadataFault::MissingFields => {
            for name in [
                "room_session_id",
                "started_at",
                "finished_at",
                "duration",
                "size_in_bytes",
                "format",
                "cost_in_dollars",
                "created_at",
                "updated_at",
            ] {
                object.remove(name);
            }
        }
        MetadataFault::ExtraFields => {
            object.set("error_code", "null".into());
            object.set("tags", r#"{"room":["a",1]}"#.into());
        }
        MetadataFault::WrongTypes => {
            object.set("size_in_bytes", quoted("a lot"));
            object.set("started_at", "1641031200".into());
            object.set("duration", "{}".into());
            object.set("cost_in_dollars", "[]".into());
        }
        _ => {}
    }
}
