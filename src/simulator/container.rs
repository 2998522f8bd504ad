//! Answers for how files of each format begin.

/// The file format whose first bytes generated media carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    Mp4,
    Webm,
    Wav,
    Mp3,
    /// No header: looks like nothing in particular.
    Raw,
}

impl Container {
    /// The container of media of this MIME type.
    pub(super) fn of(format: &str) -> Self {
        match format {
            "video/mp4" | "audio/mp4" | "video/quicktime" => Self::Mp4,
            "video/webm" | "audio/webm" | "video/x-matroska" => Self::Webm,
            "audio/wav" | "audio/x-wav" => Self::Wav,
            "audio/mpeg" => Self::Mp3,
            _ => Self::Raw,
        }
    }

    /// The usual file extension, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Webm => "webm",
            Self::Wav => "wav",
            Self::Mp3 => "mp3",
            Self::Raw => "bin",
        }
    }

    /// The header of a file of `size_bytes`. The sizes inside it are true, so that a parser that
    /// walks the boxes of the file arrives at its end.
    pub(super) fn header(self, size_bytes: u64) -> Vec<u8> {
        match self {
            Self::Mp4 => {
                const FTYP: &[u8] = b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41";
                let mut header = FTYP.to_vec();
                header.extend_from_slice(b"\0\0\0\x01mdat"); // 1: the 64-bit length follows
                let rest = size_bytes.saturating_sub(FTYP.len() as u64);
                header.extend_from_slice(&rest.to_be_bytes());
                header
            }
            Self::Webm => b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\xf7\x81\x01\x42\xf2\x81\x04\
                \x42\xf3\x81\x08\x42\x82\x84webm\x42\x87\x81\x04\x42\x85\x81\x02"
                .to_vec(),
            Self::Wav => {
                let claimed = u32::try_from(size_bytes.saturating_sub(8)).unwrap_or(u32::MAX);
                let mut header = b"RIFF".to_vec();
                header.extend_from_slice(&claimed.to_le_bytes());
                header.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
                header.extend_from_slice(&48_000_u32.to_le_bytes());
                header.extend_from_slice(&96_000_u32.to_le_bytes());
                header.extend_from_slice(b"\x02\0\x10\0data");
                header.extend_from_slice(&claimed.saturating_sub(36).to_le_bytes());
                header
            }
            Self::Mp3 => b"ID3\x04\0\0\0\0\0\0\xff\xfb\x90\x64".to_vec(),
            Self::Raw => Vec::new(),
        }
    }
}
