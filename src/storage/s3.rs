//! A bucket in an S3-compatible store: its clients, and what is known of how it verifies uploads.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum};
use object_store::path::Path;
use object_store::{ObjectStore, PutOptions, PutPayload, PutResult, RetryConfig};
use secrecy::ExposeSecret;
use tokio::sync::OnceCell;

use super::error::answer_in;
use super::error_codes::AnswerClass;
use super::http::Shared;
use super::probe::Enforcement;
use super::proof::Algorithm;
use super::{OpenStorageError, StorageError};
use crate::config::{ChecksumMode, S3Credentials, StorageConfig, is_loopback, virtual_endpoint};

/// No byte moving for this long breaks a request; a part must get through within it.
const REQUEST_IDLE: Duration = Duration::from_mins(2);
/// Retries keep their first signature, which S3 accepts for 15 minutes at most.
const RETRY_WITHIN: Duration = Duration::from_mins(1);
const MAX_RETRIES: usize = 4;

/// An S3-compatible bucket, by three clients that differ in what they send with a body: only its
/// signature, a checksum too, or a checksum instead.
#[derive(Debug)]
pub(super) struct S3 {
    pub(super) plain: Arc<AmazonS3>,
    pub(super) checked: Arc<AmazonS3>,
    /// Signing hashes every body by SHA-256. Where the store verifies checksums, that proves
    /// nothing more, and costs a third of the speed.
    pub(super) unsigned: Arc<AmazonS3>,
    pub(super) checksum: ChecksumMode,
    pub(super) storage_class: Option<String>,
    pub(super) bucket: String,
    pub(super) prefix: Path,
    pub(super) region: String,
    pub(super) http: reqwest::Client,
    pub(super) enforcement: OnceCell<Enforcement>,
}

/// What a store verifies the bytes by that it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verification {
    /// The SHA-256 that the signature of each request covers.
    Signature,
    /// That, and a checksum which the operator asked for, whatever the store makes of it.
    Asked(Algorithm),
    /// A checksum that the store was seen to enforce.
    Enforced(Algorithm),
}

impl Verification {
    /// What uploads carry a checksum of.
    pub(super) const fn algorithm(self) -> Option<Algorithm> {
        match self {
            Self::Signature => None,
            Self::Asked(algorithm) | Self::Enforced(algorithm) => Some(algorithm),
        }
    }

    /// As it stands on record.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Asked(checksum) | Self::Enforced(checksum) => checksum.as_str(),
        }
    }
}

impl S3 {
    pub(super) fn open(
        config: &StorageConfig,
        bucket: &str,
        prefix: &str,
    ) -> Result<Self, OpenStorageError> {
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
        let mut http = reqwest::Client::builder()
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
            .https_only(!endpoint_is_http);
        if config.endpoint.as_ref().is_some_and(is_loopback) {
            // Whatever proxy the environment names: this machine is not behind it.
            http = http.no_proxy();
        }
        let http = http.build().map_err(OpenStorageError::Http)?;
        let region = config.region.as_deref().unwrap_or("us-east-1");
        // Every setting is explicit: from_env() would let any AWS_… variable change the store.
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(region)
            .with_retry(retry)
            .with_allow_http(endpoint_is_http)
            .with_http_connector(Shared(http.clone()))
            .with_disable_tagging(true)
            .with_disable_bulk_delete(true);
        let is_virtual = config
            .addressing
            .is_virtual(config.endpoint.as_ref(), bucket);
        builder = builder.with_virtual_hosted_style_request(is_virtual);
        if let Some(endpoint) = &config.endpoint {
            // The client takes an endpoint that has the bucket in it already.
            let with_bucket = is_virtual
                .then(|| virtual_endpoint(endpoint, bucket))
                .flatten();
            let endpoint = with_bucket.as_ref().unwrap_or(endpoint);
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
            bucket: bucket.to_owned(),
            prefix: Path::parse(prefix).map_err(OpenStorageError::Prefix)?,
            region: region.to_owned(),
            http,
            enforcement: OnceCell::new(),
        })
    }

    /// What the store verifies uploads by: the checksum that was asked for, or the one that it was
    /// seen to enforce.
    pub(super) async fn verification(&self) -> Result<Verification, StorageError> {
        let Some(checksum) = self.enforcement().await?.algorithm() else {
            return Ok(Verification::Signature);
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
    pub(super) async fn for_upload(&self) -> Result<Arc<AmazonS3>, StorageError> {
        Ok(Arc::clone(match self.verification().await? {
            Verification::Signature => &self.plain,
            Verification::Asked(_) => &self.checked,
            Verification::Enforced(_) => &self.unsigned,
        }))
    }

    /// Stores a small object that is no media: with a checksum, which a bucket with Object Lock
    /// demands, unless the operator wants none or the store does not know it.
    pub(super) async fn put_own(
        &self,
        path: &Path,
        body: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        let knows_none = self
            .enforcement
            .get()
            .is_some_and(|found| found.algorithm().is_some_and(|it| !found.put(it)));
        match self.checksum {
            ChecksumMode::None => return self.plain.put_opts(path, body, options).await,
            ChecksumMode::Auto if knows_none => {
                return self.plain.put_opts(path, body, options).await;
            }
            ChecksumMode::Auto | ChecksumMode::Crc64Nvme | ChecksumMode::Sha256 => {}
        }
        let (again, options_again) = (body.clone(), options.clone());
        match self.checked.put_opts(path, body, options).await {
            Err(error) if self.checksum == ChecksumMode::Auto && is_not_understood(&error) => {
                self.plain.put_opts(path, again, options_again).await
            }
            result => result,
        }
    }

    /// Whether uploads carry CRC64NVME, whose checksums of parts combine to the whole object's.
    pub(super) const fn sends_crc64nvme(&self) -> bool {
        matches!(self.checksum, ChecksumMode::Auto | ChecksumMode::Crc64Nvme)
    }

    /// Whether the store verifies the checksum of every part and every PUT it is sent.
    pub(super) async fn verifies_uploads(&self) -> Result<bool, StorageError> {
        let found = self.enforcement().await?;
        let algorithm = found.algorithm();
        Ok(algorithm.is_some_and(|it| found.put(it) && found.part(it)))
    }
}

/// Whether a store may have refused a request for a header that it does not know.
fn is_not_understood(error: &object_store::Error) -> bool {
    answer_in(error).is_some_and(|answer| match answer.class() {
        AnswerClass::Refused | AnswerClass::Unsupported => true,
        AnswerClass::Denied => !answer.is_about_every_request(),
        _ => false,
    })
}
