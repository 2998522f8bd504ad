//! What the codes mean by which stores say why they will not, and what helps.

/// Codes of a refusal that every request would meet, with what helps, the more telling ones first.
/// Some come with another status than 401 or 403.
const REFUSALS: [(&str, &str); 14] = [
    ("RequestTimeTooSkewed", "set this host's clock"),
    (
        "ExpiredToken",
        "the session credentials have ended: give fresh ones",
    ),
    (
        "TokenRefreshRequired",
        "the session credentials have ended: give fresh ones",
    ),
    ("InvalidToken", "correct the session token"),
    ("InvalidAccessKeyId", "correct the access key ID"),
    ("SignatureDoesNotMatch", "correct the secret access key"),
    ("AuthorizationHeaderMalformed", "correct storage.region"),
    (
        "PermanentRedirect",
        "correct storage.region or storage.endpoint",
    ),
    (
        "redirect without LOCATION",
        "correct storage.region or storage.endpoint",
    ),
    ("InvalidStorageClass", "correct storage.storage_class"),
    // In the message of a 403: S3 may, but not with that key.
    (
        " kms:",
        "allow kms:GenerateDataKey and kms:Decrypt with the key of storage.kms_key_id",
    ),
    (
        "KMS.",
        "see that the key of storage.kms_key_id exists in that region and is enabled",
    ),
    (
        "header is required for Put",
        "the bucket has Object Lock and takes only what carries a checksum: set storage.checksum to \"auto\"",
    ),
    ("AccessDenied", ""),
];

/// Codes that are for coming back later, with whatever status.
const TROUBLES: [&str; 5] = [
    "InternalError",
    "SlowDown",
    "ServiceUnavailable",
    "RequestTimeout",
    // Of KMS, which S3 passes on.
    "ThrottlingException",
];

/// Codes that say that a body did not match its checksum.
const DAMAGES: [&str; 4] = [
    "BadDigest",
    "InvalidDigest",
    "XAmzContentSHA256Mismatch",
    "XAmzContentChecksumMismatch",
];

/// Whether credentials, rights or settings are wrong.
pub(super) fn is_refusal(said: &str) -> bool {
    REFUSALS.iter().any(|(code, _)| said.contains(code))
}

/// What helps against a refusal, if its code tells.
pub(super) fn cure(said: &str) -> Option<&'static str> {
    let found = REFUSALS.iter().find(|(code, _)| said.contains(code));
    found.map(|(_, cure)| *cure).filter(|cure| !cure.is_empty())
}

/// Whether an error is for coming back later.
pub(super) fn is_trouble(said: &str) -> bool {
    TROUBLES.iter().any(|code| said.contains(code))
}

/// Whether a body did not match its checksum.
pub(super) fn is_damage(said: &str) -> bool {
    DAMAGES.iter().any(|code| said.contains(code))
}
