//! `health`: asks the service on this host whether it is alive. Images without a shell and without
//! curl have nothing else to ask with.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;

use super::exit::{Exit, UsageError};
use crate::printable::printable;

/// A service that takes longer to say that it is alive is not.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Asks `/livez` at `listen`, the `http.listen` that the service was started with.
///
/// # Errors
///
/// [`UsageError`] without an address; any other when nobody answers there.
pub(super) async fn run(listen: Option<SocketAddr>, out: &mut impl Write) -> anyhow::Result<Exit> {
    let listen = listen
        .ok_or_else(|| UsageError("http.listen is off: the service cannot be asked".to_owned()))?;
    let url = format!("http://{}/livez", reached_at(listen));
    let client = reqwest::Client::builder()
        // The way to one's own host leads through no proxy.
        .no_proxy()
        .timeout(ANSWERS_WITHIN)
        .build()
        .context("set up the HTTP client")?;
    let answer = client.get(&url).send().await.context("ask the service")?;
    let is_alive = answer.status().is_success();
    let text = answer.text().await.context("read the service's answer")?;
    if !is_alive {
        anyhow::bail!("{url}: {}", printable(text.trim_end()));
    }
    writeln!(out, "alive")?;
    Ok(Exit::Done)
}

/// Where one who listens on `address` is reached from the same host.
fn reached_at(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_listens_everywhere_is_reached_on_loopback() {
        for (listen, reached) in [
            ("0.0.0.0:9464", "127.0.0.1:9464"),
            ("[::]:9464", "[::1]:9464"),
            ("192.0.2.7:80", "192.0.2.7:80"),
        ] {
            assert_eq!(reached_at(listen.parse().unwrap()).to_string(), reached);
        }
    }
}
