//! What this process knows of a media host: how many connections it accepts, and whether its
//! answers can be joined.
//!
//! Each transfer starts at the highest rung that the host is known to serve: parallel ranges, then
//! fewer connections down to one, then one plain GET. What a host needs is remembered for
//! [`REMEMBERED_FOR`]; after that the next recording starts from the top again.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::limits::Traffic;

/// How long a host's rung is remembered.
const REMEMBERED_FOR: Duration = Duration::from_mins(15);
/// Maximum number of hosts remembered; those in use are always kept.
const MAX_HOSTS: usize = 256;

/// Why a transfer steps down a rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepReason {
    /// Further connections are refused while others work.
    Refused,
    /// Answers carry different validators or sizes.
    Validators,
    /// A range is answered with other bytes, or with a `Content-Range` that does not say which.
    Ranges,
    /// A request for a range is refused by its status.
    RangeStatus,
}

impl StepReason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "connections_refused",
            Self::Validators => "validators_differ",
            Self::Ranges => "ranges_not_honoured",
            Self::RangeStatus => "range_request_refused",
        }
    }
}

/// The rung that a transfer steps down to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    FewerConnections,
    OneConnection,
    PlainStream,
}

impl Step {
    pub const ALL: [Self; 3] = [
        Self::FewerConnections,
        Self::OneConnection,
        Self::PlainStream,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FewerConnections => "fewer_connections",
            Self::OneConnection => "one_connection",
            Self::PlainStream => "plain_stream",
        }
    }
}

/// The media hosts of this process.
#[derive(Debug)]
pub(super) struct Hosts {
    connections: usize,
    known: Mutex<HashMap<String, Arc<Host>>>,
    traffic: Traffic,
}

/// One media host, shared by all transfers from it.
#[derive(Debug)]
pub(super) struct Host {
    name: String,
    /// `transfer.connections_per_host`.
    connections: usize,
    slots: Arc<Semaphore>,
    rung: Mutex<Rung>,
    /// Answers being received.
    answers: AtomicUsize,
    received_bytes: AtomicU64,
    traffic: Traffic,
}

#[derive(Debug)]
struct Rung {
    /// Number of connections that the host accepts.
    connections: usize,
    /// Slots in use beyond that number; not handed out again when they are given back.
    excess: usize,
    plain: bool,
    /// When it was last stepped down.
    since: Option<Instant>,
}

/// Permission to use one connection to a host; given back when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    host: Arc<Host>,
    permit: Option<OwnedSemaphorePermit>,
}

/// An answer of a host that is being received.
#[derive(Debug)]
pub(super) struct OpenAnswer(Arc<Host>);

impl Hosts {
    pub(super) fn new(connections: NonZeroU16, traffic: Traffic) -> Self {
        Self {
            connections: usize::from(connections.get()),
            known: Mutex::default(),
            traffic,
        }
    }

    /// Returns the host of this name, such as `media.example:443`.
    pub(super) fn named(&self, name: &str) -> Arc<Host> {
        let mut known = lock(&self.known);
        if let Some(host) = known.get(name) {
            return Arc::clone(host);
        }
        if known.len() >= MAX_HOSTS {
            known.retain(|_, host| Arc::strong_count(host) > 1);
        }
        let host = Arc::new(Host::new(name, self.connections, self.traffic.clone()));
        known.insert(name.to_owned(), Arc::clone(&host));
        host
    }
}

impl Host {
    fn new(name: &str, connections: usize, traffic: Traffic) -> Self {
        Self {
            name: name.to_owned(),
            connections,
            slots: Arc::new(Semaphore::new(connections)),
            rung: Mutex::new(Rung {
                connections,
                excess: 0,
                plain: false,
                since: None,
            }),
            answers: AtomicUsize::new(0),
            received_bytes: AtomicU64::new(0),
            traffic,
        }
    }

    /// Waits for a free connection, first come first served.
    ///
    /// # Panics
    /// Never: the semaphore is not closed.
    pub(super) async fn slot(self: &Arc<Self>) -> Slot {
        self.forget_old_rung();
        let permit = Arc::clone(&self.slots).acquire_owned().await;
        self.traffic.opened();
        Slot {
            host: Arc::clone(self),
            permit: Some(permit.expect("a host's semaphore is never closed")),
        }
    }

    /// Number of connections that the host is known to accept.
    pub(super) fn connections(&self) -> usize {
        lock(&self.rung).connections
    }

    /// Whether the host's answers cannot be joined, so that one plain GET must bring a file.
    pub(super) fn is_plain(&self) -> bool {
        lock(&self.rung).plain
    }

    /// Announces that an answer is received until the returned value is dropped.
    pub(super) fn answering(self: &Arc<Self>) -> OpenAnswer {
        self.answers.fetch_add(1, Ordering::Relaxed);
        OpenAnswer(Arc::clone(self))
    }

    /// Number of answers being received.
    pub(super) fn answers(&self) -> usize {
        self.answers.load(Ordering::Relaxed)
    }

    /// Bytes received so far, by all transfers.
    pub(super) fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    /// A connection was refused while others work: uses no more than those from now on. Returns
    /// the former number of connections if that is fewer.
    pub(super) fn narrow(&self) -> Option<usize> {
        let working = self.answers().max(1);
        let mut rung = lock(&self.rung);
        let former = rung.connections;
        if working >= former {
            return None;
        }
        let unused = self.slots.forget_permits(former - working);
        rung.excess += former - working - unused;
        rung.connections = working;
        rung.since = Some(Instant::now());
        drop(rung);
        let to = if working == 1 {
            Step::OneConnection
        } else {
            Step::FewerConnections
        };
        self.traffic.stepped(to);
        tracing::warn!(
            host = self.name,
            from = format!("{former} connections"),
            to = to.as_str(),
            connections = working,
            reason = StepReason::Refused.as_str(),
            "media host accepts fewer connections"
        );
        Some(former)
    }

    /// Takes a step back: fewer connections did not help.
    pub(super) fn widen(&self, connections: usize) {
        let mut rung = lock(&self.rung);
        self.allow(&mut rung, connections);
    }

    /// Answers of this host could not be joined: one plain GET brings the file, and with
    /// `remember` every file from now on.
    pub(super) fn go_plain(&self, reason: StepReason, remember: bool) {
        let mut rung = lock(&self.rung);
        let connections = rung.connections;
        if remember {
            rung.since = Some(Instant::now());
            if std::mem::replace(&mut rung.plain, true) {
                return;
            }
        }
        drop(rung);
        self.traffic.stepped(Step::PlainStream);
        tracing::warn!(
            host = self.name,
            from = format!("{connections} connections"),
            to = Step::PlainStream.as_str(),
            reason = reason.as_str(),
            "media host's ranges cannot be joined"
        );
    }

    fn forget_old_rung(&self) {
        let mut rung = lock(&self.rung);
        if rung
            .since
            .is_some_and(|since| since.elapsed() > REMEMBERED_FOR)
        {
            self.allow(&mut rung, self.connections);
            rung.plain = false;
            rung.since = None;
        }
    }

    fn allow(&self, rung: &mut Rung, connections: usize) {
        let handed_out_at_most = rung.connections + rung.excess;
        if let Some(more) = connections.checked_sub(handed_out_at_most) {
            self.slots.add_permits(more);
            rung.excess = 0;
            rung.connections = connections;
        } else if connections > rung.connections {
            rung.excess = handed_out_at_most - connections;
            rung.connections = connections;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.host.traffic.closed();
        let mut rung = lock(&self.host.rung);
        if rung.excess > 0
            && let Some(permit) = self.permit.take()
        {
            permit.forget();
            rung.excess -= 1;
        }
    }
}

impl OpenAnswer {
    pub(super) fn received(&self, bytes: usize) {
        let counter = &self.0.received_bytes;
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Drop for OpenAnswer {
    fn drop(&mut self) {
        self.0.answers.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn host(connections: u16) -> Arc<Host> {
        let connections = NonZeroU16::new(connections).unwrap();
        Hosts::new(connections, Traffic::default()).named("media.example:443")
    }

    fn free_slots(host: &Arc<Host>) -> usize {
        let taken = std::iter::from_fn(|| host.slot().now_or_never());
        taken.collect::<Vec<_>>().len()
    }

    #[tokio::test]
    async fn host_has_no_more_connections_than_allowed() {
        let traffic = Traffic::default();
        let hosts = Hosts::new(NonZeroU16::MIN, traffic.clone());
        let slot = hosts.named("a").slot().await;
        assert!(hosts.named("a").slot().now_or_never().is_none());
        let other = hosts.named("b").slot().now_or_never();
        assert_eq!(traffic.open_connections(), 2);
        drop((slot, other));
        assert_eq!(traffic.open_connections(), 0);
        assert!(hosts.named("a").slot().now_or_never().is_some());
    }

    #[tokio::test]
    async fn narrowed_host_hands_out_what_works_and_takes_back_the_rest() {
        let host = host(8);
        let mut slots = Vec::new();
        for _ in 0..5 {
            slots.push(host.slot().await);
        }
        let working = [host.answering(), host.answering()];
        assert_eq!(host.narrow(), Some(8));
        assert_eq!(host.connections(), 2);
        assert_eq!(free_slots(&host), 0);
        slots.truncate(2);
        assert_eq!(free_slots(&host), 0);
        slots.truncate(1);
        assert_eq!(free_slots(&host), 1);
        assert_eq!(host.narrow(), None, "as many work as are allowed");
        drop(working);
        assert_eq!(host.narrow(), Some(2));
        assert_eq!(free_slots(&host), 0);
        slots.clear();
        assert_eq!(free_slots(&host), 1);
    }

    #[tokio::test]
    async fn widened_host_hands_out_as_many_as_before() {
        let host = host(4);
        let slots = [host.slot().await, host.slot().await, host.slot().await];
        let former = host.narrow().unwrap();
        host.widen(former);
        assert_eq!(free_slots(&host), 1);
        drop(slots);
        assert_eq!(free_slots(&host), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn rung_is_forgotten_after_a_while() {
        let host = host(4);
        let slot = host.slot().await;
        host.narrow();
        host.go_plain(StepReason::Validators, true);
        tokio::time::advance(REMEMBERED_FOR).await;
        drop(slot);
        assert_eq!(free_slots(&host), 1);
        assert!(host.is_plain());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(free_slots(&host), 4);
        assert!(!host.is_plain());
    }

    #[test]
    fn number_of_remembered_hosts_is_bounded() {
        let hosts = Hosts::new(NonZeroU16::MIN, Traffic::default());
        let used = hosts.named("used");
        used.go_plain(StepReason::Ranges, true);
        for number in 0..2 * MAX_HOSTS {
            hosts.named(&number.to_string());
        }
        assert!(lock(&hosts.known).len() <= MAX_HOSTS + 1);
        assert!(hosts.named("used").is_plain());
    }
}
