//! The checked values, section by section.

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::addressing::Addressing;
use super::database_hosts::DatabaseUrl;
use super::log::LogFilter;
use super::schedule::CronSchedule;
use crate::storage::key::Layout;

/// Where the recordings come from: one project of one space.
#[derive(Debug, Clone)]
pub struct SignalWireConfig {
    /// The root of the space, `https://example.signalwire.com/`; API paths are joined to it.
    pub api_base: Url,
    /// The space's host, with the port if there is one: `example.signalwire.com`.
    pub space: String,
    /// The user of Basic auth.
    pub project_id: String,
    /// The password of Basic auth.
    pub api_token: SecretString,
    /// The lifetime asked for each link, in whole seconds.
    pub media_ttl: Duration,
    pub requests_per_second: NonZeroU32,
    /// Whether links may lead to private addresses: as set, else only for a loopback space.
    pub allow_private_media: bool,
    /// Whether links must be https: always, except for a loopback space.
    pub require_https: bool,
}

/// Where status and cost are kept.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// A Postgres URL; `None` means a private Postgres under the data directory.
    pub url: Option<DatabaseUrl>,
}

/// Where the objects go, and how they are proven.
#[derive(Debug, Clone)]
pub struct StorageConfig {
    pub location: StorageLocation,
    /// The S3 API; `None` means AWS.
    pub endpoint: Option<Url>,
    pub region: Option<String>,
    pub addressing: Addressing,
    pub checksum: ChecksumMode,
    pub verify: VerifyMode,
    /// The smallest size of a part of a multipart upload.
    pub part_size_bytes: u64,
    pub storage_class: Option<String>,
    pub kms_key_id: Option<String>,
    pub layout: Layout,
    pub credentials: S3Credentials,
}

/// The kind of store and the place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageLocation {
    /// `prefix` has no slash at either end, and may be empty.
    S3 { bucket: String, prefix: String },
    /// An absolute directory.
    File { root: PathBuf },
}

impl StorageLocation {
    /// What every key begins with; empty for directories.
    pub fn prefix(&self) -> &str {
        match self {
            Self::S3 { prefix, .. } => prefix,
            Self::File { .. } => "",
        }
    }
}

impl StorageLocation {
    /// The same with its slash: what a listing of all that is ours asks for. Empty if the bucket
    /// has no prefix.
    pub fn listing_prefix(&self) -> String {
        match self.prefix() {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        }
    }
}

/// As `storage.url` spells it.
impl fmt::Display for StorageLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            Self::File { root } => match Url::from_file_path(root) {
                Ok(url) => write!(f, "{url}"),
                Err(()) => write!(f, "file:{}", root.display()),
            },
        }
    }
}

/// How requests to S3 are signed.
#[derive(Debug, Clone)]
pub enum S3Credentials {
    Static {
        access_key_id: SecretString,
        secret_access_key: SecretString,
        session_token: Option<SecretString>,
    },
    /// For directories. A bucket without keys is refused before it is opened, because the S3
    /// client would go looking for an instance's metadata service.
    None,
}

/// Which checksum goes along with an upload to S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChecksumMode {
    /// The strongest that the store was probed to enforce.
    Auto,
    Crc64Nvme,
    Sha256,
    None,
}

impl ChecksumMode {
    /// As `storage.checksum` spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Crc64Nvme => "crc64nvme",
            Self::Sha256 => "sha256",
            Self::None => "none",
        }
    }
}

/// Which evidence is asked for before a recording counts as archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifyMode {
    /// The strongest cheap evidence, else reading back.
    Auto,
    /// Every object is read again and hashed.
    ReadBack,
}

/// How log lines look: as text for people, as an object a line, or in the systemd journal with each
/// field as a field of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
    Journald,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "journald" => Ok(Self::Journald),
            _ => Err("expected one of auto, text, json, journald"),
        }
    }
}

impl FromStr for ChecksumMode {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "auto" => Ok(Self::Auto),
            "crc64nvme" => Ok(Self::Crc64Nvme),
            "sha256" => Ok(Self::Sha256),
            "none" => Ok(Self::None),
            _ => Err("expected one of auto, crc64nvme, sha256, none"),
        }
    }
}

impl FromStr for VerifyMode {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "auto" => Ok(Self::Auto),
            "read_back" => Ok(Self::ReadBack),
            _ => Err("expected one of auto, read_back"),
        }
    }
}

/// How bytes move.
#[derive(Debug, Clone)]
pub struct TransferConfig {
    /// Parallel ranges per recording.
    pub connections: NonZeroU16,
    /// Connections to one media host, of all recordings together.
    pub connections_per_host: NonZeroU16,
    /// The memory for a process that transfers: three eighths of it for parts in flight, the rest for
    /// connections and all else. The three eighths hold one part at least.
    pub memory_limit_bytes: u64,
    /// A connection that is slower than `min_bytes_per_second` for this long is broken.
    pub idle_timeout: Duration,
    /// 0 means that any byte within `idle_timeout` is enough.
    pub min_bytes_per_second: u64,
    /// Media bytes received per second, of all recordings together; `None` means no limit.
    pub bandwidth_limit_bytes: Option<NonZeroU64>,
}

impl TransferConfig {
    /// The memory for parts in flight.
    pub const fn buffer_bytes(&self) -> u64 {
        Self::buffer_bytes_of(self.memory_limit_bytes)
    }

    /// The same of a limit that is still to be checked.
    pub(super) const fn buffer_bytes_of(memory_limit_bytes: u64) -> u64 {
        memory_limit_bytes / 8 * 3
    }
}

/// How the daemon works through the queue.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Recordings archived at the same time; at least 1.
    pub concurrency: usize,
    /// When the queue is checked, in addition to once a minute and to each notification by Postgres.
    pub schedule: CronSchedule,
    /// How long a claim holds without being renewed; at least one second.
    pub lease: Duration,
    /// Attempts before a recording fails for good; at least 1.
    pub max_attempts: u32,
    /// How long a recording may stay not ready before it fails.
    pub not_ready_deadline: Duration,
    /// How long running transfers may go on after SIGTERM; zero cuts them off at once.
    pub drain_timeout: Duration,
}

/// When the provider's recordings are listed.
#[derive(Debug, Clone)]
pub struct DiscoveryConfig {
    /// `None` means off.
    pub schedule: Option<CronSchedule>,
}

/// How archived objects are read again.
#[derive(Debug, Clone)]
pub struct VerifyConfig {
    /// When a slice of the archive is read; `None` means off.
    pub schedule: Option<CronSchedule>,
    /// The slices cover the whole archive within this time.
    pub within: Duration,
    /// Bytes read per second by schedule; `None` means no limit.
    pub bandwidth_limit_bytes: Option<NonZeroU64>,
}

/// Whether recordings may be deleted at the provider.
#[derive(Debug, Clone, Copy)]
pub struct RetireConfig {
    pub enabled: bool,
}

/// When orphaned uploads are aborted.
#[derive(Debug, Clone)]
pub struct SweepConfig {
    /// `None` means off.
    pub schedule: Option<CronSchedule>,
}

/// When costs are asked for again.
#[derive(Debug, Clone)]
pub struct FinanceConfig {
    /// `None` means off.
    pub schedule: Option<CronSchedule>,
    /// How long a cost must have stayed the same to be final.
    pub final_after: Duration,
}

/// The daemon's own HTTP server.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// `None` means off.
    pub listen: Option<SocketAddr>,
    /// Names that the page answers to beside addresses and `localhost`; lower case, no port.
    pub hosts: Vec<String>,
}

/// What is told of the work.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// `None`: as fits where stderr goes.
    pub format: Option<LogFormat>,
    /// How much the service tells.
    pub level: LogFilter,
}
