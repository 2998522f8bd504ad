//! From a key back to the recording it is for: whether a key is one that the layout makes.

use uuid::Uuid;

use super::UUID_LENGTH;
use super::layout::{EXTENSIONS, Layout, Piece, Variable};
use crate::recording::RecordingId;

impl Layout {
    /// The recording that a path of exactly this layout is for; `None` if the layout makes no such
    /// path.
    pub(crate) fn recording_at(&self, path: &str) -> Option<RecordingId> {
        // All that a layout makes is ASCII, and ASCII can be cut anywhere.
        path.is_ascii().then(|| matched(&self.pieces, path, None))?
    }
}

/// Matches the whole of `path`, trying every length that a variable may have. A recording ID that
/// occurs twice must be the same.
fn matched(pieces: &[Piece], path: &str, id: Option<RecordingId>) -> Option<RecordingId> {
    let Some((piece, rest)) = pieces.split_first() else {
        return id.filter(|_| path.is_empty());
    };
    match piece {
        Piece::Literal(literal) => matched(rest, path.strip_prefix(literal.as_str())?, id),
        Piece::Variable(Variable::RecordingId) => {
            let (text, after) = path.split_at_checked(UUID_LENGTH)?;
            let this = RecordingId::from(uuid(text)?);
            let is_same = id.is_none_or(|id| id == this);
            is_same.then(|| matched(rest, after, Some(this)))?
        }
        Piece::Variable(variable) => lengths(*variable, path)
            .into_iter()
            .find_map(|length| matched(rest, &path[length..], id)),
    }
}

/// How much of the beginning of `path` may be what stands for a variable.
fn lengths(variable: Variable, path: &str) -> Vec<usize> {
    let begins_with = |texts: &[&str]| -> Vec<usize> {
        let found = texts.iter().filter(|text| path.starts_with(**text));
        found.map(|text| text.len()).collect()
    };
    let digits = |length: usize, allowed: std::ops::RangeInclusive<u32>| -> Vec<usize> {
        let text = path.get(..length).filter(|it| is_digits(it));
        let number = text.and_then(|it| it.parse().ok());
        let fits = number.is_some_and(|number| allowed.contains(&number));
        fits.then_some(length).into_iter().collect()
    };
    match variable {
        Variable::ProjectId => {
            let is_safe = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
            let longest = path.bytes().take_while(|byte| is_safe(byte)).count();
            (1..=longest).collect()
        }
        Variable::RoomSessionId if path.get(..UUID_LENGTH).and_then(uuid).is_some() => {
            vec![UUID_LENGTH]
        }
        Variable::RoomSessionId => begins_with(&["none"]),
        Variable::RecordingId => Vec::new(),
        Variable::Year => digits(4, 1..=9999),
        Variable::Month => digits(2, 1..=12),
        Variable::Day => digits(2, 1..=31),
        Variable::Ext => begins_with(&EXTENSIONS),
    }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A UUID as layouts spell it: with hyphens, in lower case.
fn uuid(text: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(text).ok()?;
    (id.to_string() == text).then_some(id)
}
