//! Recording IDs from flags, files and pipes: read whole and checked before anything starts.

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::exit::UsageError;
use crate::printable::printable;
use crate::recording::RecordingId;

/// Bad lines of a file that are named one by one.
const NAMED_LINES: usize = 20;

/// Which recordings a command is about.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub(super) struct IdArgs {
    /// Recording ID; repeat it for several
    #[arg(long, value_name = "UUID")]
    pub(super) id: Vec<RecordingId>,
    /// File with one ID per line, `-` for stdin; blank lines and lines with # are skipped
    #[arg(long, value_name = "PATH")]
    pub(super) ids_file: Option<PathBuf>,
}

impl IdArgs {
    /// All IDs in the order given, each once.
    pub(super) fn read(&self) -> anyhow::Result<Vec<RecordingId>> {
        let mut ids = self.id.clone();
        if let Some(path) = &self.ids_file {
            let place = if path == Path::new("-") {
                "stdin".to_owned()
            } else {
                path.display().to_string()
            };
            let text =
                read_text(path).map_err(|error| UsageError(format!("read {place}: {error}")))?;
            ids.extend(
                parse(&text).map_err(|problems| UsageError(format!("{place} holds {problems}")))?,
            );
        }
        let mut seen = HashSet::with_capacity(ids.len());
        ids.retain(|id| seen.insert(*id));
        if ids.is_empty() {
            return Err(UsageError("no recording IDs were given".to_owned()).into());
        }
        Ok(ids)
    }
}

fn read_text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)?;
    } else {
        std::fs::File::open(path)?.read_to_string(&mut text)?;
    }
    Ok(text)
}

/// Reads one ID per line; the error names every line that is none.
fn parse(text: &str) -> Result<Vec<RecordingId>, String> {
    let mut ids = Vec::new();
    let mut bad = Vec::new();
    for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
        let entry = line.split('#').next().unwrap_or_default().trim();
        if entry.is_empty() {
            continue;
        }
        match entry.parse() {
            Ok(id) => ids.push(id),
            Err(_) => bad.push((number, entry)),
        }
    }
    if bad.is_empty() {
        return Ok(ids);
    }
    let mut problems = vec![match bad.len() {
        1 => "a line that is no recording ID:".to_owned(),
        lines => format!("{lines} lines that are no recording IDs:"),
    }];
    problems.extend(bad.iter().take(NAMED_LINES).map(|(number, entry)| {
        let shown: String = entry.chars().take(60).collect();
        format!("line {number}: {}", printable(&shown))
    }));
    if bad.len() > NAMED_LINES {
        problems.push(format!("and {} more", bad.len() - NAMED_LINES));
    }
    Err(problems.join("\n  "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "c22d24f6-5a47-4597-9a23-c7d01e696b92";

    #[test]
    fn comments_blanks_and_line_ends_are_tolerated() {
        let text = format!("\u{feff}# all of March\r\n\r\n  {ID}  # the long one\r\n{ID}\n");
        assert_eq!(parse(&text).unwrap().len(), 2);
    }

    #[test]
    fn every_bad_line_is_named() {
        let problems = parse(&format!("{ID}\nnonsense\n\n{ID}x\n")).unwrap_err();
        assert!(problems.contains("2 lines"), "{problems}");
        assert!(problems.contains("line 2: nonsense"), "{problems}");
        assert!(problems.contains("line 4"), "{problems}");
    }
}
