//! Why a configuration cannot be used, and the cure. No message holds a secret.

use std::io;
use std::path::PathBuf;

/// The configuration cannot be read, is wrong, or lacks what a command needs.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "read the configuration file {}: check that it exists and may be read by this user",
        path.display()
    )]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file in the current directory that nobody named and somebody else could have put there.
    #[error(
        "read {path}, found in the current directory: {reason}; if you trust it, name it with \
         `--config {path}`, else make it and its directory yours alone (chown, chmod go-w)",
        path = path.display()
    )]
    Untrusted { path: PathBuf, reason: String },
    /// Everything that is wrong, each with its place, in one go.
    #[error("the configuration cannot be used:\n{}", problems.join("\n"))]
    Invalid { problems: Vec<String> },
    /// Settings that the command at hand needs. Each says how to set it.
    #[error("{section} is not configured; set\n  {}", settings.join("\n  "))]
    Missing {
        section: &'static str,
        settings: Vec<String>,
    },
}
