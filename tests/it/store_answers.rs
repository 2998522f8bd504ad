//! What each answer of a store means: status, code and operation, by the documentation of AWS S3,
//! `MinIO`, Ceph RGW, Garage, Cloudflare R2, Backblaze B2, Wasabi and Google Cloud Storage.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use recording_archiver::config::{StorageConfig, StorageLocation};
use recording_archiver::digest::{Crc64Nvme, Fingerprint, Fingerprinting};
use recording_archiver::error::Disposition::{self, Fail, Halt, Retry};
use recording_archiver::error::ErrorKind;
use recording_archiver::storage::{ObjectKey, PartPlan, Storage, StorageError, UploadPlan};
use uuid::Uuid;

use crate::harness::s3::{BUCKET, Call, S3Server, StoreFault};
use crate::harness::world::{PART, World};

mod worker;

const CHECKSUM: &str = "checksum_mismatch";
const COLD: &str = "object_archived_cold";
const CONFLICT: &str = "object_conflict";
const DENIED: &str = "storage_denied";
const DOWN: &str = "storage_unavailable";
const FULL: &str = "storage_full";
const REFUSED: &str = "storage_refused";

/// Status, code and operation, and what follows. The scope of a refusal is not asked here.
const TABLE: &[(u16, &str, Call, &str, Disposition)] = &[
    // AWS S3
    (403, "AccessDenied", Call::Put, DENIED, Halt),
    (403, "AccessDenied", Call::Get, DENIED, Halt),
    (403, "AccountProblem", Call::Put, DENIED, Halt),
    (403, "AllAccessDisabled", Call::Get, DENIED, Halt),
    (400, "AuthorizationHeaderMalformed", Call::Put, DENIED, Halt),
    (400, "BadDigest", Call::Put, CHECKSUM, Retry),
    (400, "BadDigest", Call::PutPart, CHECKSUM, Retry),
    (400, "BadDigest", Call::Complete, CHECKSUM, Retry),
    (409, "ConditionalRequestConflict", Call::Put, DOWN, Retry),
    (
        409,
        "ConditionalRequestConflict",
        Call::Complete,
        DOWN,
        Retry,
    ),
    (400, "EntityTooLarge", Call::Put, REFUSED, Retry),
    (400, "EntityTooSmall", Call::Complete, REFUSED, Retry),
    (400, "ExpiredToken", Call::PutPart, DENIED, Halt),
    (500, "InternalError", Call::PutPart, DOWN, Retry),
    (200, "InternalError", Call::Complete, DOWN, Retry),
    (403, "InvalidAccessKeyId", Call::Get, DENIED, Halt),
    (403, "InvalidObjectState", Call::Get, COLD, Fail),
    (400, "InvalidPart", Call::Complete, CHECKSUM, Retry),
    (400, "InvalidStorageClass", Call::BeginUpload, DENIED, Halt),
    (400, "KMS.DisabledException", Call::Put, DENIED, Halt),
    (400, "KeyTooLongError", Call::Put, REFUSED, Retry),
    (405, "MethodNotAllowed", Call::Put, REFUSED, Retry),
    (404, "NoSuchBucket", Call::Put, DENIED, Halt),
    (404, "NoSuchUpload", Call::PutPart, DOWN, Retry),
    (501, "NotImplemented", Call::BeginUpload, REFUSED, Retry),
    (409, "OperationAborted", Call::Put, DOWN, Retry),
    (301, "PermanentRedirect", Call::Put, DENIED, Halt),
    (412, "PreconditionFailed", Call::Put, CONFLICT, Fail),
    (412, "PreconditionFailed", Call::Complete, CONFLICT, Fail),
    (400, "RequestTimeout", Call::PutPart, DOWN, Retry),
    (403, "RequestTimeTooSkewed", Call::Put, DENIED, Halt),
    (
        403,
        "SignatureDoesNotMatch",
        Call::BeginUpload,
        DENIED,
        Halt,
    ),
    (503, "SlowDown", Call::Put, DOWN, Retry),
    (400, "ThrottlingException", Call::BeginUpload, DOWN, Retry),
    // MinIO
    (507, "XMinioStorageFull", Call::Put, FULL, Halt),
    (
        400,
        "XMinioAdminBucketQuotaExceeded",
        Call::PutPart,
        FULL,
        Halt,
    ),
    (503, "XMinioServerNotInitialized", Call::Get, DOWN, Retry),
    (
        400,
        "XAmzContentSHA256Mismatch",
        Call::PutPart,
        CHECKSUM,
        Retry,
    ),
    // Ceph RGW
    (403, "QuotaExceeded", Call::Put, FULL, Halt),
    (403, "QuotaExceeded", Call::Complete, FULL, Halt),
    (403, "UserSuspended", Call::Get, DENIED, Halt),
    // Garage
    (400, "InvalidRequest", Call::Put, REFUSED, Retry),
    (400, "InvalidRequest", Call::PutPart, REFUSED, Retry),
    // Cloudflare R2
    (401, "Unauthorized", Call::Put, DENIED, Halt),
    (400, "ExpiredRequest", Call::Get, DENIED, Halt),
    (403, "NotEntitled", Call::Put, DENIED, Halt),
    (429, "TooMuchConcurrency", Call::PutPart, DOWN, Retry),
    // Backblaze B2 and Wasabi
    (503, "ServiceUnavailable", Call::PutPart, DOWN, Retry),
    (507, "InsufficientCapacity", Call::PutPart, FULL, Halt),
    // Google Cloud Storage
    (403, "UserProjectAccountProblem", Call::Put, DENIED, Halt),
    (408, "RequestTimeout", Call::Put, DOWN, Retry),
    // Codes that nobody knows
    (400, "NeverHeardOf", Call::Put, REFUSED, Retry),
    (422, "NeverHeardOf", Call::Complete, REFUSED, Retry),
    (502, "NeverHeardOf", Call::PutPart, DOWN, Retry),
];

fn open(settings: StorageConfig, server: &S3Server) -> Storage {
    Storage::open(&StorageConfig {
        location: StorageLocation::S3 {
            bucket: BUCKET.to_owned(),
            prefix: String::new(),
        },
        endpoint: Some(server.endpoint().parse().unwrap()),
        ..settings
    })
    .unwrap()
}

fn fingerprint(bytes: &[u8]) -> Fingerprint {
    let mut fingerprint = Fingerprinting::new();
    fingerprint.update(bytes);
    fingerprint.finish()
}

/// Writes an object in one PUT, or as a multipart upload of one part.
async fn write(storage: &Storage, key: &ObjectKey, single: bool) -> Result<(), StorageError> {
    let bytes = Bytes::from_static(b"a recording");
    let plan = UploadPlan {
        parts: PartPlan {
            part_bytes: PART,
            single,
        },
        content_type: None,
        attempt_token: Uuid::new_v4(),
    };
    let mut upload = storage.begin_upload(key, &plan).await?;
    let crc64nvme = Crc64Nvme::of(&bytes);
    upload.send(1, bytes.clone(), crc64nvme).await?;
    upload.finish_parts().await?;
    upload.publish(storage, &fingerprint(&bytes)).await?;
    Ok(())
}

async fn operate(storage: &Storage, key: &ObjectKey, call: Call) -> Result<(), StorageError> {
    match call {
        Call::Get => storage.read_back(key, 11).await.map(drop),
        Call::Put => write(storage, key, true).await,
        _ => write(storage, key, false).await,
    }
}

#[tokio::test]
async fn answer_by_status_code_and_operation_has_its_kind() {
    let world = World::local().await;
    let rows = TABLE
        .iter()
        .map(|&(status, code, call, kind, disposition)| {
            let settings = world.settings().storage;
            async move {
                let server = S3Server::start().await;
                let storage = open(settings, &server);
                storage.enforcement().await.unwrap();
                let key = ObjectKey::from_stored("a.mp4".to_owned()).unwrap();
                if call == Call::Get {
                    write(&storage, &key, true).await.unwrap();
                }
                server.inject(call, StoreFault::Refuse(status, code), 1000);
                let about = format!("{status} {code} to {call:?}");
                let error = operate(&storage, &key, call).await.unwrap_err();
                assert_eq!(error.kind().as_str(), kind, "{about}: {error}");
                assert_eq!(error.kind().disposition(), disposition, "{about}");
                let says_code = error.to_string().contains(code);
                assert!(
                    says_code || kind == CONFLICT || kind == COLD,
                    "{about}: {error}"
                );
            }
        });
    stream::iter(rows)
        .buffer_unordered(8)
        .for_each(|()| async {})
        .await;
}

#[tokio::test]
async fn manifest_in_conflict_is_retried_and_never_left_out() {
    let world = World::s3().await;
    let id = world
        .add(recording_archiver::simulator::SimulatedRecording::new(
            Uuid::new_v4(),
            1000,
        ))
        .await;
    let archiver = world.archiver();
    archiver.storage.enforcement().await.unwrap();
    let conflict = StoreFault::Refuse(409, "OperationAborted");
    world
        .s3_server()
        .inject_on_manifests(conflict.clone(), 1000);
    let report = world.attempt(&archiver).await;
    let kind = report.failure.map(|failure| failure.kind);
    assert_eq!(kind, Some(ErrorKind::StorageUnavailable));
    world.s3_server().clear_faults();
    world.s3_server().inject_on_manifests(conflict, 1);
    world.make_due().await;
    let report = world.attempt(&archiver).await;
    assert!(report.failure.is_none(), "{report:?}");
    world.demand_archived(id).await;
}
