//! Texts to checked values: every section's constructor, and what must hold between them.

use std::num::{NonZeroU16, NonZeroU64};
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::addressing::{Addressing, virtual_endpoint};
use super::database_hosts::DatabaseUrl;
use super::database_url;
use super::environment::Environment;
use super::keys::{self, Key};
use super::raw::{Given, Origin, Settings};
use super::sections::{
    ChecksumMode, DiscoveryConfig, FinanceConfig, HttpConfig, LogConfig, RetireConfig,
    S3Credentials, SignalWireConfig, StorageConfig, StorageLocation, SweepConfig, TransferConfig,
    VerifyConfig, VerifyMode, WorkerConfig,
};
use super::{trust, value};
use crate::storage::is_cold_class;

const MIB: u64 = 1 << 20;
const SECOND: Duration = Duration::from_secs(1);
/// Far below the week after which the queue takes a lease for written by a wrong clock.
const LONGEST_LEASE: Duration = Duration::from_hours(24);

/// Reads settings one by one and collects what is wrong with them.
pub(super) struct Checker<'a> {
    pub(super) settings: &'a mut Settings,
    pub(super) environment: &'a Environment,
}

impl Checker<'_> {
    /// The value, `None` if it is not set or is wrong (which is noted).
    fn optional<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let given = self.settings.get(name)?;
        match parse(given.text.expose_secret()) {
            Ok(value) => Some(value),
            Err(reason) => {
                let problem = given.place.fault(&format!("`{name}`: {reason}"));
                self.settings.problems.push(problem);
                None
            }
        }
    }

    /// The value, or the default. A wrong value is noted, and the default stands in for it until
    /// all problems are reported.
    fn value<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> T {
        self.optional(name, &parse).unwrap_or_else(|| {
            keys::find(name)
                .and_then(|key| key.default)
                .and_then(|text| parse(text).ok())
                .expect("this key has a default, and the tests parse every default")
        })
    }

    fn secret(&self, name: &str) -> Option<SecretString> {
        self.settings.get(name).map(|given| given.text.clone())
    }

    /// A signed link lives a week at most: what is longer would be refused for every recording.
    fn media_ttl(&mut self) -> Duration {
        const LONGEST: Duration = Duration::from_hours(7 * 24);
        self.value("signalwire.media_ttl", |text| {
            let ttl = value::duration(text, SECOND)?;
            if ttl > LONGEST {
                return Err("a signed link lives 7d at most".into());
            }
            Ok(ttl)
        })
    }

    fn duration(&mut self, name: &str, shortest: Duration) -> Duration {
        self.value(name, |text| value::duration(text, shortest))
    }

    /// How to set each of these that is not set.
    fn missing(&self, names: &[&str]) -> Vec<String> {
        names
            .iter()
            .filter(|name| self.settings.get(name).is_none())
            .filter_map(|name| keys::find(name))
            .map(Key::ways)
            .collect()
    }

    /// The directory of the embedded defaults, absolute, and where it came from.
    pub(super) fn data_dir(&mut self) -> (PathBuf, Origin) {
        if let Some(Given { text, origin, .. }) = self.settings.get("data_dir") {
            let path = self.environment.absolute(text.expose_secret());
            return (path, origin.clone());
        }
        // systemd lists several directories with colons; the first is the service's own.
        let variable = "STATE_DIRECTORY";
        let given = self
            .environment
            .get(variable)
            .and_then(|list| list.to_str());
        match given.and_then(|list| list.split(':').next()) {
            Some(path) if !path.is_empty() => (
                self.environment.absolute(path),
                Origin::Environment(variable.to_owned()),
            ),
            _ => (
                self.environment.absolute("recording-archive"),
                Origin::Default,
            ),
        }
    }

    /// Refuses the default directory where it is used, exists and could be somebody else's: as root,
    /// its server would run as that user, and files would go wherever a link in it leads.
    pub(super) fn demand_trusted_data_dir(&mut self, data_dir: &Path, origin: &Origin) {
        let is_used = ["database.url", "storage.url"]
            .iter()
            .any(|key| self.settings.get(key).is_none());
        if *origin != Origin::Default || !is_used {
            return;
        }
        if let Some(reason) = trust::distrust_directory(data_dir) {
            let shown = data_dir.display();
            self.settings.problems.push(format!(
                "data_dir: {shown}, found in the current directory: {reason}; if you trust it, set \
                 RECORDING_ARCHIVER_DATA_DIR={shown}, else make it yours alone (chown, chmod go-w)"
            ));
        }
    }

    /// The section, or how to set what is missing of it.
    pub(super) fn signalwire(&mut self) -> Result<SignalWireConfig, Vec<String>> {
        let space = self.optional("signalwire.space", value::space);
        let project_id = self.optional("signalwire.project_id", value::project_id);
        let api_token = self.secret("signalwire.api_token");
        // The token goes into a header.
        self.optional("signalwire.api_token", value::word);
        let media_ttl = self.media_ttl();
        let requests_per_second = self.value("signalwire.requests_per_second", value::rate);
        let allow_private_media = self.optional("signalwire.allow_private_media", value::boolean);
        let (Some(space), Some(project_id), Some(api_token)) = (space, project_id, api_token)
        else {
            return Err(self.missing(&[
                "signalwire.space",
                "signalwire.project_id",
                "signalwire.api_token",
            ]));
        };
        Ok(SignalWireConfig {
            api_base: space.api_base,
            space: space.name,
            project_id,
            api_token,
            media_ttl,
            requests_per_second,
            allow_private_media: allow_private_media.unwrap_or(space.is_loopback),
            require_https: !space.is_loopback,
        })
    }

    pub(super) fn database_url(&mut self) -> Option<DatabaseUrl> {
        let environment = self.environment;
        let variable = |name: &str| {
            environment
                .get(name)
                .and_then(|it| it.to_str())
                .map(str::to_owned)
        };
        let (url, warnings) =
            self.optional("database.url", |text| database_url::parse(text, variable))?;
        self.settings.warnings.extend(warnings);
        Some(url)
    }

    /// The section, and how to set what a bucket needs and lacks.
    pub(super) fn storage(&mut self, data_dir: &Path) -> (StorageConfig, Vec<String>) {
        let environment = self.environment;
        let location = self
            .optional("storage.url", |text| value::location(text, environment))
            .unwrap_or_else(|| StorageLocation::File {
                root: data_dir.join("objects"),
            });
        let endpoint = self.optional("storage.endpoint", value::endpoint);
        let region = self.optional("storage.region", value::word);
        // They go into headers.
        for name in [
            "aws_access_key_id",
            "aws_secret_access_key",
            "aws_session_token",
        ] {
            self.optional(name, value::word);
        }
        let mut missing = Vec::new();
        let mut credentials = S3Credentials::None;
        if matches!(location, StorageLocation::S3 { .. }) {
            if let Some(endpoint) = &endpoint
                && endpoint.scheme() == "http"
                && !value::is_loopback(endpoint)
            {
                self.settings.warnings.push(
                    "storage.endpoint is http: recordings travel unencrypted; use https unless the network is yours"
                        .to_owned(),
                );
            }
            missing = self.missing(&["aws_access_key_id", "aws_secret_access_key"]);
            if self.settings.get("storage.endpoint").is_none() {
                let region = self.missing(&["storage.region"]);
                missing.extend(
                    region.into_iter().map(|ways| {
                        format!("{ways} (or storage.endpoint, if the store is not AWS)")
                    }),
                );
            }
            if let (Some(access_key_id), Some(secret_access_key)) = (
                self.secret("aws_access_key_id"),
                self.secret("aws_secret_access_key"),
            ) {
                credentials = S3Credentials::Static {
                    access_key_id,
                    secret_access_key,
                    session_token: self.secret("aws_session_token"),
                };
            }
        }
        let addressing = self.addressing(&location, endpoint.as_ref());
        let storage = StorageConfig {
            location,
            endpoint,
            region,
            addressing,
            checksum: self.value("storage.checksum", parse_word),
            verify: self.value("storage.verify", parse_word),
            part_size_bytes: self.value("storage.part_size", |text| {
                value::size(text, &(5 * MIB..=5 * 1024 * MIB))
            }),
            storage_class: self.optional("storage.storage_class", value::word),
            kms_key_id: self.optional("storage.kms_key_id", value::word),
            layout: self.value("storage.layout", |text| {
                text.parse().map_err(|error| format!("{error}"))
            }),
            credentials,
        };
        self.demand_readable_class(&storage);
        (storage, missing)
    }

    /// Objects that are proven by reading must be in a class that can be read.
    fn demand_readable_class(&mut self, storage: &StorageConfig) {
        let reads = match (storage.verify, storage.checksum) {
            (VerifyMode::ReadBack, _) => "storage.verify is \"read_back\"",
            (VerifyMode::Auto, ChecksumMode::None) => "storage.checksum is \"none\"",
            (VerifyMode::Auto, _) => return,
        };
        let class = storage.storage_class.as_deref();
        let Some(class) = class.filter(|it| is_cold_class(it)) else {
            return;
        };
        let reason = format!(
            "`storage.storage_class`: objects of {class} cannot be read, but {reads}; set a class that can be read at once, and let a lifecycle rule move the objects later"
        );
        let problem = match self.settings.get("storage.storage_class") {
            Some(given) => given.place.fault(&reason),
            None => reason,
        };
        self.settings.problems.push(problem);
    }

    fn addressing(&mut self, location: &StorageLocation, endpoint: Option<&Url>) -> Addressing {
        let addressing: Addressing = self.value("storage.addressing", parse_word);
        if let (StorageLocation::S3 { bucket, .. }, Some(endpoint)) = (location, endpoint)
            && addressing.is_virtual(Some(endpoint), bucket)
            && virtual_endpoint(endpoint, bucket).is_none()
        {
            let reason = format!(
                "no host name can be made of bucket `{bucket}` and storage.endpoint; set \"path\""
            );
            let given = self.settings.get("storage.addressing");
            let problem = given.map_or_else(|| reason.clone(), |it| it.place.fault(&reason));
            self.settings.problems.push(problem);
        }
        addressing
    }

    /// Comes after [`Self::storage`]: the memory must hold one of its parts.
    pub(super) fn transfer(&mut self, storage: &StorageConfig) -> TransferConfig {
        let memory_limit_bytes = self.value("transfer.memory_limit", |text| {
            value::size(text, &(5 * MIB..=u64::MAX))
        });
        let buffers = TransferConfig::buffer_bytes_of(memory_limit_bytes);
        if buffers < storage.part_size_bytes {
            let reason = format!(
                "three eighths of `transfer.memory_limit` are below `storage.part_size` ({}): they must hold one part at least",
                bytesize::ByteSize(storage.part_size_bytes).display().iec(),
            );
            let given = self
                .settings
                .get("transfer.memory_limit")
                .or_else(|| self.settings.get("storage.part_size"));
            let problem = match given {
                Some(given) => given.place.fault(&reason),
                None => reason,
            };
            self.settings.problems.push(problem);
        }
        TransferConfig {
            connections: self.value("transfer.connections", |text| {
                value::number(text, &(NonZeroU16::MIN..=NonZeroU16::MAX))
            }),
            connections_per_host: self.value("transfer.connections_per_host", |text| {
                value::number(text, &(NonZeroU16::MIN..=NonZeroU16::MAX))
            }),
            memory_limit_bytes,
            idle_timeout: self.duration("transfer.idle_timeout", Duration::from_millis(1)),
            min_bytes_per_second: self
                .value("transfer.min_rate", value::size_or_off)
                .unwrap_or(0),
            bandwidth_limit_bytes: self
                .value("transfer.bandwidth_limit", value::size_or_off)
                .and_then(NonZeroU64::new),
        }
    }

    pub(super) fn worker(&mut self) -> WorkerConfig {
        WorkerConfig {
            concurrency: self.value("worker.concurrency", |text| {
                value::number(text, &(1..=1024))
            }),
            schedule: self.value("worker.schedule", value::schedule),
            lease: self.value("worker.lease", |text| {
                value::duration_within(text, &(SECOND..=LONGEST_LEASE))
            }),
            max_attempts: self.value("worker.max_attempts", |text| {
                value::number(text, &(1..=1000))
            }),
            not_ready_deadline: self.duration("worker.not_ready_deadline", Duration::ZERO),
            drain_timeout: self.duration("worker.drain_timeout", Duration::ZERO),
        }
    }

    pub(super) fn discovery(&mut self) -> DiscoveryConfig {
        DiscoveryConfig {
            schedule: self.value("discovery.schedule", value::schedule_or_off),
        }
    }

    pub(super) fn verify(&mut self) -> VerifyConfig {
        VerifyConfig {
            schedule: self.value("verify.schedule", value::schedule_or_off),
            within: self.duration("verify.within", SECOND),
            bandwidth_limit_bytes: self
                .value("verify.bandwidth_limit", value::size_or_off)
                .and_then(NonZeroU64::new),
        }
    }

    pub(super) fn retire(&mut self) -> RetireConfig {
        RetireConfig {
            enabled: self.value("retire.enabled", value::boolean),
        }
    }

    pub(super) fn sweep(&mut self) -> SweepConfig {
        SweepConfig {
            schedule: self.value("sweep.schedule", value::schedule_or_off),
        }
    }

    pub(super) fn finance(&mut self) -> FinanceConfig {
        FinanceConfig {
            schedule: self.value("finance.schedule", value::schedule_or_off),
            final_after: self.duration("finance.final_after", Duration::ZERO),
        }
    }

    pub(super) fn http(&mut self) -> HttpConfig {
        HttpConfig {
            listen: self.value("http.listen", value::listen),
            hosts: self
                .optional("http.hosts", value::hosts)
                .unwrap_or_default(),
        }
    }

    pub(super) fn log(&mut self) -> LogConfig {
        LogConfig {
            format: self.value("log.format", |text| match text {
                "auto" => Ok(None),
                word => parse_word(word).map(Some),
            }),
            level: self.value("log.level", str::parse),
        }
    }
}

fn parse_word<T: std::str::FromStr<Err = &'static str>>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|expected| format!("`{text}` is not known: {expected}"))
}
