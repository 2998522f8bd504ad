//! A real S3 server: what `.ci/store` has started.

use std::env;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use recording_archiver::config::{S3Credentials, StorageLocation};
use uuid::Uuid;

use super::binary::Binary;
use super::world::{PREFIX, Settings, World};

/// What is known of a store, and written in the README's table.
pub(crate) struct Known {
    /// Refuses wrong checksums of a PUT, of a part and of a whole object.
    pub(crate) checksums: bool,
    /// A PUT that is told to create only overwrites nothing.
    pub(crate) create_only: bool,
    /// The same of Complete.
    pub(crate) complete_create_only: bool,
    pub(crate) evidence: &'static str,
}

pub(crate) struct RealStore {
    name: String,
    endpoint: String,
    bucket: String,
    region: String,
    access_key_id: String,
    secret_access_key: String,
}

impl RealStore {
    pub(crate) fn of_the_environment() -> Self {
        let value = |name: &str| {
            env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run .ci/store"))
        };
        Self {
            name: value("TEST_S3_STORE"),
            endpoint: value("TEST_S3_ENDPOINT"),
            bucket: value("TEST_S3_BUCKET"),
            region: value("TEST_S3_REGION"),
            access_key_id: value("TEST_S3_ACCESS_KEY_ID"),
            secret_access_key: value("TEST_S3_SECRET_ACCESS_KEY"),
        }
    }

    pub(crate) fn known(&self) -> Known {
        let (create_only, complete_create_only) = match self.name.as_str() {
            "garage" | "juicefs" => (false, false),
            "ceph" => (true, false),
            "swift" => (false, true),
            "moto" => (true, true),
            name => panic!("nothing is known of {name}"),
        };
        let checksums = self.name == "garage";
        Known {
            checksums,
            create_only,
            complete_create_only,
            evidence: if checksums {
                "full_object"
            } else {
                "read_back"
            },
        }
    }

    pub(crate) fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The key of a recording as `SimulatedRecording::new` makes them.
    pub(crate) fn key_of(id: Uuid) -> String {
        format!("{PREFIX}/year=2022/month=01/day=01/{id}.mp4")
    }

    /// Looks at the store, and meddles, past the program.
    pub(crate) fn client(&self) -> AmazonS3 {
        AmazonS3Builder::new()
            .with_endpoint(&self.endpoint)
            .with_allow_http(true)
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_access_key_id(&self.access_key_id)
            .with_secret_access_key(&self.secret_access_key)
            .build()
            .unwrap()
    }

    /// The binary, archiving into this store instead of the world's own.
    pub(crate) fn binary(&self, world: &World) -> Binary {
        Binary::of(world)
            .with(
                "RECORDING_ARCHIVER_STORAGE_URL",
                format!("s3://{}/{PREFIX}", self.bucket),
            )
            .with("AWS_ENDPOINT_URL", &self.endpoint)
            .with("AWS_REGION", &self.region)
            .with("AWS_ACCESS_KEY_ID", &self.access_key_id)
            .with("AWS_SECRET_ACCESS_KEY", &self.secret_access_key)
    }

    /// An archiver of this process, archiving into this store.
    pub(crate) fn settle_in(&self, settings: &mut Settings) {
        settings.storage.location = StorageLocation::S3 {
            bucket: self.bucket.clone(),
            prefix: PREFIX.to_owned(),
        };
        settings.storage.endpoint = Some(self.endpoint.parse().unwrap());
        settings.storage.region = Some(self.region.clone());
        settings.storage.credentials = S3Credentials::Static {
            access_key_id: self.access_key_id.clone().into(),
            secret_access_key: self.secret_access_key.clone().into(),
            session_token: None,
        };
    }
}
