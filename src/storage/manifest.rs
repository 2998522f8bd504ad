//! The sidecar beside each object: what it is, where it came from and what proves it, so that
//! the archive explains itself without the database.

use chrono::{DateTime, SecondsFormat, Utc};
use object_store::{Attribute, Attributes, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::directory::translated;
use super::error::{Operation, StorageError, is_taken};
use super::key::ObjectKey;
use super::proof::{Proof, nothing_there};
use super::read::body_within;
use super::{Backend, Storage};
use crate::digest::{Crc64Nvme, Fingerprint, Sha256Digest};
use crate::recording::{FormatMismatch, Metadata, RecordingId};

/// The version of the manifest's layout that this program writes.
const MANIFEST_VERSION: u32 = 1;
/// A manifest takes about 1 KiB; what is larger than this is none of ours.
const MAX_MANIFEST_BYTES: usize = 4 * 1024 * 1024;

/// The manifest as it stands in the store (`<key>.manifest.json`).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    #[serde(rename = "manifest_version")]
    version: u32,
    recording_id: Uuid,
    project_id: Option<String>,
    object_key: String,
    size_bytes: u64,
    sha256: String,
    crc64nvme: String,
    evidence: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proof: Option<ProofText>,
    archived_at: String,
    archiver_version: String,
    /// What the file is by its first bytes where that is not its declared format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    format_mismatch: Option<String>,
    /// When the provider said what follows, if not before it was archived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metadata_observed_at: Option<String>,
    metadata: Metadata,
}

/// What a manifest says, understood.
#[derive(Debug, Clone)]
pub struct ManifestFacts {
    pub recording_id: RecordingId,
    pub project_id: Option<String>,
    pub fingerprint: Fingerprint,
    pub proof: Proof,
    pub archived_at: DateTime<Utc>,
    pub format_mismatch: Option<FormatMismatch>,
    /// When the provider said what is in the metadata.
    pub observed_at: DateTime<Utc>,
    pub metadata: Metadata,
}

/// What the evidence rests on.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct ProofText {
    algorithm: String,
    value: Option<String>,
}

impl Manifest {
    pub fn new(
        recording_id: RecordingId,
        project_id: &str,
        key: &ObjectKey,
        fingerprint: &Fingerprint,
        proof: &Proof,
        archived_at: DateTime<Utc>,
        metadata: Metadata,
    ) -> Self {
        Self {
            version: MANIFEST_VERSION,
            recording_id: recording_id.uuid(),
            project_id: Some(project_id.to_owned()),
            object_key: key.as_str().to_owned(),
            size_bytes: fingerprint.size_bytes,
            sha256: fingerprint.sha256.to_string(),
            crc64nvme: fingerprint.crc64nvme.to_string(),
            evidence: proof.evidence.to_string(),
            proof: Some(ProofText {
                algorithm: proof.algorithm.as_str().to_owned(),
                value: proof.value.clone(),
            }),
            archived_at: spelled(archived_at),
            archiver_version: env!("CARGO_PKG_VERSION").to_owned(),
            format_mismatch: None,
            metadata_observed_at: None,
            metadata,
        }
    }

    /// The same manifest with how the file differs from its declared format.
    #[must_use]
    pub fn with_format_mismatch(self, format_mismatch: Option<FormatMismatch>) -> Self {
        Self {
            format_mismatch: format_mismatch.map(|it| it.as_str().to_owned()),
            ..self
        }
    }

    /// How the file differs from its declared format, as far as this version knows the word.
    pub fn format_mismatch(&self) -> Option<FormatMismatch> {
        let stored = self.format_mismatch.as_deref();
        stored.map(FormatMismatch::from_stored)
    }

    /// The same manifest with what the provider says of the recording now.
    #[must_use]
    pub fn with_metadata(self, metadata: Metadata, observed_at: DateTime<Utc>) -> Self {
        Self {
            metadata_observed_at: Some(spelled(observed_at)),
            metadata,
            ..self
        }
    }

    /// The recording that it is about.
    pub const fn recording_id(&self) -> Uuid {
        self.recording_id
    }

    /// All that it says.
    ///
    /// # Errors
    /// Which of its fields this version does not understand.
    pub fn facts(self) -> Result<ManifestFacts, &'static str> {
        if self.version != MANIFEST_VERSION {
            return Err("manifest_version");
        }
        let id = RecordingId::from(self.recording_id);
        let format_mismatch = self.format_mismatch();
        let fingerprint = self.fingerprint_of(id).ok_or("sha256 or crc64nvme")?;
        let (algorithm, value) = match self.proof {
            Some(proof) => (Some(proof.algorithm), proof.value),
            None => (None, None),
        };
        let proof = Proof::from_stored(&self.evidence, algorithm.as_deref(), value);
        let time = |text: &str| {
            let time = DateTime::parse_from_rfc3339(text);
            time.map(|time| time.with_timezone(&Utc)).ok()
        };
        let archived_at = time(&self.archived_at).ok_or("archived_at")?;
        let observed_at = match &self.metadata_observed_at {
            Some(text) => time(text).ok_or("metadata_observed_at")?,
            None => archived_at,
        };
        Ok(ManifestFacts {
            recording_id: id,
            project_id: self.project_id,
            fingerprint,
            proof: proof.ok_or("evidence or proof")?,
            archived_at,
            format_mismatch,
            observed_at,
            metadata: self.metadata,
        })
    }

    /// What the manifest says of the object's bytes, if it is about this recording and whole.
    pub fn fingerprint_of(&self, recording_id: RecordingId) -> Option<Fingerprint> {
        if self.recording_id != recording_id.uuid() {
            return None;
        }
        Some(Fingerprint {
            size_bytes: self.size_bytes,
            sha256: Sha256Digest::from_hex(&self.sha256)?,
            crc64nvme: Crc64Nvme::from_base64(&self.crc64nvme)?,
        })
    }
}

fn spelled(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

impl Storage {
    /// Writes the manifest beside its object. Writing the same again is harmless.
    pub async fn put_manifest(
        &self,
        key: &ObjectKey,
        manifest: &Manifest,
    ) -> Result<(), StorageError> {
        self.write_manifest(key, manifest, PutMode::Overwrite)
            .await
            .map(drop)
    }

    /// Writes the manifest beside its object if there is none; `false` if there is, as far as the
    /// store honours create-only writes.
    pub async fn create_manifest(
        &self,
        key: &ObjectKey,
        manifest: &Manifest,
    ) -> Result<bool, StorageError> {
        let operation = || Operation::new("look for the manifest of", key);
        let there = self.head(&key.manifest(), operation).await?;
        match there {
            Some(_) => Ok(false),
            None if self.honours_create_only().await? => {
                self.write_manifest(key, manifest, PutMode::Create).await
            }
            None => self.write_manifest(key, manifest, PutMode::Overwrite).await,
        }
    }

    async fn write_manifest(
        &self,
        key: &ObjectKey,
        manifest: &Manifest,
        mode: PutMode,
    ) -> Result<bool, StorageError> {
        let json = serde_json::to_vec_pretty(manifest).map_err(|e| StorageError::Unavailable {
            operation: Operation::new("spell the manifest of", key),
            cause: e.to_string(),
        })?;
        let creates = matches!(mode, PutMode::Create);
        let path = key.manifest();
        let put = match &self.backend {
            Backend::S3(s3) => {
                let mut options = PutOptions::from(mode);
                options.attributes =
                    Attributes::from_iter([(Attribute::ContentType, "application/json")]);
                let put = s3.put_own(&path, PutPayload::from(json), options).await;
                put.map(drop)
            }
            Backend::Local(directory) => directory
                .write(&path, json.into(), !creates)
                .await
                .map_err(|error| translated(&path, error)),
        };
        match put {
            Ok(()) => Ok(true),
            // Only of a write that is to create: no other may end without a manifest.
            Err(error) if creates && is_taken(&error) => Ok(false),
            Err(error) => {
                let operation = Operation::new("store the manifest of", key);
                Err(StorageError::of(operation, &error))
            }
        }
    }

    /// Reads the manifest beside an object; `None` if there is none, or none of ours.
    pub async fn manifest(&self, key: &ObjectKey) -> Result<Option<Manifest>, StorageError> {
        let failed = |e| StorageError::of(Operation::new("read the manifest of", key), &e);
        let found = match self.backend.plain().get(&key.manifest()).await {
            Ok(found) => found,
            Err(error) => return nothing_there(error, failed),
        };
        let json = body_within(found, MAX_MANIFEST_BYTES).await;
        let json = json.map_err(failed)?;
        Ok(json.and_then(|json| serde_json::from_slice(&json).ok()))
    }
}
