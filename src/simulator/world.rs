//! Answers for the state of the simulated service: recordings, waiting faults, links that were
//! killed, and what has been asked of it.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use percent_encoding::utf8_percent_encode;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    SimulatorConfig,
    catalog::extension_of,
    fault::{DeletionFault, FaultQueue, MediaFault, MetadataFault},
    link::{LinkSigner, UNRESERVED, ValidLink},
    media::MediaSource,
    recording::{JsonObject, SimulatedRecording},
    seen::{REMEMBERED_REQUESTS, RequestCounts, SeenRequest},
};

mod faults;

/// Media about to be sent: the recording as it is at this moment, and its bytes.
#[derive(Debug)]
pub(super) struct OpenMedia {
    pub(super) recording: SimulatedRecording,
    pub(super) source: MediaSource,
    /// Without quotes.
    pub(super) etag: String,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) config: SimulatorConfig,
    pub(super) signer: LinkSigner,
    pub(super) page_token_key: [u8; 32],
    /// Cancelled when the simulator stops; whatever waits or sends ends then.
    pub(super) stopping: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// In the order they were added, which is the order of listings.
    order: Vec<Uuid>,
    recordings: HashMap<Uuid, Held>,
    metadata_faults: FaultQueue<MetadataFault>,
    media_faults: FaultQueue<MediaFault>,
    deletion_faults: FaultQueue<DeletionFault>,
    /// Counts up with each order to kill links.
    epoch: u64,
    /// Links of an earlier epoch are dead.
    oldest_living_epoch: u64,
    requests: VecDeque<SeenRequest>,
}

/// A recording and what belongs to it. Stays when the recording is removed, for its counts.
#[derive(Debug)]
struct Held {
    recording: SimulatedRecording,
    removed: bool,
    metadata_faults: FaultQueue<MetadataFault>,
    media_faults: FaultQueue<MediaFault>,
    deletion_faults: FaultQueue<DeletionFault>,
    oldest_living_epoch: u64,
    etag_version: u64,
    counts: RequestCounts,
    open_responses: u64,
}

impl World {
    pub(super) fn new(config: SimulatorConfig) -> Self {
        Self {
            config,
            signer: LinkSigner::new(),
            page_token_key: rand::random(),
            stopping: CancellationToken::new(),
            state: Mutex::default(),
        }
    }

    /// A panic while the lock was held cannot leave the state half changed: each change is one
    /// assignment. So a poisoned lock is used on.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, recording: SimulatedRecording) {
        let mut state = self.state();
        let id = recording.id;
        if let Some(held) = state.recordings.get_mut(&id) {
            held.recording = recording;
            held.removed = false;
            return;
        }
        state.order.push(id);
        let held = Held {
            recording,
            removed: false,
            metadata_faults: FaultQueue::default(),
            media_faults: FaultQueue::default(),
            deletion_faults: FaultQueue::default(),
            oldest_living_epoch: 0,
            etag_version: 0,
            counts: RequestCounts::default(),
            open_responses: 0,
        };
        state.recordings.insert(id, held);
    }

    /// False when there is no such recording.
    pub(super) fn remove(&self, id: Uuid) -> bool {
        let mut state = self.state();
        state
            .living_mut(id)
            .map(|held| held.removed = true)
            .is_some()
    }

    pub(super) fn update(&self, id: Uuid, change: impl FnOnce(&mut SimulatedRecording)) -> bool {
        let mut state = self.state();
        state
            .living_mut(id)
            .map(|held| change(&mut held.recording))
            .is_some()
    }

    pub(super) fn recording(&self, id: Uuid) -> Option<SimulatedRecording> {
        self.state().living(id).map(|held| held.recording.clone())
    }

    /// The recordings of a page, and whether more follow.
    pub(super) fn page(
        &self,
        room_session_id: Option<Uuid>,
        skip: usize,
        take: usize,
    ) -> (Vec<SimulatedRecording>, bool) {
        let state = self.state();
        let mut matching = state
            .order
            .iter()
            .filter_map(|id| state.living(*id))
            .map(|held| &held.recording)
            .filter(|recording| room_session_id.is_none_or(|id| recording.room_session_id == id))
            .skip(skip);
        let page = matching.by_ref().take(take).cloned().collect();
        (page, matching.next().is_some())
    }

    /// The recording's object with a fresh link for `host`.
    pub(super) fn describe(
        &self,
        recording: &SimulatedRecording,
        host: &str,
        ttl: Duration,
    ) -> JsonObject {
        let source = MediaSource::open(&recording.media).unwrap_or_else(|error| {
            tracing::warn!(%error, recording.id = %recording.id, "simulator: open media");
            None
        });
        let size_bytes = source.as_ref().map(MediaSource::size_bytes);
        let uri = source.map(|_| {
            let link = ValidLink {
                epoch: self.state().epoch,
                issued_at: now(),
                ttl,
            };
            let media_type = recording
                .format
                .as_deref()
                .unwrap_or("application/octet-stream");
            let path = self.media_path(recording);
            format!(
                "http://{host}{}",
                self.signer.sign(host, &path, media_type, link)
            )
        });
        recording.to_json(uri.as_deref(), size_bytes)
    }

    fn media_path(&self, recording: &SimulatedRecording) -> String {
        let space = Uuid::new_v5(&Uuid::NAMESPACE_URL, b"simulated space");
        let project = utf8_percent_encode(&self.config.project_id, UNRESERVED);
        let extension = extension_of(recording.format.as_deref().unwrap_or_default());
        format!(
            "/files/{space}/{project}/video-room-recordings/{}.{extension}",
            recording.id
        )
    }

    /// `None` when the recording or its media is not there.
    pub(super) fn open_media(&self, id: Uuid) -> io::Result<Option<OpenMedia>> {
        let (recording, etag_version) = match self.state().living(id) {
            Some(held) => (held.recording.clone(), held.etag_version),
            None => return Ok(None),
        };
        let Some(source) = MediaSource::open(&recording.media)? else {
            return Ok(None);
        };
        let etag = match etag_version {
            0 => source.identity(),
            version => format!("{}-{version}", source.identity()),
        };
        Ok(Some(OpenMedia {
            recording,
            source,
            etag,
        }))
    }

    pub(super) fn counts(&self, id: Uuid) -> RequestCounts {
        self.state()
            .recordings
            .get(&id)
            .map(|held| held.counts.clone())
            .unwrap_or_default()
    }

    pub(super) fn count(&self, id: Uuid, change: impl FnOnce(&mut RequestCounts)) {
        if let Some(held) = self.state().recordings.get_mut(&id) {
            change(&mut held.counts);
        }
    }

    pub(super) fn count_media_request(&self, id: Uuid, range: Option<&str>) {
        self.count(id, |counts| {
            counts.media_requests += 1;
            if let Some(range) = range
                && counts.ranges.len() < REMEMBERED_REQUESTS
            {
                counts.ranges.push(range.to_owned());
            }
        });
    }

    pub(super) fn remember(&self, parts: &Parts) {
        let mut state = self.state();
        if state.requests.len() == REMEMBERED_REQUESTS {
            state.requests.pop_front();
        }
        state.requests.push_back(SeenRequest::of(parts));
    }

    pub(super) fn requests(&self) -> Vec<SeenRequest> {
        self.state().requests.iter().cloned().collect()
    }
}

impl State {
    fn living(&self, id: Uuid) -> Option<&Held> {
        self.recordings.get(&id).filter(|held| !held.removed)
    }

    fn living_mut(&mut self, id: Uuid) -> Option<&mut Held> {
        self.recordings.get_mut(&id).filter(|held| !held.removed)
    }
}

/// Counts a response as open for as long as it lives.
#[derive(Debug)]
pub(super) struct OpenResponse {
    world: Arc<World>,
    id: Uuid,
}

impl OpenResponse {
    pub(super) fn new(world: &Arc<World>, id: Uuid) -> Self {
        if let Some(held) = world.state().recordings.get_mut(&id) {
            held.open_responses += 1;
            held.counts.peak_media_responses =
                held.counts.peak_media_responses.max(held.open_responses);
        }
        Self {
            world: Arc::clone(world),
            id,
        }
    }
}

impl Drop for OpenResponse {
    fn drop(&mut self) {
        if let Some(held) = self.world.state().recordings.get_mut(&self.id) {
            held.open_responses -= 1;
        }
    }
}

/// The clock of this machine: the simulated service stands outside the archiver, and so outside
/// the rule that time comes from the database.
pub(super) fn now() -> SystemTime {
    SystemTime::now()
}

/// `time` as S3 writes it in its error documents.
pub(super) fn iso8601(time: SystemTime) -> String {
    DateTime::<Utc>::from(time)
        .format("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}
