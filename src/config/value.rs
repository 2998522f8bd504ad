//! Single values: text to a duration, a size, a number, an address, a place. Errors are phrases
//! that follow the name of the setting.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::environment::Environment;
use super::schedule::CronSchedule;
use super::sections::StorageLocation;
use crate::storage::key::check_prefix;

/// The word that turns a chore or a listener off.
pub(super) const OFF: &str = "off";

/// A duration such as `15m`, at least `shortest`.
pub(super) fn duration(text: &str, shortest: Duration) -> Result<Duration, String> {
    if text.parse::<f64>().is_ok() && text != "0" {
        return Err(format!(
            "`{text}` has no unit: write \"{text}s\" for seconds, or m, h, d"
        ));
    }
    // humantime reads `15M` as 15 months; nobody means that here.
    if text.chars().any(char::is_uppercase) {
        return Err(format!(
            "`{text}` is not a duration: units are ms, s, m, h, d, w"
        ));
    }
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("`{text}` is not a duration such as \"15m\": {error}"))?;
    if duration < shortest {
        let shortest = humantime::format_duration(shortest);
        return Err(format!(
            "`{text}` is too short: at least \"{shortest}\" is needed"
        ));
    }
    Ok(duration)
}

/// Returns a duration within `bounds`.
pub(super) fn duration_within(
    text: &str,
    bounds: &RangeInclusive<Duration>,
) -> Result<Duration, String> {
    let duration = duration(text, *bounds.start())?;
    if duration > *bounds.end() {
        let longest = humantime::format_duration(*bounds.end());
        return Err(format!(
            "`{text}` is too long: at most \"{longest}\" is allowed"
        ));
    }
    Ok(duration)
}

/// A size in bytes such as `8MiB`, within `bounds`.
pub(super) fn size(text: &str, bounds: &RangeInclusive<u64>) -> Result<u64, String> {
    if text.parse::<f64>().is_ok() {
        return Err(format!("`{text}` has no unit: write one, as in \"8MiB\""));
    }
    if text.contains('.') {
        return Err(format!(
            "`{text}` is not whole: take a smaller unit, as in \"1536KiB\""
        ));
    }
    let size = ByteSize::from_str(text)
        .map_err(|_| format!("`{text}` is not a size such as \"8MiB\""))?
        .as_u64();
    // u64::MAX is where bytesize ends up when the number is too large.
    if size == u64::MAX || !bounds.contains(&size) {
        let (least, most) = (ByteSize(*bounds.start()), ByteSize(*bounds.end()));
        return Err(format!(
            "`{text}` is out of bounds: from \"{}\" to \"{}\"",
            least.display().iec(),
            most.display().iec()
        ));
    }
    Ok(size)
}

/// A whole number within `bounds`.
pub(super) fn number<N>(text: &str, bounds: &RangeInclusive<N>) -> Result<N, String>
where
    N: FromStr + PartialOrd + std::fmt::Display,
{
    text.parse()
        .ok()
        .filter(|number| bounds.contains(number))
        .ok_or_else(|| {
            let (least, most) = (bounds.start(), bounds.end());
            format!("`{text}` is not a whole number from {least} to {most}")
        })
}

pub(super) fn boolean(text: &str) -> Result<bool, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is neither true nor false"))
}

pub(super) fn schedule(text: &str) -> Result<CronSchedule, String> {
    text.parse().map_err(|error| format!("{error}"))
}

/// A schedule, or `None` for `off`.
pub(super) fn schedule_or_off(text: &str) -> Result<Option<CronSchedule>, String> {
    match text {
        OFF => Ok(None),
        _ => schedule(text)
            .map(Some)
            .map_err(|error| format!("{error}; \"off\" turns it off")),
    }
}

/// Bytes per second, or `off`.
pub(super) fn size_or_off(text: &str) -> Result<Option<u64>, String> {
    match text {
        OFF => Ok(None),
        _ => size(text, &(1024..=u64::MAX))
            .map(Some)
            .map_err(|error| format!("{error}; \"off\" turns it off")),
    }
}

pub(super) fn listen(text: &str) -> Result<Option<SocketAddr>, String> {
    match text {
        OFF => Ok(None),
        _ => text.parse().map(Some).map_err(|_| {
            format!("`{text}` is not an address such as \"127.0.0.1:9464\"; \"off\" turns it off")
        }),
    }
}

/// Host names with commas or spaces between them, in lower case.
pub(super) fn hosts(text: &str) -> Result<Vec<String>, String> {
    let names = text.split([',', ' ']).filter(|name| !name.is_empty());
    let hosts = names.map(|name| {
        let is_name = name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        });
        if is_name && name.len() <= 253 {
            Ok(name.to_ascii_lowercase())
        } else {
            Err(format!(
                "`{name}` is not a host name such as \"archive.example.com\"; ports, schemes and wildcards are left out"
            ))
        }
    });
    hosts.collect()
}

/// Requests per second.
pub(super) fn rate(text: &str) -> Result<NonZeroU32, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is not a whole number from 1 up"))
}

/// A word or name that goes into a request header: visible ASCII without spaces.
pub(super) fn word(text: &str) -> Result<String, String> {
    if text.chars().all(|character| character.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("only visible ASCII characters without spaces are taken".to_owned())
    }
}

/// The user part of Basic auth, which ends at the first colon.
pub(super) fn project_id(text: &str) -> Result<String, String> {
    match word(text) {
        Ok(id) if id.contains(':') => Err("a project ID has no colon".to_owned()),
        checked => checked,
    }
}

/// The space's host with its port, and the root of its API.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) name: String,
    pub(super) api_base: Url,
    pub(super) is_loopback: bool,
}

pub(super) fn space(text: &str) -> Result<Space, String> {
    const EXPECTED: &str =
        "write \"example\" or \"example.signalwire.com\"; a URL is taken for loopback only";
    if text.contains("://") {
        let url = Url::parse(text).map_err(|error| format!("not a URL ({error}): {EXPECTED}"))?;
        let is_root = matches!(url.scheme(), "http" | "https")
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && !has_userinfo(&url);
        if !(is_root && is_loopback(&url)) {
            return Err(EXPECTED.to_owned());
        }
        let host = url.host_str().unwrap_or_default();
        let name = url
            .port()
            .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        return Ok(Space {
            name,
            api_base: url,
            is_loopback: true,
        });
    }
    let name = text.to_ascii_lowercase();
    let label = name.strip_suffix(".signalwire.com").unwrap_or(&name);
    let is_label = (1..=63).contains(&label.len())
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-');
    if !is_label {
        return Err(format!("`{text}` is not a space: {EXPECTED}"));
    }
    let name = format!("{label}.signalwire.com");
    let api_base = Url::parse(&format!("https://{name}/"))
        .map_err(|error| format!("`{text}` is not a space ({error}): {EXPECTED}"))?;
    Ok(Space {
        name,
        api_base,
        is_loopback: false,
    })
}

/// The store's API. Credentials do not belong in it, so no error repeats the text.
pub(super) fn endpoint(text: &str) -> Result<Url, String> {
    let url = Url::parse(text)
        .map_err(|error| format!("not a URL such as \"https://s3.example.com\": {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.query().is_some() {
        return Err("not a URL such as \"https://s3.example.com\"".to_owned());
    }
    if has_userinfo(&url) {
        return Err(
            "the URL holds a user or a password: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead"
                .to_owned(),
        );
    }
    Ok(url)
}

/// `s3://bucket/prefix`, `file:///dir`, or `file:dir` seen from the current directory.
pub(super) fn location(text: &str, environment: &Environment) -> Result<StorageLocation, String> {
    const EXPECTED: &str = "write \"s3://bucket/prefix\" or \"file:///directory\"";
    let not_text = |_| format!("the path is not UTF-8: {EXPECTED}");
    if let Some(place) = text.strip_prefix("s3://") {
        if place.contains(['@', '?', '#']) {
            return Err(format!(
                "a bucket URL has no user, query or fragment: {EXPECTED}; credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ));
        }
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let is_bucket = (3..=63).contains(&bucket.len())
            && bucket
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
        if !is_bucket {
            return Err(format!("`{bucket}` is not a bucket's name: {EXPECTED}"));
        }
        let prefix = percent_decode_str(prefix.strip_suffix('/').unwrap_or(prefix))
            .decode_utf8()
            .map_err(not_text)?
            .into_owned();
        check_prefix(&prefix).map_err(|error| error.to_string())?;
        return Ok(StorageLocation::S3 {
            bucket: bucket.to_owned(),
            prefix,
        });
    }
    if text.starts_with("file://") {
        return Url::parse(text)
            .ok()
            .and_then(|url| url.to_file_path().ok())
            .map(|root| StorageLocation::File { root })
            .ok_or_else(|| {
                "not a directory's URL: write \"file:///directory\", or \"file:directory\" for one below the current directory".to_owned()
            });
    }
    match text.strip_prefix("file:") {
        Some(path) if !path.is_empty() => {
            let path = percent_decode_str(path).decode_utf8().map_err(not_text)?;
            Ok(StorageLocation::File {
                root: environment.absolute(PathBuf::from(path.as_ref())),
            })
        }
        _ => Err(format!("not a place: {EXPECTED}")),
    }
}

fn has_userinfo(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// Whether the host is this machine by its very name or address.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests;
