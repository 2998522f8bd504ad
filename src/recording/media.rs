//! Media types and file containers: one table for what is declared, what is found, and how an
//! object is labelled in the store.

use std::fmt;

/// A file container, as its first bytes tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Container {
    /// ISO base media: MP4, fragmented or not, M4A, 3GP, `QuickTime`.
    IsoMedia,
    /// Matroska and `WebM`.
    Matroska,
    Ogg,
    /// RIFF WAVE, RF64 and BW64.
    Wave,
    Avi,
    Mp3,
    /// AAC in ADTS frames.
    Aac,
    Flac,
    MpegTs,
    MpegPs,
}

/// What a file is by its first bytes where that is not its declared format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FormatMismatch {
    /// Of another container.
    Other(Container),
    /// Of no container that this program knows.
    Unknown,
    /// Too short for the header of any container.
    TooShort,
}

/// A media type that recordings may have.
struct MediaType {
    /// As the provider may spell it, in lower case, without parameters.
    names: &'static [&'static str],
    /// As the store gets it.
    content_type: &'static str,
    /// Of the object's key. Never changed: a key depends on the recording alone.
    extension: &'static str,
    containers: &'static [Container],
}

const fn media_type(
    names: &'static [&'static str],
    content_type: &'static str,
    extension: &'static str,
    containers: &'static [Container],
) -> MediaType {
    MediaType {
        names,
        content_type,
        extension,
        containers,
    }
}

/// Only types that no browser executes.
const MEDIA_TYPES: &[MediaType] = {
    use Container::{Aac, Avi, Flac, IsoMedia, Matroska, Mp3, MpegPs, MpegTs, Ogg, Wave};
    &[
        media_type(
            &["video/mp4", "application/mp4", "video/x-m4v", "mp4"],
            "video/mp4",
            "mp4",
            &[IsoMedia],
        ),
        media_type(&["video/webm", "webm"], "video/webm", "webm", &[Matroska]),
        media_type(
            &["video/quicktime", "mov"],
            "video/quicktime",
            "mov",
            &[IsoMedia],
        ),
        media_type(
            &["video/x-matroska", "video/matroska", "mkv"],
            "video/x-matroska",
            "mkv",
            &[Matroska],
        ),
        media_type(&["video/mp2t", "ts"], "video/mp2t", "ts", &[MpegTs]),
        media_type(&["video/ogg", "ogv"], "video/ogg", "ogv", &[Ogg]),
        media_type(
            &["audio/mpeg", "audio/mp3", "mp3"],
            "audio/mpeg",
            "mp3",
            &[Mp3],
        ),
        media_type(
            &[
                "audio/wav",
                "audio/x-wav",
                "audio/wave",
                "audio/vnd.wave",
                "wav",
            ],
            "audio/wav",
            "wav",
            &[Wave],
        ),
        media_type(
            &["audio/ogg", "application/ogg", "ogg"],
            "audio/ogg",
            "ogg",
            &[Ogg],
        ),
        media_type(
            &["audio/mp4", "audio/x-m4a", "m4a"],
            "audio/mp4",
            "m4a",
            &[IsoMedia],
        ),
        // Both may begin with an ID3 tag, as MP3 does.
        media_type(&["audio/aac", "aac"], "audio/aac", "aac", &[Aac, Mp3]),
        media_type(
            &["audio/flac", "audio/x-flac", "flac"],
            "audio/flac",
            "flac",
            &[Flac, Mp3],
        ),
        media_type(&["audio/webm", "weba"], "audio/webm", "weba", &[Matroska]),
        media_type(&["audio/opus", "opus"], "audio/ogg", "bin", &[Ogg]),
        media_type(
            &["audio/x-matroska", "audio/matroska"],
            "audio/x-matroska",
            "bin",
            &[Matroska],
        ),
        media_type(
            &["video/3gpp", "audio/3gpp"],
            "video/3gpp",
            "bin",
            &[IsoMedia],
        ),
        media_type(
            &["video/x-msvideo", "video/avi", "avi"],
            "video/x-msvideo",
            "bin",
            &[Avi],
        ),
        media_type(&["video/mpeg"], "video/mpeg", "bin", &[MpegPs, MpegTs]),
    ]
};

/// What an object is called whose bytes and declared format say nothing.
const ANY_BYTES: &str = "application/octet-stream";
/// Every container has told what it is within so many bytes.
const MIN_HEADER_BYTES: usize = 12;

impl Container {
    const ALL: [Self; 10] = [
        Self::IsoMedia,
        Self::Matroska,
        Self::Ogg,
        Self::Wave,
        Self::Avi,
        Self::Mp3,
        Self::Aac,
        Self::Flac,
        Self::MpegTs,
        Self::MpegPs,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IsoMedia => "mp4",
            Self::Matroska => "matroska",
            Self::Ogg => "ogg",
            Self::Wave => "wav",
            Self::Avi => "avi",
            Self::Mp3 => "mp3",
            Self::Aac => "aac",
            Self::Flac => "flac",
            Self::MpegTs => "mpeg_ts",
            Self::MpegPs => "mpeg_ps",
        }
    }

    /// The type of a file of which nothing but the container is known.
    const fn content_type(self) -> &'static str {
        match self {
            Self::IsoMedia => "video/mp4",
            Self::Matroska => "video/x-matroska",
            Self::Ogg => "application/ogg",
            Self::Wave => "audio/wav",
            Self::Avi => "video/x-msvideo",
            Self::Mp3 => "audio/mpeg",
            Self::Aac => "audio/aac",
            Self::Flac => "audio/flac",
            Self::MpegTs => "video/mp2t",
            Self::MpegPs => "video/mpeg",
        }
    }
}

impl FormatMismatch {
    /// Every mismatch, each once.
    pub fn all() -> impl Iterator<Item = Self> {
        let others = Container::ALL.into_iter().map(Self::Other);
        others.chain([Self::Unknown, Self::TooShort])
    }

    /// The word stored in rows and manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Other(container) => container.as_str(),
            Self::Unknown => "unknown",
            Self::TooShort => "too_short",
        }
    }

    /// Reads what was stored; a word of another version is [`FormatMismatch::Unknown`].
    pub fn from_stored(word: &str) -> Self {
        Self::all()
            .find(|mismatch| mismatch.as_str() == word)
            .unwrap_or(Self::Unknown)
    }

    /// Compares the declared format with the container found in the first `head_bytes` bytes. A
    /// format that this program does not know agrees with anything, unless it is no media type.
    pub fn between(
        declared: Option<&str>,
        found: Option<Container>,
        head_bytes: usize,
    ) -> Option<Self> {
        let declared = essence(declared);
        let agrees = match (known(&declared), declared.split_once('/')) {
            (Some(known), _) => found.is_some_and(|found| known.containers.contains(&found)),
            (None, Some((kind, _))) => matches!(kind, "audio" | "video" | "application"),
            (None, None) => true,
        };
        (!agrees).then_some(match found {
            Some(container) => Self::Other(container),
            None if head_bytes < MIN_HEADER_BYTES => Self::TooShort,
            None => Self::Unknown,
        })
    }
}

impl fmt::Display for FormatMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Returns the Content-Type of an object, from a fixed table: whatever the provider declares, no
/// browser executes what is stored.
pub fn content_type(declared: Option<&str>, found: Option<Container>) -> &'static str {
    match (known(&essence(declared)), found) {
        (Some(known), None) => known.content_type,
        (Some(known), Some(found)) if known.containers.contains(&found) => known.content_type,
        (_, Some(found)) => found.content_type(),
        (None, None) => ANY_BYTES,
    }
}

/// Returns the file name extension of a media type, `bin` if it is not known. Bare words such as
/// `mp4` are read as well, because the API documents both.
pub fn extension(declared: Option<&str>) -> &'static str {
    known(&essence(declared)).map_or("bin", |known| known.extension)
}

/// The media type without parameters, in lower case.
fn essence(declared: Option<&str>) -> String {
    let essence = declared.and_then(|format| format.split(';').next());
    essence.unwrap_or_default().trim().to_ascii_lowercase()
}

fn known(essence: &str) -> Option<&'static MediaType> {
    MEDIA_TYPES
        .iter()
        .find(|known| known.names.contains(&essence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_type_comes_from_the_table_only() {
        use Container::{IsoMedia, Matroska, Ogg};
        for (declared, found, expected) in [
            (Some("video/mp4"), Some(IsoMedia), "video/mp4"),
            (
                Some("Video/MP4; codecs=\"avc1\""),
                Some(IsoMedia),
                "video/mp4",
            ),
            (Some("mov"), Some(IsoMedia), "video/quicktime"),
            (Some("video/mp4"), Some(Matroska), "video/x-matroska"),
            (Some("video/webm"), Some(Matroska), "video/webm"),
            (Some("video/mp4"), None, "video/mp4"),
            (Some("text/html"), Some(IsoMedia), "video/mp4"),
            (Some("text/html"), None, ANY_BYTES),
            (Some("image/svg+xml"), None, ANY_BYTES),
            (Some("image/svg+xml"), Some(Ogg), "application/ogg"),
            (Some("video/mp4\r\nx-evil: 1"), None, ANY_BYTES),
            (Some("video/mp4, text/html"), None, ANY_BYTES),
            (Some(""), None, ANY_BYTES),
            (None, None, ANY_BYTES),
        ] {
            assert_eq!(content_type(declared, found), expected, "{declared:?}");
        }
        for known in MEDIA_TYPES {
            let kind = known.content_type.split('/').next();
            assert!(
                matches!(kind, Some("audio" | "video")),
                "{}",
                known.content_type
            );
        }
    }

    #[test]
    fn between_flags_disagreement_with_a_known_format() {
        use Container::{Aac, Avi, IsoMedia, Matroska, Mp3, Wave};
        let other = |container| Some(FormatMismatch::Other(container));
        for (declared, found, head_bytes, expected) in [
            (Some("video/mp4"), Some(IsoMedia), 512, None),
            (Some("video/mp4"), Some(Matroska), 512, other(Matroska)),
            (Some("audio/wav"), Some(Avi), 512, other(Avi)),
            (Some("audio/aac"), Some(Mp3), 512, None),
            (Some("audio/mpeg"), Some(Aac), 512, other(Aac)),
            (Some("video/mp4"), None, 512, Some(FormatMismatch::Unknown)),
            (Some("video/mp4"), None, 1, Some(FormatMismatch::TooShort)),
            (Some("video/mp4"), None, 0, Some(FormatMismatch::TooShort)),
            (Some("video/unheard-of"), Some(Wave), 512, None),
            (Some("video/unheard-of"), None, 512, None),
            (Some("text/html"), Some(IsoMedia), 512, other(IsoMedia)),
            (Some("text/html"), None, 512, Some(FormatMismatch::Unknown)),
            (None, Some(IsoMedia), 512, None),
            (None, None, 1, None),
        ] {
            let found = FormatMismatch::between(declared, found, head_bytes);
            assert_eq!(found, expected, "{declared:?} {head_bytes}");
        }
    }

    #[test]
    fn mismatch_words_read_back() {
        for mismatch in FormatMismatch::all() {
            assert_eq!(FormatMismatch::from_stored(mismatch.as_str()), mismatch);
        }
        assert_eq!(
            FormatMismatch::from_stored("another version's"),
            FormatMismatch::Unknown
        );
    }
}
