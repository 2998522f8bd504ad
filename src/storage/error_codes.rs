//! The error codes of S3-compatible stores: what each means for the archiver, and what fixes it.
//!
//! Taken from the documentation of AWS S3, `MinIO`, Ceph RGW, Garage, Cloudflare R2, Backblaze B2,
//! Wasabi, Google Cloud Storage (XML API) and the Versity gateway. The code decides before the
//! status does: stores send the same code with different statuses.

use reqwest::StatusCode;

/// What a store's answer that is not a success means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerClass {
    /// Overloaded, failing, or in conflict with another request: the same request may succeed
    /// later.
    Busy,
    /// No space is left, or a quota is used up.
    Full,
    /// Credentials, rights or settings are wrong.
    Denied,
    NoBucket,
    /// The object is in a storage class that must be restored before it can be read.
    Cold,
    /// The store compared a checksum or an `ETag`, and it differs.
    Damaged,
    /// No such object or upload.
    NotFound,
    /// A create-only write found an object under the key.
    Exists,
    /// The store does not implement the operation or one of its headers.
    Unsupported,
    /// Refused for a reason that is on no list.
    Refused,
}

use AnswerClass::{Busy, Cold, Damaged, Denied, Exists, Full, NoBucket, NotFound, Unsupported};

const SESSION: &str = "the session credentials have ended: give fresh ones";
const ACCESS_KEY: &str = "correct the access key ID";
const REGION: &str = "correct storage.region";
const ENDPOINT: &str = "correct storage.region or storage.endpoint";
const ADDRESSING: &str = "set storage.addressing to \"virtual\"";
const CLOCK: &str = "set this host's clock";
const KMS_KEY: &str = "see that the key of storage.kms_key_id exists in that region and is enabled";
const KMS_RIGHTS: &str =
    "allow kms:GenerateDataKey and kms:Decrypt with the key of storage.kms_key_id";
const OBJECT_LOCK: &str = "the bucket has Object Lock and takes only what carries a checksum: set storage.checksum to \"auto\"";
const ACCOUNT: &str = "look at the account in the store's console";

/// Codes, their meaning, and what fixes those that every request would meet.
const CODES: &[(&str, AnswerClass, Option<&str>)] = &[
    // Credentials and settings: any other request would be refused as well.
    ("RequestTimeTooSkewed", Denied, Some(CLOCK)),
    ("RequestExpired", Denied, Some(CLOCK)),
    ("ExpiredRequest", Denied, Some(CLOCK)),
    ("ExpiredToken", Denied, Some(SESSION)),
    ("ExpiredTokenException", Denied, Some(SESSION)),
    ("TokenRefreshRequired", Denied, Some(SESSION)),
    ("InvalidToken", Denied, Some("correct the session token")),
    ("InvalidClientTokenId", Denied, Some(ACCESS_KEY)),
    ("InvalidAccessKeyId", Denied, Some(ACCESS_KEY)),
    ("NoSuchAccessKey", Denied, Some(ACCESS_KEY)),
    (
        "SignatureDoesNotMatch",
        Denied,
        Some("correct the secret access key"),
    ),
    ("Unauthorized", Denied, Some("correct the access keys")),
    ("AuthorizationHeaderMalformed", Denied, Some(REGION)),
    ("IllegalLocationConstraintException", Denied, Some(REGION)),
    ("PermanentRedirect", Denied, Some(ENDPOINT)),
    ("InvalidEndpoint", Denied, Some(ENDPOINT)),
    // Alibaba Cloud OSS, of a bucket in the path.
    ("SecondLevelDomainForbidden", Denied, Some(ADDRESSING)),
    ("InvalidBucketName", Denied, Some("correct storage.url")),
    (
        "InvalidStorageClass",
        Denied,
        Some("correct storage.storage_class"),
    ),
    ("AccountProblem", Denied, Some(ACCOUNT)),
    ("UserProjectAccountProblem", Denied, Some(ACCOUNT)),
    ("UserSuspended", Denied, Some(ACCOUNT)),
    ("AllAccessDisabled", Denied, Some(ACCOUNT)),
    ("NotSignedUp", Denied, Some(ACCOUNT)),
    ("NotEntitled", Denied, Some(ACCOUNT)),
    // Of KMS. The general rule for `KMS.` is in `of_code`.
    ("KMSNotConfigured", Denied, Some(KMS_KEY)),
    // A right is missing: of this operation, of this object, or of all.
    ("AccessDenied", Denied, None),
    ("AccessForbidden", Denied, None),
    ("AllAccessDenied", Denied, None),
    ("UnauthorizedAccess", Denied, None),
    (
        "NoSuchBucket",
        NoBucket,
        Some("create the bucket, or correct storage.url"),
    ),
    ("InvalidObjectState", Cold, None),
    ("NoSuchKey", NotFound, None),
    ("NoSuchVersion", NotFound, None),
    ("NoSuchUpload", NotFound, None),
    ("PreconditionFailed", Exists, None),
    ("FileAlreadyExists", Exists, None),
    ("ObjectAlreadyExists", Exists, None),
    // A body or a list of parts that does not match.
    ("BadDigest", Damaged, None),
    ("InvalidDigest", Damaged, None),
    ("InvalidPart", Damaged, None),
    ("InvalidPartOrder", Damaged, None),
    ("XAmzContentSHA256Mismatch", Damaged, None),
    ("XAmzContentChecksumMismatch", Damaged, None),
    // No space, by whatever name.
    ("QuotaExceeded", Full, None),
    ("ObjectQuotaExceeded", Full, None),
    ("StorageQuotaExceeded", Full, None),
    ("StorageCapExceeded", Full, None),
    ("XMinioAdminBucketQuotaExceeded", Full, None),
    ("XMinioStorageFull", Full, None),
    ("XMinioDiskFull", Full, None),
    ("StorageFull", Full, None),
    ("InsufficientCapacity", Full, None),
    ("InsufficientStorage", Full, None),
    ("InsufficientStorageSpace", Full, None),
    ("NotEnoughSpace", Full, None),
    ("NoSpaceLeft", Full, None),
    // Later.
    ("InternalError", Busy, None),
    ("InternalFailure", Busy, None),
    ("SlowDown", Busy, None),
    ("SlowDownRead", Busy, None),
    ("SlowDownWrite", Busy, None),
    ("ServiceUnavailable", Busy, None),
    ("RequestTimeout", Busy, None),
    ("RequestTimedOut", Busy, None),
    ("RequestLimitExceeded", Busy, None),
    ("BandwidthLimitExceeded", Busy, None),
    ("TooManyRequests", Busy, None),
    ("TooMuchConcurrency", Busy, None),
    ("TooManyConnections", Busy, None),
    ("Throttling", Busy, None),
    ("ThrottlingException", Busy, None),
    ("IncompleteBody", Busy, None),
    ("ClientDisconnected", Busy, None),
    ("ClientDisconnect", Busy, None),
    ("TemporaryRedirect", Busy, None),
    ("OperationAborted", Busy, None),
    ("ConditionalRequestConflict", Busy, None),
    ("ConcurrentModification", Busy, None),
    ("XMinioServerNotInitialized", Busy, None),
    ("XMinioWriteQuorum", Busy, None),
    ("XMinioReadQuorum", Busy, None),
    ("NotImplemented", Unsupported, None),
];

/// What a code means; `None` if it is on no list.
pub(super) fn of_code(code: &str) -> Option<AnswerClass> {
    // What S3 passes on of a disabled, deleted or foreign key.
    if code.starts_with("KMS.") {
        return Some(Denied);
    }
    let known = CODES.iter().find(|(known, ..)| *known == code);
    known.map(|(_, class, _)| *class)
}

/// What a status means where the code says nothing.
pub(super) fn of_status(status: StatusCode) -> AnswerClass {
    match status {
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::MOVED_PERMANENTLY
        | StatusCode::PERMANENT_REDIRECT => Denied,
        StatusCode::NOT_FOUND => NotFound,
        StatusCode::PRECONDITION_FAILED => Exists,
        StatusCode::CONFLICT
        | StatusCode::REQUEST_TIMEOUT
        | StatusCode::TOO_EARLY
        | StatusCode::TOO_MANY_REQUESTS => Busy,
        StatusCode::NOT_IMPLEMENTED => Unsupported,
        StatusCode::INSUFFICIENT_STORAGE => Full,
        // 499 is a proxy's word for a client that went away.
        _ if status.as_u16() == 499 => Busy,
        _ if status.is_client_error() || status.is_success() => AnswerClass::Refused,
        _ => Busy,
    }
}

/// What fixes a refusal that every request would meet, by its code or its status.
pub(super) fn fix(status: StatusCode, code: Option<&str>) -> Option<&'static str> {
    if code.is_some_and(|code| code.starts_with("KMS.")) {
        return Some(KMS_KEY);
    }
    let known = CODES.iter().find(|(known, ..)| Some(*known) == code);
    match known {
        Some((.., fix)) => *fix,
        None if status == StatusCode::UNAUTHORIZED => Some("correct the access keys"),
        None if matches!(
            status,
            StatusCode::MOVED_PERMANENTLY | StatusCode::PERMANENT_REDIRECT
        ) =>
        {
            Some(ENDPOINT)
        }
        None => None,
    }
}

/// What may fix a refusal by its message, where the code does not tell. Decides nothing.
pub(super) fn hint(message: &str) -> Option<&'static str> {
    if message.contains(" kms:") {
        Some(KMS_RIGHTS)
    } else if message.contains("header is required for Put") {
        Some(OBJECT_LOCK)
    } else if message.contains("storage cap exceeded") {
        Some("raise the account's cap")
    } else if message.contains("Date is too old") {
        Some(CLOCK)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_listed_once() {
        let mut codes: Vec<_> = CODES.iter().map(|(code, ..)| *code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), CODES.len());
    }

    #[test]
    fn fixes_belong_to_denied_codes_only() {
        for (code, class, fix) in CODES {
            assert!(
                fix.is_none() || matches!(class, Denied | NoBucket),
                "{code}"
            );
        }
    }
}
