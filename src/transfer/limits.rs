//! What the process allows its media connections, all recordings together, and what they did.

use std::num::{NonZeroU16, NonZeroU64};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::host::{Hosts, Step};
use crate::bandwidth::Bandwidth;

/// Limits of all media connections of this process.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) bandwidth: Bandwidth,
    pub(super) hosts: Hosts,
    pub(super) traffic: Traffic,
}

/// What the media connections of this process did since it started; clones show the same.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    open: AtomicU64,
    received_bytes: AtomicU64,
    breaks: AtomicU64,
    dead_links: AtomicU64,
    steps: [AtomicU64; Step::ALL.len()],
}

impl Limits {
    pub(super) fn new(bytes_per_second: Option<NonZeroU64>, per_host: NonZeroU16) -> Self {
        let traffic = Traffic::default();
        Self {
            bandwidth: Bandwidth::new(bytes_per_second),
            hosts: Hosts::new(per_host, traffic.clone()),
            traffic,
        }
    }
}

impl Traffic {
    /// Connections that are transferring now.
    pub fn open_connections(&self) -> u64 {
        self.counters.open.load(Ordering::Relaxed)
    }

    /// Bytes received, repeated ones included.
    pub fn received_bytes(&self) -> u64 {
        self.counters.received_bytes.load(Ordering::Relaxed)
    }

    /// Answers that broke off or did not come, and were asked for again.
    pub fn breaks(&self) -> u64 {
        self.counters.breaks.load(Ordering::Relaxed)
    }

    /// Links that died in the middle of a transfer and were renewed.
    pub fn dead_links(&self) -> u64 {
        self.counters.dead_links.load(Ordering::Relaxed)
    }

    /// How often a transfer stepped down to this rung of a media host.
    pub fn steps(&self, to: Step) -> u64 {
        self.counters.steps[to as usize].load(Ordering::Relaxed)
    }

    pub(super) fn stepped(&self, to: Step) {
        self.counters.steps[to as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn opened(&self) {
        self.counters.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn closed(&self) {
        self.counters.open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        let counter = &self.counters.received_bytes;
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn broke(&self) {
        self.counters.breaks.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn link_died(&self) {
        self.counters.dead_links.fetch_add(1, Ordering::Relaxed);
    }
}
