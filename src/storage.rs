//! The archive itself: objects in an S3-compatible store or in a directory, each proven before it
//! is called archived, each with a manifest beside it.
//!
//! The store is never the lock (some ignore create-only writes): the lease in the queue is.

use std::sync::Arc;

use object_store::ObjectStore;
use percent_encoding::percent_decode_str;
use url::Url;

use self::copy::MAX_COPY_BYTES;
use self::directory::{Directory, MARKER_FILE};
use self::s3::{S3, Verification};
use crate::config::{StorageConfig, StorageLocation, VerifyMode};
use crate::recording::{Recording, RecordingId};

mod answer;
mod aside;
mod assurance;
mod cold;
mod copy;
mod directory;
mod error;
mod error_codes;
mod http;
mod inventory;
pub mod key;
mod listing;
mod look;
mod manifest;
mod multipart;
mod part;
mod parts;
mod probe;
mod proof;
mod publish;
mod read;
mod remove;
mod s3;
mod scope;
mod signed;
mod unfinished;
mod upload;

pub use answer::StoreAnswer;
pub use aside::KeptAside;
pub use assurance::Assurance;
pub use cold::is_cold_class;
pub use error::StorageError;
pub use error_codes::AnswerClass;
pub use inventory::{Inventory, Listed};
pub use key::{KeyError, Layout, MANIFEST_SUFFIX, ObjectKey, uuids_in};
pub use manifest::{Manifest, ManifestFacts};
pub use parts::PartPlan;
pub use probe::{Access, Enforcement, PartSize, PartSizeAnswer};
pub use proof::{Algorithm, Evidence, Proof, Standing};
pub use publish::Receipt;
pub use read::{ObjectBytes, found_in_words};
pub use unfinished::{Unfinished, UnfinishedWalk};
pub use upload::{OwnObject, Upload, UploadPlan};

/// The folder of throw-away objects, under the prefix.
const PROBE_FOLDER: &str = ".recording-archiver-probe";
/// The folder of damaged objects that were moved out of the way, under the prefix.
const DAMAGED_FOLDER: &str = ".recording-archiver-damaged";
/// These, and what stands in them, are no part of the archive.
const OWN_NAMES: [&str; 3] = [PROBE_FOLDER, DAMAGED_FOLDER, MARKER_FILE];

/// Object metadata that names the attempt which wrote it (sent as `x-amz-meta-…`).
const ATTEMPT_METADATA: &str = "archive-attempt";

/// The store that recordings are archived in.
#[derive(Debug)]
pub struct Storage {
    backend: Backend,
    location: StorageLocation,
    layout: Layout,
    verify: VerifyMode,
    part_bytes: u64,
    max_copy_bytes: u64,
}

#[derive(Debug)]
enum Backend {
    S3(Arc<S3>),
    Local(Directory),
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
                Backend::S3(Arc::new(S3::open(config, bucket, prefix)?))
            }
            StorageLocation::File { root } => Backend::Local(Directory::open(root)?),
        };
        Ok(Self::new(backend, config))
    }

    /// The same for looking only: a file store's directory that does not exist is taken as empty,
    /// and not created.
    pub fn open_to_look(config: &StorageConfig) -> Result<Self, OpenStorageError> {
        match &config.location {
            StorageLocation::File { root } => {
                let directory = Directory::open_to_look(root)?;
                Ok(Self::new(Backend::Local(directory), config))
            }
            StorageLocation::S3 { .. } => Self::open(config),
        }
    }

    /// Where the objects go.
    pub const fn location(&self) -> &StorageLocation {
        &self.location
    }

    fn new(backend: Backend, config: &StorageConfig) -> Self {
        Self {
            backend,
            location: config.location.clone(),
            layout: config.layout.clone(),
            verify: config.verify,
            part_bytes: config.part_size_bytes,
            max_copy_bytes: MAX_COPY_BYTES,
        }
    }

    /// For a bucket that copies less than the 5 GiB of S3 in one request.
    #[must_use]
    pub fn copying_at_most(self, max_copy_bytes: u64) -> Self {
        Self {
            max_copy_bytes,
            ..self
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

    /// The recording that a key of exactly this prefix and layout is for; `None` for any other key.
    pub fn recording_at(&self, key: &str) -> Option<RecordingId> {
        let below = key.strip_prefix(&self.location.listing_prefix())?;
        self.layout.recording_at(below)
    }

    /// Where an object is, for people and their tools: `s3://bucket/` and the key as it is, which
    /// is how tools read such URLs, or `file:///path`, percent-encoded where RFC 3986 demands it. A
    /// key holds only characters that a path takes as they are.
    pub fn object_url(&self, key: &ObjectKey) -> String {
        self.url_of(key.as_str())
    }

    /// Whether a URL on record is that of this object in this store. Hosts that run a former version
    /// escape more of the key in it.
    pub fn is_at(&self, key: &ObjectKey, url: &str) -> bool {
        let here = self.object_url(key);
        let decoded = || percent_decode_str(url).decode_utf8_lossy();
        url == here || matches!(self.location, StorageLocation::S3 { .. }) && decoded() == here
    }

    fn url_of(&self, key: &str) -> String {
        match &self.location {
            StorageLocation::S3 { bucket, .. } => {
                format!("s3://{bucket}/{key}")
            }
            StorageLocation::File { root } => {
                Url::from_file_path(root.join(key)).map_or_else(|()| key.to_owned(), String::from)
            }
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

    /// Whether a PUT can be sent that the store refuses where an object exists. If not, the caller
    /// looks for the object first.
    async fn honours_create_only(&self) -> Result<bool, StorageError> {
        let found = self.enforcement().await?;
        Ok(found.is_none_or(|found| found.create_only))
    }

    /// The same, if it was probed by now.
    pub fn known_enforcement(&self) -> Option<Enforcement> {
        match &self.backend {
            Backend::S3(s3) => s3.enforcement.get().copied(),
            Backend::Local(_) => None,
        }
    }

    /// Removes what killed processes left of earlier attempts to write an object or its manifest.
    /// Only under the recording's lease, and once both are stored: the name of a part file that a late worker still writes must not
    /// be given to another.
    pub async fn clear_staging(&self, key: &ObjectKey) {
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

/// [`Directory`] stages `name` as `name#1`, `name#2`, …
fn is_staging_of(name: &str, other: &str) -> bool {
    let Some(rest) = other.strip_prefix(name) else {
        return false;
    };
    let rest = rest.strip_prefix(MANIFEST_SUFFIX).unwrap_or(rest);
    rest.strip_prefix('#')
        .is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
}

impl Backend {
    /// The client for everything but uploading media.
    fn plain(&self) -> &dyn ObjectStore {
        match self {
            Self::S3(s3) => s3.plain.as_ref(),
            Self::Local(directory) => directory.files.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests;
