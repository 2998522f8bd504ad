//! Logs: on stderr, one line an event, as text or JSON; or in the systemd journal, where each field
//! is a field of its own.
//!
//! The rules: a failure is logged once, where it is handled. The recording's ID stands in the
//! message and as a field, or in the object's key; fields are dotted (`recording.id`, `error.kind`)
//! and carry their unit. In the journal a field is named as the journal wants it: `RECORDING_ID`.
//! No signed link, token, key or password is ever logged, and no text of another party can forge a
//! line or steer a terminal.

use std::env;
use std::io::{self, IsTerminal, Write};

use indicatif::MultiProgress;
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::config::{LogFilter, LogFormat};

mod line;

use line::{PrintableFields, PrintableJsonLines};

/// What is logged wins over any setting when this names it.
const VARIABLE: &str = EnvFilter::DEFAULT_ENV;

/// How much is logged when `RUST_LOG` is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// Everything an operator wants to read of a service.
    Service,
    /// Only what the command's own output does not say.
    Command,
}

/// Changes how much is logged.
#[derive(Debug, Clone)]
pub struct Logging {
    filter: reload::Handle<EnvFilter, Registry>,
    /// `RUST_LOG` is set.
    fixed: bool,
}

impl Logging {
    /// Logs from now on what `filter` lets pass, unless `RUST_LOG` is set. Returns whether it does.
    pub fn follow(&self, filter: &LogFilter) -> bool {
        // Without a subscriber (tests in one process) there is nothing to change.
        !self.fixed && self.filter.reload(EnvFilter::new(filter.as_str())).is_ok()
    }
}

/// Starts logging. Without a `format`, whatever fits where stderr goes. Lines and the bars of
/// `progress` do not tear each other.
pub fn init(
    format: Option<LogFormat>,
    verbosity: Verbosity,
    color: bool,
    progress: &MultiProgress,
) -> Logging {
    let default = match verbosity {
        // Until the configuration is read.
        Verbosity::Service => "info,tokio_cron_scheduler=warn",
        Verbosity::Command => "warn,recording_archiver::archive=off",
    };
    let named = env::var(VARIABLE).ok().filter(|text| !text.is_empty());
    let named = named.and_then(|text| EnvFilter::try_new(text).ok());
    let fixed = named.is_some();
    let (filter, handle) = reload::Layer::new(named.unwrap_or_else(|| EnvFilter::new(default)));
    let logging = Logging {
        filter: handle,
        fixed,
    };
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
                return logging;
            }
            Err(error) => no_journal = Some(error),
        }
    }
    let layer = tracing_subscriber::fmt::layer();
    let stderr = BesideProgress(progress.clone());
    // A second call (tests in one process) keeps the first subscriber.
    let result = match format {
        LogFormat::Text | LogFormat::Journald => {
            let text = layer
                .fmt_fields(PrintableFields)
                .with_writer(stderr)
                .with_target(false)
                .with_ansi(color && io::stderr().is_terminal());
            registry.with(text).try_init()
        }
        LogFormat::Json => {
            let json = layer.json().flatten_event(true);
            let json = json.with_writer(PrintableJsonLines(stderr));
            registry.with(json).try_init()
        }
    };
    drop(result);
    if let Some(error) = no_journal {
        tracing::warn!("the journal does not take fields, so it gets lines of text: {error}");
    }
    logging
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
