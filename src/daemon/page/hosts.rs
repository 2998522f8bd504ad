//! Whom the page answers.
//!
//! A web site that makes its own name point here ("DNS rebinding") has the operator's browser ask
//! by that name. So names are taken only from a list: `localhost` and those of `http.hosts`.
//! Addresses need none: a browser sends an address as `Host` only if the person went to that
//! address.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::extract::Request;
use axum::http::header::HOST;
use axum::http::uri::Authority;

/// The names that are taken.
#[derive(Debug)]
pub(super) struct Hosts {
    names: Vec<String>,
}

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No `Host`, several of them, or none that can be read.
    Unclear,
    /// A name that is not on the list.
    Foreign(String),
}

impl Hosts {
    /// `names` are in lower case and without ports.
    pub(super) const fn new(names: Vec<String>) -> Self {
        Self { names }
    }

    /// Whether the request names this server, in its line too if a host stands there.
    pub(super) fn admit<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        let mut given = request.headers().get_all(HOST).iter();
        let (Some(host), None) = (given.next(), given.next()) else {
            return Err(Refusal::Unclear);
        };
        let host: Authority = host
            .to_str()
            .ok()
            .and_then(|host| host.parse().ok())
            .ok_or(Refusal::Unclear)?;
        self.admit_host(&host)?;
        request
            .uri()
            .authority()
            .map_or(Ok(()), |host| self.admit_host(host))
    }

    fn admit_host(&self, authority: &Authority) -> Result<(), Refusal> {
        let host = authority.host();
        if authority.as_str().contains('@') || host.is_empty() {
            return Err(Refusal::Unclear);
        }
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let is_address = name.parse::<Ipv4Addr>().is_ok()
            || name
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
                .is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
        let is_local = name == "localhost" || name.ends_with(".localhost");
        if is_address || is_local || self.names.contains(&name) {
            Ok(())
        } else {
            Err(Refusal::Foreign(name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(names: &[&str], host: &str) -> Result<(), Refusal> {
        let hosts = Hosts::new(names.iter().map(|&name| name.to_owned()).collect());
        hosts.admit(&Request::builder().header(HOST, host).body(()).unwrap())
    }

    #[test]
    fn addresses_and_localhost_are_taken_by_any_port() {
        for host in [
            "127.0.0.1:9464",
            "127.0.0.1",
            "10.1.2.3:80",
            "203.0.113.7",
            "[::1]:9464",
            "[2001:db8::1]",
            "localhost",
            "LocalHost:9464",
            "localhost.",
            "archive.localhost:1",
        ] {
            assert_eq!(verdict(&[], host), Ok(()), "{host}");
        }
    }

    #[test]
    fn other_names_are_taken_only_from_the_list() {
        let names = ["archive.example.com"];
        for host in ["archive.example.com", "ARCHIVE.example.com.:8443"] {
            assert_eq!(verdict(&names, host), Ok(()), "{host}");
        }
        for host in [
            "example.com",
            "x.archive.example.com",
            "archive.example.com.evil.test",
            "localhost.evil.test",
            "evil-localhost",
            "127.0.0.1.evil.test",
            "2130706433",
            "0x7f.0.0.1",
            "1",
        ] {
            let refused = verdict(&names, host);
            assert_eq!(refused, Err(Refusal::Foreign(host.to_owned())));
        }
    }

    #[test]
    fn what_is_no_host_is_unclear() {
        for host in ["", "a b", "user@localhost", "http://localhost/", "[::1"] {
            assert_eq!(verdict(&[], host), Err(Refusal::Unclear), "{host}");
        }
        let hosts = Hosts::new(Vec::new());
        let none = Request::builder().body(()).unwrap();
        assert_eq!(hosts.admit(&none), Err(Refusal::Unclear));
        let twice = Request::builder()
            .header(HOST, "localhost")
            .header(HOST, "evil.test");
        let twice = twice.body(()).unwrap();
        assert_eq!(hosts.admit(&twice), Err(Refusal::Unclear));
        let line = Request::builder()
            .uri("http://evil.test/")
            .header(HOST, "localhost");
        let foreign = Refusal::Foreign("evil.test".to_owned());
        assert_eq!(hosts.admit(&line.body(()).unwrap()), Err(foreign));
    }
}
