//! How many recordings ended how: the last lines of a run, and its exit code.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::cli::exit::Exit;
use crate::cli::lines::{Line, LineOutcome};

#[derive(Debug, Default)]
pub(super) struct Tally {
    archived: u64,
    already: u64,
    failed: u64,
    later: u64,
    /// All that are not archived, by outcome and, where there is one, error kind.
    unarchived: BTreeMap<(&'static str, Option<&'static str>), u64>,
    not_begun: u64,
}

impl Tally {
    pub(super) fn count(&mut self, line: &Line) {
        let of_outcome = match line.outcome {
            LineOutcome::Archived => &mut self.archived,
            LineOutcome::AlreadyArchived => &mut self.already,
            LineOutcome::Failed => &mut self.failed,
            LineOutcome::Deferred | LineOutcome::Retrying | LineOutcome::InProgressElsewhere => {
                &mut self.later
            }
        };
        *of_outcome += 1;
        match line.outcome {
            LineOutcome::Archived | LineOutcome::AlreadyArchived => {}
            outcome => {
                let reason = (outcome.words(), line.error_kind);
                *self.unarchived.entry(reason).or_default() += 1;
            }
        }
    }

    pub(super) const fn not_begun(&mut self, recordings: usize) {
        self.not_begun += recordings as u64;
    }

    /// One line for each way to end without an object, then the sum.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        for ((outcome, kind), number) in &self.unarchived {
            match kind {
                Some(kind) => writeln!(out, "{number:>8}  {outcome}: {kind}")?,
                None => writeln!(out, "{number:>8}  {outcome}")?,
            }
        }
        if self.not_begun > 0 {
            writeln!(out, "{:>8}  not begun", self.not_begun)?;
        }
        writeln!(
            out,
            "{} archived, {} already archived, {} failed, {} not yet",
            self.archived,
            self.already,
            self.failed,
            self.later + self.not_begun
        )
    }

    pub(super) const fn exit(&self) -> Exit {
        if self.failed > 0 {
            Exit::Failed
        } else if self.later + self.not_begun > 0 {
            Exit::Later
        } else {
            Exit::Done
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn what_is_not_archived_is_counted_by_its_reason() {
        let mut tally = Tally::default();
        let id = uuid::Uuid::from_u128(1).into();
        for (outcome, kind, times) in [
            (LineOutcome::Archived, None, 3),
            (LineOutcome::AlreadyArchived, None, 2),
            (LineOutcome::Failed, Some(ErrorKind::NotFound), 2),
            (LineOutcome::Deferred, Some(ErrorKind::NotReady), 12),
            (LineOutcome::Failed, Some(ErrorKind::ObjectConflict), 1),
            (LineOutcome::InProgressElsewhere, None, 1),
        ] {
            for _ in 0..times {
                tally.count(&Line::bare(id, outcome, kind, None));
            }
        }
        tally.not_begun(700);
        let mut text = Vec::new();
        tally.write(&mut text).unwrap();
        let expected = [
            "      12  deferred: not_ready",
            "       2  failed: not_found",
            "       1  failed: object_conflict",
            "       1  in progress elsewhere",
            "     700  not begun",
            "3 archived, 2 already archived, 3 failed, 713 not yet\n",
        ];
        assert_eq!(String::from_utf8(text).unwrap(), expected.join("\n"));
        assert_eq!(tally.exit(), Exit::Failed);
    }
}
