//! How much is logged: a level, or a filter, checked by the parser that the logs use.

use std::fmt;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// What others tell below these levels is no news of the service: the scheduler of its own birth,
/// the driver of each statement.
const OTHERS: &str = "sqlx=warn,object_store=warn,tokio_cron_scheduler=warn";

/// A checked filter of log lines, as `RUST_LOG` spells them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// The filter as the logs take it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LogFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(text.to_owned()));
        }
        if LEVELS.contains(&text) {
            return Ok(Self(format!("{text},{OTHERS}")));
        }
        // A misspelt level would be taken for the name of a module, and silence all others.
        let unknown = text
            .split(',')
            .map(str::trim)
            .find(|part| !part.contains('=') && !LEVELS.contains(part));
        if let Some(part) = unknown {
            return Err(format!(
                "`{part}` is not a level: one of {}, or a filter such as \"info,recording_archiver::transfer=debug\"",
                LEVELS.join(", ")
            ));
        }
        EnvFilter::builder()
            .parse(text)
            .map(|_| Self(text.to_owned()))
            .map_err(|error| format!("`{text}` is not a filter of logs: {error}"))
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_quiets_others_and_a_filter_stands_as_it_is() {
        let filter = |text: &str| text.parse::<LogFilter>().unwrap().to_string();
        assert_eq!(filter("off"), "off");
        assert_eq!(filter("debug"), format!("debug,{OTHERS}"));
        let exact = "info,recording_archiver::transfer=debug";
        assert_eq!(filter(exact), exact);
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for text in [
            "inof",
            "INFO",
            "info,recording_archiver",
            "info,a=loud",
            "a=[=",
        ] {
            assert!(text.parse::<LogFilter>().is_err(), "{text}");
        }
    }
}
