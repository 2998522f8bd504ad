//! The configuration: raw TOML and environment in, checked values out.
//!
//! Where a setting comes from, the strongest first:
//!
//! 1. the environment variable `RECORDING_ARCHIVER_<SECTION>_<KEY>`;
//! 2. the conventional variable (`DATABASE_URL`, `SIGNALWIRE_SPACE`, `AWS_REGION`, …);
//! 3. for secrets, the file that `RECORDING_ARCHIVER_<SECTION>_<KEY>_FILE`, then the file that
//!    the conventional variable with `_FILE` names;
//! 4. for secrets, `$CREDENTIALS_DIRECTORY/<name>`, where systemd puts credentials;
//! 5. the configuration file: the one given, else the one that `RECORDING_ARCHIVER_CONFIG` names,
//!    else `./config.toml` unless somebody else could have put it there, which is an error, else
//!    `/etc/recording-archiver/config.toml`;
//! 6. the default.
//!
//! An empty environment variable counts as unset; newlines at the end of a file with a secret are
//! no part of it. The AWS keys have no place in the configuration file.
//!
//! A wrong value is an error wherever it stands, and all are reported at once. A missing one is an
//! error only for the commands that need it: [`Config::signalwire`] and [`Config::storage`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

mod addressing;
mod check;
mod database_hosts;
mod database_url;
mod environment;
mod error;
mod file;
mod keys;
mod log;
mod raw;
mod reload;
mod schedule;
mod sections;
mod trust;
mod value;

pub use addressing::{Addressing, virtual_endpoint};
pub use database_hosts::{DatabaseUrl, SessionTarget};
pub use environment::Environment;
pub use error::ConfigError;
pub use log::LogFilter;
pub use raw::Origin;
pub use reload::{Changes, Reloadable, Schedules};
pub use schedule::{CronSchedule, ScheduleError};
pub use sections::{
    ChecksumMode, DatabaseConfig, DiscoveryConfig, FinanceConfig, HttpConfig, LogConfig, LogFormat,
    RetireConfig, S3Credentials, SignalWireConfig, StorageConfig, StorageLocation, SweepConfig,
    TransferConfig, VerifyConfig, VerifyMode, WorkerConfig,
};
pub(crate) use value::is_loopback;

use check::Checker;
use file::ConfigFile;
use keys::{CONFIG_VARIABLE, KEYS};
use raw::Settings;

/// Every setting, checked. Its `Debug` form holds no secret.
#[derive(Debug, Clone)]
pub struct Config {
    /// The home of the private Postgres and of the objects when no other place is set; absolute.
    pub data_dir: PathBuf,
    pub database: DatabaseConfig,
    pub transfer: TransferConfig,
    pub worker: WorkerConfig,
    pub discovery: DiscoveryConfig,
    pub verify: VerifyConfig,
    pub retire: RetireConfig,
    pub sweep: SweepConfig,
    pub finance: FinanceConfig,
    pub http: HttpConfig,
    pub log: LogConfig,
    signalwire: Result<SignalWireConfig, Vec<String>>,
    storage: StorageConfig,
    missing_for_storage: Vec<String>,
    file: Option<PathBuf>,
    origins: Vec<(&'static str, Origin, String)>,
    /// Each setting that is set, as it is written.
    texts: BTreeMap<&'static str, SecretString>,
    warnings: Vec<String>,
}

impl Config {
    /// Reads and checks everything. `explicit` is the file of the `--config` flag.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Unreadable`] for a file that was named, or found, and cannot be read;
    /// [`ConfigError::Untrusted`] for one that was found and that somebody else could have put there;
    /// [`ConfigError::Invalid`] with all that is wrong.
    pub fn load(explicit: Option<&Path>, environment: &Environment) -> Result<Self, ConfigError> {
        Self::of(find_file(explicit, environment)?, environment)
    }

    /// The same without any file.
    pub(crate) fn of_environment(environment: &Environment) -> Result<Self, ConfigError> {
        Self::of(None, environment)
    }

    /// The same of a text as if it stood in a file.
    pub(crate) fn of_text(
        path: PathBuf,
        text: String,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        Self::of(Some(ConfigFile::of_text(path, text)), environment)
    }

    fn of(file: Option<ConfigFile>, environment: &Environment) -> Result<Self, ConfigError> {
        let mut settings = Settings::gather(file.as_ref(), environment);
        let mut checker = Checker {
            settings: &mut settings,
            environment,
        };

        let (data_dir, data_dir_origin) = checker.data_dir();
        let signalwire = checker.signalwire();
        let database = DatabaseConfig {
            url: checker.database_url(),
        };
        let (storage, missing_for_storage) = checker.storage(&data_dir);
        checker.demand_trusted_data_dir(&data_dir, &data_dir_origin);
        let transfer = checker.transfer(&storage);
        let worker = checker.worker();
        let discovery = checker.discovery();
        let verify = checker.verify();
        let retire = checker.retire();
        let sweep = checker.sweep();
        let finance = checker.finance();
        let http = checker.http();
        let log = checker.log();

        if !settings.problems.is_empty() {
            return Err(ConfigError::Invalid {
                problems: settings.problems,
            });
        }
        let origins = KEYS
            .iter()
            .map(|key| match (key.name, settings.get(key.name)) {
                ("data_dir", _) => {
                    let shown = data_dir.display().to_string();
                    (key.name, data_dir_origin.clone(), shown)
                }
                (name, Some(given)) => (name, given.origin.clone(), raw::shown(name, given)),
                ("storage.url", None) => (key.name, Origin::Default, storage.location.to_string()),
                ("signalwire.allow_private_media", None) => {
                    let follows_space = signalwire.as_ref().is_ok_and(|it| it.allow_private_media);
                    (key.name, Origin::Default, follows_space.to_string())
                }
                (name, None) => {
                    let shown = key.default.unwrap_or("(not set)").to_owned();
                    (name, Origin::Default, shown)
                }
            })
            .collect();
        Ok(Self {
            data_dir,
            database,
            transfer,
            worker,
            discovery,
            verify,
            retire,
            sweep,
            finance,
            http,
            log,
            signalwire,
            storage,
            missing_for_storage,
            file: file.map(|file| file.path().to_owned()),
            origins,
            texts: settings.texts(),
            warnings: settings.warnings,
        })
    }

    /// The provider's section, for the commands that talk to it.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Missing`] lists every setting that is missing and all ways to set it.
    pub fn signalwire(&self) -> Result<&SignalWireConfig, ConfigError> {
        self.signalwire
            .as_ref()
            .map_err(|settings| ConfigError::Missing {
                section: "signalwire",
                settings: settings.clone(),
            })
    }

    /// The store's section, for the commands that open it.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Missing`] for a bucket without keys, or with neither region nor endpoint.
    pub fn storage(&self) -> Result<&StorageConfig, ConfigError> {
        if self.missing_for_storage.is_empty() {
            return Ok(&self.storage);
        }
        Err(ConfigError::Missing {
            section: "storage",
            settings: self.missing_for_storage.clone(),
        })
    }

    /// Every setting with where its value came from and the value as it may be shown: secrets are
    /// hidden.
    pub fn origins(&self) -> impl Iterator<Item = (&'static str, &Origin, &str)> {
        self.origins
            .iter()
            .map(|(key, origin, shown)| (*key, origin, shown.as_str()))
    }

    /// The configuration file, if there is one.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// What is odd but usable, each with its cure.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// A file that was asked for must be there; of the usual places the first that exists is taken.
fn find_file(
    explicit: Option<&Path>,
    environment: &Environment,
) -> Result<Option<ConfigFile>, ConfigError> {
    let named = explicit.or_else(|| environment.get(CONFIG_VARIABLE).map(Path::new));
    if let Some(path) = named {
        return ConfigFile::read(environment.absolute(path)).map(Some);
    }
    // Only the first could be there by chance: the other is in the hands of root.
    if let Some(found) = ConfigFile::read_found(environment.absolute("config.toml"))? {
        return Ok(Some(found));
    }
    match ConfigFile::read(environment.system_file().to_owned()) {
        Err(ConfigError::Unreadable { source, .. })
            if source.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(None)
        }
        read => read.map(Some),
    }
}
