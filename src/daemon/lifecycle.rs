//! Signals in, an orderly end out: the first one drains, the second one ends at once.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Tells the parts of the process to end, step by step.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// No more claims; what runs may finish.
    pub soft: CancellationToken,
    /// What runs is cut off and released.
    pub hard: CancellationToken,
    /// A second signal came: end now.
    pub impatient: CancellationToken,
}

impl Shutdown {
    /// Watches SIGTERM and SIGINT from now on. The first signal asks softly, and hard when
    /// `drain_timeout` has passed; the second is `impatient`.
    pub fn on_signals(drain_timeout: Duration) -> std::io::Result<Self> {
        let shutdown = Self::default();
        let mut signals = Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        };
        let told = shutdown.clone();
        tokio::spawn(async move {
            signals.next().await;
            tracing::info!(
                "stopping: nothing more is claimed, what runs has {} to finish; a second signal ends at once",
                humantime::format_duration(drain_timeout)
            );
            notify_stopping();
            told.soft.cancel();
            if tokio::time::timeout(drain_timeout, signals.next())
                .await
                .is_err()
            {
                tracing::warn!("the drain time-out has passed: what still runs is released");
                told.hard.cancel();
                signals.next().await;
            }
            told.impatient.cancel();
        });
        Ok(shutdown)
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Tells systemd that the service is up.
pub fn notify_ready() {
    notify(sd_notify::NotifyState::Ready);
}

/// Tells systemd that the service is draining.
fn notify_stopping() {
    notify(sd_notify::NotifyState::Stopping);
}

/// Tells systemd in a line what `systemctl status` is to show.
pub(super) fn notify_status(line: &str) {
    notify(sd_notify::NotifyState::Status(line));
}

/// Feeds systemd's watchdog: the worker's loop is alive.
pub(super) fn notify_alive() {
    notify(sd_notify::NotifyState::Watchdog);
}

fn notify(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!("notify systemd: {error}");
    }
}
