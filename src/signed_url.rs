//! A signed media link: a secret that is spent by the media client and shown to nobody.

use std::fmt;

use url::Url;

/// A short-lived link to a recording's bytes.
///
/// Whoever holds the link may fetch the recording, so neither `Display` nor `Debug` shows more
/// than scheme and host, it is not serializable, and there is no `Deref` to the [`Url`] within.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedUrl(Url);

impl SignedUrl {
    /// Takes a link as the provider sent it; `None` unless it is an absolute URL. Where it may
    /// lead is for the media client to say.
    pub fn parse(text: &str) -> Option<Self> {
        Url::parse(text).ok().map(Self)
    }

    /// The whole link. Only the media client may call this, and must not keep or print it.
    pub const fn expose(&self) -> &Url {
        &self.0
    }
}

impl From<Url> for SignedUrl {
    fn from(url: Url) -> Self {
        Self(url)
    }
}

impl fmt::Display for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.0.host_str().unwrap_or("?");
        match self.0.port() {
            Some(port) => write!(f, "{}://{host}:{port}/…", self.0.scheme()),
            None => write!(f, "{}://{host}/…", self.0.scheme()),
        }
    }
}

impl fmt::Debug for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scheme_and_host_are_shown() {
        let link = SignedUrl::parse(
            "https://user:pass@s3.example.com:8443/bucket/secret-path.mp4?X-Amz-Signature=abc#frag",
        )
        .unwrap();
        assert_eq!(link.to_string(), "https://s3.example.com:8443/…");
        assert_eq!(
            format!("{link:?}"),
            "SignedUrl(https://s3.example.com:8443/…)"
        );
    }

    #[test]
    fn what_is_no_link_is_refused() {
        for text in ["", "/relative/path", "//host/path", "https://", "not a url"] {
            assert_eq!(SignedUrl::parse(text), None, "{text:?}");
        }
    }
}
