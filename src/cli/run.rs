//! `run`: the service, or with `--once` one drain of the queue.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use sqlx::PgPool;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::bars::Bars;
use super::exit::Exit;
use super::session::Session;
use crate::archive::{Archiver, Report};
use crate::bandwidth::Bandwidth;
use crate::daemon::{
    Ending, Gauges, Hangups, Health, HttpServer, Service, Shutdown, Worker, notify_ready, tick,
};
use crate::database::{self, Database, DatabaseError};
use crate::error::chain;
use crate::finance::ledger;
use crate::progress::Board;
use crate::queue::{self, Outcome};

mod chores;
mod reload;
mod store;

use chores::Chores;
pub(super) use reload::Source;
use reload::{Bells, Parts, Reloader};
use store::{Acquaintance, get_to_know};

/// A database that is away at start is asked again at most this often.
const LONGEST_START_WAIT: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// Archive what is due now, then exit (for timers)
    #[arg(long)]
    once: bool,
}

pub(super) async fn run(session: &Session, args: &RunArgs, source: Source) -> anyhow::Result<Exit> {
    session.demand_everything()?;
    source.logging.follow(&session.config.log.level);
    // The service reads its configuration again instead.
    let hangups = if args.once {
        Hangups::watch_unless_ignored()?
    } else {
        None
    };
    let shutdown = Shutdown::on_signals(session.config.worker.drain_timeout, hangups)?;
    let impatient = shutdown.impatient.clone();
    tokio::select! {
        ended = async {
            if args.once {
                once(session, &shutdown).await
            } else {
                serve(session, source, &shutdown).await
            }
        } => ended,
        () = impatient.cancelled() => {
            tracing::warn!("ended at once; what was running is claimed again when its lease has run out");
            Ok(Exit::Failed)
        }
    }
}

async fn once(session: &Session, shutdown: &Shutdown) -> anyhow::Result<Exit> {
    let database = session.migrated().await?;
    let result = drain(session, &database, shutdown).await;
    database.close().await;
    result
}

async fn drain(
    session: &Session,
    database: &Database,
    shutdown: &Shutdown,
) -> anyhow::Result<Exit> {
    let pool = database.pool();
    let archiver = prepare(session, pool).await?;
    let board = Board::default();
    let (reports, mut heard) = mpsc::unbounded_channel::<Report>();
    let worker = Worker::new(
        Arc::clone(&archiver),
        session.config.worker.concurrency,
        board.clone(),
        reports,
    );
    let bars = Bars::follow(board, &session.progress, None);
    let listening = async {
        let mut failed = false;
        while let Some(report) = heard.recv().await {
            bars.done(1);
            failed |= report.outcome == Outcome::Failed;
        }
        failed
    };
    let (ending, failed) = tokio::join!(worker.run_once(shutdown), listening);
    drop(bars);
    if archiver.storage.known_enforcement().is_some() {
        get_to_know(&archiver, pool, Acquaintance::Evidence).await;
    }
    match ending {
        Ending::Halted { kind, message } => {
            tracing::error!(
                error.kind = kind.as_str(),
                "stopped: {message}. Cure: {}",
                kind.cure()
            );
            Ok(Exit::of_halt(kind))
        }
        Ending::Database(error) => {
            tracing::error!("{}", chain(&error));
            Ok(Exit::Later)
        }
        Ending::Done if failed => Ok(Exit::Failed),
        Ending::Done if queue::has_unsettled(pool, archiver.queue.project_id()).await? => {
            Ok(Exit::Later)
        }
        Ending::Done => Ok(Exit::Done),
    }
}

async fn serve(session: &Session, source: Source, shutdown: &Shutdown) -> anyhow::Result<Exit> {
    // From now on it no longer ends the process; what comes early is heard when all is up.
    let hangups = Hangups::watch()?;
    // Taken before anything else, so that a taken port is told at once.
    let http = match session.config.http.listen {
        Some(address) => Some(
            HttpServer::bind(address)
                .await
                .with_context(|| format!("listen on http.listen = {address}"))?,
        ),
        None => None,
    };
    let health = Health::default();
    // Everything that runs beside the worker ends with it.
    let beside = CancellationToken::new();
    let mut tasks = JoinSet::new();
    if let Some(http) = http {
        tracing::info!("page, health and metrics on http://{}", http.local_addr()?);
        let hosts = session.config.http.hosts.clone();
        tasks.spawn(http.serve(health.clone(), hosts, beside.clone()));
    }
    let result = match wait_for_database(session, &health, shutdown).await {
        Ok(Some((database, archiver))) => {
            if let Some(shortage) = database.shortage() {
                tracing::warn!("{shortage}");
            }
            let reloading = (source, hangups);
            let result = service(
                session,
                (&database, archiver),
                reloading,
                &health,
                &beside,
                shutdown,
            )
            .await;
            database.close().await;
            result
        }
        Ok(None) => Ok(Exit::Done),
        Err(error) => Err(error),
    };
    beside.cancel();
    finish(tasks).await;
    result
}

/// Waits for what runs beside the worker; a panic there is told, and ends nothing else.
async fn finish(mut tasks: JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(panic) = ended {
            tracing::error!("a task beside the worker ended in a panic: {panic}");
        }
    }
}

async fn service(
    session: &Session,
    (database, archiver): (&Database, Arc<Archiver>),
    (source, hangups): (Source, Hangups),
    health: &Health,
    beside: &CancellationToken,
    shutdown: &Shutdown,
) -> anyhow::Result<Exit> {
    let config = &session.config;
    let pool = database.pool();
    let (reports, mut heard) = mpsc::unbounded_channel::<Report>();
    let (board, concurrency) = (Board::default(), config.worker.concurrency);
    let worker = Worker::new(Arc::clone(&archiver), concurrency, board.clone(), reports);
    // The first to be there is this one: nobody else fills it.
    drop(health.running.set(Service {
        pulse: worker.pulse(),
        readiness: worker.readiness(),
        pool: pool.clone(),
        gauges: Gauges::new(
            Arc::clone(&archiver),
            board,
            concurrency,
            config.verify.within,
        ),
    }));
    let mut tasks = JoinSet::new();
    {
        let (archiver, pool, stop) = (Arc::clone(&archiver), pool.clone(), beside.clone());
        tasks.spawn(async move {
            stop.run_until_cancelled(get_to_know(&archiver, &pool, Acquaintance::PartSizeToo))
                .await
                .unwrap_or_default();
        });
    }
    let bell = Arc::new(Notify::new());
    {
        let (pool, bell, stop) = (pool.clone(), Arc::clone(&bell), beside.clone());
        tasks.spawn(async move { queue::listen(pool, &bell, stop).await });
    }
    {
        let (bell, stop) = (Arc::clone(&bell), beside.clone());
        tasks.spawn(async move {
            stop.run_until_cancelled(tick(&bell)).await;
        });
    }
    let signalwire = config.signalwire()?;
    health.metrics.watch(
        archiver.media.traffic(),
        &archiver.memory,
        &config.transfer,
        signalwire,
    );
    let verifies = config.verify.schedule.is_some();
    let within = verifies.then_some(config.verify.within);
    health.metrics.show_verify_within(within);
    let counted = health.metrics.clone();
    tasks.spawn(async move {
        while let Some(report) = heard.recv().await {
            counted.count(&report);
        }
    });
    let bells = Bells {
        worker: Arc::clone(&bell),
        ..Bells::default()
    };
    // The daemon sweeps at start too.
    bells.sweep.notify_one();
    let verify_bandwidth = Arc::new(Bandwidth::new(config.verify.bandwidth_limit_bytes));
    let chores = Chores {
        archiver: Arc::clone(&archiver),
        pool: pool.clone(),
        space: signalwire.space.clone(),
        metrics: health.metrics.clone(),
        verify_bandwidth: Arc::clone(&verify_bandwidth),
        verify_within: config.verify.within,
    };
    chores.start(&bells, &mut tasks, beside);
    let parts = Parts {
        archiver: Arc::clone(&archiver),
        controls: worker.controls(),
        metrics: health.metrics.clone(),
        shutdown: shutdown.clone(),
        bells,
        verify_bandwidth,
    };
    let reloader = Reloader::start(config, source, parts).await?;

    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        project.id = archiver.queue.project_id(),
        store = %config.storage()?.location,
        concurrency = config.worker.concurrency,
        "ready"
    );
    notify_ready();
    let working = async {
        worker.run(&bell, shutdown).await;
        beside.cancel();
    };
    tokio::join!(working, reloader.run(hangups, beside));
    finish(tasks).await;
    tracing::info!("stopped");
    Ok(Exit::Done)
}

/// Sets the parts up and tells the database what it should know of this process.
async fn prepare(session: &Session, pool: &PgPool) -> anyhow::Result<Arc<Archiver>> {
    let archiver = session.archiver(pool)?;
    let space = &session.config.signalwire()?.space;
    archiver.queue.register_project(space).await?;
    ledger::set_final_after(pool, session.config.finance.final_after)
        .await
        .context("write finance.final_after")?;
    Ok(Arc::new(archiver))
}

/// Connects, and sets up all it takes to archive. Waits for what time or an administrator of the
/// database cures; `None` when it was told to stop meanwhile.
async fn wait_for_database(
    session: &Session,
    health: &Health,
    shutdown: &Shutdown,
) -> anyhow::Result<Option<(Database, Arc<Archiver>)>> {
    let mut wait = Duration::from_secs(1);
    let mut logged = None;
    loop {
        match begin(session).await {
            Ok(ready) => return Ok(Some(ready)),
            Err(error) if is_curable(&error) => {
                let cause = chain(error.as_ref());
                health.wait_for(&cause);
                if logged.as_ref() != Some(&cause) {
                    tracing::error!("waiting for the database: {cause}");
                    logged = Some(cause);
                }
            }
            Err(error) => return Err(error),
        }
        let pause = tokio::time::sleep(wait);
        if shutdown.soft.run_until_cancelled(pause).await.is_none() {
            return Ok(None);
        }
        wait = (wait * 2).min(LONGEST_START_WAIT);
    }
}

async fn begin(session: &Session) -> anyhow::Result<(Database, Arc<Archiver>)> {
    let database = session.migrated().await?;
    match prepare(session, database.pool()).await {
        Ok(archiver) => Ok((database, archiver)),
        Err(error) => {
            database.close().await;
            Err(error)
        }
    }
}

/// Whether the service needs no restart, and no other configuration.
fn is_curable(error: &anyhow::Error) -> bool {
    let known = error.chain().find_map(|cause| {
        let of_start = cause.downcast_ref().map(DatabaseError::is_curable);
        of_start.or_else(|| cause.downcast_ref().map(database::is_outage))
    });
    known.unwrap_or(false)
}
