//! The life of a multipart upload.

use std::collections::BTreeMap;
use std::fs;
use std::time::SystemTime;

use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumAlgorithm, ChecksumType,
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedMultipartUpload,
    CompletedPart, CreateMultipartUploadInput, CreateMultipartUploadOutput, IfNoneMatch,
    ListMultipartUploadsInput, ListMultipartUploadsOutput, ListPartsInput, ListPartsOutput,
    MultipartUpload, Part as ListedPart, UploadPartCopyInput, UploadPartCopyOutput,
    UploadPartInput, UploadPartOutput,
};
use s3s::{Body, S3, S3Request, S3Response, S3Result, s3_error};

use super::operations::Answer;
use super::store::{Store, demand_digest, received};
use super::uploads::{
    Part, Upload, Verified, crc64nvme, crc64nvme_of_files, part_path, remove_traces, sha256,
};

impl Store {
    pub(super) async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> Answer<CreateMultipartUploadOutput> {
        let key = request.input.key.clone();
        let algorithm = request.input.checksum_algorithm.clone();
        let has_crc64nvme = is_crc64nvme(algorithm.as_ref());
        let mut answer = self.files.create_multipart_upload(request).await?;
        let output = &mut answer.output;
        output.checksum_algorithm = algorithm;
        output.checksum_type = has_crc64nvme.then(full_object);
        let id = output.upload_id.clone().expect("an upload has an id");
        let mut memory = self.memory();
        memory.begun.push((key.clone(), id.clone()));
        let upload = Upload {
            key,
            begun_at: SystemTime::now(),
            has_crc64nvme,
            parts: BTreeMap::new(),
        };
        memory.unfinished.insert(id, upload);
        drop(memory);
        Ok(answer)
    }

    pub(super) async fn upload_part(
        &self,
        mut request: S3Request<UploadPartInput>,
    ) -> Answer<UploadPartOutput> {
        let input = &mut request.input;
        let body = received(input.body.take(), &request.extensions).await?;
        self.honesty.demand_small_enough(body.len() as u64)?;
        let mut part_crc64nvme = crc64nvme(&body);
        let stated = input.checksum_crc64nvme.as_ref();
        let has_any =
            stated.is_some() || input.checksum_sha256.is_some() || input.content_md5.is_some();
        self.honesty.demand_checksum("Part", has_any)?;
        if self.honesty.part_checksums.is_on() {
            demand_digest(stated, || part_crc64nvme.clone())?;
            let stated = input.checksum_sha256.as_ref();
            let stated = stated.filter(|_| self.honesty.sha256.is_on());
            demand_digest(stated, || sha256(&body))?;
        } else if let Some(stated) = stated {
            // The worst of liars repeat what they were told.
            part_crc64nvme.clone_from(stated);
        }
        let (id, key) = (input.upload_id.clone(), input.key.clone());
        let number = u32::try_from(input.part_number).map_err(|_| s3_error!(InvalidArgument))?;
        let (size, part_sha256) = (body.len() as u64, input.checksum_sha256.clone());
        input.body = Some(Body::from(body).into());

        let _changing = self.changing.lock().await;
        let upload = self.upload(&id, &key)?;
        let mut answer = self.files.upload_part(request).await?;
        let output = &mut answer.output;
        let shows = self.honesty.returns_checksums.is_on();
        output.checksum_crc64nvme = (shows && upload.has_crc64nvme).then(|| part_crc64nvme.clone());
        output.checksum_sha256 = part_sha256.clone().filter(|_| shows);
        let part = Part {
            size,
            etag: output.e_tag.clone().expect("a part has an ETag"),
            crc64nvme: part_crc64nvme,
            sha256: part_sha256,
            stored_at: SystemTime::now(),
        };
        let mut memory = self.memory();
        memory.received.push((key, number, size));
        let upload = memory.unfinished.get_mut(&id).expect("it was there");
        upload.parts.insert(number, part);
        drop(memory);
        Ok(answer)
    }

    pub(super) async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> Answer<UploadPartCopyOutput> {
        let (id, key) = (request.input.upload_id.clone(), request.input.key.clone());
        let number = u32::try_from(request.input.part_number);
        let number = number.map_err(|_| s3_error!(InvalidArgument))?;
        let _changing = self.changing.lock().await;
        self.upload(&id, &key)?;
        let answer = self.files.upload_part_copy(request).await?;
        let body = fs::read(part_path(&self.root, &id, number)).expect("it is stored");
        let copied = answer.output.copy_part_result.as_ref();
        let part = Part {
            size: body.len() as u64,
            etag: copied
                .and_then(|it| it.e_tag.clone())
                .expect("a part has an ETag"),
            crc64nvme: crc64nvme(&body),
            sha256: None,
            stored_at: SystemTime::now(),
        };
        let mut memory = self.memory();
        let upload = memory.unfinished.get_mut(&id).expect("it was there");
        upload.parts.insert(number, part);
        drop(memory);
        Ok(answer)
    }

    pub(super) async fn list_parts(
        &self,
        request: S3Request<ListPartsInput>,
    ) -> Answer<ListPartsOutput> {
        if !self.honesty.lists_parts.is_on() {
            return Err(s3_error!(NotImplemented));
        }
        let input = request.input;
        let _changing = self.changing.lock().await;
        let upload = self.upload(&input.upload_id, &input.key)?;
        let shows = self.honesty.returns_checksums.is_on() && upload.has_crc64nvme;
        let after = input.part_number_marker.unwrap_or_default();
        let at_most = input.max_parts.and_then(|n| usize::try_from(n).ok());
        let at_most = at_most.unwrap_or(usize::MAX).min(self.honesty.page());
        let all: Vec<_> = upload
            .parts
            .iter()
            .map(|(number, part)| part.listed(*number, shows))
            .filter(|part| part.part_number > Some(after))
            .collect();
        let page: Vec<_> = all.iter().take(at_most).cloned().collect();
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            part_number_marker: Some(after),
            next_part_number_marker: page.last().and_then(|part| part.part_number),
            max_parts: i32::try_from(at_most).ok(),
            is_truncated: Some(page.len() < all.len()),
            checksum_algorithm: shows
                .then(|| ChecksumAlgorithm::from_static(ChecksumAlgorithm::CRC64NVME)),
            checksum_type: shows.then(full_object),
            parts: Some(page),
            ..ListPartsOutput::default()
        }))
    }

    /// In the order of keys and ids, as many at once as a list shows.
    pub(super) async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> Answer<ListMultipartUploadsOutput> {
        let input = request.input;
        let prefix = input.prefix.unwrap_or_default();
        let shown = if self.honesty.list_prefixes.is_on() {
            prefix.as_str()
        } else {
            ""
        };
        let goes_on = self.honesty.list_markers.is_on();
        let after = input.key_marker.filter(|_| goes_on).map(|key| {
            let id = input.upload_id_marker.unwrap_or_default();
            (key, id)
        });
        let _changing = self.changing.lock().await;
        let memory = self.memory();
        let mut all: Vec<_> = memory
            .begun
            .iter()
            .filter(|(key, _)| self.honesty.lists_by_prefix.is_on() || *key == prefix)
            .filter(|(key, id)| key.starts_with(shown) && memory.unfinished.contains_key(id))
            .filter(|it| after.as_ref().is_none_or(|after| *it > after))
            .collect();
        all.sort();
        let is_truncated = all.len() > self.honesty.page() || !goes_on && !all.is_empty();
        all.truncate(self.honesty.page());
        let last = all.last().filter(|_| is_truncated).copied().cloned();
        let (next_key_marker, next_upload_id_marker) = last.unzip();
        let uploads = all.into_iter().map(|(key, id)| MultipartUpload {
            key: Some(key.clone()),
            upload_id: Some(id.clone()),
            initiated: Some(memory.unfinished[id].begun_at.into()),
            ..MultipartUpload::default()
        });
        let uploads = uploads.collect();
        drop(memory);
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: Some(prefix),
            is_truncated: Some(is_truncated),
            next_key_marker,
            next_upload_id_marker,
            uploads: Some(uploads),
            ..ListMultipartUploadsOutput::default()
        }))
    }

    pub(super) async fn complete_multipart_upload(
        &self,
        mut request: S3Request<CompleteMultipartUploadInput>,
    ) -> Answer<CompleteMultipartUploadOutput> {
        let _changing = self.changing.lock().await;
        let input = &mut request.input;
        let (id, key) = (input.upload_id.clone(), input.key.clone());
        let upload = self.upload(&id, &key)?;
        let chosen = self.demand_completable(&upload, input)?;
        let place = (input.bucket.clone(), key);
        let stated = input.checksum_crc64nvme.take();
        let files = chosen.iter().map(|it| part_path(&self.root, &id, *it));
        let composed = crc64nvme_of_files(files);
        let verified = Verified {
            size: upload.size_of(&chosen),
            crc64nvme: if self.honesty.object_checksum.is_on() {
                demand_digest(stated.as_ref(), || composed.clone())?;
                Some(composed)
            } else {
                Some(stated.unwrap_or(composed))
            }
            .filter(|_| upload.has_crc64nvme),
            sha256: None,
        };
        input.if_none_match = None;
        input.multipart_upload = Some(self.renumbered(&id, &chosen));
        let mut answer = self.files.complete_multipart_upload(request).await?;
        // s3s-fs answers at once and tells the result later.
        if let Some(result) = answer.output.future.take() {
            answer.output = result.await?;
        }
        if self.honesty.returns_checksums.is_on() {
            answer
                .output
                .checksum_crc64nvme
                .clone_from(&verified.crc64nvme);
            answer.output.checksum_type = verified.checksum_type();
        }
        remove_traces(&self.root, &id);
        let mut memory = self.memory();
        memory.unfinished.remove(&id);
        memory.verified.insert(place, verified);
        drop(memory);
        Ok(answer)
    }

    /// Checks all but the bytes, and gives the parts that the object is to be made of.
    fn demand_completable(
        &self,
        upload: &Upload,
        input: &CompleteMultipartUploadInput,
    ) -> S3Result<Vec<u32>> {
        let list = input.multipart_upload.as_ref();
        let list = list.and_then(|it| it.parts.as_deref()).unwrap_or_default();
        let chosen = upload.chosen(list, self.honesty.part_checksums.is_on())?;
        let create_only = input.if_none_match.as_ref();
        let create_only = create_only.is_some_and(IfNoneMatch::is_any);
        let object = self.root.join(&input.bucket).join(&input.key);
        if create_only && self.honesty.create_only.is_on() && object.exists() {
            return Err(s3_error!(PreconditionFailed, "an object is there already"));
        }
        let size = i64::try_from(upload.size_of(&chosen)).unwrap();
        let stated = input.mpu_object_size.unwrap_or(size);
        if stated != size && self.honesty.object_size.is_on() {
            return Err(s3_error!(
                InvalidRequest,
                "{size} bytes, stated are {stated}"
            ));
        }
        let other_type = |it: &ChecksumType| it.as_str() != ChecksumType::FULL_OBJECT;
        if input.checksum_crc64nvme.is_some()
            && input.checksum_type.as_ref().is_some_and(other_type)
        {
            return Err(s3_error!(InvalidRequest, "CRC64NVME is of full objects"));
        }
        Ok(chosen)
    }

    /// s3s-fs wants parts 1, 2, 3, … and no gap.
    fn renumbered(&self, upload_id: &str, chosen: &[u32]) -> CompletedMultipartUpload {
        let part = |(old, new): (&u32, u32)| {
            let path = |number| part_path(&self.root, upload_id, number);
            fs::rename(path(*old), path(new)).unwrap();
            CompletedPart {
                part_number: i32::try_from(new).ok(),
                ..CompletedPart::default()
            }
        };
        CompletedMultipartUpload {
            parts: Some(chosen.iter().zip(1..).map(part).collect()),
        }
    }

    pub(super) async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> Answer<AbortMultipartUploadOutput> {
        let _changing = self.changing.lock().await;
        let id = request.input.upload_id.clone();
        self.upload(&id, &request.input.key)?;
        let answer = self.files.abort_multipart_upload(request).await?;
        self.memory().unfinished.remove(&id);
        Ok(answer)
    }
}

impl Part {
    fn listed(&self, number: u32, shows_checksum: bool) -> ListedPart {
        ListedPart {
            part_number: i32::try_from(number).ok(),
            size: i64::try_from(self.size).ok(),
            e_tag: Some(self.etag.clone()),
            last_modified: Some(self.stored_at.into()),
            checksum_crc64nvme: shows_checksum.then(|| self.crc64nvme.clone()),
            ..ListedPart::default()
        }
    }
}

fn is_crc64nvme(algorithm: Option<&ChecksumAlgorithm>) -> bool {
    algorithm.is_some_and(|it| it.as_str() == ChecksumAlgorithm::CRC64NVME)
}

fn full_object() -> ChecksumType {
    ChecksumType::from_static(ChecksumType::FULL_OBJECT)
}
