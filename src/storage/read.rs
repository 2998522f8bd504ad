//! Reading objects, whole or from some byte on, as fast as a bandwidth lets, and never much further
//! than to the size that is known of them: a store may send bytes without end.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use object_store::{GetOptions, GetRange, GetResult, GetResultPayload};
use tokio::sync::mpsc;

use super::error::{Operation, StorageError};
use super::key::ObjectKey;
use super::proof::nothing_there;
use super::{Storage, StorageLocation};
use crate::bandwidth::Bandwidth;
use crate::digest::{Fingerprint, Fingerprinting};
use crate::progress::Progress;

/// A file is read in blocks of this size.
const BLOCK_BYTES: u64 = 1024 * 1024;
/// So many bytes wait together for their share of the bandwidth.
const PACED_BYTES: usize = 8 * 1024;
/// Blocks that are read ahead.
const BLOCKS_AHEAD: usize = 2;

/// The bytes of an object on their way.
pub struct ObjectBytes {
    key: ObjectKey,
    size_bytes: u64,
    /// How many bytes may still come.
    left_bytes: u64,
    stream: BoxStream<'static, object_store::Result<Bytes>>,
}

impl ObjectBytes {
    /// The size of the whole object, wherever the reading began.
    pub const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Returns the next bytes; `None` after the last, and after one byte more than is known of the
    /// object.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        if self.left_bytes == 0 {
            return Ok(None);
        }
        let failed = |e| StorageError::of(Operation::new("read back", &self.key), &e);
        let Some(mut bytes) = self.stream.next().await.transpose().map_err(failed)? else {
            return Ok(None);
        };
        bytes.truncate(usize::try_from(self.left_bytes).unwrap_or(usize::MAX));
        self.left_bytes -= bytes.len() as u64;
        Ok(Some(bytes))
    }
}

/// Returns the whole body of an answer; `None` if it is longer than `most_bytes`, whatever size the
/// answer declares.
pub(super) async fn body_within(
    answer: GetResult,
    most_bytes: usize,
) -> object_store::Result<Option<Vec<u8>>> {
    let (mut stream, mut body) = (answer.into_stream(), Vec::new());
    while let Some(chunk) = stream.next().await.transpose()? {
        if body.len() + chunk.len() > most_bytes {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// What reading an object of `known_bytes` gave, in words: of a larger one, neither size nor digest
/// is known.
pub fn found_in_words(found_bytes: u64, sha256: &str, known_bytes: u64) -> String {
    if found_bytes > known_bytes {
        format!("it has more than {known_bytes} bytes")
    } else {
        format!("it has {found_bytes} bytes and SHA-256 {sha256}")
    }
}

impl std::fmt::Debug for ObjectBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectBytes")
            .field("key", &self.key)
            .field("size_bytes", &self.size_bytes)
            .finish_non_exhaustive()
    }
}

impl Storage {
    /// Begins to read an object at its byte `from`; `None` if there is none. Of an object that is
    /// larger than `known_bytes`, exactly one byte more is read: enough to see that it is.
    pub async fn open_object(
        &self,
        key: &ObjectKey,
        from: u64,
        known_bytes: u64,
    ) -> Result<Option<ObjectBytes>, StorageError> {
        let options = GetOptions {
            range: (from > 0).then_some(GetRange::Offset(from)),
            ..GetOptions::default()
        };
        let plain = self.backend.plain();
        match plain.get_opts(&key.location(), options).await {
            Ok(object) => Ok(Some(ObjectBytes {
                key: key.clone(),
                size_bytes: object.meta.size,
                left_bytes: known_bytes.saturating_add(1).saturating_sub(from),
                stream: match object.payload {
                    GetResultPayload::File(file, _) => blocks_of(file, object.range),
                    GetResultPayload::Stream(stream) => stream,
                },
            })),
            Err(error) => {
                let translate = |e| StorageError::of(Operation::new("read back", key), &e);
                match nothing_there(error, translate) {
                    Err(error) => Err(Box::pin(self.or_cold(key, error)).await),
                    nothing => nothing,
                }
            }
        }
    }

    /// Reads an object whole and takes its fingerprint; `None` if there is none. One that is larger
    /// than `known_bytes` is read one byte further, and its fingerprint says so.
    pub async fn read_back(
        &self,
        key: &ObjectKey,
        known_bytes: u64,
    ) -> Result<Option<Fingerprint>, StorageError> {
        let unlimited = Bandwidth::new(None);
        self.read_back_within(key, known_bytes, &unlimited, &Progress::default())
            .await
    }

    /// The same no faster than a bandwidth allows, telling how far it is.
    pub async fn read_back_within(
        &self,
        key: &ObjectKey,
        known_bytes: u64,
        bandwidth: &Bandwidth,
        progress: &Progress,
    ) -> Result<Option<Fingerprint>, StorageError> {
        let Some(mut object) = self.open_object(key, 0, known_bytes).await? else {
            return Ok(None);
        };
        let mut fingerprint = Fingerprinting::new();
        while let Some(bytes) = object.next().await? {
            for piece in bytes.chunks(PACED_BYTES) {
                bandwidth.pass(piece.len()).await;
                fingerprint.update(piece);
                progress.add(piece.len() as u64);
            }
        }
        Ok(Some(fingerprint.finish()))
    }

    /// What every object URL in this store begins with, other prefixes in the bucket included.
    pub fn url_root(&self) -> String {
        match &self.location {
            StorageLocation::S3 { bucket, .. } => format!("s3://{bucket}/"),
            StorageLocation::File { root } => {
                url::Url::from_directory_path(root).map_or_else(|()| String::new(), String::from)
            }
        }
    }
}

/// Reads a file on one thread of its own, in large blocks: the store's client hands every 8 KiB to
/// another thread and back.
fn blocks_of(file: File, range: Range<u64>) -> BoxStream<'static, object_store::Result<Bytes>> {
    let (read, blocks) = mpsc::channel(BLOCKS_AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut offset = range.start;
        while offset < range.end {
            let length = (range.end - offset).min(BLOCK_BYTES);
            let block = read_block(&file, offset, length);
            offset += length;
            // A file that ends early has changed; whoever reads it sees that by its digest.
            let is_last = block.as_ref().map_or(true, |it| (it.len() as u64) < length);
            if read.blocking_send(block).is_err() || is_last {
                return;
            }
        }
    });
    stream::unfold(blocks, async |mut blocks| {
        Some((blocks.recv().await?, blocks))
    })
    .boxed()
}

fn read_block(file: &File, offset: u64, length: u64) -> object_store::Result<Bytes> {
    let mut block = vec![0; usize::try_from(length).expect("a block fits into memory")];
    let mut filled = 0;
    while filled < block.len() {
        match file.read_at(&mut block[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(object_store::Error::Generic {
                    store: "LocalFileSystem",
                    source: Box::new(error),
                });
            }
        }
    }
    block.truncate(filled);
    Ok(block.into())
}
