//! Answers for the media host: S3 as a client with a signed link sees it.

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    body::Body,
    http::{StatusCode, header, request::Parts},
    response::Response,
};
use chrono::DateTime;
use uuid::Uuid;

use super::{
    answer::{
        HTML_PAGE, Refusal, answer, json, redirect, set, throttled, xml_document, xml_error,
        xml_status,
    },
    body::{Ending, MediaBody},
    connection::Connection,
    fault::MediaFault,
    link::{LinkRefusal, ValidLink, query_value},
    range::{Asked, asked_range},
    recording::SimulatedRecording,
    seen::text,
    world::{OpenMedia, World, iso8601, now},
};

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
        return Err(expired(&link).into());
    }
    Ok(())
}

fn expired(link: &ValidLink) -> Response {
    let details = format!(
        "<X-Amz-Expires>{}</X-Amz-Expires><Expires>{}</Expires><ServerTime>{}</ServerTime>",
        link.ttl.as_secs(),
        iso8601(link.issued_at + link.ttl),
        iso8601(now()),
    );
    xml_error(
        StatusCode::FORBIDDEN,
        "AccessDenied",
        "Request has expired",
        &details,
    )
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
    Some(match fault {
        MediaFault::Status(code) => xml_status(StatusCode::from_u16(*code).unwrap_or_default()),
        MediaFault::Throttled(after) => {
            throttled(xml_status(StatusCode::TOO_MANY_REQUESTS), *after)
        }
        MediaFault::LinkDies => expired(&ValidLink {
            epoch: 0,
            issued_at: now(),
            ttl: Duration::ZERO,
        }),
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
        | MediaFault::EtagChanges
        | MediaFault::WeakEtag
        | MediaFault::NoValidator
        | MediaFault::GzipClaim
        | MediaFault::FlippedByte(_) => return None,
    })
}

/// A response with media, and the fault that bends it.
struct MediaResponse<'a> {
    world: &'a Arc<World>,
    connection: &'a Connection,
    parts: &'a Parts,
    media: OpenMedia,
    fault: Option<MediaFault>,
}

impl MediaResponse<'_> {
    fn build(self) -> Response {
        let size = self.size_bytes();
        let (etag, modified) = (self.etag(), self.last_modified());
        if let Some(refusal) = self.precondition(&etag) {
            return refusal;
        }
        let asked = match &self.fault {
            Some(MediaFault::IgnoreRange) => Asked::Everything,
            _ => asked_range(self.honoured_range(&etag, modified), size),
        };
        let (status, range) = match asked {
            Asked::Everything => (StatusCode::OK, 0..size),
            Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
            Asked::Unsatisfiable => {
                let mut refusal = xml_error(
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    "InvalidRange",
                    "The requested range is not satisfiable",
                    &format!("<ActualObjectSize>{size}</ActualObjectSize>"),
                );
                set(
                    &mut refusal,
                    header::CONTENT_RANGE,
                    &format!("bytes */{size}"),
                );
                return refusal;
            }
        };

        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        if status == StatusCode::PARTIAL_CONTENT {
            set(
                &mut response,
                header::CONTENT_RANGE,
                &self.content_range(&range, size),
            );
        }
        if !matches!(self.fault, Some(MediaFault::ChunkedCutAfter(_))) {
            let length = (range.end - range.start).to_string();
            set(&mut response, header::CONTENT_LENGTH, &length);
        }
        if !matches!(self.fault, Some(MediaFault::NoValidator)) {
            set(&mut response, header::ETAG, &etag);
            set(
                &mut response,
                header::LAST_MODIFIED,
                &httpdate::fmt_http_date(modified),
            );
        }
        if matches!(self.fault, Some(MediaFault::GzipClaim)) {
            set(&mut response, header::CONTENT_ENCODING, "gzip");
        }
        set(&mut response, header::ACCEPT_RANGES, "bytes");
        set(&mut response, header::SERVER, "AmazonS3");
        let query = self.parts.uri.query().unwrap_or_default();
        for (name, parameter) in [
            (header::CONTENT_TYPE, "response-content-type"),
            (header::CONTENT_DISPOSITION, "response-content-disposition"),
        ] {
            if let Some(value) = query_value(query, parameter) {
                set(&mut response, name, &value);
            }
        }
        *response.body_mut() = self.into_body(range);
        response
    }

    fn size_bytes(&self) -> u64 {
        let size = self.media.source.size_bytes();
        match self.fault {
            Some(MediaFault::ShorterBy(bytes)) => size.saturating_sub(bytes),
            _ => size,
        }
    }

    fn etag(&self) -> String {
        let weak = if self.fault == Some(MediaFault::WeakEtag) {
            "W/"
        } else {
            ""
        };
        format!("{weak}\"{}\"", self.media.etag)
    }

    /// What `updated_at` says, else the beginning of time.
    fn last_modified(&self) -> SystemTime {
        DateTime::parse_from_rfc3339(&self.media.recording.updated_at)
            .map_or(SystemTime::UNIX_EPOCH, SystemTime::from)
    }

    /// 412 or 304, as RFC 9110 says for `If-Match` and `If-None-Match`.
    fn precondition(&self, etag: &str) -> Option<Response> {
        let lists = |name, matches: &dyn Fn(&str) -> bool| {
            text(&self.parts.headers, name).map(|list| {
                list.split(',')
                    .map(str::trim)
                    .any(|one| one == "*" || matches(one))
            })
        };
        let strong = !etag.starts_with("W/");
        if lists(header::IF_MATCH, &|one| strong && one == etag) == Some(false) {
            return Some(xml_error(
                StatusCode::PRECONDITION_FAILED,
                "PreconditionFailed",
                "At least one of the pre-conditions you specified did not hold",
                "<Condition>If-Match</Condition>",
            ));
        }
        let opaque = |tag: &str| tag.trim_start_matches("W/").to_owned();
        if lists(header::IF_NONE_MATCH, &|one| opaque(one) == opaque(etag)) == Some(true) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            set(&mut response, header::ETAG, etag);
            return Some(response);
        }
        None
    }

    /// The `Range` header, unless `If-Range` says that it was meant for other bytes.
    fn honoured_range(&self, etag: &str, modified: SystemTime) -> Option<&str> {
        let range = text(&self.parts.headers, header::RANGE)?;
        let Some(condition) = text(&self.parts.headers, header::IF_RANGE) else {
            return Some(range);
        };
        let holds = if condition.starts_with(['"', 'W']) && condition.ends_with('"') {
            condition == etag && !etag.starts_with("W/")
        } else {
            condition == httpdate::fmt_http_date(modified)
        };
        holds.then_some(range)
    }

    fn content_range(&self, range: &Range<u64>, size: u64) -> String {
        let off = u64::from(self.fault == Some(MediaFault::WrongContentRange));
        format!("bytes {}-{}/{size}", range.start + off, range.end - 1 + off)
    }

    fn into_body(self, range: Range<u64>) -> Body {
        let (limit, ending) = match self.fault {
            Some(MediaFault::ResetAfter(bytes)) => (bytes, Ending::Reset),
            Some(MediaFault::CutAfter(bytes)) => (bytes, Ending::Closed),
            Some(MediaFault::ChunkedCutAfter(bytes)) => (bytes, Ending::Regular),
            Some(MediaFault::StallAfter(bytes)) => (bytes, Ending::Stall),
            _ => (u64::MAX, Ending::Regular),
        };
        let length = range.end - range.start;
        let (end, ending) = if limit < length {
            (range.start + limit, ending)
        } else {
            (range.end, Ending::Regular)
        };
        let body = MediaBody {
            world: Arc::clone(self.world),
            connection: self.connection.clone(),
            id: self.media.recording.id,
            bytes_per_second: match self.fault {
                Some(MediaFault::Drip(rate)) => Some(rate),
                _ => self.media.recording.bytes_per_second,
            },
            flipped: match self.fault {
                Some(MediaFault::FlippedByte(position)) => Some(position),
                _ => None,
            },
            source: self.media.source,
            range: range.start..end,
            ending,
        };
        body.into_body()
    }
}
