//! Answers for the bytes of a recording: generated, from a file or given; any range, at once.
//!
//! Generated media needs no memory and no disk: each 8-byte word follows from the seed and its
//! position alone, so a range in the middle of a terabyte costs as much as one at its start.

use std::{
    fs, io,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{container::Container, recording::Media};

/// The most bytes produced at once; also the memory one response needs.
pub(super) const CHUNK_BYTES: u64 = 128 * 1024;

/// Media made ready to be read: size and identity are known.
#[derive(Debug, Clone)]
pub(super) enum MediaSource {
    Generated {
        size_bytes: u64,
        seed: u64,
        header: Bytes,
    },
    File {
        file: std::sync::Arc<fs::File>,
        size_bytes: u64,
        identity: String,
    },
    Bytes(Bytes),
}

impl MediaSource {
    /// `None` when the recording has no media.
    pub(super) fn open(media: &Media) -> io::Result<Option<Self>> {
        Ok(Some(match media {
            Media::Generated {
                size_bytes,
                seed,
                container,
            } => Self::Generated {
                size_bytes: *size_bytes,
                seed: *seed,
                header: container.header(*size_bytes).into(),
            },
            Media::File(path) => Self::open_file(path)?,
            Media::Bytes(bytes) => Self::Bytes(bytes.clone()),
            Media::None => return Ok(None),
        }))
    }

    fn open_file(path: &Path) -> io::Result<Self> {
        let file = fs::File::open(path)?;
        let known = file.metadata()?;
        let identity = format!(
            "{}/{}/{}.{}",
            path.display(),
            known.len(),
            known.mtime(),
            known.mtime_nsec()
        );
        Ok(Self::File {
            file: file.into(),
            size_bytes: known.len(),
            identity,
        })
    }

    pub(super) fn size_bytes(&self) -> u64 {
        match self {
            Self::Generated { size_bytes, .. } | Self::File { size_bytes, .. } => *size_bytes,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// 32 hex digits that change when the media does; what the strong `ETag` is made of.
    pub(super) fn identity(&self) -> String {
        let digest = match self {
            Self::Generated {
                size_bytes,
                seed,
                header,
            } => {
                let mut hasher = Sha256::new_with_prefix(header);
                hasher.update(size_bytes.to_le_bytes());
                hasher.update(seed.to_le_bytes());
                hasher.finalize()
            }
            Self::File { identity, .. } => Sha256::digest(identity),
            Self::Bytes(bytes) => Sha256::digest(bytes),
        };
        hex::encode(&digest[..16])
    }

    /// Other media of the same length, in the container of `format`; the same for the same media.
    pub(super) fn encoded_again(&self, format: &str) -> Media {
        let digest = Sha256::digest(self.identity());
        let seed = digest
            .iter()
            .take(8)
            .fold(0, |seed, byte| seed << 8 | u64::from(*byte));
        Media::Generated {
            size_bytes: self.size_bytes(),
            seed,
            container: Container::of(format),
        }
    }

    /// Up to `limit` bytes from `offset`, never more than [`CHUNK_BYTES`]; empty at the end. For a
    /// file this blocks.
    pub(super) fn read_at(&self, offset: u64, limit: u64) -> io::Result<Bytes> {
        let left = self.size_bytes().saturating_sub(offset);
        let wanted = left.min(limit).min(CHUNK_BYTES);
        let wanted = usize::try_from(wanted).map_err(io::Error::other)?;
        match self {
            Self::Generated { seed, header, .. } => {
                let mut chunk = generate(*seed, offset, wanted);
                if let Ok(start) = usize::try_from(offset)
                    && let Some(head) = header.get(start..)
                {
                    let shared = head.len().min(wanted);
                    chunk[..shared].copy_from_slice(&head[..shared]);
                }
                Ok(chunk.into())
            }
            Self::File { file, .. } => {
                let mut chunk = vec![0; wanted];
                file.read_exact_at(&mut chunk, offset)?;
                Ok(chunk.into())
            }
            Self::Bytes(bytes) => {
                let start = usize::try_from(offset).map_or(bytes.len(), |at| at.min(bytes.len()));
                Ok(bytes.slice(start..start + wanted))
            }
        }
    }

    /// SHA-256 of the whole media. Reads all of it.
    pub(super) fn sha256(&self) -> io::Result<[u8; 32]> {
        let mut hasher = Sha256::new();
        let mut offset = 0;
        loop {
            let chunk = self.read_at(offset, CHUNK_BYTES)?;
            if chunk.is_empty() {
                return Ok(hasher.finalize().into());
            }
            hasher.update(&chunk);
            offset += chunk.len() as u64;
        }
    }
}

/// `wanted` bytes of the endless stream of `seed`, from `offset`.
fn generate(seed: u64, offset: u64, wanted: usize) -> Vec<u8> {
    let skipped = (offset % 8) as usize;
    let words = (skipped + wanted).div_ceil(8);
    let mut chunk = vec![0; words * 8];
    let mut counter = seed.wrapping_add((offset / 8).wrapping_mul(GOLDEN));
    for slot in chunk.as_chunks_mut::<8>().0 {
        *slot = mix(counter).to_le_bytes();
        counter = counter.wrapping_add(GOLDEN);
    }
    chunk.truncate(skipped + wanted);
    chunk.drain(..skipped);
    chunk
}

/// The odd step of `SplitMix64`, 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finalizer of `SplitMix64`: each counter gives a word that looks random.
fn mix(counter: u64) -> u64 {
    let mut word = counter;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn generated(size_bytes: u64, seed: u64, container: Container) -> MediaSource {
        MediaSource::open(&Media::Generated {
            size_bytes,
            seed,
            container,
        })
        .unwrap()
        .unwrap()
    }

    fn whole(source: &MediaSource) -> Vec<u8> {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < source.size_bytes() {
            bytes.extend_from_slice(&source.read_at(bytes.len() as u64, u64::MAX).unwrap());
        }
        bytes
    }

    proptest! {
        #[test]
        fn any_range_equals_the_same_slice_of_the_whole(
            size in 0_u64..40_000, seed: u64, from in 0_u64..40_000, length in 0_u64..40_000,
        ) {
            let source = generated(size, seed, Container::Mp4);
            let range = source.read_at(from, length).unwrap();
            let all = whole(&source).into_iter().skip(usize::try_from(from).unwrap());
            let expected: Vec<u8> = all.take(usize::try_from(length).unwrap()).collect();
            prop_assert_eq!(&range[..], &expected[..]);
        }
    }

    #[test]
    fn a_range_far_into_a_petabyte_is_as_quick_as_any() {
        let source = generated(1 << 50, 7, Container::Mp4);
        let late = source.read_at((1 << 50) - 5, 100).unwrap();
        assert_eq!(late.len(), 5);
        assert_eq!(late, source.read_at((1 << 50) - 13, 100).unwrap()[8..]);
    }

    #[test]
    fn the_boxes_of_generated_mp4_cover_the_whole_file() {
        let bytes = whole(&generated(1000, 1, Container::Mp4));
        assert_eq!(&bytes[..8], b"\0\0\0\x20ftyp");
        assert_eq!(&bytes[0x24..0x28], b"mdat");
        assert_eq!(
            u64::from_be_bytes(bytes[0x28..0x30].try_into().unwrap()),
            1000 - 0x20
        );
    }

    #[test]
    fn each_container_begins_as_its_format_does() {
        for (container, magic) in [
            (Container::Webm, &b"\x1a\x45\xdf\xa3"[..]),
            (Container::Wav, b"RIFF"),
            (Container::Mp3, b"ID3"),
        ] {
            assert!(
                whole(&generated(200, 1, container)).starts_with(magic),
                "{container:?}"
            );
        }
        assert_eq!(whole(&generated(3, 1, Container::Mp4)), b"\0\0\0");
    }

    #[test]
    fn seed_and_size_change_bytes_and_identity() {
        let one = generated(100, 1, Container::Raw);
        let other = generated(100, 2, Container::Raw);
        assert_ne!(whole(&one), whole(&other));
        assert_ne!(one.identity(), other.identity());
        assert_ne!(one.identity(), generated(101, 1, Container::Raw).identity());
        assert_eq!(one.identity(), generated(100, 1, Container::Raw).identity());
    }

    #[test]
    fn a_file_and_given_bytes_are_read_as_they_are() {
        let bytes = whole(&generated(300_001, 9, Container::Webm));
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &bytes).unwrap();
        let expected: [u8; 32] = Sha256::digest(&bytes).into();
        for media in [
            Media::File(file.path().into()),
            Media::Bytes(bytes.clone().into()),
        ] {
            let source = MediaSource::open(&media).unwrap().unwrap();
            assert_eq!(source.read_at(299_999, 10).unwrap(), bytes[299_999..]);
            assert_eq!(source.sha256().unwrap(), expected);
        }
    }
}
