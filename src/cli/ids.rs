//! Recording IDs from flags, files and pipes: read whole and checked before anything starts.

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::exit::UsageError;
use crate::printable::printable;
use crate::recording::RecordingId;

/// Bad lines of a file that are shown; of the others, the numbers are named.
const SHOWN_LINES: usize = 20;
/// So many numbers or ranges of them are named: no file makes an error longer than a screen or two.
const NAMED_RANGES: usize = 200;

/// Which recordings a command is about: one at least.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true, args = ["id", "ids_file"])]
pub(super) struct IdArgs {
    #[command(flatten)]
    named: NamedIds,
}

/// Recordings that a command may be told by name.
#[derive(Debug, clap::Args)]
#[group(multiple = true)]
pub(super) struct NamedIds {
    /// Recording ID; repeat it for several
    #[arg(long, value_name = "UUID")]
    id: Vec<RecordingId>,
    /// File with one ID per line, `-` for stdin; blank lines and lines with # are skipped
    #[arg(long, value_name = "PATH")]
    ids_file: Option<PathBuf>,
}

impl IdArgs {
    /// All IDs in the order given, each once.
    pub(super) fn read(&self) -> anyhow::Result<Vec<RecordingId>> {
        self.named.read()
    }
}

impl NamedIds {
    /// Whether none was named.
    pub(super) const fn is_empty(&self) -> bool {
        self.id.is_empty() && self.ids_file.is_none()
    }

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
    let mut text = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_end(&mut text)?;
    } else {
        std::fs::File::open(path)?.read_to_end(&mut text)?;
    }
    // What is no text is no ID either: its line is named like any other bad one.
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Reads one ID per line; the error names every line that is none.
pub(crate) fn parse(text: &str) -> Result<Vec<RecordingId>, String> {
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
    problems.extend(bad.iter().take(SHOWN_LINES).map(|(number, entry)| {
        let shown: String = entry.chars().take(60).collect();
        format!("line {number}: {}", printable(&shown))
    }));
    if let Some(rest) = bad.get(SHOWN_LINES..).filter(|rest| !rest.is_empty()) {
        let numbers: Vec<usize> = rest.iter().map(|(number, _)| *number).collect();
        problems.push(format!("and {} more: {}", rest.len(), ranges(&numbers)));
    }
    Err(problems.join("\n  "))
}

/// Ascending line numbers in words: `lines 21-40, 77, 90-91`.
fn ranges(numbers: &[usize]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let named = ranges.iter().take(NAMED_RANGES);
    let named: Vec<String> = named
        .map(|(first, last)| match last - first {
            0 => first.to_string(),
            _ => format!("{first}-{last}"),
        })
        .collect();
    let end = match ranges.last() {
        Some((_, last)) if ranges.len() > NAMED_RANGES => format!(", and so on to line {last}"),
        _ => String::new(),
    };
    format!("lines {}{end}", named.join(", "))
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

    #[test]
    fn many_bad_lines_are_named_by_their_numbers_and_no_file_makes_a_novel() {
        let mut lines = vec!["x"; 40];
        lines[30] = ID;
        let problems = parse(&lines.join("\n")).unwrap_err();
        assert!(problems.contains("39 lines"), "{problems}");
        assert!(problems.contains("line 20: x"), "{problems}");
        assert!(
            problems.ends_with("and 19 more: lines 21-30, 32-40"),
            "{problems}"
        );

        let every_other = format!("{ID}\nx\n").repeat(20_000);
        let problems = parse(&every_other).unwrap_err();
        assert!(problems.contains("20000 lines"), "{problems}");
        assert!(
            problems.ends_with(", and so on to line 40000"),
            "{problems}"
        );
        assert!(problems.len() < 5000, "{}", problems.len());
    }
}
