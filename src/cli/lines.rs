//! How `archive` tells what became of each recording: a line of text or of JSON.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::human;
use crate::archive::Report;
use crate::error::ErrorKind;
use crate::printable::{printable, write_json};
use crate::queue::{ArchivedRow, Outcome};
use crate::recording::RecordingId;

/// What became of a recording, as the contract of `archive` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LineOutcome {
    Archived,
    AlreadyArchived,
    Deferred,
    Retrying,
    Failed,
    InProgressElsewhere,
}

/// One line of output; absent values are null.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub(super) recording_id: RecordingId,
    pub(super) outcome: LineOutcome,
    pub(super) object_url: Option<String>,
    pub(super) size_bytes: Option<u64>,
    pub(super) sha256: Option<String>,
    pub(super) evidence: Option<String>,
    pub(super) cost_usd: Option<String>,
    pub(super) error_kind: Option<&'static str>,
    pub(super) message: Option<String>,
    pub(super) seconds: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LineFormat {
    Text,
    Jsonl,
}

impl Line {
    /// A line that says only what happened, and perhaps why.
    pub(super) fn bare(
        recording_id: RecordingId,
        outcome: LineOutcome,
        error_kind: Option<ErrorKind>,
        message: Option<String>,
    ) -> Self {
        Self {
            recording_id,
            outcome,
            object_url: None,
            size_bytes: None,
            sha256: None,
            evidence: None,
            cost_usd: None,
            error_kind: error_kind.map(ErrorKind::as_str),
            message,
            seconds: 0.0,
        }
    }

    pub(super) fn already_archived(recording_id: RecordingId, row: ArchivedRow) -> Self {
        Self {
            object_url: Some(row.object_url),
            size_bytes: Some(row.size_bytes),
            sha256: Some(row.sha256.to_string()),
            evidence: Some(row.evidence),
            cost_usd: row.cost_usd,
            ..Self::bare(recording_id, LineOutcome::AlreadyArchived, None, None)
        }
    }

    pub(super) fn lasting(mut self, elapsed: Duration) -> Self {
        // Milliseconds are as exact as anybody reads them.
        self.seconds = (elapsed.as_secs_f64() * 1000.0).round() / 1000.0;
        self
    }

    pub(super) fn write(&self, format: LineFormat, out: &mut impl Write) -> io::Result<()> {
        match format {
            LineFormat::Jsonl => {
                write_json(&mut *out, self)?;
                writeln!(out)
            }
            LineFormat::Text => self.write_text(out),
        }?;
        out.flush()
    }

    fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        write!(out, "{}  {:16}", self.recording_id, self.outcome.words())?;
        if let Some(size) = self.size_bytes {
            write!(out, "  {}", human::size(size.into()))?;
        }
        if let Some(url) = &self.object_url {
            write!(out, "  {}", printable(url))?;
        }
        if let Some(kind) = self.error_kind {
            write!(out, "  {kind}")?;
        }
        if let Some(message) = &self.message {
            write!(out, ": {}", printable(message))?;
        }
        writeln!(out)
    }
}

impl From<Report> for Line {
    fn from(report: Report) -> Self {
        let outcome = match report.outcome {
            Outcome::Archived => LineOutcome::Archived,
            Outcome::AlreadyArchived => LineOutcome::AlreadyArchived,
            // Given back unburnt is for the caller the same as deferred.
            Outcome::Deferred | Outcome::Released => LineOutcome::Deferred,
            Outcome::Retrying => LineOutcome::Retrying,
            Outcome::Failed => LineOutcome::Failed,
        };
        let (kind, message) = report
            .failure
            .map(|failure| (failure.kind, failure.message))
            .unzip();
        let mut line = Self::bare(report.recording_id, outcome, kind, message);
        if let Some(object) = report.object {
            line.object_url = Some(object.object_url);
            line.size_bytes = Some(object.fingerprint.size_bytes);
            line.sha256 = Some(object.fingerprint.sha256.to_string());
            line.evidence = Some(object.evidence.to_owned());
        }
        line.cost_usd = report.cost.map(|cost| cost.to_string());
        line.lasting(report.elapsed)
    }
}

impl LineOutcome {
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Archived => "archived",
            Self::AlreadyArchived => "already archived",
            Self::Deferred => "deferred",
            Self::Retrying => "retrying",
            Self::Failed => "failed",
            Self::InProgressElsewhere => "in progress elsewhere",
        }
    }
}
