//! Why a file cannot be compared.

use std::io;

use super::amount::DecimalSign;

/// The file is no invoice that can be compared.
#[derive(Debug, thiserror::Error)]
pub enum InvoiceError {
    #[error("read the invoice: {0}")]
    Read(io::Error),
    #[error("read the invoice: it is not a regular file, and is read twice; save it as a file")]
    NotAFile,
    #[error("read the invoice: it is {0}; export it as CSV")]
    Format(&'static str),
    #[error("detect the encoding: the file has NUL bytes; name it, such as --encoding utf-16le")]
    Nul,
    #[error(
        "detect the encoding: UTF-8 in part, but not throughout; repair the file, or name the \
         encoding, such as --encoding utf-8 or --encoding windows-1252"
    )]
    MixedEncoding,
    #[error(
        "read the invoice: --encoding names {named}, but the file's byte order mark that of \
         {found}; omit the flag"
    )]
    OtherEncoding {
        named: &'static str,
        found: &'static str,
    },
    #[error("line {0}: the row is longer than 1 MiB; close its quote, or check --delimiter")]
    LongRow(u64),
    #[error("line {0}: the row has more than 4000 fields; check --delimiter")]
    ManyFields(u64),
    #[error("line {0}: a quote is opened in this row and never closed; close it")]
    OpenQuote(u64),
    #[error(
        "line {0}: text follows the closing quote of a field; double each quote inside quotes, and \
         close each one"
    )]
    StrayQuote(u64),
    #[error(
        "line {0}: a carriage return without a line feed; save the file with lines that end with \
         LF or CRLF"
    )]
    CarriageReturn(u64),
    #[error("find the header: the file has no lines; export the invoice again")]
    Empty,
    #[error("find the header: no row begins in line {0}; correct --header-line")]
    NoHeader(u64),
    #[error(
        "find the header: no column `{wanted}`; line {line} has {present}. Name the right one with \
         {flag}, the line with --header-line, or the delimiter with --delimiter"
    )]
    NoColumn {
        wanted: String,
        line: u64,
        present: String,
        flag: &'static str,
    },
    #[error("find the header: two columns are named `{0}`; rename one of them in the file")]
    SameName(String),
    #[error(
        "detect the delimiter: the header can be split at {first} and at {second}; name it with \
         --delimiter"
    )]
    EitherDelimiter { first: String, second: String },
    #[error(
        "detect the decimal sign: `{text}` in line {line} can have a decimal sign or a thousands \
         separator, and no other number decides; name it with --decimal-point or --decimal-comma"
    )]
    EitherDecimal { line: u64, text: String },
    #[error(
        "detect the decimal sign: `{}` in line {} has a {}, `{}` in line {} a {}; correct the file, \
         or name the sign with --decimal-point or --decimal-comma",
        first.1, first.0, first.2, second.1, second.0, second.2
    )]
    BothDecimals {
        first: (u64, String, DecimalSign),
        second: (u64, String, DecimalSign),
    },
    #[error("add up the lines without a recording: more digits than can be held exactly")]
    Sum,
    #[error("the invoice has lines that cannot be read:\n  {0}")]
    Lines(String),
}
