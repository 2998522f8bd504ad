//! What the first bytes of a file are: a media container, or a document. An error page must never
//! become a recording; any other file is a recording, whatever its declared format.

use reqwest::header::HeaderValue;

use crate::recording::{Container, FormatMismatch};

/// Number of first bytes that tell most containers.
pub(super) const SHORT_HEAD_BYTES: usize = 16;
/// Number of first bytes that are inspected otherwise: three packets of a transport stream, and a document
/// behind some whitespace.
pub(super) const HEAD_BYTES: usize = 512;

/// What kind of file was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileFormat {
    /// `None` if the first bytes are of no known container.
    pub container: Option<Container>,
    /// How the file differs from its declared format.
    pub mismatch: Option<FormatMismatch>,
}

impl FileFormat {
    pub(super) fn of(head: &[u8], declared: Option<&str>) -> Self {
        let container = container(head);
        Self {
            container,
            mismatch: FormatMismatch::between(declared, container, head.len()),
        }
    }
}

/// Whether a short head is that of media, and no document could begin like it, so that nothing more
/// need be waited for on a slow connection.
pub(super) fn is_plainly_media(head: &[u8]) -> bool {
    let may_be_document = matches!(head, [b'<' | b'{' | b'[' | 0xfe | 0xff, ..]);
    !may_be_document && container(head).is_some()
}

/// Whether this is a Content-Type that no recording has: object stores and portals send errors in
/// them. Media under such a label is refused as well, because in the middle of a file nothing but
/// the label tells a login page from the bytes that were requested.
pub(super) fn is_document(content_type: &HeaderValue) -> bool {
    matches!(
        essence(content_type).as_str(),
        "text/html"
            | "text/xml"
            | "text/json"
            | "application/xml"
            | "application/json"
            | "application/xhtml+xml"
            | "application/problem+json"
            | "application/problem+xml"
    )
}

/// The type without its parameters, in lower case; empty if it cannot be read.
fn essence(content_type: &HeaderValue) -> String {
    let content_type = content_type.to_str().unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// Whether a body with this head is text, by its label or its bytes, and of no known container: a
/// file perhaps, or an error message such as `Service Unavailable`.
pub(super) fn is_text(head: &[u8], content_type: Option<&HeaderValue>) -> bool {
    let labelled = || content_type.is_some_and(|it| essence(it).starts_with("text/"));
    container(head).is_none() && (labelled() || is_printable(head))
}

/// Whether the first bytes are UTF-8 without control characters that text does not have.
fn is_printable(head: &[u8]) -> bool {
    let head = &head[..head.len().min(HEAD_BYTES)];
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The head ends within a character.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.is_empty() && text.chars().all(is_text_character)
}

fn is_text_character(character: char) -> bool {
    !character.is_control() || matches!(character, '\t' | '\n' | '\r' | '\x0c' | '\x1b')
}

/// Returns the language of the document that begins with these bytes, whatever its Content-Type;
/// `None` if they are no document.
pub(super) fn document(head: &[u8]) -> Option<&'static str> {
    let text = decoded(head);
    let text = text.trim_start();
    let begins_with = |start: &str| {
        text.get(..start.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(start))
    };
    // Even if bytes of another encoding follow.
    if begins_with("<!doctype") || begins_with("<html") {
        return Some("HTML");
    }
    if begins_with("<?xml") || begins_with("<error") {
        return Some("XML");
    }
    // Media may begin like this by chance, but does not go on as text.
    if !text.chars().all(is_text_character) {
        return None;
    }
    let mut characters = text.chars();
    match (characters.next()?, characters.as_str()) {
        ('<', rest) => {
            let begins_markup = |it: char| it.is_ascii_alphabetic() || "!?/".contains(it);
            rest.starts_with(begins_markup).then_some("HTML or XML")
        }
        ('{', rest) => rest.trim_start().starts_with(['"', '}']).then_some("JSON"),
        ('[', rest) => {
            let rest = rest.trim_start();
            let is_value = rest.starts_with(['{', '[', ']', '"', '-'])
                || rest.starts_with(|it: char| it.is_ascii_digit())
                || ["true", "false", "null"]
                    .iter()
                    .any(|word| rest.starts_with(word));
            is_value.then_some("JSON")
        }
        _ => None,
    }
}

/// The bytes as text: UTF-16 if a byte order mark or the first two characters say so, else UTF-8.
fn decoded(head: &[u8]) -> String {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        let characters = char::decode_utf16(units);
        characters
            .map(|character| character.unwrap_or('\u{fffd}'))
            .collect()
    };
    match head {
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [1..=0x7f, 0, 1..=0x7f, 0, ..] => utf16(head, u16::from_le_bytes),
        [0, 1..=0x7f, 0, 1..=0x7f, ..] => utf16(head, u16::from_be_bytes),
        _ => String::from_utf8_lossy(head).into_owned(),
    }
}

/// Returns the container that a file with these first bytes has.
fn container(head: &[u8]) -> Option<Container> {
    let at = |offset: usize, magic: &[u8]| head.get(offset..offset + magic.len()) == Some(magic);
    if is_iso_box(head) {
        Some(Container::IsoMedia)
    } else if at(0, &[0x1a, 0x45, 0xdf, 0xa3]) {
        Some(Container::Matroska)
    } else if at(0, b"OggS") {
        Some(Container::Ogg)
    } else if at(8, b"WAVE") && (at(0, b"RIFF") || at(0, b"RF64") || at(0, b"BW64")) {
        Some(Container::Wave)
    } else if at(0, b"RIFF") && at(8, b"AVI ") {
        Some(Container::Avi)
    } else if at(0, b"fLaC") {
        Some(Container::Flac)
    } else if at(0, &[0, 0, 1, 0xba]) || at(0, &[0, 0, 1, 0xb3]) {
        Some(Container::MpegPs)
    } else if is_transport_stream(head) {
        Some(Container::MpegTs)
    } else if at(0, b"ID3") {
        Some(Container::Mp3)
    } else {
        audio_frame(head)
    }
}

/// ISO base media and `QuickTime`: the size of a box, then its type. Any of these may come first, in
/// fragments and in the files of older programs.
fn is_iso_box(head: &[u8]) -> bool {
    const BOXES: [&[u8; 4]; 17] = [
        b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"sidx", b"ssix", b"emsg", b"prft", b"uuid",
        b"free", b"skip", b"wide", b"pnot", b"pdin", b"mfra", b"meta",
    ];
    let (Some(size), Some(kind)) = (head.first_chunk::<4>(), head.get(4..8)) else {
        return false;
    };
    // 0: to the end of the file; 1: the size follows in 64 bits.
    matches!(u32::from_be_bytes(*size), 0 | 1 | 8..) && BOXES.iter().any(|it| it[..] == *kind)
}

/// Packets of 188 bytes, or of 192 with a time code, each with its sync byte.
fn is_transport_stream(head: &[u8]) -> bool {
    [(0, 188), (4, 192)].into_iter().any(|(first, length)| {
        let mut packets = head.iter().skip(first).step_by(length);
        packets.len() > 1 && packets.all(|byte| *byte == 0x47)
    })
}

/// The header of an MPEG audio frame: twelve set bits and no reserved value.
fn audio_frame(head: &[u8]) -> Option<Container> {
    let [0xff, second, third, ..] = head else {
        return None;
    };
    let (version, layer) = (second >> 3 & 3, second >> 1 & 3);
    if second & 0xf6 == 0xf0 {
        return (third >> 2 & 15 < 13).then_some(Container::Aac);
    }
    let (bit_rate, sampling_rate) = (third >> 4, third >> 2 & 3);
    let is_frame = second & 0xe0 == 0xe0 && version != 1 && layer != 0;
    (is_frame && bit_rate != 15 && sampling_rate != 3).then_some(Container::Mp3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_document_knows_documents_by_content_type() {
        for (content_type, document) in [
            ("text/html; charset=utf-8", true),
            ("Application/XML", true),
            ("application/json", true),
            ("application/problem+json", true),
            ("video/mp4", false),
            ("binary/octet-stream", false),
            ("text/plain", false),
        ] {
            let value = HeaderValue::from_static(content_type);
            assert_eq!(is_document(&value), document, "{content_type}");
        }
    }

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn document_recognises_html_xml_and_json_in_any_encoding() {
        let page = "\u{feff}<html><body>Größe</body></html>";
        let spaces = format!("{}<p>Sign in</p>", " \n".repeat(100));
        let documents: [&[u8]; 22] = [
            b"<!DOCTYPE html><",
            b"<HTML>\0\x01",
            b"  <?xml version=",
            b"<Error><Code>AccessDenied</Code></Error>",
            b"<head><title>x</title>",
            b"<!-- maintenance -->",
            b"<p>\nfree seats: none</p>",
            b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>",
            spaces.as_bytes(),
            page.as_bytes(),
            b"<html><body>Gr\xf6\xdfe",
            b"{\"error\":\"gone\"}",
            b"\xef\xbb\xbf \r\n{ \"error\": \"gone\"",
            b"{}",
            b"[]",
            b"[ {\"code\":1}]",
            b"[null]",
            b"[-1,2]",
            &utf16(page, u16::to_le_bytes),
            &utf16(page, u16::to_be_bytes),
            &utf16("{\"error\":\"gone\"}", u16::to_le_bytes),
            &utf16("<Error>", u16::to_be_bytes),
        ];
        for head in documents {
            assert!(document(head).is_some(), "{}", head.escape_ascii());
        }
        let others: [&[u8]; 12] = [
            b"",
            b"<",
            b"{",
            b"x",
            b"\0",
            b"<\x01\x02\x03mdat",
            b"{\"\0\x01",
            b"[Script Info]",
            b"anything at all.",
            b"\0\x3c\0\x68ftypisom\0\0\x02\0",
            b"\xff\xfe\x7b\x10\0\0",
            b"Not Found",
        ];
        for head in others {
            assert_eq!(document(head), None, "{}", head.escape_ascii());
        }
    }

    #[test]
    fn is_text_needs_a_label_or_printable_bytes_and_no_container() {
        let plain = HeaderValue::from_static("Text/Plain; charset=utf-8");
        let mp4 = HeaderValue::from_static("video/mp4");
        // Within a character.
        let cut = "Größe".repeat(100).into_bytes()[..HEAD_BYTES - 1].to_vec();
        for (head, labelled, unlabelled) in [
            (&b"Service Unavailable\r\n"[..], true, true),
            (&cut, true, true),
            (b"Gr\xf6\xdfe", true, false),
            (b"\x01\x02\x03\x04", true, false),
            (b"\0\0\0\x18ftypmp42\0\0\0\0", false, false),
            (b"OggSaaaaaaaaaaaa", false, false),
            (b"", true, false),
        ] {
            let about = head.escape_ascii();
            assert_eq!(is_text(head, Some(&plain)), labelled, "{about}");
            assert_eq!(is_text(head, Some(&mp4)), unlabelled, "{about}");
            assert_eq!(is_text(head, None), unlabelled, "{about}");
        }
    }

    #[test]
    fn is_plainly_media_waits_for_more_where_a_document_may_begin() {
        for (head, expected) in [
            (&b"\0\0\0\x18ftypmp42\0\0\0\0"[..], true),
            (b"\x1aE\xdf\xa3aaaaaaaaaaaa", true),
            (b"<p>\nfree seats: ", false),
            (b"{\"a\"free\0\0\0\0\0\0\0\0", false),
            (b"\xff\xfe{\0\"\0", false),
            (b"G\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", false),
        ] {
            assert_eq!(is_plainly_media(head), expected, "{}", head.escape_ascii());
        }
    }

    #[test]
    fn container_recognises_media_by_first_bytes() {
        use Container::{Aac, Avi, Flac, IsoMedia, Matroska, Mp3, MpegPs, MpegTs, Ogg, Wave};
        for kind in [
            "ftyp", "styp", "moov", "moof", "mdat", "sidx", "ssix", "emsg", "prft", "uuid", "free",
            "skip", "wide", "pnot", "pdin",
        ] {
            for size in [b"\0\0\0\x18", b"\0\0\0\0", b"\0\0\0\x01", b"<abc"] {
                let head = [size, kind.as_bytes(), b"isom"].concat();
                assert_eq!(container(&head), Some(IsoMedia), "{}", head.escape_ascii());
            }
        }
        let packets = |first: usize, length: usize| {
            let mut head = vec![0; HEAD_BYTES];
            head.iter_mut()
                .skip(first)
                .step_by(length)
                .for_each(|byte| *byte = 0x47);
            head
        };
        for (head, expected) in [
            (&b"\x1aE\xdf\xa3aaaaaaaaaaaa"[..], Some(Matroska)),
            (b"OggSaaaaaaaaaaaa", Some(Ogg)),
            (b"RIFF\0\0\0\0WAVEfmt ", Some(Wave)),
            (b"RF64\xff\xff\xff\xffWAVEds64", Some(Wave)),
            (b"BW64\xff\xff\xff\xffWAVEds64", Some(Wave)),
            (b"RIFF\0\0\0\0AVI LIST", Some(Avi)),
            (b"fLaC\0\0\0\x22", Some(Flac)),
            (b"\0\0\x01\xba\x44", Some(MpegPs)),
            (&packets(0, 188), Some(MpegTs)),
            (&packets(4, 192), Some(MpegTs)),
            (&packets(0, 189), None),
            (b"G", None),
            (b"ID3\x04aaaaaaaaaaaa", Some(Mp3)),
            (b"\xff\xfbaaaaaaaaaaaaaa", Some(Mp3)),
            (b"\xff\xf1\x50\x80", Some(Aac)),
            (b"\xff\xf9\x4c\x80", Some(Aac)),
            (b"\xff\xff\xff\xff", None),
            (b"\0\0\0\x05ftyp", None),
            (b"\0\0\0\x18ftxp", None),
            (b"ftyp", None),
            (b"x", None),
            (b"anything at all.", None),
        ] {
            assert_eq!(container(head), expected, "{}", head.escape_ascii());
        }
    }
}
