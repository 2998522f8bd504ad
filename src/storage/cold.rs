//! Objects in storage classes that cannot be read before they are restored, and how that is done.

use reqwest::Method;
use reqwest::header::HeaderMap;

use super::error::{Operation, StorageError};
use super::key::ObjectKey;
use super::signed::Ask;
use super::{AnswerClass, Backend, Storage, StorageLocation};

/// What cannot be read at once. `GLACIER_IR` can.
const CLASSES: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];

/// Whether objects that are stored in this class cannot be read.
pub fn is_cold_class(class: &str) -> bool {
    CLASSES.contains(&class)
}

impl Storage {
    /// The class that uploads are stored in, if its objects cannot be read.
    pub(super) fn cold_class(&self) -> Option<&str> {
        let Backend::S3(s3) = &self.backend else {
            return None;
        };
        s3.storage_class.as_deref().filter(|it| is_cold_class(it))
    }

    /// Why an object could not be read: not every store has a code for one that is in a cold
    /// class, but HEAD names the class.
    pub(super) async fn or_cold(&self, key: &ObjectKey, error: StorageError) -> StorageError {
        let Backend::S3(s3) = &self.backend else {
            return error;
        };
        let may_be = match error.class() {
            Some(AnswerClass::Cold) => true,
            Some(AnswerClass::Denied | AnswerClass::Refused) => !error.is_about_every_request(),
            _ => false,
        };
        if !may_be {
            return error;
        }
        let ask = Ask {
            method: Method::HEAD,
            ..Ask::default()
        };
        let operation = || Operation::new("look for", key);
        match s3.ask(&key.location(), ask, operation).await {
            Ok(said) => match cold_class_of(&said.headers) {
                Some(class) => StorageError::Cold {
                    key: key.clone(),
                    class,
                },
                None => error,
            },
            Err(_) => error,
        }
    }

    /// The command that makes a cold object readable for a week, for people.
    pub fn thaw_command(&self, key: &ObjectKey) -> String {
        let bucket = match &self.location {
            StorageLocation::S3 { bucket, .. } => bucket.as_str(),
            StorageLocation::File { .. } => "",
        };
        let key = key.as_str().replace('\'', r"'\''");
        format!(
            "aws s3api restore-object --bucket {bucket} --key '{key}' --restore-request \
             '{{\"Days\":7,\"GlacierJobParameters\":{{\"Tier\":\"Standard\"}}}}'"
        )
    }
}

/// The class by the headers of HEAD; `None` if the object can be read, also as a restored copy.
fn cold_class_of(headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let is_restored =
        text("x-amz-restore").is_some_and(|it| it.contains("ongoing-request=\"false\""));
    let class = text("x-amz-storage-class").filter(|class| is_cold_class(class));
    // Of Intelligent-Tiering, whose class does not say it.
    let class = class.or_else(|| text("x-amz-archive-status"));
    class.filter(|_| !is_restored).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_by_headers_is_cold_unless_restored() {
        for (class, restore, expected) in [
            (None, None, None),
            (Some("STANDARD_IA"), None, None),
            (Some("GLACIER_IR"), None, None),
            (Some("GLACIER"), None, Some("GLACIER")),
            (
                Some("DEEP_ARCHIVE"),
                Some("ongoing-request=\"true\""),
                Some("DEEP_ARCHIVE"),
            ),
            (
                Some("GLACIER"),
                Some("ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2029 00:00:00 GMT\""),
                None,
            ),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(class) = class {
                headers.insert("x-amz-storage-class", class.parse().unwrap());
            }
            if let Some(restore) = restore {
                headers.insert("x-amz-restore", restore.parse().unwrap());
            }
            assert_eq!(cold_class_of(&headers).as_deref(), expected, "{headers:?}");
        }
    }
}
