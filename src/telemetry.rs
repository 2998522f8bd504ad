//! Logs: on stderr, one line an event, as text or JSON; or in the systemd journal, where each field
//! is a field of its own.
//!
//! The rules: a failure is logged once, where it is handled. The recording's ID stands in the
//! message and as a field, or in the object's key; fields are dotted (`recording.id`, `error.kind`)
//! and carry their unit. In the journal a field is named as the journal wants it: `RECORDING_ID`.
//! No signed link, token, key or password is ever logged.

use std::env;
use std::io::{self, IsTerminal, Write};

use indicatif::MultiProgress;
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogFormat;

/// How much is logged when `RUST_LOG` is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// Everything an operator wants to read of a service.
    Service,
    /// Only what the command's own output does not say.
    Command,
}

/// Starts logging. Without a `format`, whatever fits where stderr goes. Lines and the bars of
/// `progress` do not tear each other.
pub fn init(
    format: Option<LogFormat>,
    verbosity: Verbosity,
    color: bool,
    progress: &MultiProgress,
) {
    let default = match verbosity {
        // The scheduler tells of its own birth at this level.
        Verbosity::Service => "info,sqlx=warn,object_store=warn,tokio_cron_scheduler=warn",
        Verbosity::Command => "warn,recording_archiver::archive=off",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let registry = tracing_subscriber::registry().with(filter);
    let format = format.unwrap_or_else(fitting);
    let mut no_journal = None;
    if format == LogFormat::Journald {
        match tracing_journald::layer() {
            Ok(journal) => {
                let journal = journal
                    // Ours are none of the journal's own names.
                    .with_field_prefix(None)
                    .with_priority_mappings(PriorityMappings {
                        info: Priority::Informational,
                        debug: Priority::Debug,
                        ..PriorityMappings::new()
                    });
                drop(registry.with(journal).try_init());
                return;
            }
            Err(error) => no_journal = Some(error),
        }
    }
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(BesideProgress(progress.clone()))
        .with_target(false)
        .with_ansi(color && io::stderr().is_terminal());
    // A second call (tests in one process) keeps the first subscriber.
    let result = match format {
        LogFormat::Text | LogFormat::Journald => registry.with(layer).try_init(),
        LogFormat::Json => registry
            .with(layer.json().flatten_event(true).with_target(true))
            .try_init(),
    };
    drop(result);
    if let Some(error) = no_journal {
        tracing::warn!("the journal does not take fields, so it gets lines of text: {error}");
    }
}

/// The journal's own form if stderr goes there, else text.
fn fitting() -> LogFormat {
    let journal = env::var("JOURNAL_STREAM").ok();
    let stderr = nix::sys::stat::fstat(io::stderr());
    match (journal, stderr) {
        (Some(journal), Ok(stderr))
            if journal == format!("{}:{}", stderr.st_dev, stderr.st_ino) =>
        {
            LogFormat::Journald
        }
        _ => LogFormat::Text,
    }
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
