//! What a running service takes from a configuration that was read again, and what not.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::keys::{Change, KEYS};
use super::log::LogFilter;
use super::schedule::CronSchedule;
use super::{Config, ConfigError};

/// The values of the settings that are marked to be reloaded, all of them and no others. Who
/// applies them takes this apart by name, so that none is forgotten.
#[derive(Debug, Clone)]
pub struct Reloadable {
    pub log_level: LogFilter,
    pub api_token: SecretString,
    pub requests_per_second: NonZeroU32,
    /// Media bytes per second; `None` means no limit.
    pub bandwidth_limit_bytes: Option<NonZeroU64>,
    /// Bytes per second that are read to verify by schedule; `None` means no limit.
    pub verify_bandwidth_limit_bytes: Option<NonZeroU64>,
    pub concurrency: usize,
    pub drain_timeout: Duration,
    pub schedules: Schedules,
}

/// When the service does what; `None` means off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedules {
    pub worker: CronSchedule,
    pub discovery: Option<CronSchedule>,
    pub verify: Option<CronSchedule>,
    pub sweep: Option<CronSchedule>,
    pub finance: Option<CronSchedule>,
}

/// The settings by name that differ between two configurations.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub reload: Vec<&'static str>,
    pub restart: Vec<&'static str>,
}

impl Config {
    /// What SIGHUP may change in a running service.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Missing`] if the provider's section is not complete.
    pub fn reloadable(&self) -> Result<Reloadable, ConfigError> {
        let signalwire = self.signalwire()?;
        Ok(Reloadable {
            log_level: self.log.level.clone(),
            api_token: signalwire.api_token.clone(),
            requests_per_second: signalwire.requests_per_second,
            bandwidth_limit_bytes: self.transfer.bandwidth_limit_bytes,
            verify_bandwidth_limit_bytes: self.verify.bandwidth_limit_bytes,
            concurrency: self.worker.concurrency,
            drain_timeout: self.worker.drain_timeout,
            schedules: Schedules {
                worker: self.worker.schedule.clone(),
                discovery: self.discovery.schedule.clone(),
                verify: self.verify.schedule.clone(),
                sweep: self.sweep.schedule.clone(),
                finance: self.finance.schedule.clone(),
            },
        })
    }

    /// The names of the settings that SIGHUP may change.
    pub fn reloadable_keys() -> impl Iterator<Item = &'static str> {
        KEYS.iter()
            .filter(|key| key.change == Change::Reload)
            .map(|key| key.name)
    }

    /// What is set otherwise in `other`, in the order of `config.example.toml`.
    pub fn changes(&self, other: &Self) -> Changes {
        let mut changes = Changes::default();
        for key in KEYS {
            // A default that is written out is no change.
            let text = |of: &Self| {
                let given = of.texts.get(key.name).map(ExposeSecret::expose_secret);
                given.or(key.default).map(str::to_owned)
            };
            if text(self) != text(other) {
                match key.change {
                    Change::Reload => changes.reload.push(key.name),
                    Change::Restart => changes.restart.push(key.name),
                }
            }
        }
        changes
    }
}

impl PartialEq for Reloadable {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            log_level,
            api_token,
            requests_per_second,
            bandwidth_limit_bytes,
            verify_bandwidth_limit_bytes,
            concurrency,
            drain_timeout,
            schedules,
        } = self;
        *log_level == other.log_level
            && api_token.expose_secret() == other.api_token.expose_secret()
            && *requests_per_second == other.requests_per_second
            && *bandwidth_limit_bytes == other.bandwidth_limit_bytes
            && *verify_bandwidth_limit_bytes == other.verify_bandwidth_limit_bytes
            && *concurrency == other.concurrency
            && *drain_timeout == other.drain_timeout
            && *schedules == other.schedules
    }
}
