//! Text from outside, made safe to print: nothing a provider sends may steer a terminal.

use std::borrow::Cow;
use std::io;

use serde_json::ser::Formatter as _;

/// Whether a character acts on a terminal, or on the order of text, instead of being seen.
fn acts_unseen(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            // Zero-width characters and marks of direction; line and paragraph separators with
            // embeddings and overrides; isolates; the byte order mark; tags.
            '\u{061c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// The text with each control, bidirectional or invisible character escaped as in Rust source.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(acts_unseen) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if acts_unseen(character) {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

/// Quotes a text for a POSIX shell where it needs that.
pub fn shell_word(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("'{}'", text.replace('\'', r"'\''")))
    }
}

/// Writes compact JSON in which the same characters are spelled `\uXXXX`: equal for every JSON
/// reader, harmless on a terminal.
#[derive(Debug, Clone, Copy, Default)]
pub struct PrintableJson;

impl serde_json::ser::Formatter for PrintableJson {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        if !fragment.contains(acts_unseen) {
            return writer.write_all(fragment.as_bytes());
        }
        for character in fragment.chars() {
            if acts_unseen(character) {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            } else {
                write!(writer, "{character}")?;
            }
        }
        Ok(())
    }
}

/// Writes lines of JSON with the same characters spelled `\uXXXX`.
pub fn write_json_lines(out: &mut impl io::Write, lines: &str) -> io::Result<()> {
    for (number, line) in lines.split('\n').enumerate() {
        if number > 0 {
            out.write_all(b"\n")?;
        }
        // They can stand inside its strings only.
        PrintableJson.write_string_fragment(out, line)?;
    }
    Ok(())
}

/// Writes `value` as [`PrintableJson`].
pub fn write_json<T>(out: &mut dyn io::Write, value: &T) -> serde_json::Result<()>
where
    T: serde::Serialize + ?Sized,
{
    value.serialize(&mut serde_json::Serializer::with_formatter(
        out,
        PrintableJson,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\u{1b}[31m\u{0}\u{9b}2J\u{202e}gpj\u{2066}\u{200b}\u{e0041}\r\n";

    #[test]
    fn shell_word_quotes_blanks_and_quotes() {
        assert_eq!(shell_word("/srv/archive"), "/srv/archive");
        assert_eq!(shell_word("/a b/it's"), r"'/a b/it'\''s'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn what_acts_unseen_is_escaped_and_the_rest_stays() {
        assert_eq!(
            printable(HOSTILE),
            r"a\u{1b}[31m\u{0}\u{9b}2J\u{202e}gpj\u{2066}\u{200b}\u{e0041}\r\n"
        );
        assert!(matches!(printable("Größe 日本 🎥"), Cow::Borrowed(_)));
    }

    #[test]
    fn write_json_lines_keeps_line_breaks_and_meaning() {
        let lines = "{\"a\":\"x\u{9b}2J\u{202e}\u{e0041}\"}\n{}\n";
        let mut safe = Vec::new();
        write_json_lines(&mut safe, lines).unwrap();
        let expected = "{\"a\":\"x\\u009b2J\\u202e\\udb40\\udc41\"}\n{}\n";
        assert_eq!(String::from_utf8(safe).unwrap(), expected);
    }

    #[test]
    fn printable_json_reads_back_as_the_same_text() {
        let mut written = Vec::new();
        write_json(&mut written, HOSTILE).unwrap();
        let written = String::from_utf8(written).unwrap();
        assert!(written.is_ascii(), "{written}");
        assert!(!written.contains(acts_unseen));
        let read: String = serde_json::from_str(&written).unwrap();
        assert_eq!(read, HOSTILE);
    }
}
