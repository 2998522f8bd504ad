//! Answers for a response with media: conditions, range and headers, and the faults that bend them.

use std::{ops::Range, sync::Arc, time::SystemTime};

use axum::{
    body::Body,
    http::{StatusCode, header, request::Parts},
    response::Response,
};
use chrono::DateTime;

use super::super::{
    answer::{set, xml_error},
    body::{Ending, MediaBody},
    connection::Connection,
    fault::MediaFault,
    link::query_value,
    range::{Asked, asked_range},
    seen::text,
    world::{OpenMedia, World},
};

/// A response with media, and the fault that bends it.
pub(super) struct MediaResponse<'a> {
    pub(super) world: &'a Arc<World>,
    pub(super) connection: &'a Connection,
    pub(super) parts: &'a Parts,
    pub(super) media: OpenMedia,
    pub(super) fault: Option<MediaFault>,
}

impl MediaResponse<'_> {
    pub(super) fn build(self) -> Response {
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
            Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, self.shortened(range)),
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

    fn shortened(&self, range: Range<u64>) -> Range<u64> {
        let Some(MediaFault::ShortRange(bytes)) = self.fault else {
            return range;
        };
        range.start..range.end.saturating_sub(bytes).max(range.start + 1)
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

    fn bytes_per_second(&self) -> Option<u64> {
        let own = match self.fault {
            Some(MediaFault::Drip(rate)) => Some(rate),
            _ => self.media.recording.bytes_per_second,
        };
        let both = [own, self.world.config.connection_rate];
        both.into_iter().flatten().min()
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
            bytes_per_second: self.bytes_per_second(),
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
