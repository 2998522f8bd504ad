//! All that an attempt needs, around one test: a simulated provider, a database and a store.

use std::num::{NonZeroU16, NonZeroU32};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use chrono::{DateTime, Utc};
use recording_archiver::archive::{Archiver, Breaker, Policy, Report};
use recording_archiver::checkpoint::UploadRef;
use recording_archiver::config::{
    Addressing, ChecksumMode, S3Credentials, SignalWireConfig, StorageConfig, StorageLocation,
    TransferConfig, VerifyMode,
};
use recording_archiver::daemon::{Ending, Shutdown, Worker};
use recording_archiver::database::{Access, grant};
use recording_archiver::memory::MemoryBudget;
use recording_archiver::progress::{Board, Progress};
use recording_archiver::queue::{BegunUpload, Claim, Cursor, Queue};
use recording_archiver::signalwire::SignalWire;
use recording_archiver::simulator::{SimulatedRecording, Simulator, SimulatorConfig};
use recording_archiver::storage::Storage;
use recording_archiver::transfer::{LinkPolicy, MediaClient};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

use super::postgres::{TestDatabase, pool_with};
use super::s3::{ACCESS_KEY_ID, BUCKET, S3Server, SECRET_ACCESS_KEY, on_server_threads};
use crate::seed::migrated_database;

pub(crate) const MIB: u64 = 1024 * 1024;
/// The least that S3, and s3s-fs with it, takes for a part that is not the last.
pub(crate) const PART: u64 = 5 * MIB;
/// What a prefix may look like.
pub(crate) const PREFIX: &str = "video/archive";

const SERVICE_ROLE: &str = "archiver_test_service";

/// Where the objects go.
pub(crate) enum Store {
    Directory(TempDir),
    S3(S3Server),
}

pub(crate) struct World {
    pub(crate) simulator: Simulator,
    pub(crate) store: Store,
    /// Of whoever looks on and meddles, and may do everything.
    pub(crate) pool: PgPool,
    /// Of the service, and of no more rights than it needs.
    pub(crate) service: PgPool,
    database: TestDatabase,
}

/// What an archiver is made of; a test changes what it is about.
pub(crate) struct Settings {
    pub(crate) signalwire: SignalWireConfig,
    pub(crate) storage: StorageConfig,
    pub(crate) transfer: TransferConfig,
    pub(crate) links: LinkPolicy,
    pub(crate) policy: Policy,
    pub(crate) lease: Duration,
    pub(crate) holder: &'static str,
}

/// A row of `archiver.recordings`, as far as the tests ask.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) state: String,
    pub(crate) attempts: i32,
    pub(crate) error_kind: Option<String>,
    pub(crate) error_message: Option<String>,
    pub(crate) project_id: Option<String>,
    pub(crate) object_key: Option<String>,
    pub(crate) object_url: Option<String>,
    pub(crate) size_bytes: Option<i64>,
    pub(crate) sha256: Option<Vec<u8>>,
    pub(crate) crc64nvme: Option<String>,
    pub(crate) evidence: Option<String>,
    pub(crate) evidence_algorithm: Option<String>,
    pub(crate) evidence_value: Option<String>,
    pub(crate) etag: Option<String>,
    pub(crate) archived_at: Option<DateTime<Utc>>,
    pub(crate) lease_token: Option<Uuid>,
    pub(crate) due_in_secs: f64,
}

/// A row of `archiver.attempts`.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct AttemptRow {
    pub(crate) attempt: i32,
    pub(crate) outcome: Option<String>,
    pub(crate) error_kind: Option<String>,
    pub(crate) error_message: Option<String>,
    pub(crate) bytes_fetched: i64,
}

impl World {
    /// Archives into a directory.
    pub(crate) async fn local() -> Self {
        Self::with(Store::Directory(tempfile::tempdir().unwrap())).await
    }

    /// Archives into a bucket of an S3 server.
    pub(crate) async fn s3() -> Self {
        Self::with(Store::S3(S3Server::start().await)).await
    }

    async fn with(store: Store) -> Self {
        let database = migrated_database().await;
        let simulator = Simulator::start(SimulatorConfig::default());
        let options = database.options().options([("role", SERVICE_ROLE)]);
        let world = Self {
            simulator: on_server_threads(simulator).await.unwrap(),
            store,
            pool: database.pool(),
            service: pool_with(options),
            database,
        };
        world.let_the_service_work().await;
        world
    }

    /// Gives the service's role its rights: all that the archiver does in these tests, it does with
    /// no others.
    pub(crate) async fn let_the_service_work(&self) {
        crate::seed::execute(
            &self.pool,
            &format!(
                "DO $$ BEGIN CREATE ROLE {SERVICE_ROLE};
                 EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
            ),
        )
        .await;
        let granted = grant(&self.pool, Access::Service, SERVICE_ROLE).await;
        granted.unwrap();
    }

    pub(crate) fn s3_server(&self) -> &S3Server {
        match &self.store {
            Store::S3(server) => server,
            Store::Directory(_) => panic!("this world has a directory"),
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        let (location, endpoint) = match &self.store {
            Store::Directory(directory) => {
                let root = directory.path().to_owned();
                (StorageLocation::File { root }, None)
            }
            Store::S3(server) => {
                let location = StorageLocation::S3 {
                    bucket: BUCKET.to_owned(),
                    prefix: PREFIX.to_owned(),
                };
                (location, Some(server.endpoint().parse().unwrap()))
            }
        };
        Settings {
            signalwire: signalwire_config(&self.simulator),
            storage: StorageConfig {
                location,
                endpoint,
                region: None,
                addressing: Addressing::Auto,
                checksum: ChecksumMode::Auto,
                verify: VerifyMode::Auto,
                part_size_bytes: PART,
                storage_class: None,
                kms_key_id: None,
                layout: "year={year}/month={month}/day={day}/{recording_id}.{ext}"
                    .parse()
                    .unwrap(),
                credentials: S3Credentials::Static {
                    access_key_id: ACCESS_KEY_ID.into(),
                    secret_access_key: SECRET_ACCESS_KEY.into(),
                    session_token: None,
                },
            },
            transfer: TransferConfig {
                connections: NonZeroU16::new(4).unwrap(),
                connections_per_host: NonZeroU16::new(32).unwrap(),
                memory_limit_bytes: 64 * MIB,
                idle_timeout: Duration::from_secs(10),
                min_bytes_per_second: 1024,
                bandwidth_limit_bytes: None,
            },
            links: LinkPolicy {
                require_https: false,
                allow_private: true,
            },
            policy: Policy {
                max_attempts: 3,
                not_ready_deadline: Duration::from_hours(1),
                accept_size: false,
            },
            lease: Duration::from_mins(2),
            holder: "test",
        }
    }

    pub(crate) fn archiver(&self) -> Archiver {
        self.archiver_with(|_| {})
    }

    pub(crate) fn archiver_with(&self, change: impl FnOnce(&mut Settings)) -> Archiver {
        let mut settings = self.settings();
        change(&mut settings);
        settings.archiver(self.service.clone())
    }

    /// Adds a recording at the provider and queues it.
    pub(crate) async fn add(&self, recording: SimulatedRecording) -> Uuid {
        let id = recording.id;
        self.simulator.add(recording);
        self.enqueue(id).await;
        id
    }

    /// As anybody may, by SQL.
    pub(crate) async fn enqueue(&self, id: Uuid) {
        sqlx::query(
            "INSERT INTO archiver.recordings (recording_id) VALUES ($1) ON CONFLICT DO NOTHING",
        )
        .bind(id)
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// Claims the one recording that is due, and works on it.
    pub(crate) async fn attempt(&self, archiver: &Archiver) -> Report {
        self.attempt_until(archiver, &CancellationToken::new())
            .await
    }

    pub(crate) async fn attempt_until(
        &self,
        archiver: &Archiver,
        stop: &CancellationToken,
    ) -> Report {
        let progress = Arc::new(Progress::default());
        let attempt = archiver.attempt(claim(archiver).await, &progress, stop);
        // It is long, and so would be the futures of all tests.
        Box::pin(attempt).await
    }

    /// Ends every wait and every lease: what is not settled is due now.
    pub(crate) async fn make_due(&self) {
        crate::seed::execute(
            &self.pool,
            "UPDATE archiver.recordings SET next_attempt_at = now() WHERE state = 'pending';
             UPDATE archiver.recordings SET lease_expires_at = now() WHERE state = 'in_progress'",
        )
        .await;
    }

    pub(crate) async fn row(&self, id: Uuid) -> Row {
        self.row_if_there(id)
            .await
            .expect("the recording is queued")
    }

    pub(crate) async fn row_if_there(&self, id: Uuid) -> Option<Row> {
        sqlx::query_as(
            "SELECT *, extract(epoch FROM next_attempt_at - now())::float8 AS due_in_secs
               FROM archiver.recordings WHERE recording_id = $1",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await
        .unwrap()
    }

    /// The attempts of a recording, in order.
    pub(crate) async fn attempts(&self, id: Uuid) -> Vec<AttemptRow> {
        sqlx::query_as(
            "SELECT * FROM archiver.attempts WHERE recording_id = $1 ORDER BY attempt_id",
        )
        .bind(id)
        .fetch_all(&self.pool)
        .await
        .unwrap()
    }

    /// One value of one row, as text.
    pub(crate) async fn text(&self, query: &'static str, id: Uuid) -> Option<String> {
        sqlx::query_scalar(query)
            .bind(id)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// A number of rows.
    pub(crate) async fn number(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// How many parts of a recording's unfinished upload another attempt can go on after.
    pub(crate) async fn parts_on_record(&self, id: Uuid) -> u64 {
        let parts = "SELECT count(*)::text FROM archiver.upload_parts WHERE recording_id = $1";
        self.text(parts, id).await.unwrap().parse().unwrap()
    }

    /// Where the store keeps what stands under `key`.
    pub(crate) fn path_of(&self, key: &str) -> PathBuf {
        match &self.store {
            Store::Directory(directory) => directory.path().join(key),
            Store::S3(server) => server.path_of(key),
        }
    }

    /// The key of a recording as `SimulatedRecording::new` makes them, by the default layout.
    pub(crate) fn key_of(&self, id: Uuid) -> String {
        let key = format!("year=2022/month=01/day=01/{id}.mp4");
        match &self.store {
            Store::Directory(_) => key,
            Store::S3(_) => format!("{PREFIX}/{key}"),
        }
    }

    /// What stands under the key of a recording.
    pub(crate) fn object(&self, id: Uuid) -> Option<Vec<u8>> {
        match fs::read(self.path_of(&self.key_of(id))) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Puts something under the key of a recording, as a stranger would.
    pub(crate) fn put_object(&self, id: Uuid, bytes: &[u8]) {
        self.put_under(&self.key_of(id), bytes);
    }

    /// Puts something under any key.
    pub(crate) fn put_under(&self, key: &str, bytes: &[u8]) {
        let path = self.path_of(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn manifest(&self, id: Uuid) -> Option<String> {
        fs::read_to_string(self.path_of(&format!("{}.manifest.json", self.key_of(id)))).ok()
    }

    /// Demands that the recording is archived, and that the store holds its very bytes.
    pub(crate) async fn demand_archived(&self, id: Uuid) {
        let row = self.row(id).await;
        assert_eq!(row.state, "archived", "{row:?}");
        let object = self.object(id).expect("the object is there");
        let expected = self.simulator.media_sha256(id).unwrap();
        assert_eq!(<[u8; 32]>::from(Sha256::digest(&object)), expected);
        assert_eq!(row.sha256.as_deref(), Some(&expected[..]));
        assert_eq!(row.size_bytes, Some(i64::try_from(object.len()).unwrap()));
        assert!(self.manifest(id).is_some(), "the manifest is there");
        self.demand_nothing_unfinished().await;
    }

    /// Demands that nothing stands under the recording's key, whole or in parts.
    pub(crate) async fn demand_nothing_stored(&self, id: Uuid) {
        assert_eq!(self.object(id).map(|object| object.len()), None);
        assert_eq!(self.manifest(id), None);
        self.demand_nothing_unfinished().await;
    }

    /// Demands that no part of an upload is left, neither in the store nor on record.
    pub(crate) async fn demand_nothing_unfinished(&self) {
        let left = match &self.store {
            Store::S3(server) => server.unfinished_uploads(),
            Store::Directory(directory) => files_below(directory.path())
                .into_iter()
                .filter(|path| path.to_string_lossy().contains('#'))
                .map(|path| path.display().to_string())
                .collect(),
        };
        assert_eq!(left, Vec::<String>::new());
        let remembered = self.number("SELECT count(*) FROM archiver.uploads").await;
        assert_eq!(remembered, 0, "uploads on record");
    }

    /// Demands that nothing is left in the bucket of what it was probed with.
    pub(crate) fn demand_no_probes(&self) {
        let server = self.s3_server();
        let mut left = files_below(server.directory());
        left.retain(|path| path.to_string_lossy().contains("-probe/"));
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(server.unfinished_of_any_kind(), 0);
    }

    /// Runs a worker until nothing is due, and gives its reports.
    pub(crate) async fn run_once(
        &self,
        archiver: Archiver,
        concurrency: usize,
    ) -> (Ending, Vec<Report>) {
        let (reports, mut heard) = mpsc::unbounded_channel();
        let worker = Worker::new(Arc::new(archiver), concurrency, Board::default(), reports);
        let ending = worker.run_once(&Shutdown::default()).await;
        let mut all = Vec::new();
        while let Some(report) = heard.recv().await {
            all.push(report);
        }
        (ending, all)
    }

    pub(crate) fn database_options(&self) -> PgConnectOptions {
        self.database.options()
    }

    /// A pool whose sessions are this role's.
    pub(crate) fn pool_of(&self, role: &str) -> PgPool {
        pool_with(self.database_options().options([("role", role)]))
    }

    /// The address of the database as the service's role, for what opens its own connections.
    pub(crate) fn service_url(&self) -> String {
        let mut url: Url = self.database_url().parse().unwrap();
        let role = format!("-c role={SERVICE_ROLE}");
        url.query_pairs_mut().append_pair("options", &role);
        url.into()
    }

    /// The address of the database, for what opens its own connections.
    pub(crate) fn database_url(&self) -> String {
        self.database.url()
    }
}

impl Settings {
    pub(crate) fn archiver(self, pool: PgPool) -> Archiver {
        let project_id = self.signalwire.project_id.clone();
        Archiver {
            queue: Queue::new(pool, project_id, self.holder.to_owned(), self.lease),
            signalwire: SignalWire::new(&self.signalwire).unwrap(),
            media: MediaClient::new(&self.transfer, self.links).unwrap(),
            storage: Storage::open(&self.storage).unwrap(),
            memory: MemoryBudget::new(self.transfer.buffer_bytes()),
            policy: self.policy,
            breaker: Breaker::default(),
        }
    }
}

/// How an archiver reaches this simulator.
pub(crate) fn signalwire_config(simulator: &Simulator) -> SignalWireConfig {
    let base_url = simulator.base_url();
    SignalWireConfig {
        api_base: base_url.parse().unwrap(),
        space: base_url.trim_start_matches("http://").to_owned(),
        project_id: simulator.project_id().to_owned(),
        api_token: simulator.api_token().into(),
        media_ttl: Duration::from_mins(15),
        requests_per_second: NonZeroU32::new(1000).unwrap(),
        allow_private_media: true,
        require_https: false,
    }
}

/// Claims the one recording that is due.
pub(crate) async fn claim(archiver: &Archiver) -> Claim {
    let mut claims = claim_due(archiver, 1).await;
    claims.pop().expect("a recording is due")
}

/// Claims up to `limit` recordings that are due, from the front of the queue.
pub(crate) async fn claim_due(archiver: &Archiver, limit: usize) -> Vec<Claim> {
    let mut cursor = Cursor::default();
    let due = archiver.queue.claim_due(&mut cursor, limit).await.unwrap();
    due.claims
}

/// An upload that nobody could go on with.
pub(crate) fn begun(object_key: &str, object_url: &str, upload_id: &str) -> BegunUpload {
    BegunUpload {
        object_key: object_key.to_owned(),
        object_url: object_url.to_owned(),
        upload: UploadRef {
            upload_id: upload_id.to_owned(),
            attempt_token: Uuid::new_v4(),
            verified_by: "crc64nvme".to_owned(),
        },
        size_bytes: None,
        validator: None,
        part_bytes: PART,
        format_mismatch: None,
    }
}

/// Every file below a directory.
pub(crate) fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}
