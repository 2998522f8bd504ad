//! `database.url`: which parameters it may have, and what is risky about it. The text holds
//! secrets, so neither an error nor a warning repeats a value of it.

use std::net::IpAddr;

use percent_encoding::percent_decode_str;
use url::Url;

use super::database_hosts::{DatabaseUrl, SessionTarget, each_host};

/// A checked URL of one host, as the driver takes it.
#[derive(Debug, PartialEq, Eq)]
struct HostUrl {
    /// Without the parameters that the driver does not know: it would log their values.
    text: String,
    target: SessionTarget,
    /// Each with its fix.
    warnings: Vec<String>,
}

/// Parameters whose value may be any text.
const TEXTS: [&str; 13] = [
    "host",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
];
/// Known to libpq and no loss: left out without a word.
const HARMLESS: [&str; 3] = ["fallback_application_name", "client_encoding", "gssencmode"];
const SSL_MODES: [&str; 6] = [
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
];

/// Checks a URL, and returns it with warnings. `variable` reads the environment, where the driver
/// looks for what the URL leaves open.
pub(super) fn parse(
    text: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(DatabaseUrl, Vec<String>), String> {
    let mut taken = DatabaseUrl {
        hosts: Vec::new(),
        target: SessionTarget::default(),
    };
    let mut warnings = Vec::new();
    for host in each_host(text)? {
        let host = parse_host(&host, &variable)?;
        taken.hosts.push(host.text.into());
        taken.target = host.target;
        for warning in host.warnings {
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
    }
    Ok((taken, warnings))
}

fn parse_host(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<HostUrl, String> {
    let problem = match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "postgres" | "postgresql") => {
            return parameters(url, variable);
        }
        Ok(_) => "it is for another database".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(format!(
        "not a Postgres URL such as \"postgres://user:password@host:5432/name\" ({problem}); characters like @ / # in a password are written %40 %2F %23"
    ))
}

fn parameters(mut url: Url, variable: impl Fn(&str) -> Option<String>) -> Result<HostUrl, String> {
    let given: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let mut kept = Vec::new();
    let mut warnings = Vec::new();
    let mut host = url.host_str().map(|host| {
        let decoded = percent_decode_str(host).decode_utf8_lossy();
        decoded.trim_matches(['[', ']']).to_owned()
    });
    let mut ssl_mode = None;
    let mut target = SessionTarget::default();
    for (name, value) in given {
        let expected = match name.as_str() {
            "sslmode" | "ssl-mode" => {
                let known = SSL_MODES.contains(&value.to_ascii_lowercase().as_str());
                ssl_mode = Some(value.to_ascii_lowercase());
                (!known).then(|| format!("one of {}", SSL_MODES.join(", ")))
            }
            "target_session_attrs" => match value.parse() {
                Ok(known) => {
                    target = known;
                    continue;
                }
                Err(expected) => Some(expected),
            },
            "port" => value
                .parse::<u16>()
                .err()
                .map(|_| "a port number".to_owned()),
            "hostaddr" => {
                host = Some(value.clone());
                let address = value.parse::<IpAddr>();
                address.err().map(|_| "an IP address".to_owned())
            }
            "statement-cache-capacity" => value
                .parse::<usize>()
                .err()
                .map(|_| "a whole number".to_owned()),
            "sslpassword" => {
                return Err("the parameter `sslpassword` is not supported: decrypt the key of sslkey (`openssl pkey`), and protect the file by its permissions".to_owned());
            }
            known if TEXTS.contains(&known) || known.starts_with("options[") => {
                if known == "host" {
                    host = Some(value.clone());
                }
                None
            }
            unknown => {
                if !HARMLESS.contains(&unknown) {
                    warnings.push(format!(
                        "database.url: the parameter `{}` is not supported and ignored; remove it",
                        printable_name(unknown)
                    ));
                }
                continue;
            }
        };
        if let Some(expected) = expected {
            return Err(format!("the parameter `{name}` is not {expected}"));
        }
        kept.push((name, value));
    }
    let ssl_mode = ssl_mode.or_else(|| variable("PGSSLMODE"));
    let host = host.filter(|host| !host.is_empty());
    let host = host.or_else(|| variable("PGHOSTADDR"));
    let host = host.or_else(|| variable("PGHOST"));
    warnings.extend(host.and_then(|host| unencrypted(&host, ssl_mode.as_deref())));
    if url.query().is_some() {
        if kept.is_empty() {
            url.set_query(None);
        } else {
            url.query_pairs_mut().clear().extend_pairs(kept);
        }
    }
    Ok(HostUrl {
        text: url.into(),
        target,
        warnings,
    })
}

/// A server that may decline TLS is sent the password in clear text if it asks for it.
fn unencrypted(host: &str, ssl_mode: Option<&str>) -> Option<String> {
    let ssl_mode = ssl_mode.unwrap_or("prefer");
    let address: Option<IpAddr> = host.parse().ok();
    let is_local = host.starts_with('/')
        || host == "localhost"
        || address.is_some_and(|address| address.is_loopback());
    let is_encrypted = matches!(ssl_mode, "require" | "verify-ca" | "verify-full");
    (!is_local && !is_encrypted).then(|| {
        "database.url: the host is remote and sslmode is weaker than `require`: whoever answers \
         may decline encryption and be sent the password in clear text; add \
         `?sslmode=verify-full` (with `sslrootcert` for a CA of your own)"
            .to_owned()
    })
}

/// A parameter's name as it may be shown: a name that is none may be a piece of a password.
fn printable_name(name: &str) -> &str {
    let is_name = !name.is_empty()
        && name.len() <= 40
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'-'));
    if is_name { name } else { "(hidden)" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<HostUrl, String> {
        parse_host(text, |_| None)
    }

    #[test]
    fn a_url_of_another_kind_is_refused_and_never_repeated() {
        for text in [
            "postgres://u:p@localhost/d",
            "postgresql:///d?host=/run/postgresql",
        ] {
            let taken = parsed(text).unwrap();
            assert_eq!(taken.text, text.replace("=/run/", "=%2Frun%2F"));
            assert_eq!(taken.warnings, Vec::<String>::new());
        }
        for text in [
            "mysql://u:hunter2@h/d",
            "hunter2",
            "postgres://u:hun#ter2@h:x/d",
        ] {
            let error = parsed(text).unwrap_err();
            assert!(
                !error.contains("hunter2") && !error.contains("hun#"),
                "{error}"
            );
            assert!(error.contains("postgres://"), "{error}");
        }
    }

    #[test]
    fn no_value_of_a_parameter_is_shown_or_handed_on_unknown() {
        for name in [
            "sslpassword",
            "sslmode",
            "port",
            "hostaddr",
            "statement-cache-capacity",
        ] {
            let error = parsed(&format!("postgres://h/d?{name}=hunter2")).unwrap_err();
            assert!(
                error.contains(name) && !error.contains("hunter2"),
                "{error}"
            );
        }
        let taken = parsed(
            "postgres://localhost/d?channel_binding=hunter2&sslmode=require&hunter2=x&client_encoding=utf8",
        )
        .unwrap();
        assert_eq!(taken.text, "postgres://localhost/d?sslmode=require");
        assert_eq!(taken.warnings.len(), 2, "{:?}", taken.warnings);
        assert!(taken.warnings[0].contains("`channel_binding`"));
        for warning in &taken.warnings {
            assert!(!warning.contains("hunter2"), "{warning}");
        }
    }

    #[test]
    fn a_remote_host_without_demanded_tls_is_warned_of() {
        for (text, variables, warned) in [
            ("postgres://u:p@db.example/d", &[][..], true),
            ("postgres://u:p@db.example/d?sslmode=prefer", &[], true),
            ("postgres://u:p@db.example/d?sslmode=disable", &[], true),
            ("postgres://u:p@10.0.0.7/d", &[], true),
            ("postgres://u:p@[2001:db8::1]/d", &[], true),
            ("postgres://u:p@localhost/d?host=db.example", &[], true),
            ("postgres:///d", &[("PGHOST", "db.example")], true),
            ("postgres://u:p@db.example/d?sslmode=require", &[], false),
            (
                "postgres://u:p@db.example/d?sslmode=verify-full",
                &[],
                false,
            ),
            (
                "postgres://u:p@db.example/d",
                &[("PGSSLMODE", "verify-ca")],
                false,
            ),
            ("postgres://u:p@localhost/d", &[], false),
            ("postgres://u:p@127.0.0.1:5433/d", &[], false),
            ("postgres://u:p@[::1]/d", &[], false),
            ("postgres://u@%2Frun%2Fpostgresql/d", &[], false),
            ("postgres:///d?host=/run/postgresql", &[], false),
            ("postgres:///d", &[], false),
        ] {
            let variable = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            let (_, warnings) = parse(text, variable).unwrap();
            assert_eq!(warnings.len(), usize::from(warned), "{text}: {warnings:?}");
            assert!(warnings.iter().all(|it| it.contains("sslmode=verify-full")));
        }
    }
}
