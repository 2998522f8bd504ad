//! Answers for the media host: S3 as a client with a signed link sees it.

use std::{sync::Arc, time::Duration};

use axum::{
    http::{StatusCode, header, request::Parts},
    response::Response,
};
use uuid::Uuid;

use super::{
    answer::{
        HTML_PAGE, Refusal, answer, json, redirect, throttled, xml_document, xml_error, xml_status,
    },
    connection::Connection,
    fault::MediaFault,
    link::{LinkRefusal, ValidLink},
    recording::SimulatedRecording,
    seen::text,
    world::{World, iso8601, now},
};

mod response;

use response::MediaResponse;

/// Answers a request for anything below `/files/`.
pub(super) async fn serve(
    world: &Arc<World>,
    connection: &Connection,
    parts: &Parts,
    host: &str,
) -> Response {
    let range = text(&parts.headers, header::RANGE);
    let id = recording_id(parts.uri.path());
    if let Some(id) = id {
        world.count_media_request(id, range);
    }
    if let Err(refusal) = check_link(world, parts, host, id) {
        if let Some(id) = id {
            world.count(id, |counts| counts.media_refused += 1);
        }
        return refusal.into_response();
    }
    let Some(recording) = id.and_then(|id| world.recording(id)) else {
        return xml_status(StatusCode::NOT_FOUND);
    };
    let fault = world.take_media_fault(recording.id, range.is_some());
    if let Some(fault) = &fault
        && let Some(response) = replaced(world, connection, parts, host, &recording, fault).await
    {
        return response;
    }
    let media = match world.open_media(recording.id) {
        Ok(Some(media)) => media,
        Ok(None) => return xml_status(StatusCode::NOT_FOUND),
        Err(error) => {
            tracing::warn!(%error, recording.id = %recording.id, "simulator: open media");
            return xml_status(StatusCode::INTERNAL_SERVER_ERROR);
        }
    };
    MediaResponse {
        world,
        connection,
        parts,
        media,
        fault,
    }
    .build()
}

/// The id in `/files/SPACE/PROJECT/video-room-recordings/ID.EXT`.
fn recording_id(path: &str) -> Option<Uuid> {
    let (_, file_name) = path.rsplit_once("/video-room-recordings/")?;
    file_name.split_once('.')?.0.parse().ok()
}

fn check_link(world: &World, parts: &Parts, host: &str, id: Option<Uuid>) -> Result<(), Refusal> {
    let query = parts.uri.query().unwrap_or_default();
    if parts.headers.contains_key(header::AUTHORIZATION) && query.contains("X-Amz-Algorithm=") {
        return Err(xml_error(
            StatusCode::BAD_REQUEST,
            "InvalidArgument",
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature \
             query string parameter or the Authorization header should be specified",
            "<ArgumentName>Authorization</ArgumentName>",
        )
        .into());
    }
    let (method, path) = (parts.method.as_str(), parts.uri.path());
    let link = world.signer.verify(method, host, path, query).map_err(|refusal| match refusal {
        LinkRefusal::Unsigned => xml_status(StatusCode::FORBIDDEN),
        LinkRefusal::SignatureDoesNotMatch => xml_error(
            StatusCode::FORBIDDEN,
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. Check \
             your key and signing method.",
            "",
        ),
    })?;
    if link.is_expired(now()) || id.is_some_and(|id| world.is_killed(id, &link)) {
        return Err(expired(StatusCode::FORBIDDEN, &link).into());
    }
    Ok(())
}

fn expired(status: StatusCode, link: &ValidLink) -> Response {
    let details = format!(
        "<X-Amz-Expires>{}</X-Amz-Expires><Expires>{}</Expires><ServerTime>{}</ServerTime>",
        link.ttl.as_secs(),
        iso8601(link.issued_at + link.ttl),
        iso8601(now()),
    );
    xml_error(status, "AccessDenied", "Request has expired", &details)
}

/// The answer of a fault that replaces the whole of it.
async fn replaced(
    world: &World,
    connection: &Connection,
    parts: &Parts,
    host: &str,
    recording: &SimulatedRecording,
    fault: &MediaFault,
) -> Option<Response> {
    let format = recording
        .format
        .as_deref()
        .unwrap_or("application/octet-stream");
    let died_now = ValidLink {
        epoch: 0,
        issued_at: now(),
        ttl: Duration::ZERO,
    };
    Some(match fault {
        MediaFault::Status(code) => xml_status(StatusCode::from_u16(*code).unwrap_or_default()),
        MediaFault::Throttled(after) => {
            throttled(xml_status(StatusCode::TOO_MANY_REQUESTS), *after)
        }
        MediaFault::LinkDies => expired(StatusCode::FORBIDDEN, &died_now),
        MediaFault::BadRequestExpired => expired(StatusCode::BAD_REQUEST, &died_now),
        MediaFault::Reset => {
            connection.reset();
            Response::default()
        }
        MediaFault::Hang => {
            // The connection drops this future when the client goes away.
            world.stopping.cancelled().await;
            connection.reset();
            Response::default()
        }
        MediaFault::Html => answer(StatusCode::OK, "text/html; charset=utf-8", HTML_PAGE),
        MediaFault::HtmlAsMedia => answer(StatusCode::OK, format, HTML_PAGE),
        MediaFault::XmlError => answer(
            StatusCode::OK,
            "application/xml",
            xml_document("InternalError", "We encountered an internal error.", ""),
        ),
        MediaFault::JsonError => json(StatusCode::OK, r#"{"error":"Not Found"}"#.into()),
        MediaFault::ZeroBytes => answer(StatusCode::OK, format, ""),
        MediaFault::Redirect(to) => redirect(to),
        MediaFault::RedirectLoop => redirect(&format!("http://{host}{}", parts.uri)),
        MediaFault::ResetAfter(_)
        | MediaFault::CutAfter(_)
        | MediaFault::ChunkedCutAfter(_)
        | MediaFault::StallAfter(_)
        | MediaFault::Drip(_)
        | MediaFault::ShorterBy(_)
        | MediaFault::IgnoreRange
        | MediaFault::WrongContentRange
        | MediaFault::ShortRange(_)
        | MediaFault::MediaChanges
        | MediaFault::EtagChanges
        | MediaFault::WeakEtag
        | MediaFault::NoValidator
        | MediaFault::GzipClaim
        | MediaFault::FlippedByte(_) => return None,
    })
}
