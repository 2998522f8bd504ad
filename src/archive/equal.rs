//! Before a byte is stored: does the recording stand under its key already?

use super::{ArchiveError, Archiver, Job, Published, unless};
use crate::digest::Fingerprint;
use crate::queue::LeftUpload;
use crate::storage::{Manifest, OwnObject};

impl Archiver {
    /// What already stands under the key and is this recording; `None` if nothing stands there.
    /// One that differs is an error, never overwritten.
    pub(super) async fn standing(
        &self,
        job: &Job<'_>,
        left: &[LeftUpload],
    ) -> Result<Option<(Fingerprint, Published)>, ArchiveError> {
        let Some(found_bytes) = self.storage.size_of(job.key).await? else {
            return Ok(None);
        };
        // A crash between publishing and settling: our own upload became this object.
        if let Some(published) = self.published_before(job, left).await? {
            return Ok(Some(published));
        }
        // The row vouches for what was archived before: it was compared with its source then. The
        // manifest in the bucket does not: the writer of the object may have written that too.
        let vouched = self.repeated(job.claim, || self.queue.vouched(job.claim));
        let vouched = unless(job.stop, vouched).await?;
        // What an operator accepted in another size than declared was accepted for good.
        let is_vouched_size = vouched.is_some_and(|vouched| vouched.size_bytes == found_bytes);
        if is_vouched_size
            && let Some(vouched) = vouched
            && self.storage.read_back(job.key, vouched.size_bytes).await? == Some(vouched)
        {
            let manifest = self.storage.manifest(job.key).await?;
            job.note_mismatch(manifest.as_ref().and_then(Manifest::format_mismatch));
            return Ok(Some((vouched, Published::EqualWasThere)));
        }
        if job.claim.is_damaged()
            // A repair that was cut off before it had removed the bad object.
            && let Some(kept) = self.storage.kept_aside(job.key).await?
        {
            self.storage.remove_original(&kept).await?;
            return Ok(None);
        }
        if let Some(declared) = self.demanded_size(job.recording)
            && declared != found_bytes
            && !is_vouched_size
        {
            return Err(self.storage.conflict(job.key, found_bytes, declared).into());
        }
        // Only the source can tell.
        let fingerprint = self.read_source(job).await?;
        self.storage.demand_equal(job.key, &fingerprint).await?;
        Ok(Some((fingerprint, Published::EqualWasThere)))
    }

    /// The object that an earlier attempt's upload became, if its bytes are all on record.
    async fn published_before(
        &self,
        job: &Job<'_>,
        left: &[LeftUpload],
    ) -> Result<Option<(Fingerprint, Published)>, ArchiveError> {
        for upload in left {
            let Some(checkpoint) = &upload.checkpoint else {
                continue;
            };
            if checkpoint.offset_bytes() != Some(checkpoint.size_bytes) {
                continue;
            }
            let own = OwnObject {
                key: job.key.clone(),
                size_bytes: checkpoint.size_bytes,
                attempt_token: checkpoint.upload.attempt_token,
            };
            if let Some(receipt) = self.storage.own_object(&own).await? {
                let fingerprint = checkpoint.fingerprinting.clone().finish();
                let upload_id = Some(checkpoint.upload.upload_id.clone());
                job.note_mismatch(upload.format_mismatch);
                return Ok(Some((fingerprint, Published::Ours { receipt, upload_id })));
            }
        }
        Ok(None)
    }
}
