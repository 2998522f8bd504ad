//! The rights of the one key: those of the policy in the README, and no others.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use s3s::{S3Result, s3_error};
use serde::Deserialize;

const README: &str = include_str!("../../../../README.md");

/// What S3 demands for each operation, by its documentation.
const DEMANDED: [(&str, &[&str]); 14] = [
    ("head_bucket", &["s3:ListBucket"]),
    ("list_objects_v2", &["s3:ListBucket"]),
    ("head_object", &["s3:GetObject"]),
    ("get_object", &["s3:GetObject"]),
    ("put_object", &["s3:PutObject"]),
    ("copy_object", &["s3:GetObject", "s3:PutObject"]),
    ("delete_object", &["s3:DeleteObject"]),
    ("create_multipart_upload", &["s3:PutObject"]),
    ("upload_part", &["s3:PutObject"]),
    ("upload_part_copy", &["s3:GetObject", "s3:PutObject"]),
    ("list_parts", &["s3:ListMultipartUploadParts"]),
    ("list_multipart_uploads", &["s3:ListBucketMultipartUploads"]),
    ("complete_multipart_upload", &["s3:PutObject"]),
    ("abort_multipart_upload", &["s3:AbortMultipartUpload"]),
];

/// Actions whose resource is the bucket; that of all others is an object.
const OF_BUCKETS: [&str; 2] = ["s3:ListBucket", "s3:ListBucketMultipartUploads"];

/// What a request is about.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) bucket: String,
    pub(super) key: String,
    /// `bucket/key` that is copied from.
    pub(super) source: Option<String>,
}

#[derive(Debug)]
pub(super) struct Policy {
    statements: Vec<Statement>,
    used: Mutex<BTreeSet<String>>,
    confines: AtomicBool,
}

#[derive(Debug, Deserialize)]
struct Document {
    #[serde(rename = "Statement")]
    statements: Vec<Statement>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    effect: String,
    action: BTreeSet<String>,
    resource: String,
}

impl Statement {
    fn allows(&self, action: &str, resource: &str, confines: bool) -> bool {
        let is_meant = match self.resource.strip_suffix('*') {
            Some(beginning) if confines => resource.starts_with(beginning),
            // Any object, but no bucket.
            Some(_) => resource.contains('/'),
            None => resource == self.resource,
        };
        self.effect == "Allow" && self.action.contains(action) && is_meant
    }
}

impl Place {
    /// The resource that an action of this request is demanded for.
    fn resource(&self, action: &str) -> String {
        let Self { bucket, key, .. } = self;
        match &self.source {
            Some(source) if action == "s3:GetObject" => format!("arn:aws:s3:::{source}"),
            _ if OF_BUCKETS.contains(&action) => format!("arn:aws:s3:::{bucket}"),
            _ => format!("arn:aws:s3:::{bucket}/{key}"),
        }
    }
}

impl Policy {
    /// The one that the README tells operators to attach.
    pub(super) fn of_the_readme() -> Self {
        let (_, rest) = README.split_once("```json\n{\n  \"Version\"").unwrap();
        let (policy, _) = rest.split_once("```").unwrap();
        let policy = format!("{{\"Version\"{policy}");
        let policy: Document = serde_json::from_str(&policy).unwrap();
        Self {
            statements: policy.statements,
            used: Mutex::default(),
            confines: AtomicBool::new(false),
        }
    }

    pub(super) fn confine_to_prefix(&self) {
        self.confines.store(true, Ordering::SeqCst);
    }

    pub(super) fn demand(&self, operation: &str, place: &Place) -> S3Result<()> {
        let (_, actions) = DEMANDED
            .iter()
            .find(|(name, _)| *name == operation)
            .unwrap();
        let confines = self.confines.load(Ordering::SeqCst);
        for action in *actions {
            let resource = place.resource(action);
            let mut statements = self.statements.iter();
            if !statements.any(|it| it.allows(action, &resource, confines)) {
                return Err(s3_error!(
                    AccessDenied,
                    "the policy does not allow {action} for {resource}"
                ));
            }
            self.used.lock().unwrap().insert((*action).to_owned());
        }
        Ok(())
    }

    pub(super) fn allowed(&self) -> BTreeSet<String> {
        let actions = self.statements.iter().flat_map(|it| &it.action);
        actions.cloned().collect()
    }

    pub(super) fn used(&self) -> BTreeSet<String> {
        self.used.lock().unwrap().clone()
    }
}
