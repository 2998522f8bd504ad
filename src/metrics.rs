//! Counters for Prometheus. All series exist from the start; none carries an ID, and money is not
//! among them (a counter is a float): ask SQL.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use self::flow::Flow;
use crate::archive::Report;
use crate::config::{SignalWireConfig, TransferConfig};
use crate::error::ErrorKind;
use crate::memory::MemoryBudget;
use crate::queue::Outcome;
use crate::transfer::Traffic;

mod flow;

/// The process's counters; clones count into the same.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    attempts: Family<OutcomeLabel, Counter>,
    errors: Family<KindLabel, Counter>,
    fetched_bytes: Counter,
    archived_bytes: Counter,
    last_archived: Gauge,
    flow: Flow,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
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

        let errors = Family::<KindLabel, Counter>::default();
        for kind in ErrorKind::ALL {
            drop(errors.get_or_create(&KindLabel {
                kind: kind.as_str(),
            }));
        }
        registry.register(
            "errors",
            "Attempts that did not end well, by error kind",
            errors.clone(),
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
        let last_archived = Gauge::default();
        registry.register(
            "last_archived_timestamp_seconds",
            "When a recording was last archived by this process; 0 if none was",
            last_archived.clone(),
        );
        let flow = Flow::default();
        registry.register_collector(Box::new(flow.clone()));
        Self {
            registry: Arc::new(registry),
            attempts,
            errors,
            fetched_bytes,
            archived_bytes,
            last_archived,
            flow,
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

    /// Counts how an attempt ended.
    pub fn count(&self, report: &Report) {
        let outcome = report.outcome.as_str();
        self.attempts.get_or_create(&OutcomeLabel { outcome }).inc();
        self.fetched_bytes.inc_by(report.bytes_fetched);
        if let Some(failure) = &report.failure {
            let kind = failure.kind.as_str();
            self.errors.get_or_create(&KindLabel { kind }).inc();
        }
        if let Some(object) = &report.object {
            if report.outcome == Outcome::Archived {
                self.archived_bytes.inc_by(object.fingerprint.size_bytes);
            }
            self.last_archived.set(object.archived_at.timestamp());
        }
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
