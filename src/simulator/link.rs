//! Answers for the short-lived links: what they look like, and which of them still open.
//!
//! The shape is that of a `SigV4` query presign; the signature is an HMAC-SHA256 with a key that
//! only this process knows.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, NaiveDateTime, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};
use url::form_urlencoded;

/// What `SigV4` leaves as it is in a path segment or query value.
pub(super) const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

const DATE_FORMAT: &str = "%Y%m%dT%H%M%SZ";
const SIGNATURE: &str = "&X-Amz-Signature=";

/// A link that opens, as far as its text alone can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ValidLink {
    /// Counts up with each order to kill links; a link older than the last order is dead.
    pub(super) epoch: u64,
    pub(super) issued_at: SystemTime,
    pub(super) ttl: Duration,
}

impl ValidLink {
    /// True from the very instant the lifetime is over.
    pub(super) fn is_expired(&self, now: SystemTime) -> bool {
        now.duration_since(self.issued_at)
            .is_ok_and(|age| age >= self.ttl)
    }
}

/// Why a link does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkRefusal {
    /// There is no signature at all.
    Unsigned,
    /// Any letter of it was changed, or another method or host was used.
    SignatureDoesNotMatch,
}

/// Signs links and recognises its own.
#[derive(Debug)]
pub(super) struct LinkSigner {
    key: [u8; 32],
}

impl LinkSigner {
    pub(super) fn new() -> Self {
        Self {
            key: rand::random(),
        }
    }

    /// The path and query of a link to `path`, for `GET` at `host`.
    pub(super) fn sign(&self, host: &str, path: &str, media_type: &str, link: ValidLink) -> String {
        let issued_at = DateTime::<Utc>::from(link.issued_at);
        // X-Amz-Date knows whole seconds only; the key id carries the rest, so that a lifetime of
        // one second lasts one second.
        let credential = format!(
            "SIM{:X}N{:09}/{}/us-east-2/s3/aws4_request",
            link.epoch,
            issued_at.timestamp_subsec_nanos(),
            issued_at.format("%Y%m%d"),
        );
        let file_name = path.rsplit('/').next().unwrap_or_default();
        let disposition = format!("attachment; filename=\"{file_name}\"");
        let encoded = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
        let query = format!(
            "response-content-disposition={}&response-content-type={}\
             &X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date={}\
             &X-Amz-Expires={}&X-Amz-SignedHeaders=host",
            encoded(&disposition),
            encoded(media_type),
            encoded(&credential),
            issued_at.format(DATE_FORMAT),
            link.ttl.as_secs(),
        );
        let signature = self.signature("GET", host, path, &query);
        format!("{path}?{query}{SIGNATURE}{signature}")
    }

    /// Recognises a link by its text as received; time and epoch are left to the caller.
    pub(super) fn verify(
        &self,
        method: &str,
        host: &str,
        path: &str,
        query: &str,
    ) -> Result<ValidLink, LinkRefusal> {
        if !query.contains("X-Amz-Signature=") {
            return Err(LinkRefusal::Unsigned);
        }
        let (signed, signature) = query
            .rsplit_once(SIGNATURE)
            .ok_or(LinkRefusal::SignatureDoesNotMatch)?;
        if signature != self.signature(method, host, path, signed) {
            return Err(LinkRefusal::SignatureDoesNotMatch);
        }
        parse_signed(signed).ok_or(LinkRefusal::SignatureDoesNotMatch)
    }

    fn signature(&self, method: &str, host: &str, path: &str, query: &str) -> String {
        let text = format!("{method}\n{path}\n{query}\nhost:{host}\n");
        hex::encode(hmac_sha256(&self.key, text.as_bytes()))
    }
}

fn parse_signed(query: &str) -> Option<ValidLink> {
    let value = |name: &str| {
        form_urlencoded::parse(query.as_bytes())
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.into_owned())
    };
    let credential = value("X-Amz-Credential")?;
    let (epoch, nanos) = credential
        .strip_prefix("SIM")?
        .split_once('/')?
        .0
        .split_once('N')?;
    let date = NaiveDateTime::parse_from_str(&value("X-Amz-Date")?, DATE_FORMAT).ok()?;
    let nanos = Duration::from_nanos(nanos.parse().ok()?);
    Some(ValidLink {
        epoch: u64::from_str_radix(epoch, 16).ok()?,
        issued_at: SystemTime::from(date.and_utc()) + nanos,
        ttl: Duration::from_secs(value("X-Amz-Expires")?.parse().ok()?),
    })
}

/// The value a link asks the media host to send for `name`, such as `response-content-type`.
pub(super) fn query_value(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes())
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}

/// HMAC (RFC 2104) with SHA-256, for a key no longer than a block.
pub(super) fn hmac_sha256(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let pad = |byte: u8| {
        let mut block = [byte; 64];
        block
            .iter_mut()
            .zip(key)
            .for_each(|(slot, key_byte)| *slot ^= key_byte);
        block
    };
    let inner = Sha256::new_with_prefix(pad(0x36))
        .chain_update(message)
        .finalize();
    Sha256::new_with_prefix(pad(0x5c))
        .chain_update(inner)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "127.0.0.1:80";
    const PATH: &str = "/files/s/p/video-room-recordings/r.mp4";

    fn link(ttl_secs: u64) -> ValidLink {
        ValidLink {
            epoch: 3,
            issued_at: SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_987_654_321),
            ttl: Duration::from_secs(ttl_secs),
        }
    }

    #[test]
    fn a_link_as_issued_is_recognised() {
        let signer = LinkSigner::new();
        let issued = signer.sign(HOST, PATH, "video/mp4", link(900));
        let (path, query) = issued.split_once('?').unwrap();
        assert_eq!(signer.verify("GET", HOST, path, query), Ok(link(900)));
        assert!(query.contains("X-Amz-Expires=900&"), "{query}");
        assert!(
            query.contains("response-content-type=video%2Fmp4&"),
            "{query}"
        );
        assert_eq!(
            query_value(query, "response-content-type").as_deref(),
            Some("video/mp4")
        );
    }

    #[test]
    fn no_letter_of_a_link_can_be_changed() {
        let signer = LinkSigner::new();
        let issued = signer.sign(HOST, PATH, "video/mp4", link(900));
        let refused = Err(LinkRefusal::SignatureDoesNotMatch);
        let start = issued.find('?').unwrap() + 1;
        let signature_name = issued.find(SIGNATURE).unwrap() + 1;
        for at in start..issued.len() {
            // Without the name of the signature the link counts as unsigned, which is refused too.
            if (signature_name..signature_name + SIGNATURE.len() - 1).contains(&at) {
                continue;
            }
            let mut changed = issued.clone().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).unwrap();
            let (path, query) = changed.split_once('?').unwrap();
            assert_eq!(
                signer.verify("GET", HOST, path, query),
                refused,
                "{changed}"
            );
        }
        let query = &issued[start..];
        assert_eq!(signer.verify("HEAD", HOST, PATH, query), refused);
        assert_eq!(signer.verify("GET", "localhost:80", PATH, query), refused);
        assert_eq!(
            signer.verify("GET", HOST, "/files/other.mp4", query),
            refused
        );
        assert_eq!(
            signer.verify("GET", HOST, PATH, &format!("{query}&a=b")),
            refused
        );
        assert_eq!(
            signer.verify("GET", HOST, PATH, "a=b"),
            Err(LinkRefusal::Unsigned)
        );
        assert_eq!(LinkSigner::new().verify("GET", HOST, PATH, query), refused);
    }

    #[test]
    fn a_link_lives_exactly_as_long_as_asked() {
        let at = |millis| link(1).issued_at + Duration::from_millis(millis);
        assert!(!link(1).is_expired(at(999)));
        assert!(link(1).is_expired(at(1000)));
        assert!(link(0).is_expired(at(0)));
    }

    /// Test case 1 of RFC 4231 uses a 20-byte key; padding it with zeros is the same key.
    #[test]
    fn the_keyed_digest_is_hmac_sha256() {
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        assert_eq!(
            hex::encode(hmac_sha256(&key, b"Hi There")),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
    }
}
