//! What the periodic chores came to.

use chrono::{DateTime, Utc};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::upkeep::Swept;

const CHORES: [&str; 4] = ["discover", "verify", "sweep", "reprice"];

#[derive(Debug, Clone, Default)]
pub(super) struct ChoreMetrics {
    last_success: Family<ChoreLabel, Gauge>,
    uploads_aborted: Counter,
    uploads_left: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChoreLabel {
    chore: &'static str,
}

impl ChoreMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for chore in CHORES {
            drop(metrics.last_success.get_or_create(&ChoreLabel { chore }));
        }
        registry.register(
            "chore_last_success_timestamp_seconds",
            "When the chore last ended well for this store or project, on whichever host; 0 if it never did",
            metrics.last_success.clone(),
        );
        registry.register(
            "orphaned_uploads_aborted",
            "Unfinished uploads that this process aborted because nobody will go on with them",
            metrics.uploads_aborted.clone(),
        );
        registry.register(
            "orphaned_uploads_left",
            "Those that this process's last sweep could not abort",
            metrics.uploads_left.clone(),
        );
        metrics
    }

    pub(super) fn succeeded(&self, chores: &[(String, DateTime<Utc>)]) {
        for chore in CHORES {
            if let Some((_, at)) = chores.iter().find(|(name, _)| name == chore) {
                let gauge = self.last_success.get_or_create(&ChoreLabel { chore });
                gauge.set(at.timestamp());
            }
        }
    }

    pub(super) fn swept(&self, swept: &Swept) {
        self.uploads_aborted.inc_by(swept.aborted);
        let left = i64::try_from(swept.left).unwrap_or(i64::MAX);
        self.uploads_left.set(left);
    }
}
