//! The queue as the last scrape saw it, and whether this process takes from it.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::KindLabel;
use crate::error::ErrorKind;
use crate::queue::Depth;

/// The kinds that stop the claiming: refusals, and the sides whose breaker can open.
const HALTING: [ErrorKind; 8] = [
    ErrorKind::Unauthorized,
    ErrorKind::ApiRefused,
    ErrorKind::MediaUnavailable,
    ErrorKind::StorageDenied,
    ErrorKind::StorageFull,
    ErrorKind::StorageRefused,
    ErrorKind::ApiUnavailable,
    ErrorKind::StorageUnavailable,
];
const STATES: [&str; 4] = ["due", "later", "in_progress", "failed"];

#[derive(Debug, Clone, Default)]
pub(super) struct QueueGauges {
    recordings: Family<StateLabel, Gauge>,
    oldest_age: Family<StateLabel, Gauge<f64, AtomicU64>>,
    expired_leases: Gauge,
    observed: Gauge,
    database_up: Gauge,
    leases: Gauge,
    slow_transfers: Gauge,
    concurrency_limit: Gauge,
    halted: Family<KindLabel, Gauge>,
    breakers: Family<SideLabel, Gauge>,
}

/// What one process does with the queue at this moment.
#[derive(Debug, Clone, Copy)]
pub struct Claiming {
    /// Recordings it holds.
    pub leases: usize,
    /// Those whose media come slowly.
    pub slow_transfers: usize,
    /// As many as it may hold.
    pub concurrency: usize,
    pub halted: Option<ErrorKind>,
    pub api_breaker_open: bool,
    pub media_breaker_open: bool,
    pub storage_breaker_open: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SideLabel {
    side: &'static str,
}

impl QueueGauges {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let gauges = Self::default();
        for state in STATES {
            drop(gauges.recordings.get_or_create(&StateLabel { state }));
            drop(gauges.oldest_age.get_or_create(&StateLabel { state }));
        }
        for kind in HALTING.map(ErrorKind::as_str) {
            drop(gauges.halted.get_or_create(&KindLabel { kind }));
        }
        for side in ["api", "media", "storage"] {
            drop(gauges.breakers.get_or_create(&SideLabel { side }));
        }
        registry.register(
            "queue_recordings",
            "Recordings of the whole database that are not archived, by state",
            gauges.recordings.clone(),
        );
        registry.register(
            "queue_oldest_age_seconds",
            "Age of the oldest in each state: since due, since queued (later), since claimed, since failed; 0 if there is none",
            gauges.oldest_age.clone(),
        );
        registry.register(
            "queue_expired_leases",
            "Recordings of the whole database whose worker died and which nobody has claimed yet",
            gauges.expired_leases.clone(),
        );
        registry.register(
            "queue_observed_timestamp_seconds",
            "When the queue was last measured; 0 if it never was",
            gauges.observed.clone(),
        );
        registry.register(
            "database_up",
            "1 if the database answered the last measurement",
            gauges.database_up.clone(),
        );
        registry.register(
            "leases",
            "Recordings that this process holds",
            gauges.leases.clone(),
        );
        registry.register(
            "slow_transfers",
            "Transfers that have run for 5 minutes or longer at less than 64 KiB/s on average",
            gauges.slow_transfers.clone(),
        );
        registry.register(
            "concurrency_limit",
            "worker.concurrency",
            gauges.concurrency_limit.clone(),
        );
        registry.register(
            "claiming_halted",
            "1 while nothing is claimed because of an error of this kind",
            gauges.halted.clone(),
        );
        registry.register(
            "breaker_open",
            "1 while one side is taken to be down after failures in a row",
            gauges.breakers.clone(),
        );
        gauges
    }

    pub(super) fn measured(&self, depth: &Depth) {
        let states = [depth.due, depth.later, depth.in_progress, depth.failed];
        for (state, waiting) in STATES.into_iter().zip(states) {
            let label = StateLabel { state };
            self.recordings
                .get_or_create(&label)
                .set(waiting.recordings);
            self.oldest_age
                .get_or_create(&label)
                .set(waiting.oldest_secs);
        }
        self.expired_leases.set(depth.expired_leases);
        self.observed.set(depth.now.timestamp());
        self.database_up.set(1);
    }

    pub(super) fn not_measured(&self) {
        self.database_up.set(0);
    }

    pub(super) fn claiming(&self, now: &Claiming) {
        let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.leases.set(number(now.leases));
        self.slow_transfers.set(number(now.slow_transfers));
        self.concurrency_limit.set(number(now.concurrency));
        for kind in HALTING {
            let label = KindLabel {
                kind: kind.as_str(),
            };
            let halted = now.halted == Some(kind);
            self.halted.get_or_create(&label).set(halted.into());
        }
        for (side, open) in [
            ("api", now.api_breaker_open),
            ("media", now.media_breaker_open),
            ("storage", now.storage_breaker_open),
        ] {
            let label = SideLabel { side };
            self.breakers.get_or_create(&label).set(open.into());
        }
    }
}
