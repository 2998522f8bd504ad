//! What is measured at a scrape, and not oftener than the database can bear.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::http::Service;
use crate::archive::Archiver;
use crate::error::ErrorKind;
use crate::metrics::{Claiming, Metrics};
use crate::progress::Board;
use crate::queue::{self, QueueError};

/// However many scrape, the queue is not measured again within this time.
const MEASURED_EVERY: Duration = Duration::from_secs(5);
/// Of a long queue the measuring itself takes long: it may take a twentieth of the time.
const PAUSE_FOR_ONE: u32 = 20;
/// Prometheus itself waits 10 s.
const MEASURED_WITHIN: Duration = Duration::from_secs(5);

/// Reads the gauges that nobody keeps: the queue's depth, and what this process does with it.
#[derive(Debug)]
pub struct Gauges {
    archiver: Arc<Archiver>,
    board: Board,
    concurrency: usize,
    /// Of the coverage that is shown.
    within: Duration,
    next_at: Mutex<Option<Instant>>,
}

impl Gauges {
    /// `board` shows what the worker runs, of `concurrency` at most.
    /// Coverage is what was read again `within` some time.
    pub fn new(
        archiver: Arc<Archiver>,
        board: Board,
        concurrency: usize,
        within: Duration,
    ) -> Self {
        Self {
            archiver,
            board,
            concurrency,
            within,
            next_at: Mutex::default(),
        }
    }

    /// Within which time all of the archive is to be read again.
    pub(super) const fn within(&self) -> Duration {
        self.within
    }

    pub(super) async fn look(&self, service: &Service, metrics: &Metrics) {
        let breaker = &self.archiver.breaker;
        metrics.show_claiming(&Claiming {
            leases: self.board.len(),
            slow_transfers: self.board.slow(),
            concurrency: self.concurrency,
            halted: service.readiness.halted(),
            api_breaker_open: breaker.is_open(ErrorKind::ApiUnavailable),
            media_breaker_open: breaker.is_open(ErrorKind::MediaUnavailable),
            storage_breaker_open: breaker.is_open(ErrorKind::StorageUnavailable),
        });
        let mut next_at = self.next_at.lock().await;
        let began = Instant::now();
        if next_at.is_some_and(|at| began < at) {
            return;
        }
        let measured = async {
            let scopes = [
                self.archiver.storage.location().to_string(),
                self.archiver.queue.project_id().to_owned(),
            ];
            let depth = queue::depth(&service.pool).await?;
            Ok::<_, QueueError>((
                depth,
                queue::succeeded_chores(&service.pool, &scopes).await?,
            ))
        };
        match tokio::time::timeout(MEASURED_WITHIN, measured).await {
            Ok(Ok((depth, chores))) => {
                metrics.show_queue(&depth);
                metrics.show_chores(&chores);
            }
            Ok(Err(_)) | Err(_) => metrics.show_no_database(),
        }
        // It takes as long as the archive is large, and is no sign of life.
        let left = MEASURED_WITHIN.saturating_sub(began.elapsed());
        let covered = queue::coverage(&service.pool, self.within);
        if let Ok(Ok(coverage)) = tokio::time::timeout(left, covered).await {
            metrics.show_coverage(&coverage);
        }
        let pause = MEASURED_EVERY.max(began.elapsed() * PAUSE_FOR_ONE);
        *next_at = Some(Instant::now() + pause);
    }
}
