//! A real S3 server: the Garage that `.ci/garage` has started.

use std::env;

use recording_archiver::config::{S3Credentials, StorageLocation};

use super::binary::Binary;
use super::world::{PREFIX, Settings, World};

pub(crate) struct Garage {
    endpoint: String,
    bucket: String,
    region: String,
    access_key_id: String,
    secret_access_key: String,
}

impl Garage {
    pub(crate) fn of_the_environment() -> Self {
        let value = |name: &str| {
            env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run .ci/garage"))
        };
        Self {
            endpoint: value("TEST_S3_ENDPOINT"),
            bucket: value("TEST_S3_BUCKET"),
            region: value("TEST_S3_REGION"),
            access_key_id: value("TEST_S3_ACCESS_KEY_ID"),
            secret_access_key: value("TEST_S3_SECRET_ACCESS_KEY"),
        }
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
