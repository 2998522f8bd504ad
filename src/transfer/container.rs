//! Does it look like the media it claims to be? An error page must never become a recording.

use reqwest::header::HeaderValue;

/// As many first bytes as the checks want to see.
pub(super) const HEAD_BYTES: usize = 16;

/// Content types that no recording has; object stores and portals answer errors in them.
pub(super) fn is_document(content_type: &HeaderValue) -> bool {
    let Ok(content_type) = content_type.to_str() else {
        return false;
    };
    let essence = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    matches!(
        essence.as_str(),
        "text/html"
            | "text/xml"
            | "text/json"
            | "application/xml"
            | "application/json"
            | "application/xhtml+xml"
            | "application/problem+json"
    )
}

/// Whether the first bytes belong to a container of the declared format. Formats without a known
/// header pass unless the bytes plainly are a text document.
pub(super) fn matches_format(head: &[u8], format: Option<&str>) -> bool {
    let subtype = format
        .and_then(|format| format.split(';').next())
        .map(|essence| essence.rsplit('/').next().unwrap_or(essence).trim())
        .unwrap_or_default()
        .to_ascii_lowercase();
    let at = |offset: usize, magic: &[u8]| head.get(offset..offset + magic.len()) == Some(magic);
    match subtype.as_str() {
        // ISO base media: a box size, then its type; QuickTime may begin with other boxes.
        "mp4" | "m4a" | "x-m4a" | "quicktime" | "mov" => [
            b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp",
        ]
        .iter()
        .any(|kind| at(4, *kind)),
        "webm" | "x-matroska" | "mkv" => at(0, &[0x1a, 0x45, 0xdf, 0xa3]),
        "wav" | "x-wav" | "wave" | "vnd.wave" => {
            (at(0, b"RIFF") || at(0, b"RF64")) && at(8, b"WAVE")
        }
        // An ID3 tag, or the eleven set bits of an MPEG audio frame.
        "mpeg" | "mp3" if format.is_some_and(|f| f.starts_with("audio/") || f == "mp3") => {
            at(0, b"ID3") || matches!(head, [0xff, second, ..] if second & 0xe0 == 0xe0)
        }
        "ogg" | "opus" => at(0, b"OggS"),
        _ => !looks_like_a_document(head),
    }
}

fn looks_like_a_document(head: &[u8]) -> bool {
    let text = head
        .strip_prefix(&[0xef, 0xbb, 0xbf])
        .unwrap_or(head)
        .trim_ascii_start()
        .to_ascii_lowercase();
    [&b"<!doctype"[..], b"<html", b"<?xml", b"<error", b"{\""]
        .iter()
        .any(|start| text.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_told_by_their_content_type() {
        for (content_type, document) in [
            ("text/html; charset=utf-8", true),
            ("Application/XML", true),
            ("application/json", true),
            ("video/mp4", false),
            ("binary/octet-stream", false),
            ("text/plain", false),
        ] {
            let value = HeaderValue::from_static(content_type);
            assert_eq!(is_document(&value), document, "{content_type}");
        }
    }

    #[test]
    fn containers_are_told_by_their_first_bytes() {
        let mp4 = b"\0\0\0\x18ftypmp42\0\0\0\0";
        let html = b"<!DOCTYPE html><";
        for (head, format, accepted) in [
            (&mp4[..], Some("video/mp4"), true),
            (mp4, Some("Video/MP4; codecs=avc1"), true),
            (mp4, Some("mp4"), true),
            (mp4, Some("video/webm"), false),
            (b"\x1aE\xdf\xa3aaaaaaaaaaaa", Some("video/webm"), true),
            (b"RIFF\0\0\0\0WAVEfmt ", Some("audio/wav"), true),
            (b"RIFF\0\0\0\0AVI LIST", Some("audio/wav"), false),
            (b"ID3\x04aaaaaaaaaaaa", Some("audio/mpeg"), true),
            (b"\xff\xfbaaaaaaaaaaaaaa", Some("audio/mpeg"), true),
            (b"OggSaaaaaaaaaaaa", Some("audio/ogg"), true),
            (html, Some("video/mp4"), false),
            (html, None, false),
            (b"  <?xml version=", Some("video/unheard-of"), false),
            (
                b"{\"error\":\"gone\"",
                Some("application/octet-stream"),
                false,
            ),
            (b"anything at all.", Some("video/unheard-of"), true),
            (b"ftyp", Some("video/mp4"), false),
        ] {
            assert_eq!(
                matches_format(head, format),
                accepted,
                "{:?} as {format:?}",
                String::from_utf8_lossy(head)
            );
        }
    }
}
