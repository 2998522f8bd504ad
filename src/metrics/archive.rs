//! What is archived, how much of it was read again, and what reading it has found.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::error::ErrorKind;
use crate::queue::{ArchivedObject, Coverage};
use crate::upkeep::Found;

const RESULTS: [&str; 5] = [
    "equal",
    ErrorKind::ChecksumMismatch.as_str(),
    ErrorKind::ObjectMissing.as_str(),
    ErrorKind::ObjectArchivedCold.as_str(),
    "not_read",
];

#[derive(Debug, Clone, Default)]
pub(super) struct ArchiveNumbers {
    recordings: Gauge,
    bytes: Gauge,
    read_again: Gauge,
    read_again_bytes: Gauge,
    damaged: Gauge,
    longest_unread: Gauge,
    within: Gauge,
    verified: Family<ResultLabel, Counter>,
    verified_bytes: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

impl ArchiveNumbers {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let numbers = Self::default();
        for result in RESULTS {
            drop(numbers.verified.get_or_create(&ResultLabel { result }));
        }
        let gauges = [
            (
                "archive_recordings",
                "Recordings of the whole database that are archived",
                &numbers.recordings,
            ),
            (
                "archive_size_bytes",
                "Bytes of their objects",
                &numbers.bytes,
            ),
            (
                "archive_read_again_recordings",
                "Of these, read again within verify.within and found equal",
                &numbers.read_again,
            ),
            (
                "archive_read_again_bytes",
                "Bytes of those",
                &numbers.read_again_bytes,
            ),
            (
                "archive_damaged_recordings",
                "Archived recordings whose object was found damaged or gone",
                &numbers.damaged,
            ),
            (
                "archive_longest_unread_timestamp_seconds",
                "Since when the archived object that waits longest has not been read; 0 if there is none",
                &numbers.longest_unread,
            ),
            (
                "verify_within_seconds",
                "verify.within; 0 while verify.schedule is off",
                &numbers.within,
            ),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
        registry.register(
            "verified_objects",
            "Archived objects read again by schedule, by what was found",
            numbers.verified.clone(),
        );
        registry.register(
            "verified_bytes",
            "Bytes of those that were equal",
            numbers.verified_bytes.clone(),
        );
        numbers
    }

    pub(super) fn measured(&self, coverage: &Coverage) {
        self.recordings.set(coverage.recordings);
        self.bytes.set(coverage.size_bytes);
        self.read_again.set(coverage.read_again);
        self.read_again_bytes.set(coverage.read_again_bytes);
        self.damaged.set(coverage.damaged);
        let since = coverage.longest_unread_since;
        self.longest_unread
            .set(since.map_or(0, |at| at.timestamp()));
    }

    pub(super) fn within(&self, within: Option<Duration>) {
        let secs = within.unwrap_or_default().as_secs();
        self.within.set(i64::try_from(secs).unwrap_or(i64::MAX));
    }

    pub(super) fn verified(&self, object: &ArchivedObject, found: &Found) {
        let result = match found {
            Found::Equal => {
                self.verified_bytes.inc_by(object.size_bytes);
                "equal"
            }
            Found::Damaged { damage, .. } => damage.kind.as_str(),
            Found::Cold { .. } => ErrorKind::ObjectArchivedCold.as_str(),
            Found::NotRead { .. } => "not_read",
            Found::Replaced => return,
        };
        self.verified.get_or_create(&ResultLabel { result }).inc();
    }
}
