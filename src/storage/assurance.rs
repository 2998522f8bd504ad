//! By what objects will be proven, and why by nothing stronger: said before the first one is.

use super::probe::Enforcement;
use super::{Backend, Evidence, Storage, StorageError};
use crate::config::{ChecksumMode, VerifyMode};

/// The evidence that objects get in this store, with these settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assurance {
    /// Of a multipart upload; what goes in one PUT may have stronger.
    pub evidence: Evidence,
    /// Why by nothing stronger; `None` if it is the strongest that costs no reading.
    pub reason: Option<&'static str>,
    /// The settings ask for more than the store gives.
    pub is_degraded: bool,
}

impl Storage {
    /// The evidence that objects get from here on. Probes the store if that was not done yet.
    ///
    /// # Errors
    /// Also when objects would have to be read that cannot be, for their storage class.
    pub async fn assurance(&self) -> Result<Assurance, StorageError> {
        let found = self.enforcement().await?;
        let is_directory = matches!(self.backend, Backend::Local(_));
        let assurance = assurance(is_directory, self.verify, found);
        match (self.cold_class(), assurance.reason) {
            (Some(class), Some(reason)) if assurance.evidence == Evidence::ReadBack => {
                Err(StorageError::ColdClass {
                    class: class.to_owned(),
                    reason,
                })
            }
            _ => Ok(assurance),
        }
    }
}

fn assurance(is_directory: bool, verify: VerifyMode, found: Option<Enforcement>) -> Assurance {
    let read_back = |reason, is_degraded| Assurance {
        evidence: Evidence::ReadBack,
        reason: Some(reason),
        is_degraded,
    };
    let Some(found) = found.filter(|_| !is_directory) else {
        return read_back("a directory verifies nothing by itself", false);
    };
    if verify == VerifyMode::ReadBack {
        return read_back("storage.verify asks for it", false);
    }
    let parts = |reason, is_degraded| Assurance {
        evidence: Evidence::Parts,
        reason: Some(reason),
        is_degraded,
    };
    let Some(algorithm) = found.algorithm() else {
        return read_back("storage.checksum is none", false);
    };
    match (found.put(algorithm), found.part(algorithm)) {
        (true, true) => {}
        (false, true) => {
            return read_back("the store does not refuse a wrong checksum on PUT", true);
        }
        (true, false) => {
            return read_back("the store does not refuse a wrong checksum of a part", true);
        }
        (false, false) => {
            return read_back(
                "the store refuses a wrong checksum neither on PUT nor of a part",
                true,
            );
        }
    }
    if found.checksum == ChecksumMode::Sha256 {
        return parts(
            "SHA-256 of parts do not combine to that of the whole",
            false,
        );
    }
    if found.object_checksum {
        return Assurance {
            evidence: Evidence::FullObject,
            reason: None,
            is_degraded: false,
        };
    }
    parts(
        "the store does not refuse a wrong checksum of the whole, or does not say the right one",
        true,
    )
}
