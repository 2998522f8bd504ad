//! What the store remembers of uploads and of what it has verified.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crc_fast::CrcAlgorithm;
use recording_archiver::digest::Crc64Nvme;
use s3s::dto::{CompletedPart, ETag};
use s3s::{S3Result, s3_error};
use sha2::{Digest as _, Sha256};

use super::faults::StoreFault;

/// S3's own; s3s-fs has it too, but notices when the upload is gone already.
const LEAST_PART: u64 = 5 * 1024 * 1024;

#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) unfinished: HashMap<String, Upload>,
    /// Key and id of every upload, in order.
    pub(super) begun: Vec<(String, String)>,
    /// Key, part number and size of every part that was taken, in order.
    pub(super) received: Vec<(String, u32, u64)>,
    /// By bucket and key.
    pub(super) verified: HashMap<(String, String), Verified>,
}

/// What was known of an object's bytes when they came.
#[derive(Debug, Clone)]
pub(super) struct Verified {
    pub(super) size: u64,
    pub(super) crc64nvme: Option<String>,
    pub(super) sha256: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Upload {
    pub(super) key: String,
    pub(super) begun_at: SystemTime,
    pub(super) has_crc64nvme: bool,
    pub(super) parts: BTreeMap<u32, Part>,
}

#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) size: u64,
    pub(super) etag: ETag,
    pub(super) crc64nvme: String,
    pub(super) sha256: Option<String>,
    pub(super) stored_at: SystemTime,
}

impl Upload {
    /// The numbers of the parts that an object is to be made of, if they can be.
    pub(super) fn chosen(
        &self,
        list: &[CompletedPart],
        honours_checksums: bool,
    ) -> S3Result<Vec<u32>> {
        if list.is_empty() {
            return Err(s3_error!(MalformedXML, "no part is named"));
        }
        let mut chosen: Vec<u32> = Vec::new();
        for named in list {
            let number = named.part_number.and_then(|n| u32::try_from(n).ok());
            let Some((number, part)) = number.and_then(|n| self.parts.get_key_value(&n)) else {
                return Err(s3_error!(InvalidPart, "part {number:?} is not here"));
            };
            if chosen.last().is_some_and(|last| last >= number) {
                return Err(s3_error!(InvalidPartOrder, "part {number} is out of order"));
            }
            if named.e_tag.as_ref() != Some(&part.etag) {
                return Err(s3_error!(InvalidPart, "part {number} has another ETag"));
            }
            let differs = |named: &Option<String>, known: Option<&String>| {
                named.is_some() && known.is_some() && named.as_ref() != known
            };
            if honours_checksums
                && (differs(&named.checksum_crc64nvme, Some(&part.crc64nvme))
                    || differs(&named.checksum_sha256, part.sha256.as_ref()))
            {
                return Err(s3_error!(InvalidPart, "part {number} has another checksum"));
            }
            chosen.push(*number);
        }
        let too_small = |number: &u32| self.parts[number].size < LEAST_PART;
        if chosen[..chosen.len() - 1].iter().any(too_small) {
            return Err(s3_error!(EntityTooSmall));
        }
        Ok(chosen)
    }

    pub(super) fn size_of(&self, numbers: &[u32]) -> u64 {
        numbers.iter().map(|number| self.parts[number].size).sum()
    }
}

/// Where s3s-fs keeps a part.
pub(super) fn part_path(root: &Path, upload_id: &str, number: u32) -> PathBuf {
    root.join(format!(".upload_id-{upload_id}.part-{number}"))
}

/// Removes every trace of an upload, of s3s-fs's own notes as well.
pub(super) fn remove_traces(root: &Path, upload_id: &str) {
    let named = format!("-{upload_id}.");
    for entry in fs::read_dir(root).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().contains(&named) {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

impl Memory {
    /// Does to an unfinished upload what the fault tells.
    pub(super) fn tamper(&mut self, root: &Path, upload_id: &str, fault: &StoreFault) {
        let Some(upload) = self.unfinished.get_mut(upload_id) else {
            return;
        };
        let path = |number| part_path(root, upload_id, number);
        match *fault {
            StoreFault::LosePart(number) => {
                upload.parts.remove(&number);
            }
            StoreFault::DropPartsFrom(number) => upload.parts.retain(|it, _| *it < number),
            StoreFault::SwapParts(one, other) => {
                let (first, second) = (fs::read(path(one)), fs::read(path(other)));
                fs::write(path(one), second.unwrap()).unwrap();
                fs::write(path(other), first.unwrap()).unwrap();
                upload.look_at(one, &path(one));
                upload.look_at(other, &path(other));
            }
            StoreFault::AlterPart(number) => {
                flip(&path(number), 0);
                upload.look_at(number, &path(number));
            }
            StoreFault::ForgetUpload => {
                self.unfinished.remove(upload_id);
                remove_traces(root, upload_id);
            }
            _ => {}
        }
    }
}

impl Upload {
    fn look_at(&mut self, number: u32, path: &Path) {
        let bytes = fs::read(path).unwrap();
        let part = self.parts.get_mut(&number).expect("the part is there");
        part.size = bytes.len() as u64;
        part.crc64nvme = crc64nvme(&bytes);
        part.sha256 = part.sha256.is_some().then(|| sha256(&bytes));
    }
}

/// Turns over the lowest bit of a byte of a file.
pub(super) fn flip(path: &Path, position: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[usize::try_from(position).unwrap()] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// As S3 spells it.
pub(super) fn crc64nvme(bytes: &[u8]) -> String {
    Crc64Nvme::from_value(crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes)).to_string()
}

/// The same of these files, one after another.
pub(super) fn crc64nvme_of_files(paths: impl Iterator<Item = PathBuf>) -> String {
    let mut digest = crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme);
    for path in paths {
        digest.update(&fs::read(path).unwrap());
    }
    Crc64Nvme::from_value(digest.finalize()).to_string()
}

/// As S3 spells it.
pub(super) fn sha256(bytes: &[u8]) -> String {
    BASE64.encode(Sha256::digest(bytes))
}
