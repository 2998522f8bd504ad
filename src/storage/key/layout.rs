//! The template of keys, `storage.layout`: parsed once, filled in per recording.

use std::fmt;
use std::str::FromStr;

use chrono::Datelike;

use super::{KeyError, MANIFEST_SUFFIX, MAX_SEGMENT_BYTES, is_plain, path_safe};
use crate::recording::{Recording, extension};

/// A parsed `storage.layout`, which names each recording's object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    template: String,
    pub(super) pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(String),
    Variable(Variable),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variable {
    ProjectId,
    RoomSessionId,
    RecordingId,
    Year,
    Month,
    Day,
    Ext,
}

impl Variable {
    const ALL: [(&'static str, Self); 7] = [
        ("project_id", Self::ProjectId),
        ("room_session_id", Self::RoomSessionId),
        ("recording_id", Self::RecordingId),
        ("year", Self::Year),
        ("month", Self::Month),
        ("day", Self::Day),
        ("ext", Self::Ext),
    ];
}

/// The template is no layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("character {at}: {problem}")]
pub struct LayoutError {
    /// Where, counted in characters from 1.
    pub at: usize,
    problem: String,
}

impl Layout {
    /// By day of creation: listings stay short, and query engines see partitions.
    pub const DEFAULT: &'static str = "year={year}/month={month}/day={day}/{recording_id}.{ext}";

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.template
    }

    pub(super) fn render(
        &self,
        project_id: &str,
        recording: &Recording,
    ) -> Result<String, KeyError> {
        let date = || recording.filing_date().ok_or(KeyError::NoDate);
        let mut path = String::new();
        for piece in &self.pieces {
            let variable = match piece {
                Piece::Literal(text) => {
                    path.push_str(text);
                    continue;
                }
                Piece::Variable(variable) => variable,
            };
            let value = match variable {
                Variable::ProjectId => path_safe(project_id),
                Variable::RoomSessionId => recording
                    .room_session_id
                    .map_or_else(|| "none".to_owned(), |id| id.to_string()),
                Variable::RecordingId => recording.id.to_string(),
                Variable::Year => format!("{:04}", date()?.year()),
                Variable::Month => format!("{:02}", date()?.month()),
                Variable::Day => format!("{:02}", date()?.day()),
                Variable::Ext => extension(recording.media_format.as_deref()).to_owned(),
            };
            path.push_str(&value);
        }
        Ok(path)
    }
}

impl FromStr for Layout {
    type Err = LayoutError;

    fn from_str(template: &str) -> Result<Self, LayoutError> {
        let pieces = pieces_of(template)?;
        check_segments(template)?;
        if !pieces.contains(&Piece::Variable(Variable::RecordingId)) {
            let problem = "`{recording_id}` is missing: without it recordings would share a key";
            return Err(fault(template.chars().count() + 1, problem));
        }
        Ok(Self {
            template: template.to_owned(),
            pieces,
        })
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.template)
    }
}

fn fault(at: usize, problem: impl Into<String>) -> LayoutError {
    LayoutError {
        at,
        problem: problem.into(),
    }
}

fn pieces_of(template: &str) -> Result<Vec<Piece>, LayoutError> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut characters = template.chars().zip(1..);
    while let Some((character, at)) = characters.next() {
        match character {
            '{' => {
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                let mut name = String::new();
                loop {
                    match characters.next() {
                        Some(('}', _)) => break,
                        Some((character, _)) => name.push(character),
                        None => return Err(fault(at, "this `{` is never closed")),
                    }
                }
                let known = Variable::ALL.into_iter().find(|(known, _)| *known == name);
                let Some((_, variable)) = known else {
                    let names = Variable::ALL.map(|(known, _)| format!("{{{known}}}"));
                    let problem = format!(
                        "`{{{name}}}` is not a variable; there are {}",
                        names.join(" ")
                    );
                    return Err(fault(at, problem));
                };
                pieces.push(Piece::Variable(variable));
            }
            '/' => literal.push('/'),
            '#' => {
                let problem = "`#` is not taken: a name ending in `#` and digits means an unfinished file to the store";
                return Err(fault(at, problem));
            }
            _ if is_plain(character) => literal.push(character),
            _ => {
                let problem = format!(
                    "{character:?} is not taken; use ASCII letters, digits and -_.=+@,:;!$&'()"
                );
                return Err(fault(at, problem));
            }
        }
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

/// Checks what stands between the slashes. Variables are never empty and never only dots, so the
/// template can be judged by its letters.
fn check_segments(template: &str) -> Result<(), LayoutError> {
    let mut at = 1;
    for segment in template.split('/') {
        let problem = match segment {
            "" if at == 1 && template.starts_with('/') => {
                Some("the layout must not begin with `/`: it is relative to storage.url")
            }
            "" => Some("an empty segment"),
            "." | ".." => Some("a segment `.` or `..` would lead out of the place"),
            _ if segment.len() > MAX_SEGMENT_BYTES => Some("a segment is longer than 255 bytes"),
            _ => None,
        };
        if let Some(problem) = problem {
            return Err(fault(at, problem));
        }
        at += segment.chars().count() + 1;
    }
    if template.ends_with(MANIFEST_SUFFIX) {
        let start = template.chars().count() + 1 - MANIFEST_SUFFIX.len();
        return Err(fault(start, "`.manifest.json` is the manifests' ending"));
    }
    Ok(())
}

/// Every extension that [`extension`] gives.
pub(super) const EXTENSIONS: [&str; 14] = [
    "mp4", "webm", "mov", "mkv", "ts", "ogv", "mp3", "wav", "ogg", "m4a", "aac", "flac", "weba",
    "bin",
];
