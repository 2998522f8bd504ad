//! The rights of the one key: those of the policy in the README, and no others.

use std::collections::BTreeSet;
use std::sync::Mutex;

use s3s::{S3Result, s3_error};
use serde_json::Value;

const README: &str = include_str!("../../../../README.md");

/// What S3 demands for each operation, by its documentation.
const DEMANDED: [(&str, &[&str]); 15] = [
    ("head_bucket", &["s3:ListBucket"]),
    ("list_objects_v2", &["s3:ListBucket"]),
    ("head_object", &["s3:GetObject"]),
    ("get_object", &["s3:GetObject"]),
    ("put_object", &["s3:PutObject"]),
    ("copy_object", &["s3:GetObject", "s3:PutObject"]),
    ("delete_object", &["s3:DeleteObject"]),
    ("delete_objects", &["s3:DeleteObject"]),
    ("create_multipart_upload", &["s3:PutObject"]),
    ("upload_part", &["s3:PutObject"]),
    ("upload_part_copy", &["s3:GetObject", "s3:PutObject"]),
    ("list_parts", &["s3:ListMultipartUploadParts"]),
    ("list_multipart_uploads", &["s3:ListBucketMultipartUploads"]),
    ("complete_multipart_upload", &["s3:PutObject"]),
    ("abort_multipart_upload", &["s3:AbortMultipartUpload"]),
];

#[derive(Debug)]
pub(super) struct Policy {
    allowed: BTreeSet<String>,
    used: Mutex<BTreeSet<String>>,
}

impl Policy {
    /// The one that the README tells operators to attach.
    pub(super) fn of_the_readme() -> Self {
        let (_, rest) = README.split_once("```json\n{\n  \"Version\"").unwrap();
        let (policy, _) = rest.split_once("```").unwrap();
        let policy: Value = serde_json::from_str(&format!("{{\"Version\"{policy}")).unwrap();
        let statements = policy["Statement"].as_array().unwrap();
        let actions = statements
            .iter()
            .flat_map(|it| it["Action"].as_array().unwrap());
        Self {
            allowed: actions.map(|it| it.as_str().unwrap().to_owned()).collect(),
            used: Mutex::default(),
        }
    }

    pub(super) fn demand(&self, operation: &str) -> S3Result<()> {
        let (_, actions) = DEMANDED
            .iter()
            .find(|(name, _)| *name == operation)
            .unwrap();
        for action in *actions {
            if !self.allowed.contains(*action) {
                return Err(s3_error!(
                    AccessDenied,
                    "the policy does not allow {action}"
                ));
            }
            self.used.lock().unwrap().insert((*action).to_owned());
        }
        Ok(())
    }

    pub(super) fn allowed(&self) -> BTreeSet<String> {
        self.allowed.clone()
    }

    pub(super) fn used(&self) -> BTreeSet<String> {
        self.used.lock().unwrap().clone()
    }
}
