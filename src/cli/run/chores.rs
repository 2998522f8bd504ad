//! What the service does beside the archiving, each chore in a task of its own: at its bell, on one
//! host at a time.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::reload::Bells;
use crate::archive::Archiver;
use crate::bandwidth::Bandwidth;
use crate::error::chain;
use crate::metrics::Metrics;
use crate::progress::Board;
use crate::queue::Chore;
use crate::upkeep::{self, Scrub, Scrubbed};

/// A cost that is not final is asked for again at most this often.
const REPRICE_PAUSE: Duration = Duration::from_hours(12);
/// Few, because what is archived goes before what is read again.
const VERIFIED_SIDE_BY_SIDE: usize = 2;
/// How often the project says that its archiver is still there.
const REGISTER_AGAIN: Duration = Duration::from_hours(1);

/// What all chores need; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Chores {
    pub(super) archiver: Arc<Archiver>,
    pub(super) pool: PgPool,
    /// Name of the SignalWire space.
    pub(super) space: String,
    pub(super) metrics: Metrics,
    pub(super) verify_bandwidth: Arc<Bandwidth>,
    pub(super) verify_within: Duration,
}

impl Chores {
    /// Starts them; they end with `end`.
    pub(super) fn start(self, bells: &Bells, tasks: &mut JoinSet<()>, end: &CancellationToken) {
        let Bells {
            worker: _,
            discovery,
            verify,
            sweep,
            finance,
        } = bells.clone();
        let mut spawn = |chore: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
            let end = end.clone();
            tasks.spawn(async move {
                end.run_until_cancelled(chore).await;
            });
        };
        spawn(Box::pin(self.clone().discover(discovery)));
        spawn(Box::pin(self.clone().sweep(sweep)));
        spawn(Box::pin(self.clone().reprice(finance)));
        spawn(Box::pin(self.clone().register()));
        // Stops by itself: a repair that runs is released, in order.
        tasks.spawn(self.verify(verify, end.clone()));
    }

    async fn verify(self, bell: Arc<Notify>, stop: CancellationToken) {
        // Objects read again are no attempts.
        let unseen = Board::default();
        let scrub = Scrub {
            pool: &self.pool,
            storage: &self.archiver.storage,
            repair: Some(&self.archiver),
            bandwidth: &self.verify_bandwidth,
            side_by_side: VERIFIED_SIDE_BY_SIDE,
            board: &unseen,
            stop: &stop,
        };
        let chore = self.of_store("verify");
        while stop.run_until_cancelled(bell.notified()).await.is_some() {
            let slicing = upkeep::slice(&scrub, &chore, self.verify_within, |object, found| {
                self.metrics.count_verified(object, found);
            });
            if let Some(sliced) = self.in_turn(chore.clone(), slicing).await {
                let Scrubbed {
                    equal,
                    damaged,
                    repaired,
                    left,
                    cold,
                    read_bytes,
                    ..
                } = sliced.scrubbed;
                tracing::info!(
                    sliced.due_bytes,
                    read_bytes,
                    equal,
                    damaged,
                    repaired,
                    left,
                    cold,
                    "read a slice of the archive again"
                );
            }
        }
    }

    async fn discover(self, bell: Arc<Notify>) {
        let discovery = upkeep::Discovery {
            pool: &self.pool,
            signalwire: &self.archiver.signalwire,
            storage: &self.archiver.storage,
            page_size: upkeep::PAGE_SIZE,
        };
        loop {
            bell.notified().await;
            let discovering = Box::pin(discovery.discover(false, |_| {}));
            let chore = self.of_project("discover");
            if let Some(found) = self.in_turn(chore, discovering).await {
                tracing::info!(
                    found.listed,
                    found.queued,
                    found.changed,
                    found.unreadable,
                    "walked through the provider's list"
                );
            }
        }
    }

    async fn sweep(self, bell: Arc<Notify>) {
        let (pool, storage) = (&self.pool, &self.archiver.storage);
        loop {
            bell.notified().await;
            let sweeping = upkeep::sweep(pool, storage, false);
            if let Some(done) = self.in_turn(self.of_store("sweep"), sweeping).await {
                self.metrics.count_sweep(&done);
            }
        }
    }

    async fn reprice(self, bell: Arc<Notify>) {
        let (pool, storage) = (&self.pool, &self.archiver.storage);
        let signalwire = &self.archiver.signalwire;
        loop {
            bell.notified().await;
            let repricing = upkeep::reprice(pool, signalwire, storage, REPRICE_PAUSE);
            let chore = self.of_project("reprice");
            if let Some(done) = Box::pin(self.in_turn(chore, repricing)).await {
                tracing::info!(done.asked, done.gone, done.left, "asked for costs again");
            }
        }
    }

    async fn register(self) {
        loop {
            tokio::time::sleep(REGISTER_AGAIN).await;
            if let Err(error) = self.archiver.queue.register_project(&self.space).await {
                tracing::debug!("{}", chain(&error));
            }
        }
    }

    /// Does a chore if it is this host's turn, and says what came of it if it went well.
    async fn in_turn<T, E: Error + 'static>(
        &self,
        chore: Chore,
        work: impl Future<Output = Result<T, E>>,
    ) -> Option<T> {
        match self.archiver.queue.in_turn(&chore, work).await {
            Ok(Some(Ok(done))) => return Some(done),
            Ok(None) => {}
            Ok(Some(Err(error))) => tracing::warn!("{}: {}", chore.name, chain(&error)),
            Err(error) => tracing::warn!("{}: {}", chore.name, chain(&error)),
        }
        None
    }

    fn of_store(&self, name: &'static str) -> Chore {
        let scope = self.archiver.storage.location().to_string();
        Chore { name, scope }
    }

    fn of_project(&self, name: &'static str) -> Chore {
        let scope = self.archiver.queue.project_id().to_owned();
        Chore { name, scope }
    }
}
