//! Every setting there is: its key, its default, the names it goes by outside the file.

use self::Change::{Reload, Restart};
use self::Shape::{Boolean, Integer, Quantity, Text};
use crate::storage::key::Layout;

/// Each key's environment variable begins with this.
pub(super) const VARIABLE_PREFIX: &str = "RECORDING_ARCHIVER_";
/// The environment variable that names the configuration file.
pub(super) const CONFIG_VARIABLE: &str = "RECORDING_ARCHIVER_CONFIG";

/// How a value is written in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A string in quotes.
    Text,
    /// A string with a number and a unit; a bare number gets its own hint.
    Quantity,
    Integer,
    Boolean,
}

/// What it takes for a change of a setting to reach a running service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// SIGHUP: the value is one of [`super::Reloadable`]'s.
    Reload,
    Restart,
}

/// One setting.
#[derive(Debug)]
pub(super) struct Key {
    /// As in the file, with its section. The AWS keys have no place in the file.
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    /// What holds when nothing is set; `None` when absence has a meaning of its own.
    pub(super) default: Option<&'static str>,
    pub(super) change: Change,
    /// The variable that other tools use for the same thing.
    pub(super) conventional: Option<&'static str>,
    /// A secret, and the name of its file under `$CREDENTIALS_DIRECTORY`.
    pub(super) credential: Option<&'static str>,
    pub(super) in_file: bool,
}

impl Key {
    const fn new(
        name: &'static str,
        shape: Shape,
        default: Option<&'static str>,
        change: Change,
    ) -> Self {
        Self {
            name,
            shape,
            default,
            change,
            conventional: None,
            credential: None,
            in_file: true,
        }
    }

    const fn also(mut self, conventional: &'static str) -> Self {
        self.conventional = Some(conventional);
        self
    }

    const fn secret(mut self, credential: &'static str) -> Self {
        self.credential = Some(credential);
        self
    }

    const fn outside_the_file(mut self) -> Self {
        self.in_file = false;
        self
    }

    pub(super) fn section(&self) -> Option<&'static str> {
        self.name.split_once('.').map(|(section, _)| section)
    }

    /// The environment variables that hold the value, the strongest first.
    pub(super) fn variables(&self) -> Vec<String> {
        let own = self.in_file.then(|| {
            let name = self.name.replace('.', "_").to_ascii_uppercase();
            format!("{VARIABLE_PREFIX}{name}")
        });
        let conventional = self.conventional.map(str::to_owned);
        own.into_iter().chain(conventional).collect()
    }

    /// The environment variables that name a file holding the value.
    pub(super) fn file_variables(&self) -> Vec<String> {
        if self.credential.is_none() {
            return Vec::new();
        }
        let mut variables = self.variables();
        for variable in &mut variables {
            variable.push_str("_FILE");
        }
        variables
    }

    /// How to set it, for an operator who has not.
    pub(super) fn ways(&self) -> String {
        let mut ways = Vec::new();
        if self.in_file {
            ways.push(format!("`{}` in the configuration file", self.name));
        }
        ways.extend(self.variables());
        if let Some(credential) = self.credential {
            if let Some(variable) = self.file_variables().pop() {
                ways.push(format!("{variable} (the path of a file that holds it)"));
            }
            ways.push(format!("the systemd credential `{credential}`"));
        }
        format!("{}: {}", self.name, ways.join(", or "))
    }
}

/// All of them, in the order of `config.example.toml`.
pub(super) static KEYS: &[Key] = &[
    Key::new("data_dir", Text, None, Restart),
    Key::new("signalwire.space", Text, None, Restart).also("SIGNALWIRE_SPACE"),
    Key::new("signalwire.project_id", Text, None, Restart).also("SIGNALWIRE_PROJECT_ID"),
    Key::new("signalwire.api_token", Text, None, Reload)
        .also("SIGNALWIRE_API_TOKEN")
        .secret("signalwire_api_token"),
    Key::new("signalwire.media_ttl", Quantity, Some("15m"), Restart),
    Key::new(
        "signalwire.requests_per_second",
        Integer,
        Some("10"),
        Reload,
    ),
    Key::new("signalwire.allow_private_media", Boolean, None, Restart),
    Key::new("database.url", Text, None, Restart)
        .also("DATABASE_URL")
        .secret("database_url"),
    Key::new("storage.url", Text, None, Restart),
    Key::new("storage.endpoint", Text, None, Restart).also("AWS_ENDPOINT_URL"),
    Key::new("storage.region", Text, None, Restart).also("AWS_REGION"),
    Key::new("storage.addressing", Text, Some("auto"), Restart),
    Key::new("storage.checksum", Text, Some("auto"), Restart),
    Key::new("storage.verify", Text, Some("auto"), Restart),
    Key::new("storage.part_size", Quantity, Some("5MiB"), Restart),
    Key::new("storage.storage_class", Text, None, Restart),
    Key::new("storage.kms_key_id", Text, None, Restart),
    Key::new("storage.layout", Text, Some(Layout::DEFAULT), Restart),
    Key::new("aws_access_key_id", Text, None, Restart)
        .also("AWS_ACCESS_KEY_ID")
        .secret("aws_access_key_id")
        .outside_the_file(),
    Key::new("aws_secret_access_key", Text, None, Restart)
        .also("AWS_SECRET_ACCESS_KEY")
        .secret("aws_secret_access_key")
        .outside_the_file(),
    Key::new("aws_session_token", Text, None, Restart)
        .also("AWS_SESSION_TOKEN")
        .secret("aws_session_token")
        .outside_the_file(),
    Key::new("transfer.connections", Integer, Some("4"), Restart),
    Key::new(
        "transfer.connections_per_host",
        Integer,
        Some("32"),
        Restart,
    ),
    Key::new("transfer.memory_limit", Quantity, Some("256MiB"), Restart),
    Key::new("transfer.idle_timeout", Quantity, Some("30s"), Restart),
    Key::new("transfer.min_rate", Quantity, Some("1KiB"), Restart),
    Key::new("transfer.bandwidth_limit", Quantity, Some("off"), Reload),
    Key::new("worker.concurrency", Integer, Some("8"), Reload),
    Key::new("worker.schedule", Text, Some("*/30 * * * * *"), Reload),
    Key::new("worker.lease", Quantity, Some("2m"), Restart),
    Key::new("worker.max_attempts", Integer, Some("10"), Restart),
    Key::new("worker.not_ready_deadline", Quantity, Some("7d"), Restart),
    Key::new("worker.drain_timeout", Quantity, Some("60s"), Reload),
    Key::new("discovery.schedule", Text, Some("off"), Reload),
    Key::new("verify.schedule", Text, Some("off"), Reload),
    Key::new("verify.within", Quantity, Some("90d"), Restart),
    Key::new("verify.bandwidth_limit", Quantity, Some("off"), Reload),
    Key::new("retire.enabled", Boolean, Some("false"), Restart),
    Key::new("sweep.schedule", Text, Some("0 0 * * * *"), Reload),
    Key::new("finance.schedule", Text, Some("0 0 3 * * *"), Reload),
    Key::new("finance.final_after", Quantity, Some("7d"), Restart),
    Key::new("http.listen", Text, Some("127.0.0.1:9464"), Restart),
    Key::new("http.hosts", Text, None, Restart),
    Key::new("log.format", Text, Some("auto"), Restart),
    Key::new("log.level", Text, Some("info"), Reload),
];

/// The key of that name; `None` if there is none.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}
