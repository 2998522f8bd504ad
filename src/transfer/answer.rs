//! What an answer of the media host covers, by its headers, which must agree with each other.

use chrono::{DateTime, Utc};
use hyper::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED,
    TRANSFER_ENCODING,
};
use hyper::{Response, StatusCode, Version};

use super::container;
use super::error::TransferError;
use crate::checkpoint::Validator;

/// Bytes of the whole file that an answer brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Coverage {
    /// Position of the first byte.
    pub(super) first: u64,
    /// Position after the last byte, if anybody says so.
    pub(super) end: Option<u64>,
    /// Size of the whole file, if anybody says so.
    pub(super) total: Option<u64>,
    /// It is a range, even if it happens to be all.
    pub(super) partial: bool,
}

/// Reads what the answer covers, the request having asked for bytes from `asked` on.
pub(super) fn coverage<B>(response: &Response<B>, asked: u64) -> Result<Coverage, TransferError> {
    let length = number(response.headers(), CONTENT_LENGTH);
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return Ok(Coverage {
            first: 0,
            end: length,
            total: length,
            partial: false,
        });
    }
    let range = text(response.headers(), CONTENT_RANGE)
        .and_then(parse_content_range)
        .ok_or(TransferError::WrongRange)?;
    let end = range.last.checked_add(1).ok_or(TransferError::WrongRange)?;
    let sound = range.first == asked
        && range.first <= range.last
        && end <= range.total
        && length.is_none_or(|length| length == end - range.first);
    if !sound {
        return Err(TransferError::WrongRange);
    }
    Ok(Coverage {
        first: range.first,
        end: Some(end),
        total: Some(range.total),
        partial: true,
    })
}

/// What tells this version of the file from others, if it is strong enough to join answers by.
pub(super) fn validator(headers: &HeaderMap) -> Option<Validator> {
    if let Some(etag) = text(headers, ETAG) {
        let strong = etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"');
        return strong.then(|| Validator::Etag(etag.to_owned()));
    }
    let modified = text(headers, LAST_MODIFIED)?;
    // RFC 9110, section 8.8.2.2: a date is strong only if no second change can hide in its second.
    let age = http_date(text(headers, DATE)?)? - http_date(modified)?;
    (age >= chrono::Duration::seconds(1)).then(|| Validator::LastModified(modified.to_owned()))
}

/// An answer that calls itself a document is nobody's recording.
pub(super) fn refuse_document(headers: &HeaderMap) -> Result<(), TransferError> {
    match headers.get(CONTENT_TYPE) {
        Some(content_type) if container::is_document(content_type) => {
            Err(TransferError::Document {
                content_type: String::from_utf8_lossy(content_type.as_bytes()).into_owned(),
            })
        }
        _ => Ok(()),
    }
}

/// Whether the end of the body is marked, rather than being the end of the connection.
pub(super) fn has_an_end<B>(response: &Response<B>) -> bool {
    response.version() >= Version::HTTP_2
        || response
            .headers()
            .get(TRANSFER_ENCODING)
            .is_some_and(|value| value.as_bytes().ends_with(b"chunked"))
}

pub(crate) struct ContentRange {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) total: u64,
}

/// Reads `bytes FIRST-LAST/TOTAL`.
pub(crate) fn parse_content_range(value: &str) -> Option<ContentRange> {
    let (range, total) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some(ContentRange {
        first: first.trim().parse().ok()?,
        last: last.trim().parse().ok()?,
        total: total.trim().parse().ok()?,
    })
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn number(headers: &HeaderMap, name: HeaderName) -> Option<u64> {
    text(headers, name)?.parse().ok()
}

fn http_date(value: &str) -> Option<DateTime<Utc>> {
    httpdate::parse_http_date(value).ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn response(status: u16, headers: &[(&'static str, &'static str)]) -> Response<()> {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(()).unwrap()
    }

    fn partial(range: &'static str, length: &'static str) -> Result<Coverage, TransferError> {
        let headers = [("content-range", range), ("content-length", length)];
        coverage(&response(206, &headers), 100)
    }

    #[test]
    fn a_range_is_what_was_asked_for_or_shorter() {
        for (range, length, end) in [
            ("bytes 100-199/1000", "100", 200),
            ("bytes 100-149/1000", "50", 150),
            ("bytes 100-999/1000", "900", 1000),
        ] {
            let covered = partial(range, length).unwrap();
            let expected = Coverage {
                first: 100,
                end: Some(end),
                total: Some(1000),
                partial: true,
            };
            assert_eq!(covered, expected, "{range}");
        }
        for (range, length) in [
            ("bytes 101-199/1000", "99"),
            ("bytes 99-199/1000", "101"),
            ("bytes 100-199/1000", "99"),
            ("bytes 100-99/1000", "0"),
            ("bytes 100-1000/1000", "901"),
            ("bytes 100-199/*", "100"),
            ("bytes */1000", "0"),
            ("items 100-199/1000", "100"),
            ("bytes 100-18446744073709551615/18446744073709551615", "1"),
        ] {
            assert!(partial(range, length).is_err(), "{range}");
        }
        assert!(coverage(&response(206, &[]), 100).is_err());
    }

    #[test]
    fn a_whole_answer_covers_what_its_length_says() {
        let covered = |headers| coverage(&response(200, headers), 100).unwrap();
        assert_eq!(covered(&[("content-length", "7")]).end, Some(7));
        assert_eq!(covered(&[]).total, None);
        assert_eq!(covered(&[]).first, 0);
    }

    #[test]
    fn only_strong_validators_join_answers() {
        let found = |headers: &[(&'static str, &'static str)]| {
            let pairs = headers.iter().map(|(name, value)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            });
            validator(&pairs.collect::<HeaderMap>()).map(|found| found.as_str().to_owned())
        };
        let (modified, soon, same) = (
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:38 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT",
        );
        assert_eq!(found(&[("etag", "\"a\"")]).as_deref(), Some("\"a\""));
        assert_eq!(found(&[("etag", "W/\"a\"")]), None);
        assert_eq!(
            found(&[("etag", "W/\"a\""), ("last-modified", modified)]),
            None
        );
        assert_eq!(found(&[("etag", "a")]), None);
        assert_eq!(found(&[("etag", "\"\"")]), None);
        let dated = |date| found(&[("last-modified", modified), ("date", date)]);
        assert_eq!(dated(soon).as_deref(), Some(modified));
        assert_eq!(dated(same), None);
        assert_eq!(found(&[("last-modified", modified)]), None);
    }
}
