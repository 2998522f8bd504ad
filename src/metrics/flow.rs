//! How bytes move right now, and within which limits: read where it happens, at each scrape.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::config::{SignalWireConfig, TransferConfig};
use crate::memory::MemoryBudget;
use crate::transfer::{Step, Traffic};

/// Where the numbers come from; all are 0 until there is an archiver.
#[derive(Debug, Clone, Default)]
pub(super) struct Flow(Arc<OnceLock<Sources>>);

#[derive(Debug)]
struct Sources {
    traffic: Traffic,
    memory: MemoryBudget,
    limits: RwLock<Limits>,
}

/// Limits as they hold; 0 is none.
#[derive(Debug, Clone, Copy, Default)]
struct Limits {
    connections_per_recording: u64,
    connections_per_host: u64,
    bandwidth_bytes_per_second: u64,
    api_requests_per_second: u64,
}

impl Flow {
    /// The first ones are those that are watched.
    pub(super) fn watch(
        &self,
        traffic: &Traffic,
        memory: &MemoryBudget,
        transfer: &TransferConfig,
        signalwire: &SignalWireConfig,
    ) {
        let sources = Sources {
            traffic: traffic.clone(),
            memory: memory.clone(),
            limits: RwLock::new(Limits {
                connections_per_recording: transfer.connections.get().into(),
                connections_per_host: transfer.connections_per_host.get().into(),
                bandwidth_bytes_per_second: transfer.bandwidth_limit_bytes.map_or(0, u64::from),
                api_requests_per_second: signalwire.requests_per_second.get().into(),
            }),
        };
        drop(self.0.set(sources));
    }

    pub(super) fn relimit(&self, bandwidth: Option<NonZeroU64>, api_requests: NonZeroU32) {
        if let Some(sources) = self.0.get() {
            let limits = sources.limits.write();
            let mut limits = limits.unwrap_or_else(PoisonError::into_inner);
            limits.bandwidth_bytes_per_second = bandwidth.map_or(0, u64::from);
            limits.api_requests_per_second = api_requests.get().into();
        }
    }
}

impl Sources {
    fn limits(&self) -> Limits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Flow {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let of = |number: fn(&Sources) -> u64| self.0.get().map_or(0, number);
        let counters: [(&str, &str, u64); 3] = [
            (
                "received_bytes",
                "Media bytes received so far, repeated ones and those of running transfers included",
                of(|it| it.traffic.received_bytes()),
            ),
            (
                "range_breaks",
                "Media answers that broke off or did not come, and were asked for again",
                of(|it| it.traffic.breaks()),
            ),
            (
                "dead_links",
                "Media connections that met a dead link in the middle of a transfer",
                of(|it| it.traffic.dead_links()),
            ),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        let mut steps = encoder.encode_descriptor(
            "media_steps",
            "Times that transfers stepped down to this way of fetching from a media host",
            None,
            MetricType::Counter,
        )?;
        for to in Step::ALL {
            let taken = self.0.get().map_or(0, |it| it.traffic.steps(to));
            let labels = [("to", to.as_str())];
            ConstCounter::new(taken).encode(steps.encode_family(&labels)?)?;
        }
        let gauges: [(&str, &str, u64); 7] = [
            (
                "media_connections",
                "Connections to media hosts in use",
                of(|it| it.traffic.open_connections()),
            ),
            (
                "buffer_bytes",
                "Memory taken by parts in flight",
                of(|it| it.memory.used_bytes()),
            ),
            (
                "buffer_limit_bytes",
                "Memory that parts in flight may take: three eighths of transfer.memory_limit",
                of(|it| it.memory.limit_bytes()),
            ),
            (
                "media_connections_per_recording_limit",
                "transfer.connections",
                of(|it| it.limits().connections_per_recording),
            ),
            (
                "media_connections_per_host_limit",
                "transfer.connections_per_host",
                of(|it| it.limits().connections_per_host),
            ),
            (
                "bandwidth_limit_bytes_per_second",
                "transfer.bandwidth_limit; 0 is none",
                of(|it| it.limits().bandwidth_bytes_per_second),
            ),
            (
                "api_requests_per_second_limit",
                "signalwire.requests_per_second",
                of(|it| it.limits().api_requests_per_second),
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}
