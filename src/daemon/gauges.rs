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
use crate::queue;

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
    next_at: Mutex<Option<Instant>>,
}

impl Gauges {
    /// `board` shows what the worker runs, of `concurrency` at most.
    pub fn new(archiver: Arc<Archiver>, board: Board, concurrency: usize) -> Self {
        Self {
            archiver,
            board,
            concurrency,
            next_at: Mutex::default(),
        }
    }

    pub(super) async fn look(&self, service: &Service, metrics: &Metrics) {
        let breaker = &self.archiver.breaker;
        metrics.show_claiming(&Claiming {
            leases: self.board.len(),
            concurrency: self.concurrency,
            halted: service.readiness.halted(),
            api_breaker_open: breaker.is_open(ErrorKind::ApiUnavailable),
            storage_breaker_open: breaker.is_open(ErrorKind::StorageUnavailable),
        });
        let mut next_at = self.next_at.lock().await;
        let began = Instant::now();
        if next_at.is_some_and(|at| began < at) {
            return;
        }
        let measured = queue::depth(&service.pool);
        match tokio::time::timeout(MEASURED_WITHIN, measured).await {
            Ok(Ok(depth)) => metrics.show_queue(&depth),
            Ok(Err(_)) | Err(_) => metrics.show_no_database(),
        }
        let pause = MEASURED_EVERY.max(began.elapsed() * PAUSE_FOR_ONE);
        *next_at = Some(Instant::now() + pause);
    }
}
