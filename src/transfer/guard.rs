//! Where a media link may lead: checked for the link itself, for every redirect, and for every
//! address a name resolves to.

use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use url::{Host, Url};

/// A signed link takes a few KiB; what is longer than this was made to be.
const MAX_LINK_BYTES: usize = 16 * 1024;

/// What media links may be.
#[derive(Debug, Clone, Copy)]
pub struct LinkPolicy {
    /// Plain http is for the simulator on loopback only.
    pub require_https: bool,
    /// Private, loopback, link-local and other special addresses.
    pub allow_private: bool,
}

/// The link leads where this process must not go. Holds no part of the link but its host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkRefused {
    #[error("the link is not https")]
    NotHttps,
    #[error("the link is longer than {MAX_LINK_BYTES} bytes")]
    TooLong,
    #[error("the link carries user name or password")]
    Credentials,
    #[error("the link has no host")]
    NoHost,
    #[error("{0} is a private or special address")]
    PrivateAddress(IpAddr),
    #[error("the media host resolves only to private or special addresses")]
    PrivateName,
}

impl LinkPolicy {
    /// Checks what the URL itself says. Names are checked when they are resolved.
    pub fn check(self, url: &Url) -> Result<(), LinkRefused> {
        match url.scheme() {
            "https" => {}
            "http" if !self.require_https => {}
            _ => return Err(LinkRefused::NotHttps),
        }
        if url.as_str().len() > MAX_LINK_BYTES {
            return Err(LinkRefused::TooLong);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(LinkRefused::Credentials);
        }
        // `url` has already turned decimal, octal and short IPv4 spellings into addresses.
        match url.host().ok_or(LinkRefused::NoHost)? {
            Host::Domain(_) => Ok(()),
            Host::Ipv4(address) => self.check_address(address.into()),
            Host::Ipv6(address) => self.check_address(address.into()),
        }
    }

    /// Checks an address that is about to be, or has been, connected to.
    pub fn check_address(self, address: IpAddr) -> Result<(), LinkRefused> {
        if self.allow_private || is_public(address) {
            Ok(())
        } else {
            Err(LinkRefused::PrivateAddress(address))
        }
    }
}

/// What a name stands for at the moment.
type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// Resolves names and keeps only the addresses that the policy allows. What it gives is what is
/// connected to: nobody asks a second time, so a name cannot change in between.
#[derive(Clone)]
pub(super) struct GuardedResolver {
    policy: LinkPolicy,
    lookup: Lookup,
}

impl GuardedResolver {
    /// Asks the system.
    pub(super) fn new(policy: LinkPolicy) -> Self {
        Self::with(policy, |name| {
            async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) }.boxed()
        })
    }

    pub(super) fn with(
        policy: LinkPolicy,
        lookup: impl Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self {
            policy,
            lookup: Arc::new(lookup),
        }
    }
}

/// The allowed addresses of a name; the port is for the connector to set.
pub(super) type Resolved = std::vec::IntoIter<SocketAddr>;

impl GuardedResolver {
    pub(super) fn resolve(
        &self,
        name: String,
    ) -> BoxFuture<'static, Result<Resolved, Box<dyn Error + Send + Sync>>> {
        let policy = self.policy;
        let resolved = (self.lookup)(name);
        async move {
            let resolved = resolved.await?;
            let found = !resolved.is_empty();
            let allowed: Vec<SocketAddr> = resolved
                .into_iter()
                .filter(|address| policy.check_address(address.ip()).is_ok())
                .collect();
            if found && allowed.is_empty() {
                return Err(LinkRefused::PrivateName.into());
            }
            Ok(allowed.into_iter())
        }
        .boxed()
    }
}

/// Whether an address belongs to the public internet, by the IANA special-purpose registries.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, d] = address.octets();
    let special = match a {
        0 | 10 | 127 | 224..=255 => true,
        100 => (64..=127).contains(&b),
        // In no registry, but inside every machine of Azure: its platform's own services.
        168 => (b, c, d) == (63, 129, 16),
        169 => b == 254,
        172 => (16..=31).contains(&b),
        192 => matches!((b, c), (0, 0 | 2) | (88, 99) | (168, _)),
        198 => matches!((b, c), (18 | 19, _) | (51, 100)),
        203 => (b, c) == (0, 113),
        _ => false,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // Translation for local use may lead anywhere inside (64:ff9b:1::/48).
    if matches!(address.segments(), [0x64, 0xff9b, 1, ..]) {
        return false;
    }
    // An IPv4 address in disguise is judged as what it leads to.
    if let Some(v4) = embedded_v4(address) {
        return is_public_v4(v4);
    }
    let [first, second, ..] = address.segments();
    // Only 2000::/3 is assigned for global unicast; within it, some is special.
    let global_unicast = first & 0xe000 == 0x2000;
    let special = matches!(
        (first, second),
        (0x2001, 0..=0x01ff | 0x0db8) | (0x3fff, 0..=0x0fff)
    );
    global_unicast && !special
}

/// The IPv4 address inside a mapped, compatible, translated (`64:ff9b::/96`), 6to4 or ISATAP
/// address.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let last = |segments: [u16; 8]| {
        let [a, b] = segments[6].to_be_bytes();
        let [c, d] = segments[7].to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        segments @ ([0, 0, 0, 0, 0, 0 | 0xffff, _, _]
        | [0, 0, 0, 0, 0xffff, 0, _, _]
        | [0x64, 0xff9b, 0, 0, 0, 0, _, _]
        // ISATAP, under whatever network.
        | [_, _, _, _, 0 | 0x200, 0x5efe, _, _]) => Some(last(segments)),
        [0x2002, high, low, ..] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: LinkPolicy = LinkPolicy {
        require_https: true,
        allow_private: false,
    };

    fn verdict(link: &str) -> Result<(), LinkRefused> {
        STRICT.check(&Url::parse(link).unwrap())
    }

    #[test]
    fn public_links_pass() {
        for link in [
            "https://files.signalwire.com/x",
            "https://s3.us-east-2.amazonaws.com/files.signalwire.com/x?X-Amz-Signature=1",
            "https://8.8.8.8/x",
            "https://[2606:4700::1111]/x",
            "https://[2002:808:808::1]/x",
            "https://[2606:4700::5efe:808:808]/x",
            "https://172.15.0.1/",
            "https://172.32.0.1/",
            "https://100.63.0.1/",
            "https://168.63.129.17/",
        ] {
            assert_eq!(verdict(link), Ok(()), "{link}");
        }
    }

    #[test]
    fn only_https_without_credentials_passes() {
        assert_eq!(verdict("http://8.8.8.8/"), Err(LinkRefused::NotHttps));
        assert_eq!(verdict("ftp://8.8.8.8/"), Err(LinkRefused::NotHttps));
        assert_eq!(verdict("file:///etc/passwd"), Err(LinkRefused::NotHttps));
        assert_eq!(
            verdict("https://user@8.8.8.8/"),
            Err(LinkRefused::Credentials)
        );
    }

    #[test]
    fn a_link_has_the_length_of_a_link() {
        let of = |bytes: usize| format!("https://8.8.8.8/{}", "x".repeat(bytes - 16));
        assert_eq!(verdict(&of(MAX_LINK_BYTES)), Ok(()));
        assert_eq!(verdict(&of(MAX_LINK_BYTES + 1)), Err(LinkRefused::TooLong));
    }

    #[test]
    fn the_simulator_is_allowed_on_loopback_when_told_so() {
        let loopback = LinkPolicy {
            require_https: false,
            allow_private: true,
        };
        assert_eq!(
            loopback.check(&Url::parse("http://127.0.0.1:8080/x").unwrap()),
            Ok(())
        );
    }

    #[tokio::test]
    async fn of_what_a_name_stands_for_only_public_addresses_are_left() {
        let cases: [(&[&str], Option<&[&str]>); 6] = [
            (
                &["8.8.8.8", "2606:4700::1111"],
                Some(&["8.8.8.8", "2606:4700::1111"]),
            ),
            (
                &["127.0.0.1", "8.8.8.8", "fd00:ec2::254"],
                Some(&["8.8.8.8"]),
            ),
            // As `metadata.google.internal` does.
            (&["169.254.169.254"], None),
            (&["fd20:ce::254", "::1"], None),
            (&["::ffff:10.0.0.1", "64:ff9b::7f00:1"], None),
            // Nobody of that name is no refusal.
            (&[], Some(&[])),
        ];
        for (stands_for, left) in cases {
            let addresses = |texts: &[&str]| -> Vec<SocketAddr> {
                let texts = texts.iter();
                texts
                    .map(|it| (it.parse::<IpAddr>().unwrap(), 0).into())
                    .collect()
            };
            let found = addresses(stands_for);
            let resolver = GuardedResolver::with(STRICT, move |_| {
                std::future::ready(Ok(found.clone())).boxed()
            });
            match (resolver.resolve("a.name".to_owned()).await, left) {
                (Ok(kept), Some(left)) => {
                    assert_eq!(kept.collect::<Vec<_>>(), addresses(left));
                }
                (Err(error), None) => {
                    assert_eq!(error.downcast_ref(), Some(&LinkRefused::PrivateName));
                }
                (result, _) => panic!(
                    "{stands_for:?}: {:?}",
                    result.map(Iterator::collect::<Vec<_>>)
                ),
            }
        }
    }
}
