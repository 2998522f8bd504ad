//! Counters for Prometheus. All series exist from the start; none carries an ID, and money is not
//! among them (a counter is a float): ask SQL.
//!
//! Names follow the rules of the field: one prefix, base units, `_total` for what only grows.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use self::archive::ArchiveNumbers;
use self::chores::ChoreMetrics;
use self::flow::Flow;
pub use self::queue::Claiming;
use self::queue::QueueGauges;
use crate::archive::Report;
use crate::config::{SignalWireConfig, TransferConfig};
use crate::error::ErrorKind;
use crate::memory::MemoryBudget;
use crate::progress::Stage;
use crate::queue::{ArchivedObject, Coverage, Depth, Outcome};
use crate::recording::FormatMismatch;
use crate::transfer::Traffic;
use crate::upkeep::{Found, Repair, Swept};

mod archive;
mod chores;
mod flow;
mod queue;
mod text;

/// In seconds: a small recording takes some hundredths, a large one hours.
const DURATION_BUCKETS: [f64; 13] = [
    0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0,
];

/// The process's counters; clones count into the same.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    attempts: Family<OutcomeLabel, Counter>,
    errors: Family<KindLabel, Counter>,
    retries: Family<KindLabel, Counter>,
    attempt_duration: Histogram,
    stage_duration: Family<StageLabel, Histogram, fn() -> Histogram>,
    fetched_bytes: Counter,
    archived_bytes: Counter,
    format_mismatches: Family<FoundLabel, Counter>,
    last_archived: Gauge,
    flow: Flow,
    queue: QueueGauges,
    archive: ArchiveNumbers,
    chores: ChoreMetrics,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabel {
    stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FoundLabel {
    found: &'static str,
}

fn durations() -> Histogram {
    Histogram::new(DURATION_BUCKETS)
}

fn of_each_kind() -> Family<KindLabel, Counter> {
    let family = Family::default();
    for kind in ErrorKind::ALL.map(ErrorKind::as_str) {
        drop(family.get_or_create(&KindLabel { kind }));
    }
    family
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("recording_archiver");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The running version", build);

        let attempts = Family::<OutcomeLabel, Counter>::default();
        for outcome in [
            Outcome::Archived,
            Outcome::AlreadyArchived,
            Outcome::Deferred,
            Outcome::Retrying,
            Outcome::Failed,
            Outcome::Released,
        ] {
            drop(attempts.get_or_create(&OutcomeLabel {
                outcome: outcome.as_str(),
            }));
        }
        registry.register("attempts", "Attempts by how they ended", attempts.clone());

        let errors = of_each_kind();
        registry.register(
            "errors",
            "Attempts that did not end well, by error kind",
            errors.clone(),
        );

        let retries = of_each_kind();
        registry.register(
            "retries",
            "Recordings put off to be tried again, by error kind",
            retries.clone(),
        );
        let attempt_duration = durations();
        registry.register(
            "attempt_duration_seconds",
            "How long attempts took from claim to verdict",
            attempt_duration.clone(),
        );
        let stage_duration =
            Family::<StageLabel, Histogram, fn() -> Histogram>::new_with_constructor(durations);
        for stage in Stage::ALL.map(Stage::as_str) {
            drop(stage_duration.get_or_create(&StageLabel { stage }));
        }
        registry.register(
            "stage_duration_seconds",
            "How long attempts spent in each stage that they reached",
            stage_duration.clone(),
        );

        let fetched_bytes = Counter::default();
        registry.register(
            "fetched_bytes",
            "Media bytes taken in by attempts that have ended, repeated ones included",
            fetched_bytes.clone(),
        );
        let archived_bytes = Counter::default();
        registry.register(
            "archived_bytes",
            "Bytes of the objects archived",
            archived_bytes.clone(),
        );
        let format_mismatches = Family::<FoundLabel, Counter>::default();
        for found in FormatMismatch::all().map(FormatMismatch::as_str) {
            drop(format_mismatches.get_or_create(&FoundLabel { found }));
        }
        registry.register(
            "format_mismatches",
            "Files archived by this process that are not of their declared format, by what was found",
            format_mismatches.clone(),
        );
        let last_archived = Gauge::default();
        registry.register(
            "last_archived_timestamp_seconds",
            "When a recording was last archived by this process; 0 if none was",
            last_archived.clone(),
        );
        let flow = Flow::default();
        registry.register_collector(Box::new(flow.clone()));
        let queue = QueueGauges::register(&mut registry);
        let archive = ArchiveNumbers::register(&mut registry);
        let chores = ChoreMetrics::register(&mut registry);
        Self {
            registry: Arc::new(registry),
            attempts,
            errors,
            retries,
            attempt_duration,
            stage_duration,
            fetched_bytes,
            archived_bytes,
            format_mismatches,
            last_archived,
            flow,
            queue,
            archive,
            chores,
        }
    }

    /// Shows from here on how bytes move, and within which limits.
    pub fn watch(
        &self,
        traffic: &Traffic,
        memory: &MemoryBudget,
        transfer: &TransferConfig,
        signalwire: &SignalWireConfig,
    ) {
        self.flow.watch(traffic, memory, transfer, signalwire);
    }

    /// Shows what was measured of the queue just now.
    pub fn show_queue(&self, depth: &Depth) {
        self.queue.measured(depth);
    }

    /// Shows how much of the archive was read again.
    pub fn show_coverage(&self, coverage: &Coverage) {
        self.archive.measured(coverage);
    }

    /// Shows within which time all is to be read again; `None` while nothing is read by schedule.
    pub fn show_verify_within(&self, within: Option<Duration>) {
        self.archive.within(within);
    }

    /// Counts what reading an archived object again has found, and the attempt that repaired it.
    pub fn count_verified(&self, object: &ArchivedObject, found: &Found) {
        self.archive.verified(object, found);
        if let Found::Damaged { repair, .. } = found
            && let Some(report) = repair.as_ref().and_then(Repair::report)
        {
            self.count(report);
        }
    }

    /// Shows that the queue could not be measured; what was seen last stays, with its time.
    pub fn show_no_database(&self) {
        self.queue.not_measured();
    }

    /// Shows what this process does with the queue.
    pub fn show_claiming(&self, now: &Claiming) {
        self.queue.claiming(now);
    }

    /// Shows when the chores last ended well.
    pub fn show_chores(&self, succeeded: &[(String, DateTime<Utc>)]) {
        self.chores.succeeded(succeeded);
    }

    /// Counts what a sweep did.
    pub fn count_sweep(&self, swept: &Swept) {
        self.chores.swept(swept);
    }

    /// Shows other limits from here on: of media bytes and of API requests, each per second.
    pub fn relimit(&self, bandwidth: Option<NonZeroU64>, api_requests: NonZeroU32) {
        self.flow.relimit(bandwidth, api_requests);
    }

    /// Counts how an attempt ended.
    pub fn count(&self, report: &Report) {
        let outcome = report.outcome.as_str();
        self.attempts.get_or_create(&OutcomeLabel { outcome }).inc();
        self.fetched_bytes.inc_by(report.bytes_fetched);
        if let Some(failure) = &report.failure {
            let kind = failure.kind.as_str();
            self.errors.get_or_create(&KindLabel { kind }).inc();
            if matches!(report.outcome, Outcome::Retrying | Outcome::Deferred) {
                self.retries.get_or_create(&KindLabel { kind }).inc();
            }
        }
        self.attempt_duration.observe(report.elapsed.as_secs_f64());
        for (stage, spent) in report.stages.reached() {
            let stage = stage.as_str();
            let stage = self.stage_duration.get_or_create(&StageLabel { stage });
            stage.observe(spent.as_secs_f64());
        }
        if let Some(object) = &report.object {
            if report.outcome == Outcome::Archived {
                self.archived_bytes.inc_by(object.fingerprint.size_bytes);
                if let Some(found) = object.format_mismatch.map(FormatMismatch::as_str) {
                    let found = FoundLabel { found };
                    self.format_mismatches.get_or_create(&found).inc();
                }
            }
            self.last_archived.set(object.archived_at.timestamp());
        }
    }

    /// All series in the older text format of Prometheus (0.0.4), for collectors that do not ask
    /// for `OpenMetrics`.
    pub fn encode_classic(&self) -> String {
        text::classic(&self.encode())
    }

    /// All series in the text format of `OpenMetrics`.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry) {
            tracing::error!("encode the metrics: {error}");
        }
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
