//! The archive itself: objects in an S3-compatible store or in a directory, each proven before it
//! is called archived, each with a manifest beside it.
//!
//! The store is never the lock (some ignore create-only writes): the lease in the queue is.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, RetryConfig};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret;
use tokio::sync::OnceCell;
use url::Url;

use self::http::Shared;
use crate::config::{ChecksumMode, S3Credentials, StorageConfig, StorageLocation, VerifyMode};
use crate::recording::Recording;

mod error;
mod http;
pub mod key;
mod manifest;
mod multipart;
mod parts;
mod probe;
mod proof;
mod publish;
mod signed;
mod upload;

pub use error::StorageError;
pub use key::{KeyError, Layout, ObjectKey};
pub use manifest::Manifest;
pub use parts::PartPlan;
pub use probe::Enforcement;
pub use proof::{Algorithm, Evidence, Proof};
pub use publish::Receipt;
pub use upload::{OwnObject, Upload, UploadPlan};

/// Object metadata that names the attempt which wrote it (sent as `x-amz-meta-…`).
const ATTEMPT_METADATA: &str = "archive-attempt";
/// No byte moving for this long breaks a request; a part must get through within it.
const REQUEST_IDLE: Duration = Duration::from_mins(2);
/// Retries keep their first signature, which S3 accepts for 15 minutes at most.
const RETRY_WITHIN: Duration = Duration::from_mins(1);
const MAX_RETRIES: usize = 4;

/// What stays unescaped in the path of an object URL (RFC 3986 unreserved).
const URL_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// The store that recordings are archived in.
#[derive(Debug)]
pub struct Storage {
    backend: Backend,
    location: StorageLocation,
    layout: Layout,
    verify: VerifyMode,
    part_bytes: u64,
}

#[derive(Debug)]
enum Backend {
    S3(S3),
    Local(Arc<dyn ObjectStore>),
}

/// An S3-compatible bucket, by three clients that differ in what they send with a body: only its
/// signature, a checksum too, or a checksum instead.
#[derive(Debug)]
struct S3 {
    plain: Arc<AmazonS3>,
    checked: Arc<AmazonS3>,
    /// Signing hashes every body by SHA-256. Where the store verifies checksums, that proves
    /// nothing more, and costs a third of the speed.
    unsigned: Arc<AmazonS3>,
    checksum: ChecksumMode,
    storage_class: Option<String>,
    prefix: Path,
    region: String,
    http: reqwest::Client,
    enforcement: OnceCell<Enforcement>,
}

/// What a store verifies the bytes by that it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verification {
    /// The SHA-256 that the signature of each request covers.
    Signature,
    /// That, and a checksum which the operator asked for, whatever the store makes of it.
    Asked(Algorithm),
    /// A checksum that the store was seen to enforce.
    Enforced(Algorithm),
}

impl Verification {
    /// As it stands on record.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Asked(checksum) | Self::Enforced(checksum) => checksum.as_str(),
        }
    }
}

/// The store cannot be set up at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenStorageError {
    #[error("create the directory {path} for the archive")]
    CreateDirectory {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("set up the client of the store")]
    Client(#[source] object_store::Error),
    #[error("set up the HTTP client of the store")]
    Http(#[source] reqwest::Error),
    #[error("storage.url has a prefix that is no path in a bucket")]
    Prefix(#[source] object_store::path::Error),
}

impl Storage {
    /// Sets up the clients; for a file store, creates its directory. Nothing else is touched.
    pub fn open(config: &StorageConfig) -> Result<Self, OpenStorageError> {
        let backend = match &config.location {
            StorageLocation::S3 { bucket, prefix } => {
                Backend::S3(S3::open(config, bucket, prefix)?)
            }
            StorageLocation::File { root } => {
                std::fs::create_dir_all(root).map_err(|source| {
                    OpenStorageError::CreateDirectory {
                        path: root.display().to_string(),
                        source,
                    }
                })?;
                let store = LocalFileSystem::new_with_prefix(root)
                    .map_err(OpenStorageError::Client)?
                    .with_fsync(true);
                Backend::Local(Arc::new(store))
            }
        };
        Ok(Self::new(backend, config))
    }

    /// The same for looking only: a file store's directory that does not exist is taken as empty,
    /// and not created.
    pub fn open_to_look(config: &StorageConfig) -> Result<Self, OpenStorageError> {
        match &config.location {
            StorageLocation::File { root } if !root.exists() => {
                let nothing = Backend::Local(Arc::new(InMemory::new()));
                Ok(Self::new(nothing, config))
            }
            StorageLocation::File { .. } | StorageLocation::S3 { .. } => Self::open(config),
        }
    }

    fn new(backend: Backend, config: &StorageConfig) -> Self {
        Self {
            backend,
            location: config.location.clone(),
            layout: config.layout.clone(),
            verify: config.verify,
            part_bytes: config.part_size_bytes,
        }
    }

    /// The key of a recording: it depends on the recording alone, so every attempt has the same.
    pub fn key_for(
        &self,
        project_id: &str,
        recording: &Recording,
    ) -> Result<ObjectKey, StorageError> {
        let prefix = match &self.location {
            StorageLocation::S3 { prefix, .. } => prefix.as_str(),
            StorageLocation::File { .. } => "",
        };
        Ok(self.layout.key_for(prefix, project_id, recording)?)
    }

    /// Where an object is, for people: `s3://bucket/key` or `file:///path`, percent-encoded.
    pub fn object_url(&self, key: &ObjectKey) -> String {
        match &self.location {
            StorageLocation::S3 { bucket, .. } => {
                format!(
                    "s3://{bucket}/{}",
                    utf8_percent_encode(key.as_str(), URL_PATH)
                )
            }
            StorageLocation::File { root } => Url::from_file_path(root.join(key.as_str()))
                .map_or_else(|()| key.as_str().to_owned(), String::from),
        }
    }

    /// What the store was seen to enforce; `None` for a directory, which enforces nothing.
    /// The first call writes and removes throw-away objects, later ones remember.
    pub async fn enforcement(&self) -> Result<Option<Enforcement>, StorageError> {
        match &self.backend {
            Backend::S3(s3) => s3.enforcement().await.map(Some),
            Backend::Local(_) => Ok(None),
        }
    }

    /// Removes what killed processes left of earlier attempts to write an object or its manifest.
    /// Only once both are stored: the name of a part file that a late worker still writes must not
    /// be given to another.
    async fn clear_staging(&self, key: &ObjectKey) {
        let StorageLocation::File { root } = &self.location else {
            return;
        };
        let file = root.join(key.as_str());
        let (Some(folder), Some(name)) = (file.parent(), file.file_name().and_then(|n| n.to_str()))
        else {
            return;
        };
        let Ok(mut entries) = tokio::fs::read_dir(folder).await else {
            return;
        };
        while let Ok(Some(entry)) = entries.next_entry().await {
            let stale = entry
                .file_name()
                .to_str()
                .is_some_and(|other| is_staging_of(name, other));
            if stale && let Err(error) = tokio::fs::remove_file(entry.path()).await {
                tracing::warn!(object.key = %key, "remove a stale part file: {error}");
            }
        }
    }
}

/// `object_store` stages `name` as `name#1`, `name#2`, …
fn is_staging_of(name: &str, other: &str) -> bool {
    let Some(rest) = other.strip_prefix(name) else {
        return false;
    };
    let rest = rest.strip_prefix(key::MANIFEST_SUFFIX).unwrap_or(rest);
    rest.strip_prefix('#')
        .is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
}

impl Backend {
    /// The client for everything but uploading media.
    fn plain(&self) -> &dyn ObjectStore {
        match self {
            Self::S3(s3) => s3.plain.as_ref(),
            Self::Local(store) => store.as_ref(),
        }
    }
}

impl S3 {
    fn open(config: &StorageConfig, bucket: &str, prefix: &str) -> Result<Self, OpenStorageError> {
        let endpoint_is_http = config
            .endpoint
            .as_ref()
            .is_some_and(|e| e.scheme() == "http");
        let retry = RetryConfig {
            max_retries: MAX_RETRIES,
            retry_timeout: RETRY_WITHIN,
            ..RetryConfig::default()
        };
        // A whole-request time-out would cut large objects off while they are read back, and
        // Complete off, which may take minutes.
        let http = reqwest::Client::builder()
            .user_agent(concat!("recording-archiver/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(REQUEST_IDLE)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .http1_only()
            // Bytes are read back as they are stored, whatever features other crates turn on.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .https_only(!endpoint_is_http)
            .build()
            .map_err(OpenStorageError::Http)?;
        let region = config.region.as_deref().unwrap_or("us-east-1");
        // Every setting is explicit: from_env() would let any AWS_… variable change the store.
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(region)
            .with_retry(retry)
            .with_allow_http(endpoint_is_http)
            .with_http_connector(Shared(http.clone()))
            .with_disable_tagging(true);
        if let Some(endpoint) = &config.endpoint {
            builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/'));
        }
        if let S3Credentials::Static {
            access_key_id,
            secret_access_key,
            session_token,
        } = &config.credentials
        {
            builder = builder
                .with_access_key_id(access_key_id.expose_secret())
                .with_secret_access_key(secret_access_key.expose_secret());
            if let Some(token) = session_token {
                builder = builder.with_token(token.expose_secret());
            }
        }
        if let Some(kms_key_id) = &config.kms_key_id {
            builder = builder.with_sse_kms_encryption(kms_key_id);
        }
        let algorithm = match config.checksum {
            ChecksumMode::Sha256 => Checksum::SHA256,
            ChecksumMode::Auto | ChecksumMode::Crc64Nvme | ChecksumMode::None => {
                Checksum::CRC64NVME
            }
        };
        let plain = builder.clone().build().map_err(OpenStorageError::Client)?;
        let builder = builder.with_checksum_algorithm(algorithm);
        let checked = builder.clone().build().map_err(OpenStorageError::Client)?;
        let unsigned = builder
            .with_unsigned_payload(true)
            .build()
            .map_err(OpenStorageError::Client)?;
        Ok(Self {
            plain: Arc::new(plain),
            checked: Arc::new(checked),
            unsigned: Arc::new(unsigned),
            checksum: config.checksum,
            storage_class: config.storage_class.clone(),
            prefix: Path::parse(prefix).map_err(OpenStorageError::Prefix)?,
            region: region.to_owned(),
            http,
            enforcement: OnceCell::new(),
        })
    }

    /// What the store verifies uploads by: the checksum that was asked for, or the one that it was
    /// seen to enforce.
    async fn verification(&self) -> Result<Verification, StorageError> {
        let checksum = match self.checksum {
            ChecksumMode::Auto | ChecksumMode::Crc64Nvme => Algorithm::Crc64Nvme,
            ChecksumMode::Sha256 => Algorithm::Sha256,
            ChecksumMode::None => return Ok(Verification::Signature),
        };
        Ok(if self.verifies_uploads().await? {
            Verification::Enforced(checksum)
        } else if self.checksum == ChecksumMode::Auto {
            Verification::Signature
        } else {
            Verification::Asked(checksum)
        })
    }

    /// The client that uploads media.
    async fn for_upload(&self) -> Result<Arc<AmazonS3>, StorageError> {
        Ok(Arc::clone(match self.verification().await? {
            Verification::Signature => &self.plain,
            Verification::Asked(_) => &self.checked,
            Verification::Enforced(_) => &self.unsigned,
        }))
    }

    /// Whether uploads carry CRC64NVME, whose checksums of parts combine to the whole object's.
    const fn sends_crc64nvme(&self) -> bool {
        matches!(self.checksum, ChecksumMode::Auto | ChecksumMode::Crc64Nvme)
    }

    /// Whether the store verifies the checksum of every part and every PUT it is sent.
    async fn verifies_uploads(&self) -> Result<bool, StorageError> {
        let found = self.enforcement().await?;
        Ok(found.put_checksum && found.part_checksum)
    }
}
