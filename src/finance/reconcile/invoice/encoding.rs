//! The text of a file: which encoding it has, and its text as UTF-8.

use std::io::{self, BufRead, Read};

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8};

use super::InvoiceError;

const BUFFER: usize = 64 * 1024;

/// File formats that are no text, by their first bytes.
const FORMATS: [(&[u8], &str); 4] = [
    (b"PK\x03\x04", "a spreadsheet (xlsx, ods) or ZIP archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (xls)"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "compressed with gzip"),
];

/// Returns the encoding that the file has, or the one that was named if the file can have it.
pub(super) fn detect(
    mut file: impl Read,
    named: Option<&'static Encoding>,
) -> Result<&'static Encoding, InvoiceError> {
    let mut buffer = vec![0; BUFFER];
    let mut held = 0;
    let mut is_start = true;
    let (mut is_utf8, mut has_utf8_letters) = (true, false);
    loop {
        let read = match file.read(&mut buffer[held..]) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(InvoiceError::Read(error)),
        };
        let bytes = &buffer[..held + read];
        // A short read does not split the first bytes.
        if is_start && read > 0 && bytes.len() < 4 {
            held = bytes.len();
            continue;
        }
        if is_start {
            is_start = false;
            let format = FORMATS.iter().find(|(start, _)| bytes.starts_with(start));
            if let Some((_, format)) = format {
                return Err(InvoiceError::Format(format));
            }
            if let Some((found, _)) = Encoding::for_bom(bytes) {
                return match named {
                    Some(named) if named != found => Err(InvoiceError::OtherEncoding {
                        named: named.name(),
                        found: found.name(),
                    }),
                    _ => Ok(found),
                };
            }
            if let Some(named) = named {
                return Ok(named);
            }
        }
        if bytes.contains(&0) {
            return Err(InvoiceError::Nul);
        }
        let mut rest = bytes;
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    has_utf8_letters |= !text.is_ascii();
                    rest = &[];
                    break;
                }
                Err(error) => {
                    has_utf8_letters |= !rest[..error.valid_up_to()].is_ascii();
                    let Some(bad) = error.error_len() else {
                        rest = &rest[error.valid_up_to()..];
                        break;
                    };
                    is_utf8 = false;
                    rest = &rest[error.valid_up_to() + bad..];
                }
            }
        }
        let kept = rest.len();
        let start = bytes.len() - kept;
        if read == 0 {
            is_utf8 &= kept == 0;
            break;
        }
        buffer.copy_within(start..start + kept, 0);
        held = kept;
    }
    match (is_utf8, has_utf8_letters) {
        (true, _) => Ok(UTF_8),
        (false, false) => Ok(encoding_rs::WINDOWS_1252),
        (false, true) => Err(InvoiceError::MixedEncoding),
    }
}

/// The file's text as UTF-8, without its byte order mark.
pub(super) struct Decoded<R> {
    file: R,
    decoder: Decoder,
    name: &'static str,
    source: Vec<u8>,
    /// Up to where `source` is decoded.
    source_at: usize,
    is_last: bool,
    is_done: bool,
    text: Vec<u8>,
    /// Up to where `text` is consumed.
    text_at: usize,
}

impl<R: Read> Decoded<R> {
    pub(super) fn new(file: R, encoding: &'static Encoding) -> Self {
        Self {
            file,
            decoder: encoding.new_decoder_with_bom_removal(),
            name: encoding.name(),
            source: Vec::new(),
            source_at: 0,
            is_last: false,
            is_done: false,
            text: Vec::new(),
            text_at: 0,
        }
    }

    fn fill_source(&mut self) -> io::Result<()> {
        self.source.resize(BUFFER, 0);
        self.source_at = 0;
        let read = self.file.read(&mut self.source);
        self.source.truncate(*read.as_ref().unwrap_or(&0));
        self.is_last = read? == 0;
        Ok(())
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(to)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: Read> BufRead for Decoded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.text_at == self.text.len() && !self.is_done {
            if self.source_at == self.source.len() && !self.is_last {
                self.fill_source()?;
            }
            self.text.resize(BUFFER, 0);
            let (result, read, written) = self.decoder.decode_to_utf8_without_replacement(
                &self.source[self.source_at..],
                &mut self.text,
                self.is_last,
            );
            self.text.truncate(written);
            self.text_at = 0;
            self.source_at += read;
            match result {
                DecoderResult::Malformed(..) => {
                    let text = format!("the file is not {} throughout", self.name);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                }
                DecoderResult::InputEmpty => self.is_done = self.is_last,
                DecoderResult::OutputFull => {}
            }
        }
        Ok(&self.text[self.text_at..])
    }

    fn consume(&mut self, bytes: usize) {
        self.text_at = self.text.len().min(self.text_at + bytes);
    }
}

#[cfg(test)]
mod tests {
    use encoding_rs::WINDOWS_1252;

    use super::*;

    fn text(bytes: &[u8]) -> Result<String, String> {
        let encoding = detect(bytes, None).map_err(|error| error.to_string())?;
        let mut text = String::new();
        let mut decoded = Decoded::new(bytes, encoding);
        decoded
            .read_to_string(&mut text)
            .map_err(|error| error.to_string())?;
        Ok(text)
    }

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        units.flat_map(bytes).collect()
    }

    #[test]
    fn each_encoding_is_found_and_decoded() {
        let shown = "id;Prix\n1;5 €\n";
        assert_eq!(text(shown.as_bytes()).as_deref(), Ok(shown));
        let marked = format!("\u{feff}{shown}");
        assert_eq!(text(marked.as_bytes()).as_deref(), Ok(shown));
        assert_eq!(text(&utf16(shown, u16::to_le_bytes)).as_deref(), Ok(shown));
        assert_eq!(text(&utf16(shown, u16::to_be_bytes)).as_deref(), Ok(shown));
        let (western, ..) = WINDOWS_1252.encode(shown);
        assert_eq!(text(&western).as_deref(), Ok(shown));
        assert_eq!(text(b"").as_deref(), Ok(""));
        // Characters that lie across two reads.
        let long = "é".repeat(BUFFER) + "x";
        assert_eq!(text(long.as_bytes()), Ok(long.clone()));
        assert_eq!(text(&utf16(&long, u16::to_le_bytes)), Ok(long));
    }

    #[test]
    fn undecidable_encoding_is_refused_with_the_flag() {
        for bytes in [&b"caf\xc3\xa9, caf\xe9\n"[..], b"i\0d\0\n\0"] {
            let refused = text(bytes).unwrap_err();
            assert!(refused.contains("--encoding"), "{refused}");
        }
        let refused = text(b"PK\x03\x04xlsx").unwrap_err();
        assert!(refused.contains("CSV"), "{refused}");
        let refused = text(b"\xff\xfei\0\x00\xd8i\0").unwrap_err();
        assert!(refused.contains("UTF-16LE"), "{refused}");
        let named = detect(&b"\xff\xfei\0"[..], Some(UTF_8)).unwrap_err();
        assert!(named.to_string().contains("UTF-16LE"), "{named}");
    }
}
