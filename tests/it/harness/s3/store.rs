//! A strict store on top of s3s-fs, which looks at no checksum of a part nor of a whole upload, and
//! keeps what it has refused.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::{Body as AxumBody, to_bytes};
use hyper::http::Extensions;
use s3s::auth::SimpleAuth;
use s3s::dto::{
    ChecksumMode, ChecksumType, CopyObjectInput, CopyObjectOutput, DeleteObjectInput,
    DeleteObjectOutput, GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput,
    HeadObjectInput, HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output, PutObjectInput,
    PutObjectOutput, StreamingBlob,
};
use s3s::host::{S3Host, VirtualHost};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, S3, S3Request, S3Result, s3_error};
use s3s_fs::FileSystem;

use super::faults::{StoreFault, bucket_in};
use super::honesty::Honesty;
use super::operations::{Answer, Operations};
use super::policy::Policy;
use super::uploads::{Memory, Upload, Verified, crc64nvme, sha256};
use super::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};

pub(super) struct Store {
    pub(super) root: PathBuf,
    pub(super) files: FileSystem,
    pub(super) honesty: Honesty,
    pub(super) policy: Policy,
    memory: Mutex<Memory>,
    /// One change at a time: what is remembered is what is on disk.
    pub(super) changing: tokio::sync::Mutex<()>,
}

impl Store {
    pub(super) fn new(root: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            files: FileSystem::new(&root).unwrap(),
            root,
            honesty: Honesty::default(),
            policy: Policy::of_the_readme(),
            memory: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
        })
    }

    pub(super) fn service(self: &Arc<Self>) -> S3Service {
        let mut builder = S3ServiceBuilder::new(Operations(Arc::clone(self)));
        builder.set_host(Hosts);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
        builder.build()
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap()
    }

    pub(super) async fn tamper(&self, upload_id: &str, fault: &StoreFault) {
        let _changing = self.changing.lock().await;
        self.memory().tamper(&self.root, upload_id, fault);
    }

    pub(super) fn upload(&self, upload_id: &str, key: &str) -> S3Result<Upload> {
        let memory = self.memory();
        let upload = memory.unfinished.get(upload_id);
        upload
            .filter(|upload| upload.key == key)
            .cloned()
            .ok_or_else(|| s3_error!(NoSuchUpload))
    }

    pub(super) async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> Answer<HeadBucketOutput> {
        self.files.head_bucket(request).await
    }

    pub(super) async fn list_objects_v2(
        &self,
        mut request: S3Request<ListObjectsV2Input>,
    ) -> Answer<ListObjectsV2Output> {
        if !self.honesty.list_prefixes.is_on() {
            request.input.prefix = None;
        }
        if !self.honesty.list_markers.is_on() {
            request.input.continuation_token = None;
        }
        let mut answer = self.files.list_objects_v2(request).await?;
        if !self.honesty.list_markers.is_on() {
            answer.output.is_truncated = Some(true);
            answer.output.next_continuation_token = Some("on".to_owned());
        }
        if !self.honesty.says_where_lists_go_on.is_on() {
            answer.output.is_truncated = Some(true);
            answer.output.next_continuation_token = None;
        }
        Ok(answer)
    }

    pub(super) async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> Answer<HeadObjectOutput> {
        let S3Request { input, .. } = &request;
        let asked = input.checksum_mode.clone();
        let place = (input.bucket.clone(), input.key.clone());
        let mut answer = self.files.head_object(request).await?;
        let output = &mut answer.output;
        let known = self.shown(asked, &place, output.content_length);
        output.checksum_type = known.as_ref().and_then(Verified::checksum_type);
        output.checksum_sha256 = known.as_ref().and_then(|it| it.sha256.clone());
        output.checksum_crc64nvme = known.and_then(|it| it.crc64nvme);
        Ok(answer)
    }

    pub(super) async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> Answer<GetObjectOutput> {
        let S3Request { input, .. } = &request;
        let asked = input.checksum_mode.clone();
        let place = (input.bucket.clone(), input.key.clone());
        let mut answer = self.files.get_object(request).await?;
        let output = &mut answer.output;
        // A range has another length, and so no checksum.
        let known = self.shown(asked, &place, output.content_length);
        output.checksum_type = known.as_ref().and_then(Verified::checksum_type);
        output.checksum_sha256 = known.as_ref().and_then(|it| it.sha256.clone());
        output.checksum_crc64nvme = known.and_then(|it| it.crc64nvme);
        Ok(answer)
    }

    /// What was verified when the object was written, whatever has become of its bytes. A file of
    /// another size was put there by a stranger.
    fn shown(
        &self,
        asked: Option<ChecksumMode>,
        place: &(String, String),
        size: Option<i64>,
    ) -> Option<Verified> {
        let asked = asked.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED);
        if !asked || !self.honesty.returns_checksums.is_on() {
            return None;
        }
        let known = self.memory().verified.get(place).cloned();
        known.filter(|it| i64::try_from(it.size).ok() == size)
    }

    pub(super) async fn put_object(
        &self,
        mut request: S3Request<PutObjectInput>,
    ) -> Answer<PutObjectOutput> {
        let input = &mut request.input;
        let body = received(input.body.take(), &request.extensions).await?;
        let has_any = input.checksum_crc64nvme.is_some()
            || input.checksum_sha256.is_some()
            || input.content_md5.is_some();
        self.honesty.demand_checksum("Object", has_any)?;
        if self.honesty.put_checksums.is_on() {
            demand_digest(input.checksum_crc64nvme.as_ref(), || crc64nvme(&body))?;
            let stated = input.checksum_sha256.as_ref();
            let stated = stated.filter(|_| self.honesty.sha256.is_on());
            demand_digest(stated, || sha256(&body))?;
        }
        if !self.honesty.keeps_metadata.is_on() {
            input.metadata = None;
        }
        let verified = Verified {
            size: body.len() as u64,
            crc64nvme: input.checksum_crc64nvme.clone(),
            sha256: input.checksum_sha256.clone(),
        };
        // s3s-fs looks at them too.
        if !self.honesty.put_checksums.is_on() {
            input.checksum_crc64nvme = None;
        }
        if !self.honesty.put_checksums.is_on() || !self.honesty.sha256.is_on() {
            input.checksum_sha256 = None;
        }
        input.body = Some(Body::from(body).into());
        if !self.honesty.create_only.is_on() {
            input.if_none_match = None;
        }
        let place = (input.bucket.clone(), input.key.clone());
        let _changing = self.changing.lock().await;
        let mut answer = self.files.put_object(request).await?;
        if !self.honesty.returns_checksums.is_on() {
            answer.output.checksum_crc64nvme = None;
            answer.output.checksum_sha256 = None;
        }
        self.memory().verified.insert(place, verified);
        Ok(answer)
    }

    pub(super) async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> Answer<CopyObjectOutput> {
        let _changing = self.changing.lock().await;
        self.files.copy_object(request).await
    }

    pub(super) async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> Answer<DeleteObjectOutput> {
        let place = (request.input.bucket.clone(), request.input.key.clone());
        let _changing = self.changing.lock().await;
        let answer = self.files.delete_object(request).await?;
        self.memory().verified.remove(&place);
        Ok(answer)
    }
}

/// Takes the bucket from a host that begins with it. Addresses are none, by s3s itself.
struct Hosts;

impl S3Host for Hosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        Ok(match bucket_in(host) {
            Some(bucket) => VirtualHost::new(host).with_bucket(bucket),
            None => VirtualHost::new(host),
        })
    }
}

impl Verified {
    pub(super) fn checksum_type(&self) -> Option<ChecksumType> {
        let any = self.crc64nvme.is_some() || self.sha256.is_some();
        any.then(|| ChecksumType::from_static(ChecksumType::FULL_OBJECT))
    }
}

/// The whole body, damaged if the test wants it so.
pub(super) async fn received(
    body: Option<StreamingBlob>,
    extensions: &Extensions,
) -> S3Result<Vec<u8>> {
    let body = body.ok_or_else(|| s3_error!(IncompleteBody))?;
    let bytes = to_bytes(AxumBody::new(Body::from(body)), usize::MAX).await;
    let mut bytes = bytes.map_err(|_| s3_error!(IncompleteBody))?.to_vec();
    if let (Some(StoreFault::DamageInTransit), Some(first)) =
        (extensions.get::<StoreFault>(), bytes.first_mut())
    {
        *first ^= 1;
    }
    Ok(bytes)
}

pub(super) fn demand_digest(
    stated: Option<&String>,
    right: impl FnOnce() -> String,
) -> S3Result<()> {
    match stated {
        Some(stated) if *stated != right() => Err(s3_error!(BadDigest, "other bytes than stated")),
        _ => Ok(()),
    }
}
