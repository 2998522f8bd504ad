//! How far an unfinished transfer got: all that another process, on another host, needs to go on
//! where a dead one stopped.

use uuid::Uuid;

use crate::digest::{Crc64Nvme, Fingerprint, Fingerprinting};

/// What tells one version of a file from another at its source (RFC 9110, section 8.8): strong
/// enough to join ranges of several answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Validator {
    /// A strong entity tag, quotes included.
    Etag(String),
    /// A modification date that was at least a second old when it was sent.
    LastModified(String),
}

impl Validator {
    /// As it is sent in `If-Range`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Etag(value) | Self::LastModified(value) => value,
        }
    }

    /// Reads what [`Validator::as_str`] gave: an entity tag is quoted, a date is not.
    pub fn from_stored(value: String) -> Self {
        if value.starts_with('"') {
            Self::Etag(value)
        } else {
            Self::LastModified(value)
        }
    }
}

/// A part that the store has: what we sent, and what it calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPart {
    /// From 1.
    pub number: u32,
    pub size_bytes: u64,
    /// Of the bytes as the store received them, by its own word; where it gives none, as they were
    /// handed to it.
    pub crc64nvme: Crc64Nvme,
    /// As the store spelled it.
    pub etag: String,
    /// The part's SHA-256 as the store spelled it, if that is what it verifies: it wants to hear it
    /// again.
    pub sha256: Option<String>,
}

/// An unfinished multipart upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRef {
    pub upload_id: String,
    /// Marks the object as written by us; given when the upload was begun, and for good.
    pub attempt_token: Uuid,
    /// What its parts are verified by; parts under another rule cannot be added.
    pub verified_by: String,
}

/// The point from which a transfer can go on.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    pub upload: UploadRef,
    /// The whole file's size at the source.
    pub size_bytes: u64,
    pub validator: Validator,
    /// All parts but the last have this size.
    pub part_bytes: u64,
    /// The first parts, without a gap.
    pub parts: Vec<StoredPart>,
    /// Has taken in exactly these parts.
    pub fingerprinting: Fingerprinting,
}

impl Checkpoint {
    /// Where in the file to go on; `None` if the checkpoint contradicts itself, or holds nothing.
    pub fn offset_bytes(&self) -> Option<u64> {
        let (last, before) = self.parts.split_last()?;
        let read = self.fingerprinting.clone().finish();
        let offset = read.size_bytes;
        let whole = offset == self.size_bytes;
        let equal = before.iter().all(|part| part.size_bytes == self.part_bytes)
            && (last.size_bytes == self.part_bytes || whole && last.size_bytes < self.part_bytes);
        let agrees = equal && offset <= self.size_bytes && check_parts(&self.parts, &read).is_ok();
        agrees.then_some(offset)
    }
}

/// Parts that are not the bytes that were read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartsDiffer {
    #[error("part {expected} is missing or out of place: part {found} stands there")]
    Order { expected: u32, found: u32 },
    #[error("part {number} has {found} bytes, those before have {expected}")]
    Size {
        number: u32,
        expected: u64,
        found: u64,
    },
    #[error("the parts have {parts} bytes, {read} were read")]
    Sum { parts: u64, read: u64 },
    #[error("the parts' checksums give {parts}, that of the bytes as read is {read}")]
    Checksum { parts: Crc64Nvme, read: Crc64Nvme },
}

/// Holds the parts against the bytes as they were read: none lost, doubled, swapped or altered.
pub fn check_parts(parts: &[StoredPart], read: &Fingerprint) -> Result<(), PartsDiffer> {
    let mut sum = 0;
    let mut combined = Crc64Nvme::EMPTY;
    let usual = parts.first().map_or(0, |part| part.size_bytes);
    for (expected, part) in (1..).zip(parts) {
        if part.number != expected {
            return Err(PartsDiffer::Order {
                expected,
                found: part.number,
            });
        }
        let last = expected as usize == parts.len();
        if part.size_bytes > usual || part.size_bytes != usual && !last {
            return Err(PartsDiffer::Size {
                number: part.number,
                expected: usual,
                found: part.size_bytes,
            });
        }
        sum += part.size_bytes;
        combined = combined.followed_by(part.crc64nvme, part.size_bytes);
    }
    if sum != read.size_bytes {
        return Err(PartsDiffer::Sum {
            parts: sum,
            read: read.size_bytes,
        });
    }
    if combined != read.crc64nvme {
        return Err(PartsDiffer::Checksum {
            parts: combined,
            read: read.crc64nvme,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: usize = 1000;

    fn bytes() -> Vec<u8> {
        (0..3500_u32).map(|n| (n % 251) as u8).collect()
    }

    fn part(number: u32, bytes: &[u8]) -> StoredPart {
        StoredPart {
            number,
            size_bytes: bytes.len() as u64,
            crc64nvme: Crc64Nvme::of(bytes),
            etag: format!("\"{number}\""),
            sha256: None,
        }
    }

    fn parts_of(bytes: &[u8]) -> Vec<StoredPart> {
        (1..)
            .zip(bytes.chunks(PART))
            .map(|(n, b)| part(n, b))
            .collect()
    }

    fn read(bytes: &[u8]) -> Fingerprint {
        let mut fingerprint = Fingerprinting::new();
        fingerprint.update(bytes);
        fingerprint.finish()
    }

    #[test]
    fn parts_that_are_the_bytes_pass() {
        let bytes = bytes();
        assert_eq!(check_parts(&parts_of(&bytes), &read(&bytes)), Ok(()));
        assert_eq!(check_parts(&[], &read(&[])), Ok(()));
    }

    #[test]
    fn a_part_that_was_lost_doubled_swapped_or_altered_is_found() {
        let bytes = bytes();
        let renumber = |mut parts: Vec<StoredPart>| {
            for (number, part) in (1..).zip(&mut parts) {
                part.number = number;
            }
            parts
        };
        let mut lost = parts_of(&bytes);
        lost.remove(1);
        let mut doubled = parts_of(&bytes);
        doubled.insert(1, doubled[1].clone());
        let mut swapped = parts_of(&bytes);
        swapped.swap(1, 2);
        let mut altered = parts_of(&bytes);
        altered[2].crc64nvme = Crc64Nvme::of(b"something else");
        let mut longer = parts_of(&bytes);
        longer[1].size_bytes += 1;
        let mut last_lost = parts_of(&bytes);
        last_lost.pop();
        for (name, parts) in [
            ("lost", lost),
            ("doubled", doubled),
            ("swapped", swapped),
            ("altered", altered),
            ("longer", longer),
            ("last lost", last_lost),
        ] {
            assert!(check_parts(&parts, &read(&bytes)).is_err(), "{name}");
            // Whoever hides the gap by counting anew is found out by size or checksum.
            let parts = renumber(parts);
            assert!(check_parts(&parts, &read(&bytes)).is_err(), "{name}");
        }
    }

    #[test]
    fn a_checkpoint_that_contradicts_itself_is_no_point_to_go_on_from() {
        let bytes = bytes();
        let mut fingerprinting = Fingerprinting::new();
        fingerprinting.update(&bytes[..2 * PART]);
        let sound = Checkpoint {
            upload: UploadRef {
                upload_id: "u".to_owned(),
                attempt_token: Uuid::nil(),
                verified_by: "crc64nvme".to_owned(),
            },
            size_bytes: 3500,
            validator: Validator::Etag("\"v\"".to_owned()),
            part_bytes: PART as u64,
            parts: parts_of(&bytes[..2 * PART]),
            fingerprinting,
        };
        assert_eq!(sound.offset_bytes(), Some(2000));
        let mut whole = sound.clone();
        whole.parts = parts_of(&bytes);
        whole.fingerprinting.update(&bytes[2 * PART..]);
        assert_eq!(
            whole.offset_bytes(),
            Some(3500),
            "the short last part included"
        );
        let mut empty = sound.clone();
        empty.parts.clear();
        empty.fingerprinting = Fingerprinting::new();
        let mut short = sound.clone();
        short.parts.pop();
        let mut small_file = sound.clone();
        small_file.size_bytes = 1999;
        let mut other_parts = sound.clone();
        other_parts.part_bytes = 999;
        let mut short_in_the_middle = whole.clone();
        short_in_the_middle.size_bytes = 4000;
        for (name, unsound) in [
            ("empty", empty),
            ("short", short),
            ("small file", small_file),
            ("other parts", other_parts),
            ("short in the middle", short_in_the_middle),
        ] {
            assert_eq!(unsound.offset_bytes(), None, "{name}");
        }
    }
}
