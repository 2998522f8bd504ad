//! Signals in, an orderly end out: the first one drains, the second one ends at once.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
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
    drain_timeout: watch::Sender<Duration>,
}

impl Shutdown {
    /// Watches SIGTERM and SIGINT from now on. The first signal asks softly, and hard when
    /// `drain_timeout` has passed; the second is `impatient`. Hangups, if given, ask softly too.
    pub fn on_signals(drain_timeout: Duration, hangups: Option<Hangups>) -> std::io::Result<Self> {
        let shutdown = Self {
            drain_timeout: watch::Sender::new(drain_timeout),
            ..Self::default()
        };
        let mut signals = Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        };
        let told = shutdown.clone();
        tokio::spawn(async move {
            // A terminal that is closed may send more than one, so one is never impatience.
            tokio::select! {
                () = signals.next() => {}
                () = Hangups::next_of(hangups) => {}
            }
            let drain_timeout = *told.drain_timeout.borrow();
            if drain_timeout.is_zero() {
                tracing::warn!(
                    "stopping: what runs is released, and can be gone on with; a second signal ends at once"
                );
            } else {
                tracing::info!(
                    "stopping: nothing more is claimed, what runs has {} to finish; a second signal ends at once",
                    humantime::format_duration(drain_timeout)
                );
            }
            notify_stopping();
            told.soft.cancel();
            if tokio::time::timeout(drain_timeout, signals.next())
                .await
                .is_err()
            {
                if !drain_timeout.is_zero() {
                    tracing::warn!("the drain time-out has passed: what still runs is released");
                }
                told.hard.cancel();
                signals.next().await;
            }
            told.impatient.cancel();
        });
        Ok(shutdown)
    }

    /// Gives what runs so much time to finish, unless it is being stopped already.
    pub fn set_drain_timeout(&self, drain_timeout: Duration) {
        self.drain_timeout.send_replace(drain_timeout);
    }
}

/// SIGHUP: the service is asked to read its configuration again, or the terminal of a command is
/// gone. Several that come while nobody waits are heard as one.
#[derive(Debug)]
pub struct Hangups(Signal);

impl Hangups {
    /// Watches from now on: the signal no longer ends the process.
    pub fn watch() -> std::io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// The same, unless they are ignored, as by `nohup`: then they stay so.
    pub fn watch_unless_ignored() -> std::io::Result<Option<Self>> {
        if are_hangups_ignored() {
            return Ok(None);
        }
        Self::watch().map(Some)
    }

    async fn next_of(hangups: Option<Self>) {
        match hangups {
            Some(mut hangups) => hangups.next().await,
            None => std::future::pending().await,
        }
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            // The runtime hears no signals any more.
            std::future::pending::<()>().await;
        }
    }
}

/// Where the kernel does not tell, they are left as they are.
fn are_hangups_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // SIGHUP is 1, the lowest bit.
    mask.is_none_or(|mask| mask & 1 == 1)
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

/// Tells systemd that the service is up, or done with reloading.
pub fn notify_ready() {
    notify(&[NotifyState::Ready]);
}

/// Tells systemd that the configuration is being read again; [`notify_ready`] ends that.
pub fn notify_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!("read the monotonic clock: {error}"),
    }
}

/// Tells systemd that the service is draining.
fn notify_stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Tells systemd in a line what `systemctl status` is to show.
pub(super) fn notify_status(line: &str) {
    notify(&[NotifyState::Status(line)]);
}

/// Feeds systemd's watchdog: the worker's loop is alive.
pub(super) fn notify_alive() {
    notify(&[NotifyState::Watchdog]);
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("notify systemd: {error}");
    }
}
