//! Digests of whole recordings: computed while the bytes pass, compared as values.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::digest::common::hazmat::SerializableState as _;
use sha2::{Digest as _, Sha256};

mod polynomial;

/// The SHA-256 of a whole recording; shown in lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha256Digest([u8; 32]);

impl Sha256Digest {
    /// The digest that these 32 bytes spell.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw 32 bytes, as Postgres stores them.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads 64 hexadecimal digits; `None` for anything else.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// Reads S3's spelling, base64; `None` for anything else.
    pub fn from_base64(text: &str) -> Option<Self> {
        BASE64.decode(text).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The CRC64NVME of a whole recording; shown as S3 spells it (base64 of the big-endian bytes).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Crc64Nvme(u64);

impl Crc64Nvme {
    /// The checksum with this numeric value.
    pub const fn from_value(value: u64) -> Self {
        Self(value)
    }

    /// Reads S3's spelling; `None` for anything else.
    pub fn from_base64(text: &str) -> Option<Self> {
        let bytes: [u8; 8] = BASE64.decode(text).ok()?.try_into().ok()?;
        Some(Self(u64::from_be_bytes(bytes)))
    }

    /// The checksum of no bytes.
    pub const EMPTY: Self = Self(0);

    /// The checksum of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::EMPTY.and(bytes)
    }

    /// The checksum of what `self` is of, followed by these bytes.
    #[must_use]
    pub fn and(self, bytes: &[u8]) -> Self {
        let algorithm = crc_fast::CrcAlgorithm::Crc64Nvme;
        let mut running = crc_fast::Digest::new_with_init_state(algorithm, self.state());
        running.update(bytes);
        Self(running.finalize())
    }

    /// The checksum of what `self` is of, followed by `next_bytes` bytes that `next` is of.
    #[must_use]
    pub fn followed_by(self, next: Self, next_bytes: u64) -> Self {
        Self(polynomial::product(self.0, polynomial::shift(next_bytes)) ^ next.0)
    }

    /// What the calculation goes on from: CRC-64/NVME inverts it at the end.
    const fn state(self) -> u64 {
        !self.0
    }
}

impl fmt::Display for Crc64Nvme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(self.0.to_be_bytes()))
    }
}

impl fmt::Debug for Crc64Nvme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What was read, in one value: how many bytes, and both digests of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    pub size_bytes: u64,
    pub sha256: Sha256Digest,
    pub crc64nvme: Crc64Nvme,
}

/// First byte of a saved state; another layout gets another one. The SHA-256 state is laid out by
/// its library, whose version is pinned in `Cargo.lock` and held to by a test.
const SAVED_VERSION: u8 = 1;
/// Fits into the first-level cache of any processor.
const PIECE_BYTES: usize = 16 * 1024;

/// Takes the fingerprint of bytes as they pass, in order.
#[derive(Clone)]
pub struct Fingerprinting {
    size_bytes: u64,
    sha256: Sha256,
    crc64nvme: Crc64Nvme,
}

impl Fingerprinting {
    pub fn new() -> Self {
        Self {
            size_bytes: 0,
            sha256: Sha256::new(),
            crc64nvme: Crc64Nvme::EMPTY,
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.size_bytes += bytes.len() as u64;
        // Both see each piece while it is in the processor's cache: a part is larger than that.
        for piece in bytes.chunks(PIECE_BYTES) {
            self.crc64nvme = self.crc64nvme.and(piece);
            self.sha256.update(piece);
        }
    }

    /// Takes bytes in whose checksum was taken before.
    pub fn update_checked(&mut self, bytes: &[u8], checksum: Crc64Nvme) {
        let more_bytes = bytes.len() as u64;
        self.size_bytes += more_bytes;
        self.crc64nvme = self.crc64nvme.followed_by(checksum, more_bytes);
        self.sha256.update(bytes);
    }

    /// Bytes taken in so far.
    pub const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// What it takes to go on from here in another process: size, CRC state, SHA-256 state, and a
    /// checksum of these.
    pub fn save(&self) -> Vec<u8> {
        let mut saved = vec![SAVED_VERSION];
        saved.extend_from_slice(&self.size_bytes.to_be_bytes());
        saved.extend_from_slice(&self.crc64nvme.state().to_be_bytes());
        saved.extend_from_slice(&self.sha256.serialize());
        // Every state is a possible one: only this tells a damaged one.
        saved.extend_from_slice(&Crc64Nvme::of(&saved).0.to_be_bytes());
        saved
    }

    /// Goes on from what [`Fingerprinting::save`] wrote; `None` if this version does not know it.
    pub fn restore(saved: &[u8]) -> Option<Self> {
        let (saved, check) = saved.split_last_chunk()?;
        if Crc64Nvme::of(saved).0 != u64::from_be_bytes(*check) {
            return None;
        }
        let rest = saved.strip_prefix(&[SAVED_VERSION])?;
        let (size_bytes, rest) = rest.split_first_chunk()?;
        let (crc_state, sha256) = rest.split_first_chunk()?;
        Some(Self {
            size_bytes: u64::from_be_bytes(*size_bytes),
            sha256: Sha256::deserialize(sha256.try_into().ok()?).ok()?,
            crc64nvme: Crc64Nvme(!u64::from_be_bytes(*crc_state)),
        })
    }

    pub fn finish(self) -> Fingerprint {
        Fingerprint {
            size_bytes: self.size_bytes,
            sha256: Sha256Digest(self.sha256.finalize().into()),
            crc64nvme: self.crc64nvme,
        }
    }
}

impl Default for Fingerprinting {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Fingerprinting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fingerprinting")
            .field("size_bytes", &self.size_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version, size and CRC state; the eight words of SHA-256; blocks taken in; the bytes of the
    /// block that is not full yet.
    const SAVED_ABC: &str = concat!(
        "01",
        "0000000000000003",
        "fa1a3544c03e0514",
        "67e6096a85ae67bb72f36e3c3af54fa57f520e518c68059babd9831f19cde05b",
        "0000000000000000",
        "03616263",
    );

    fn fingerprint(bytes: &[u8]) -> Fingerprint {
        let mut running = Fingerprinting::new();
        running.update(bytes);
        running.finish()
    }

    #[test]
    fn digests_are_the_published_ones() {
        // FIPS 180-2 appendix B.1, and the CRC-64/NVME check value of the CRC catalogue.
        assert_eq!(
            fingerprint(b"abc").sha256.to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            fingerprint(b"123456789").crc64nvme,
            Crc64Nvme(0xAE8B_1486_0A79_9888)
        );
    }

    #[test]
    fn the_cut_between_chunks_does_not_matter() {
        let bytes: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        let mut running = Fingerprinting::new();
        for chunk in bytes.chunks(333) {
            running.update(chunk);
        }
        assert_eq!(running.finish(), fingerprint(&bytes));
    }

    #[test]
    fn a_saved_state_goes_on_to_the_same_fingerprint() {
        let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        for cut in [0, 1, 63, 64, 65, 4096, 99_999, 100_000] {
            let mut running = Fingerprinting::new();
            running.update(&bytes[..cut]);
            let mut resumed = Fingerprinting::restore(&running.save()).unwrap();
            assert_eq!(resumed.size_bytes(), cut as u64);
            resumed.update(&bytes[cut..]);
            assert_eq!(resumed.finish(), fingerprint(&bytes), "{cut}");
        }
    }

    #[test]
    fn a_state_saved_by_the_first_release_is_still_understood() {
        let mut running = Fingerprinting::new();
        running.update(b"abc");
        let saved = hex::encode(running.save());
        assert_eq!(saved[..saved.len() - 16], format!("{SAVED_ABC:0<242}"));
        assert!(Fingerprinting::restore(&[]).is_none());
        assert!(Fingerprinting::restore(&running.save()[..40]).is_none());
        for place in [0, 5, 20, 100, 125] {
            let mut damaged = running.save();
            damaged[place] ^= 1;
            assert!(Fingerprinting::restore(&damaged).is_none(), "{place}");
        }
    }

    #[test]
    fn checksums_of_parts_combine_to_that_of_the_whole() {
        let bytes: Vec<u8> = (0..=255).cycle().take(70_001).collect();
        let combined = bytes.chunks(8192).fold(Crc64Nvme::EMPTY, |whole, part| {
            whole.followed_by(Crc64Nvme::of(part), part.len() as u64)
        });
        assert_eq!(combined, fingerprint(&bytes).crc64nvme);
        assert_eq!(combined, Crc64Nvme::of(&bytes));
    }

    #[test]
    fn spellings_come_back_as_the_same_value() {
        let whole = fingerprint(b"recording");
        assert_eq!(
            Sha256Digest::from_hex(&whole.sha256.to_string()),
            Some(whole.sha256)
        );
        assert_eq!(
            Crc64Nvme::from_base64(&whole.crc64nvme.to_string()),
            Some(whole.crc64nvme)
        );
        assert_eq!(Sha256Digest::from_hex("abc"), None);
        assert_eq!(Crc64Nvme::from_base64("AAAA"), None);
    }
}
