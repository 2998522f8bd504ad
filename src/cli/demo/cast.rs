//! The recordings of the demo: what an archiver meets in a week, in twenty parts.

use uuid::Uuid;

use crate::simulator::{
    Container, CostToken, Fault, Media, MediaFault, SimulatedRecording, Simulator, Times,
};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
/// The large ones come at the pace of a good line, so that there is something to watch.
const LINE_BYTES_PER_SECOND: u64 = 24 * MIB;
const LARGE: u64 = 12 * MIB;

/// One recording and its story.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) id: Uuid,
    pub(super) story: &'static str,
    /// `None` for a recording that was deleted at the provider.
    recording: Option<SimulatedRecording>,
    fault: Option<Fault>,
}

impl Part {
    fn new(story: &'static str, size_bytes: u64, cost: &str) -> Self {
        let id = id(story);
        let seed = u64::from_be_bytes(id.as_bytes()[..8].try_into().unwrap_or_default());
        let mut recording = SimulatedRecording::new(id, size_bytes);
        // Two months and a few sessions, so that the report has something to add up.
        let month = 9 + seed % 2;
        let sessions = ["the product team", "sales", "support"];
        recording.created_at = format!("2026-{month:02}-{:02}T09:30:00Z", 1 + seed % 28);
        recording.started_at = Some(recording.created_at.clone());
        recording.room_session_id = self::id(sessions[story.len() % sessions.len()]);
        recording.cost = CostToken::Json(cost.to_owned());
        recording.media = Media::Generated {
            size_bytes,
            seed,
            container: Container::Mp4,
        };
        recording.bytes_per_second = (size_bytes >= LARGE).then_some(LINE_BYTES_PER_SECOND);
        Self {
            id,
            story,
            recording: Some(recording),
            fault: None,
        }
    }

    fn with(mut self, change: impl FnOnce(&mut SimulatedRecording)) -> Self {
        self.recording.as_mut().map(change);
        self
    }

    fn once(mut self, fault: impl Into<Fault>) -> Self {
        self.fault = Some(fault.into());
        self
    }

    /// Puts the recording and what goes wrong with it into the simulated SignalWire.
    pub(super) fn enter(&self, simulator: &Simulator) {
        let Some(recording) = &self.recording else {
            return;
        };
        simulator.add(recording.clone());
        if let Some(fault) = &self.fault {
            simulator.inject(self.id, fault.clone(), Times::ONCE);
        }
    }
}

/// The same story has the same ID in every run.
fn id(story: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("demo:{story}").as_bytes())
}

const MEETING: &str = "a meeting that is still being recorded";

/// The meeting that goes on during the first run.
pub(super) fn meeting() -> Uuid {
    id(MEETING)
}

/// All parts. The second time the meeting is over, and the lines are better.
pub(super) fn cast(second_time: bool) -> Vec<Part> {
    let mut meeting = Part::new(MEETING, 6 * MIB, "0.011");
    if !second_time {
        meeting = meeting.with(|it| it.status = Some("recording".to_owned()));
    }
    let deleted = Part {
        recording: None,
        ..Part::new("deleted at the provider before we came", MIB, "0")
    };
    vec![
        Part {
            id: SimulatedRecording::documented_example().id,
            story: "the example of the API's documentation",
            recording: Some(SimulatedRecording {
                bytes_per_second: Some(LINE_BYTES_PER_SECOND),
                ..SimulatedRecording::documented_example()
            }),
            fault: None,
        },
        Part::new("an all-hands", 64 * MIB, "0.48"),
        Part::new("a workshop", 48 * MIB, "0.36"),
        Part::new("a design review", 32 * MIB, "0.24"),
        Part::new("a long interview", 24 * MIB, "0.18"),
        Part::new("a retrospective", 16 * MIB, "0.12"),
        Part::new("a planning", 12 * MIB, "0.09"),
        Part::new("a demo to a customer", 8 * MIB, "0.06"),
        Part::new("a lesson", 5 * MIB, "0.0375"),
        Part::new("a consultation", 4 * MIB, "0.030"),
        Part::new("a stand-up", 3 * MIB, "0.0225"),
        Part::new("a one-to-one", 2 * MIB, "0.015"),
        Part::new("a question and its answer", MIB, "0.0075"),
        Part::new("a sound check", 256 * KIB, "0.0019").with(|it| {
            it.format = Some("video/webm".to_owned());
            it.media = Media::Generated {
                size_bytes: 256 * KIB,
                seed: 7,
                container: Container::Webm,
            };
        }),
        Part::new("a recording stopped at once: zero bytes", 0, "0"),
        Part::new("a cost of 1e-7 dollars", 512 * KIB, "1e-7"),
        Part::new("cut off, gone on with where it broke", 20 * MIB, "0.15")
            .once(MediaFault::CutAfter(3 * MIB)),
        Part::new("a link that dies too early", 10 * MIB, "0.075").once(MediaFault::LinkDies),
        Part::new("an error page in place of the video", 7 * MIB, "0.0525").once(MediaFault::Html),
        meeting,
        deleted,
    ]
}
