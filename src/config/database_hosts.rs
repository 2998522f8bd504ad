//! Several hosts in `database.url`, as libpq reads them: a list in the authority
//! (`postgres://u@h1:1,h2:2/db`) or in the parameters `host` and `port`.

use std::str::FromStr;

use secrecy::SecretString;
use url::Url;

/// Where the database is.
#[derive(Debug, Clone)]
pub struct DatabaseUrl {
    /// One URL for each host, in the order in which they are tried.
    pub hosts: Vec<SecretString>,
    pub target: SessionTarget,
}

/// Which servers are acceptable: the parameter `target_session_attrs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SessionTarget {
    #[default]
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

impl SessionTarget {
    const ALL: [(&str, Self); 6] = [
        ("any", Self::Any),
        ("read-write", Self::ReadWrite),
        ("read-only", Self::ReadOnly),
        ("primary", Self::Primary),
        ("standby", Self::Standby),
        ("prefer-standby", Self::PreferStandby),
    ];
}

impl FromStr for SessionTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|(name, _)| *name == text);
        known
            .map(|(_, target)| target)
            .ok_or_else(|| format!("one of {}", Self::ALL.map(|(name, _)| name).join(", ")))
    }
}

/// Returns one URL for each host of `text`; errors repeat no value.
pub(super) fn each_host(text: &str) -> Result<Vec<String>, String> {
    let mut urls = Vec::new();
    for url in in_authority(text) {
        urls.extend(in_parameters(&url)?);
    }
    Ok(urls)
}

fn in_authority(text: &str) -> Vec<String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return vec![text.to_owned()];
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let (user, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
    hosts
        .split(',')
        .map(|host| format!("{scheme}://{user}{host}{tail}"))
        .collect()
}

fn in_parameters(text: &str) -> Result<Vec<String>, String> {
    let Ok(url) = Url::parse(text) else {
        // Refused with a reason where each URL is checked.
        return Ok(vec![text.to_owned()]);
    };
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let list = |names: &[&str]| -> Vec<&str> {
        let found = pairs.iter().rfind(|(name, _)| names.contains(&&**name));
        found.map_or_else(Vec::new, |(_, value)| value.split(',').collect())
    };
    let (hosts, addresses, ports) = (list(&["host"]), list(&["hostaddr"]), list(&["port"]));
    let count = hosts.len().max(addresses.len()).max(1);
    if count == 1 && ports.len() <= 1 {
        return Ok(vec![text.to_owned()]);
    }
    for (name, list) in [("host", &hosts), ("hostaddr", &addresses), ("port", &ports)] {
        let is_one_for_all = list.is_empty() || name == "port" && list.len() == 1;
        if !is_one_for_all && list.len() != count {
            return Err(format!(
                "the parameter `{name}` has {} entries for {count} hosts",
                list.len()
            ));
        }
    }
    let of_host = |number: usize| {
        let mut url = url.clone();
        url.query_pairs_mut()
            .clear()
            .extend_pairs(pairs.iter().filter_map(|(name, value)| {
                let list = match name.as_str() {
                    "host" => &hosts,
                    "hostaddr" => &addresses,
                    "port" => &ports,
                    _ => return Some((name.as_str(), value.as_str())),
                };
                let entry = list.get(number).or_else(|| list.first())?;
                (!entry.is_empty()).then_some((name.as_str(), *entry))
            }));
        String::from(url)
    };
    Ok((0..count).map(of_host).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_hosts_become_one_url_each() {
        for (text, urls) in [
            ("postgres://u:p@h/d", &["postgres://u:p@h/d"][..]),
            (
                "postgres://u:p,q@h1:1,h2,[::1]:3/d?sslmode=require",
                &[
                    "postgres://u:p,q@h1:1/d?sslmode=require",
                    "postgres://u:p,q@h2/d?sslmode=require",
                    "postgres://u:p,q@[::1]:3/d?sslmode=require",
                ],
            ),
            (
                "postgres://u@/d?host=h1,h2&port=1,2",
                &[
                    "postgres://u@/d?host=h1&port=1",
                    "postgres://u@/d?host=h2&port=2",
                ],
            ),
            (
                "postgres:///d?host=h1,h2&port=1",
                &[
                    "postgres:///d?host=h1&port=1",
                    "postgres:///d?host=h2&port=1",
                ],
            ),
        ] {
            // An authority that is empty but for the user is no URL of the standard.
            if Url::parse(text).is_err() && text.contains("@/") {
                continue;
            }
            assert_eq!(each_host(text).unwrap(), urls, "{text}");
        }
        let error = each_host("postgres:///d?host=h1,h2,h3&port=1,2").unwrap_err();
        assert!(error.contains("`port`"), "{error}");
    }
}
