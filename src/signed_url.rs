//! A signed media link: a secret that is spent by the media client and shown to nobody.

use std::fmt;

use url::{Position, Url};

/// A short-lived link to a recording's bytes.
///
/// Whoever holds the link may fetch the recording, so neither `Display` nor `Debug` shows more
/// than scheme and host, it is not serializable, and there is no `Deref` to the [`Url`] within.
///
/// The text is kept beside the parsed URL: parsing normalises it, and a signature may cover every
/// byte of what is requested.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedUrl {
    url: Url,
    verbatim: Option<Verbatim>,
}

/// Parts of the link as they were spelled.
#[derive(Clone, PartialEq, Eq)]
struct Verbatim {
    /// Without the default port, which no client sends.
    host: String,
    path_and_query: String,
}

impl SignedUrl {
    /// Takes a link as the provider sent it; `None` unless it is an absolute URL. Where it may
    /// lead is for the media client to say.
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let verbatim = Verbatim::of(text, &url);
        Some(Self { url, verbatim })
    }

    /// The link that a `Location` header of this link's answer leads to.
    pub fn join(&self, location: &str) -> Option<Self> {
        if location.starts_with('/') && !location.starts_with("//") {
            let origin = &self.url[..Position::BeforePath];
            return Self::parse(&format!("{origin}{location}"));
        }
        Self::parse(location).or_else(|| self.url.join(location).ok().map(Self::from))
    }

    /// The whole link, normalised. Only the media client may call this, and must not keep or print
    /// it.
    pub const fn expose(&self) -> &Url {
        &self.url
    }

    /// Path and query as the provider spelled them. Only characters that no request line can hold
    /// are percent-encoded.
    pub fn request_target(&self) -> &str {
        match &self.verbatim {
            Some(verbatim) => &verbatim.path_and_query,
            None => &self.url[Position::BeforePath..Position::AfterQuery],
        }
    }

    /// Host and port as the provider spelled them; not the default port.
    pub fn host_header(&self) -> &str {
        match &self.verbatim {
            Some(verbatim) => &verbatim.host,
            None => &self.url[Position::BeforeHost..Position::AfterPort],
        }
    }
}

impl Verbatim {
    /// `None` where the text is not spelled as `scheme://host[:port]/…`, but in one of the other
    /// ways that URL parsers accept.
    fn of(text: &str, url: &Url) -> Option<Self> {
        let (_, rest) = text.split_once("://")?;
        let (rest, _) = rest.split_once('#').unwrap_or((rest, ""));
        let path_at = rest.find(['/', '?', '\\']).unwrap_or(rest.len());
        let (host, path_and_query) = rest.split_at(path_at);
        let host = match (url.port_or_known_default(), url.port()) {
            (Some(port), None) => host.strip_suffix(&format!(":{port}")).unwrap_or(host),
            _ => host,
        };
        let path_and_query = match path_and_query.as_bytes().first() {
            Some(b'/') => encode_unsendable(path_and_query),
            Some(b'?') => encode_unsendable(&format!("/{path_and_query}")),
            None => "/".to_owned(),
            Some(_) => return None,
        };
        let same = Self {
            host: host.to_owned(),
            path_and_query,
        };
        // Whatever the spelling, it must lead to where the parsed URL leads.
        let again = format!("{}://{}{}", url.scheme(), same.host, same.path_and_query);
        let again = Url::parse(&again).ok()?;
        let is_same = again[..Position::AfterQuery] == url[..Position::AfterQuery]
            && same
                .host
                .eq_ignore_ascii_case(&url[Position::BeforeHost..Position::AfterPort]);
        is_same.then_some(same)
    }
}

/// Percent-encodes what a request line cannot hold.
fn encode_unsendable(text: &str) -> String {
    use std::fmt::Write as _;

    let mut encoded = String::with_capacity(text.len());
    let mut in_query = false;
    for byte in text.bytes() {
        in_query |= byte == b'?';
        let sendable = match byte {
            b'"' | b'<' | b'>' => false,
            b'`' => in_query,
            _ => byte.is_ascii_graphic(),
        };
        if sendable {
            encoded.push(byte.into());
        } else {
            let written = write!(encoded, "%{byte:02X}");
            debug_assert!(written.is_ok(), "writing to a String does not fail");
        }
    }
    encoded
}

impl From<Url> for SignedUrl {
    fn from(url: Url) -> Self {
        Self {
            url,
            verbatim: None,
        }
    }
}

impl fmt::Display for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.url.host_str().unwrap_or("?");
        match self.url.port() {
            Some(port) => write!(f, "{}://{host}:{port}/…", self.url.scheme()),
            None => write!(f, "{}://{host}/…", self.url.scheme()),
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

    #[test]
    fn request_target_is_what_the_provider_spelled() {
        for (text, host, target) in [
            ("https://h.example/a", "h.example", "/a"),
            ("https://h.example", "h.example", "/"),
            ("https://h.example?b='c'", "h.example", "/?b='c'"),
            ("https://h.example/a/./b/../c", "h.example", "/a/./b/../c"),
            (
                "https://h.example/%2e%2e/a%7e~",
                "h.example",
                "/%2e%2e/a%7e~",
            ),
            (
                "https://h.example/it's?it's=\"{|}^\\",
                "h.example",
                "/it's?it's=%22{|}^\\",
            ),
            ("https://h.example/a\\b//c", "h.example", "/a\\b//c"),
            ("https://h.example/a b\u{e4}", "h.example", "/a%20b%C3%A4"),
            ("https://h.example/a?b#c", "h.example", "/a?b"),
            ("https://H.Example:443/a", "H.Example", "/a"),
            ("https://h.example:8443/a", "h.example:8443", "/a"),
            ("HTTPS://h.example/a", "h.example", "/a"),
            // Spelled in a way that no request can repeat.
            (" https:\\\\h.example\\a'", "h.example", "/a'"),
            ("https:h.example/a/./b", "h.example", "/a/b"),
            ("https://h\u{fc}.example/a", "xn--h-eha.example", "/a"),
            ("https://0x8.8.8.8/./a", "8.8.8.8", "/a"),
            ("https://h.example/a\nb/./c", "h.example", "/ab/c"),
        ] {
            let link = SignedUrl::parse(text).unwrap();
            let spelled = (link.host_header(), link.request_target());
            assert_eq!(spelled, (host, target), "{text}");
        }
    }

    #[test]
    fn redirect_keeps_the_spelling_of_its_location() {
        let link = SignedUrl::parse("https://h.example:8443/a/b?c").unwrap();
        for (location, leads_to) in [
            ("/d/./e'?'", "https://h.example:8443/d/./e'?'"),
            ("https://i.example/'?'", "https://i.example/'?'"),
            ("//i.example/d", "https://i.example/d"),
            ("d", "https://h.example:8443/a/d"),
        ] {
            let next = link.join(location).unwrap();
            let scheme = next.expose().scheme();
            let spelled = format!("{scheme}://{}{}", next.host_header(), next.request_target());
            assert_eq!(spelled, leads_to, "{location}");
        }
    }
}
