//! SIGHUP: the configuration is read again while the service runs.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use chrono::TimeDelta;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::archive::Archiver;
use crate::bandwidth::Bandwidth;
use crate::cli::exit;
use crate::config::{Config, Environment, Reloadable, Schedules};
use crate::daemon::{
    Chime, Chimes, Controls, Hangups, Shutdown, WallClock, notify_ready, notify_reloading,
};
use crate::metrics::Metrics;
use crate::telemetry::Logging;

/// Where the configuration came from, to read it again, and the logs, which were there before it.
#[derive(Debug)]
pub(in crate::cli) struct Source {
    /// The file of the `--config` flag.
    pub(in crate::cli) explicit: Option<PathBuf>,
    pub(in crate::cli) environment: Environment,
    pub(in crate::cli) logging: Logging,
}

/// What the schedules ring.
#[derive(Debug, Clone, Default)]
pub(super) struct Bells {
    pub(super) worker: Arc<Notify>,
    pub(super) discovery: Arc<Notify>,
    pub(super) verify: Arc<Notify>,
    pub(super) sweep: Arc<Notify>,
    pub(super) finance: Arc<Notify>,
}

/// The parts of a running service that a new configuration reaches.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) archiver: Arc<Archiver>,
    pub(super) controls: Controls,
    pub(super) metrics: Metrics,
    pub(super) shutdown: Shutdown,
    pub(super) bells: Bells,
    /// Of what is read again by schedule.
    pub(super) verify_bandwidth: Arc<Bandwidth>,
}

/// Has the parts follow the configuration.
#[derive(Debug)]
pub(super) struct Reloader {
    source: Source,
    parts: Parts,
    chimes: Chimes,
    /// What those settings come from that need a restart.
    started_with: Config,
    /// What the others come from.
    current: Config,
}

impl Reloader {
    /// Starts the schedules.
    pub(super) async fn start(
        config: &Config,
        source: Source,
        parts: Parts,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            chimes: parts.bells.follow(&config.reloadable()?.schedules).await?,
            source,
            parts,
            started_with: config.clone(),
            current: config.clone(),
        })
    }

    /// Reloads at each SIGHUP and restarts the schedules after each step of the wall clock, until
    /// `end`.
    pub(super) async fn run(mut self, mut hangups: Hangups, end: &CancellationToken) {
        let mut clock = WallClock::system();
        loop {
            tokio::select! {
                () = end.cancelled() => break,
                () = hangups.next() => {}
                step = clock.next_step() => {
                    self.restart_schedules(step).await;
                    continue;
                }
            }
            if self.parts.shutdown.soft.is_cancelled() {
                tracing::info!("SIGHUP: not reloaded, because the service is stopping");
                continue;
            }
            notify_reloading();
            if let Err(error) = self.reload().await {
                tracing::error!(
                    "not reloaded, the former configuration goes on: {}",
                    exit::explain(&error)
                );
            }
            notify_ready();
        }
        self.chimes.stop().await;
    }

    /// The scheduler fires when the wall clock reaches the next time it once calculated: after a
    /// step back, only when the clock is there again.
    async fn restart_schedules(&mut self, step: TimeDelta) {
        tracing::warn!(
            step_seconds = step.num_seconds(),
            "wall clock stepped, schedules restarted"
        );
        let restarted = match self.current.reloadable() {
            Ok(current) => self.follow(&current.schedules).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = restarted {
            tracing::error!("restart the schedules: {}", exit::explain(&error));
        }
        self.parts.bells.worker.notify_one();
    }

    /// Starts these schedules in place of those that run.
    async fn follow(&mut self, schedules: &Schedules) -> anyhow::Result<()> {
        let chimes = self.parts.bells.follow(schedules).await?;
        std::mem::replace(&mut self.chimes, chimes).stop().await;
        Ok(())
    }

    async fn reload(&mut self) -> anyhow::Result<()> {
        // The same file as before: one that is gone must not let another one, or the defaults, in.
        let file = self.current.file().map(ToOwned::to_owned);
        let file = file.or_else(|| self.source.explicit.clone());
        let config = Config::load(file.as_deref(), &self.source.environment)?;
        config.storage()?;
        self.apply(config.reloadable()?).await?;
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        let changed = self.current.changes(&config).reload;
        if changed.is_empty() {
            tracing::info!("reloaded: no setting that can be reloaded has changed");
        } else {
            tracing::info!("reloaded: {}", changed.join(", "));
        }
        let restart = self.started_with.changes(&config).restart;
        if !restart.is_empty() {
            tracing::warn!("changed, but in need of a restart: {}", restart.join(", "));
        }
        self.current = config;
        Ok(())
    }

    /// What can fail comes first, so that all holds or nothing.
    async fn apply(&mut self, new: Reloadable) -> anyhow::Result<()> {
        let Reloadable {
            log_level,
            api_token,
            requests_per_second,
            bandwidth_limit_bytes,
            verify_bandwidth_limit_bytes,
            concurrency,
            drain_timeout,
            schedules,
        } = new;
        let former = self.current.reloadable()?;
        if schedules != former.schedules {
            self.follow(&schedules).await?;
        }
        if !self.source.logging.follow(&log_level) && log_level != former.log_level {
            tracing::warn!("log.level has no effect while RUST_LOG is set");
        }
        let Parts {
            archiver,
            controls,
            metrics,
            shutdown,
            bells: _,
            verify_bandwidth,
        } = &self.parts;
        archiver.signalwire.set_api_token(api_token);
        archiver
            .signalwire
            .set_requests_per_second(requests_per_second);
        if bandwidth_limit_bytes != former.bandwidth_limit_bytes {
            archiver.media.limit_bandwidth(bandwidth_limit_bytes);
        }
        if verify_bandwidth_limit_bytes != former.verify_bandwidth_limit_bytes {
            verify_bandwidth.limit(verify_bandwidth_limit_bytes);
        }
        metrics.relimit(bandwidth_limit_bytes, requests_per_second);
        let within = self.started_with.verify.within;
        metrics.show_verify_within(schedules.verify.is_some().then_some(within));
        shutdown.set_drain_timeout(drain_timeout);
        // The pool of database connections keeps its size: an attempt needs one for moments only.
        controls.set_concurrency(concurrency);
        controls.look_again();
        Ok(())
    }
}

impl Bells {
    async fn follow(&self, schedules: &Schedules) -> anyhow::Result<Chimes> {
        let Schedules {
            worker,
            discovery,
            verify,
            sweep,
            finance,
        } = schedules;
        let chimes = [
            (Some(worker), &self.worker),
            (discovery.as_ref(), &self.discovery),
            (verify.as_ref(), &self.verify),
            (sweep.as_ref(), &self.sweep),
            (finance.as_ref(), &self.finance),
        ];
        let chimes = chimes.into_iter().filter_map(|(schedule, bell)| {
            Some(Chime {
                schedule: schedule?.clone(),
                bell: Arc::clone(bell),
            })
        });
        Chimes::start(chimes).await.context("start the schedules")
    }
}
