//! Where a request names its bucket: in the path, or in the host.

use std::str::FromStr;

use url::{Host, Url};

/// `storage.addressing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    /// In the host for AWS, in the path for every other store.
    Auto,
    /// `https://s3.example.com/bucket/key`.
    Path,
    /// `https://bucket.s3.example.com/key`.
    Virtual,
}

impl Addressing {
    /// Whether requests name the bucket in the host. Without an endpoint the store is AWS.
    pub fn is_virtual(self, endpoint: Option<&Url>, bucket: &str) -> bool {
        match self {
            Self::Path => false,
            Self::Virtual => true,
            Self::Auto => endpoint.is_none_or(is_aws) && is_one_label(bucket),
        }
    }
}

impl FromStr for Addressing {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "auto" => Ok(Self::Auto),
            "path" => Ok(Self::Path),
            "virtual" => Ok(Self::Virtual),
            _ => Err("expected one of auto, path, virtual"),
        }
    }
}

/// The endpoint with the bucket before its host; `None` if the two make no host name.
pub fn virtual_endpoint(endpoint: &Url, bucket: &str) -> Option<Url> {
    let Some(Host::Domain(host)) = endpoint.host() else {
        return None;
    };
    let mut url = endpoint.clone();
    url.set_host(Some(&format!("{bucket}.{host}"))).ok()?;
    Some(url)
}

fn is_aws(endpoint: &Url) -> bool {
    let host = endpoint.host_str().unwrap_or_default();
    host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn")
}

/// Whether a bucket's name is one label of a host name: certificates cover no second one.
fn is_one_label(bucket: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&bucket.len())
        && bucket.bytes().all(is_plain)
        && !bucket.starts_with('-')
        && !bucket.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_addressing_is_virtual_for_aws_only() {
        for (endpoint, bucket, is_virtual) in [
            (None, "recordings", true),
            (None, "with.dots", false),
            (None, "Legacy_Name", false),
            (
                Some("https://s3.eu-central-1.amazonaws.com"),
                "recordings",
                true,
            ),
            (
                Some("https://bucket.vpce-1a.s3.eu-central-1.vpce.amazonaws.com"),
                "recordings",
                true,
            ),
            (
                Some("https://s3.cn-north-1.amazonaws.com.cn"),
                "recordings",
                true,
            ),
            (
                Some("https://s3.eu-central-1.amazonaws.com"),
                "with.dots",
                false,
            ),
            (Some("https://s3.example.com"), "recordings", false),
            (Some("https://amazonaws.com.example"), "recordings", false),
            (Some("http://127.0.0.1:9000"), "recordings", false),
        ] {
            let endpoint: Option<Url> = endpoint.map(|it| it.parse().unwrap());
            let endpoint = endpoint.as_ref();
            let found = Addressing::Auto.is_virtual(endpoint, bucket);
            assert_eq!(found, is_virtual, "{endpoint:?} {bucket}");
            assert!(Addressing::Virtual.is_virtual(endpoint, bucket));
            assert!(!Addressing::Path.is_virtual(endpoint, bucket));
        }
    }

    #[test]
    fn virtual_endpoint_puts_the_bucket_before_the_host() {
        for (endpoint, expected) in [
            (
                "https://fly.storage.tigris.dev",
                Some("https://b.fly.storage.tigris.dev/"),
            ),
            ("http://localhost:9000", Some("http://b.localhost:9000/")),
            (
                "https://example.com/below",
                Some("https://b.example.com/below"),
            ),
            ("http://127.0.0.1:9000", None),
            ("http://[::1]:9000", None),
        ] {
            let url = virtual_endpoint(&endpoint.parse().unwrap(), "b");
            assert_eq!(url.as_ref().map(Url::as_str), expected, "{endpoint}");
        }
        assert_eq!(
            virtual_endpoint(&"https://example.com".parse().unwrap(), "a b"),
            None
        );
    }
}
