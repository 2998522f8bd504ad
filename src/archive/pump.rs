//! Every byte of the media: hashed in order, and sent into the store while the next ones come.

use super::checkpoints::Checkpoints;
use super::hashing::Hashing;
use super::{ArchiveError, Archiver, Job, ready};
use crate::digest::{Fingerprint, Fingerprinting};
use crate::recording::Recording;
use crate::storage::Upload;
use crate::transfer::{Download, Next, TransferError};

impl Archiver {
    /// Takes the rest of the media in. How far hashing and sending got is written down as soon as
    /// it is known, whether or not the next part comes.
    pub(super) async fn pump(
        &self,
        job: &Job<'_>,
        mut download: Download,
        hashing: &mut Hashing,
        upload: &mut Upload,
        checkpoints: &mut Checkpoints,
    ) -> Result<(), ArchiveError> {
        loop {
            tokio::select! {
                next = download.next() => match next? {
                    Next::Part(part) => {
                        hashing.take_in(&part);
                        upload.send(part.number, part.bytes, part.crc64nvme).await?;
                    }
                    Next::LinkDied => self.relink(job, &mut download).await?,
                    Next::End => return Ok(()),
                },
                stored = upload.one_more_stored() => stored?,
                hashed = hashing.hashed() => checkpoints.note(hashed),
            }
            checkpoints.look_at(upload);
            checkpoints.save_if_due(&self.queue, job.claim).await;
        }
    }

    /// Reads the whole file at its source, to know what it is.
    pub(super) async fn read_source(&self, job: &Job<'_>) -> Result<Fingerprint, ArchiveError> {
        let expected = self.expected(job);
        let part_bytes = self.part_plan(expected.size_bytes)?.part_bytes;
        let source = self
            .media
            .open(job.link, &expected, part_bytes, None)
            .await?;
        job.note_mismatch(source.format().mismatch);
        let source_bytes = source.size_bytes();
        job.progress.start(source_bytes, 0);
        let mut download = source.download(part_bytes, &self.memory, job.progress);
        let mut hashing = Hashing::start(Fingerprinting::new(), source_bytes);
        loop {
            match download.next().await? {
                Next::Part(part) => hashing.take_in(&part),
                Next::LinkDied => self.relink(job, &mut download).await?,
                Next::End => break,
            }
        }
        let (fingerprinting, _) = hashing.finish().await.map_err(TransferError::from)?;
        let fingerprint = fingerprinting.finish();
        self.demand_declared_size(job.recording, &fingerprint)?;
        Ok(fingerprint)
    }

    /// Compares the counted bytes with the declared size, whatever was announced in between.
    pub(super) fn demand_declared_size(
        &self,
        recording: &Recording,
        fingerprint: &Fingerprint,
    ) -> Result<(), ArchiveError> {
        match self.demanded_size(recording) {
            Some(declared) if declared != fingerprint.size_bytes => {
                Err(TransferError::SizeMismatch {
                    declared,
                    actual: fingerprint.size_bytes,
                }
                .into())
            }
            _ => Ok(()),
        }
    }

    /// Gets a fresh link to the same file, once for all connections.
    async fn relink(&self, job: &Job<'_>, download: &mut Download) -> Result<(), ArchiveError> {
        let id = job.claim.recording_id();
        tracing::debug!(recording.id = %id, "the link died in the middle: asking for another one");
        let fresh = self.signalwire.recording(id).await?;
        if fresh.declared_size_bytes != job.recording.declared_size_bytes {
            return Err(TransferError::Changed.into());
        }
        download.relink(ready(&fresh)?.clone());
        Ok(())
    }
}
