//! Logs: on stderr, one line an event, as text or JSON.
//!
//! The rules: a failure is logged once, where it is handled. The recording's ID stands in the
//! message and as a field; fields are dotted (`recording.id`, `error.kind`) and carry their unit.
//! No signed link, token, key or password is ever logged.

use std::io::{self, IsTerminal, Write};

use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// How much is logged when `RUST_LOG` is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// Everything an operator wants to read of a service.
    Service,
    /// Only what the command's own output does not say.
    Command,
}

/// Starts logging. Lines and the bars of `progress` do not tear each other.
pub fn init(format: LogFormat, verbosity: Verbosity, color: bool, progress: &MultiProgress) {
    let default = match verbosity {
        // The scheduler tells of its own birth at this level.
        Verbosity::Service => "info,sqlx=warn,object_store=warn,tokio_cron_scheduler=warn",
        Verbosity::Command => "warn,recording_archiver::archive=off",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let writer = BesideProgress(progress.clone());
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_target(false)
        .with_ansi(color && io::stderr().is_terminal());
    // A second call (tests in one process) keeps the first subscriber.
    let result = match format {
        LogFormat::Text => registry.with(layer).try_init(),
        LogFormat::Json => registry
            .with(layer.json().flatten_event(true).with_target(true))
            .try_init(),
    };
    drop(result);
}

/// Writes to stderr while the bars are out of the way.
#[derive(Debug, Clone)]
struct BesideProgress(MultiProgress);

impl Write for BesideProgress {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write_all(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for BesideProgress {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
