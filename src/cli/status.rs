//! `status`: the queue at a glance, or one recording with its attempts and costs.

use std::io;
use std::time::Duration;

use sqlx::PgPool;

use crate::printable::write_json;
use crate::queue::overview::{self, OverviewError};
use crate::recording::RecordingId;

mod coverage_text;
mod overview_text;
mod recording_text;
mod running_text;
mod stores_text;
mod style;
mod trouble_text;

use style::Style;

/// Options of `status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// One recording with its attempts, instead of the whole queue
    #[arg(long, value_name = "UUID")]
    pub id: Option<RecordingId>,
    #[arg(long, value_enum, default_value_t = StatusOutput::Text)]
    pub output: StatusOutput,
}

/// How `status` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum StatusOutput {
    Text,
    Json,
}

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// Ends with exit code 1.
    #[error("recording {0} is not in the queue; `recording-archiver enqueue --id {0}` adds it")]
    Unknown(RecordingId),
    #[error(transparent)]
    Overview(#[from] OverviewError),
    #[error("write the status")]
    Write(#[from] io::Error),
}

/// Writes the status to `out`, with how much was read again `within` some time. `color` is for a terminal whose user did not set `NO_COLOR`.
pub async fn status(
    pool: &PgPool,
    args: &StatusArgs,
    within: Duration,
    color: bool,
    out: &mut dyn io::Write,
) -> Result<(), StatusError> {
    let style = Style { color };
    match args.id {
        None => {
            let overview = overview::overview(pool, within).await?;
            match args.output {
                StatusOutput::Text => overview_text::write(&overview, style, out)?,
                StatusOutput::Json => write_line(out, &overview)?,
            }
        }
        Some(id) => {
            let details = overview::recording(pool, id)
                .await?
                .ok_or(StatusError::Unknown(id))?;
            match args.output {
                StatusOutput::Text => recording_text::write(&details, style, out)?,
                StatusOutput::Json => write_line(out, &details)?,
            }
        }
    }
    out.flush()?;
    Ok(())
}

fn write_line<T: serde::Serialize>(out: &mut dyn io::Write, value: &T) -> io::Result<()> {
    write_json(out, value)?;
    writeln!(out)
}
