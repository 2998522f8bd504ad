//! The layers of the configuration before anything is checked: file, credential files,
//! environment. Finds each setting's text and where it came from.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

use super::database_hosts::each_host;
use super::environment::Environment;
use super::file::ConfigFile;
use super::keys::{self, CONFIG_VARIABLE, KEYS, Key, VARIABLE_PREFIX};

/// Where a setting's value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    /// The configuration file; the line counts from 1.
    File {
        path: PathBuf,
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A file that holds one secret.
    CredentialFile(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
            Self::CredentialFile(path) => write!(f, "credential file {}", path.display()),
        }
    }
}

/// A setting's text. Any of them may be a secret, or hold one by mistake.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) text: SecretString,
    pub(super) origin: Origin,
    pub(super) place: Place,
}

/// The place of a setting as an error shows it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) at: String,
    /// The line of the file with a mark, each line of it after a newline; empty for other places.
    pub(super) picture: String,
}

impl Place {
    pub(super) const fn named(at: String) -> Self {
        Self {
            at,
            picture: String::new(),
        }
    }

    pub(super) fn fault(&self, reason: &str) -> String {
        format!("{}: {reason}{}", self.at, self.picture)
    }
}

/// What all layers together say, and what is wrong or odd with them.
#[derive(Debug, Default)]
pub(super) struct Settings {
    given: BTreeMap<&'static str, Given>,
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Settings {
    pub(super) fn gather(file: Option<&ConfigFile>, environment: &Environment) -> Self {
        let mut settings = Self::default();
        if let Some(file) = file {
            settings.given = file.settings(&mut settings.problems);
            let holds_secret = KEYS
                .iter()
                .any(|key| key.credential.is_some() && settings.given.contains_key(key.name));
            if holds_secret {
                settings.warn_if_open(file.path());
            }
        }
        for key in KEYS {
            if let Some(given) = settings.outside_the_file(key, environment) {
                settings.given.insert(key.name, given);
            }
        }
        settings.warn_of_unknown_variables(environment);
        settings
    }

    pub(super) fn get(&self, name: &str) -> Option<&Given> {
        self.given.get(name)
    }

    /// Each setting that is set, as it is written.
    pub(super) fn texts(&self) -> BTreeMap<&'static str, SecretString> {
        let texts = self.given.iter();
        texts
            .map(|(name, given)| (*name, given.text.clone()))
            .collect()
    }

    /// The strongest of: own variable, conventional variable, file named by either, systemd
    /// credential.
    fn outside_the_file(&mut self, key: &Key, environment: &Environment) -> Option<Given> {
        let mut from_variables = Vec::new();
        for variable in key.variables() {
            match environment.get(&variable).map(OsStr::to_str) {
                Some(Some(text)) => from_variables.push((variable, text)),
                Some(None) => self.problems.push(format!("{variable}: not UTF-8")),
                None => {}
            }
        }
        if let [(winner, text), (loser, other), ..] = from_variables.as_slice()
            && text != other
        {
            self.warnings.push(format!(
                "{winner} and {loser} are both set and differ: {winner} counts; unset one"
            ));
        }
        if let Some((variable, text)) = from_variables.into_iter().next() {
            return Some(Given {
                text: text.into(),
                place: Place::named(format!("environment variable {variable}")),
                origin: Origin::Environment(variable),
            });
        }
        for variable in key.file_variables() {
            if let Some(path) = environment.get(&variable) {
                return self.read_credential(&environment.absolute(path), &variable);
            }
        }
        let path = environment
            .absolute(environment.get("CREDENTIALS_DIRECTORY")?)
            .join(key.credential?);
        path.exists()
            .then(|| self.read_credential(&path, "CREDENTIALS_DIRECTORY"))
            .flatten()
    }

    fn read_credential(&mut self, path: &Path, variable: &str) -> Option<Given> {
        let origin = Origin::CredentialFile(path.to_owned());
        let place = Place::named(format!("{origin} (named by {variable})"));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                self.problems.push(place.fault(&error.to_string()));
                return None;
            }
        };
        self.warn_if_open(path);
        // Editors and `echo` end a file with a newline that is no part of the secret.
        let text = text.trim_end_matches(['\n', '\r']);
        if text.is_empty() {
            self.problems.push(place.fault("it is empty"));
            return None;
        }
        Some(Given {
            text: text.into(),
            origin,
            place,
        })
    }

    /// A group may read a secret (a service's own group is the usual way to share it with root);
    /// everybody may not.
    fn warn_if_open(&mut self, path: &Path) {
        let mode = std::fs::metadata(path).map_or(0, |file| file.permissions().mode());
        if mode & 0o007 != 0 {
            let path = path.display();
            self.warnings.push(format!(
                "{path} holds a secret and is open to every user: run `chmod o= {path}`, or `chmod 600 {path}` if only its owner needs it"
            ));
        }
    }

    fn warn_of_unknown_variables(&mut self, environment: &Environment) {
        let mut known: Vec<String> = KEYS
            .iter()
            .flat_map(|key| [key.variables(), key.file_variables()])
            .flatten()
            .collect();
        known.push(CONFIG_VARIABLE.to_owned());
        for name in environment.names() {
            if name.starts_with(VARIABLE_PREFIX) && !known.iter().any(|known| known == name) {
                self.warnings.push(format!(
                    "{name} is set, but there is no such setting: see config.example.toml"
                ));
            }
        }
    }
}

/// A value as it may be shown: secrets hidden, passwords in URLs taken out.
pub(super) fn shown(name: &str, given: &Given) -> String {
    let text = given.text.expose_secret();
    let is_secret = keys::find(name).is_none_or(|key| key.credential.is_some());
    if !is_secret && !text.contains('@') {
        return text.to_owned();
    }
    let hidden = || "(hidden)".to_owned();
    if is_secret && name != "database.url" {
        return hidden();
    }
    let Ok(urls) = each_host(text) else {
        return hidden();
    };
    let urls: Option<Vec<url::Url>> = urls
        .iter()
        .map(|url| url::Url::parse(url).ok().filter(url::Url::has_host))
        .collect();
    let Some(urls) = urls.filter(|urls| !urls.is_empty()) else {
        return hidden();
    };
    let places: Vec<String> = urls
        .iter()
        .map(|url| {
            let port = url.port().map(|port| format!(":{port}"));
            let host = url.host_str().unwrap_or_default();
            format!("{host}{}", port.unwrap_or_default())
        })
        .collect();
    format!(
        "{}://…@{}{}",
        urls[0].scheme(),
        places.join(","),
        urls[0].path()
    )
}
