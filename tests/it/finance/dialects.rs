//! Invoices as spreadsheets and billing systems write them: each dialect with the amounts that it
//! must be read as, or the words with which it must be refused.

use std::fmt::Write as _;
use std::io::Cursor;

use recording_archiver::finance::reconcile::{
    Columns, DecimalSign, Dialect, Format, InvoiceError, read_invoice,
};

const ID: &str = "c22d24f6-5a47-4597-9a23-c7d01e696b92";

#[derive(Debug, Clone, Copy)]
enum Encoded {
    Utf8,
    Utf8Bom,
    Utf16Le,
    Utf16Be,
    Utf16LeNoBom,
    Western,
}
use Encoded::{Utf8, Utf8Bom, Utf16Be, Utf16Le, Utf16LeNoBom, Western};

impl Encoded {
    fn bytes(self, text: &str) -> Vec<u8> {
        let marked = || std::iter::once(0xfeff).chain(text.encode_utf16());
        match self {
            Utf8 => text.as_bytes().to_vec(),
            Utf8Bom => format!("\u{feff}{text}").into_bytes(),
            Utf16Le => marked().flat_map(u16::to_le_bytes).collect(),
            Utf16Be => marked().flat_map(u16::to_be_bytes).collect(),
            Utf16LeNoBom => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            Western => encoding_rs::WINDOWS_1252.encode(text).0.into_owned(),
        }
    }
}

/// What a file is read as.
type Expected = Result<&'static [&'static str], &'static str>;

fn format(decimal: Option<DecimalSign>) -> Format {
    Format {
        columns: Columns {
            id: "id".to_owned(),
            id_flag: "--id-column",
            amount: "amount".to_owned(),
            length: None,
        },
        encoding: None,
        delimiter: None,
        decimal,
        header_line: None,
    }
}

fn read(bytes: &[u8], decimal: Option<DecimalSign>) -> Result<Vec<String>, InvoiceError> {
    let (mut file, format) = (Cursor::new(bytes), format(decimal));
    let dialect = Dialect::detect(&mut file, &format)?;
    let mut amounts = Vec::new();
    read_invoice(&mut file, &format, &dialect, |lines| {
        amounts.extend(lines.iter().map(|line| line.amount.to_string()));
        true
    })?;
    Ok(amounts)
}

fn demand(what: &str, bytes: &[u8], decimal: Option<DecimalSign>, expected: Expected) {
    match (read(bytes, decimal), expected) {
        (Ok(amounts), Ok(expected)) => assert_eq!(amounts, expected, "{what}"),
        (Err(error), Err(part)) => {
            let said = error.to_string();
            assert!(said.contains(part), "{what}: {said}");
        }
        (read, expected) => panic!("{what}: {read:?}, expected {expected:?}"),
    }
}

/// Text before the header, encoding, delimiter, amounts as they stand in the file, expectation.
const CASES: &[(&str, Encoded, &str, &[&str], Expected)] = &[
    // Encodings with each delimiter.
    ("", Utf8, ",", &["0.05", "1.5"], Ok(&["0.05", "1.5"])),
    ("", Utf8, ";", &["0.05", "1.5"], Ok(&["0.05", "1.5"])),
    ("", Utf8, "\t", &["0.05", "1.5"], Ok(&["0.05", "1.5"])),
    ("", Utf8, "|", &["0.05", "1.5"], Ok(&["0.05", "1.5"])),
    ("", Utf8Bom, ",", &["0.05"], Ok(&["0.05"])),
    ("", Utf8Bom, ";", &["0,05"], Ok(&["0.05"])),
    ("", Utf8Bom, "\t", &["0,05"], Ok(&["0.05"])),
    ("", Utf16Le, ",", &["0.05"], Ok(&["0.05"])),
    ("", Utf16Le, ";", &["0,05"], Ok(&["0.05"])),
    ("", Utf16Le, "\t", &["0,05"], Ok(&["0.05"])),
    ("", Utf16Be, ",", &["0.05"], Ok(&["0.05"])),
    ("", Utf16Be, ";", &["0,05"], Ok(&["0.05"])),
    ("", Utf16Be, "\t", &["1.234,5"], Ok(&["1234.5"])),
    ("März\n", Western, ",", &["0.05"], Ok(&["0.05"])),
    ("März\n", Western, ";", &["0,05"], Ok(&["0.05"])),
    ("März\n", Western, "\t", &["1.234,50"], Ok(&["1234.50"])),
    ("März\n", Utf16Le, ";", &["0,05"], Ok(&["0.05"])),
    ("", Utf16LeNoBom, ",", &["0.05"], Err("--encoding utf-16le")),
    // Decimal signs: one number decides for all, none decides for none.
    ("", Utf8, ";", &["1,234", "0.27"], Ok(&["1234", "0.27"])),
    ("", Utf8, ";", &["1.234", "0,27"], Ok(&["1234", "0.27"])),
    ("", Utf8, ";", &["0,050", "0,27"], Ok(&["0.050", "0.27"])),
    ("", Utf8, ";", &["1,234", "0,27"], Ok(&["1.234", "0.27"])),
    ("", Utf8, ";", &["1.234", "0.050"], Ok(&["1.234", "0.050"])),
    (
        "",
        Utf8,
        ";",
        &["1,234,567", "2,500"],
        Ok(&["1234567", "2500"]),
    ),
    (
        "",
        Utf8,
        ";",
        &["1.234.567", "2.500"],
        Ok(&["1234567", "2500"]),
    ),
    ("", Utf8, ";", &["5", "17"], Ok(&["5", "17"])),
    ("", Utf8, ";", &["0,050"], Err("--decimal-comma")),
    ("", Utf8, ";", &["1,234"], Err("--decimal-point")),
    ("", Utf8, ";", &["1.234", "2"], Err("--decimal-point")),
    ("", Utf8, ";", &["12345,678"], Err("--decimal-comma")),
    ("", Utf8, ";", &["0,5", "0.5"], Err("`0,5` in line 2")),
    (
        "",
        Utf8,
        ";",
        &["0,050", "0.27"],
        Err("line 2: the amount `0,050`"),
    ),
    ("", Utf8, ";", &["12345,678", "0.27"], Err("line 2")),
    // Quotes.
    ("", Utf8, ",", &["\"0,05\""], Ok(&["0.05"])),
    ("", Utf8, ",", &["\"1,234.50\""], Ok(&["1234.50"])),
    ("", Utf8, ",", &["\"1.234,50\""], Ok(&["1234.50"])),
    ("", Utf8, ",", &["\"0.05\""], Ok(&["0.05"])),
    ("", Utf8, ",", &["0,05"], Err("3 fields")),
    ("", Utf8, ",", &["1,234.50"], Err("3 fields")),
    ("", Utf8, ",", &["\"0.05"], Err("never closed")),
    ("", Utf8, ",", &["\"0.05\"x"], Err("closing quote")),
    ("", Utf8, ",", &["'0.05'"], Err("`'0.05'`")),
    ("", Utf8, ";", &["=\"0,05\""], Err("is not a number")),
    // Thousands.
    ("", Utf8, ",", &["1 234.50"], Ok(&["1234.50"])),
    ("", Utf8, ";", &["1 234,50"], Ok(&["1234.50"])),
    ("", Utf8, ";", &["1\u{a0}234,50"], Ok(&["1234.50"])),
    ("", Utf8, ";", &["1\u{202f}234,50"], Ok(&["1234.50"])),
    ("é\n", Western, ";", &["1\u{a0}234,50"], Ok(&["1234.50"])),
    ("", Utf8, ",", &["1'234.50"], Ok(&["1234.50"])),
    ("", Utf8, ",", &["1\u{2019}234.50"], Ok(&["1234.50"])),
    ("", Utf8, ",", &["1_000", "0.5"], Err("`1_000`")),
    ("", Utf8, ",", &["1 2 3", "0.5"], Err("`1 2 3`")),
    ("", Utf8, ",", &["12 34.5"], Err("`12 34.5`")),
    ("", Utf8, ";", &["1,23,456.00"], Err("`1,23,456.00`")),
    ("", Utf8, ";", &["1.234.56", "0.5"], Err("`1.234.56`")),
    // Currencies and signs.
    ("", Utf8, ",", &["$0.05"], Ok(&["0.05"])),
    ("", Utf8, ",", &["US$ 0.05"], Ok(&["0.05"])),
    ("", Utf8, ",", &["0.05 USD"], Ok(&["0.05"])),
    ("", Utf8, ",", &["USD 0.05"], Ok(&["0.05"])),
    ("", Utf8, ";", &["0,05 $"], Ok(&["0.05"])),
    ("", Utf8, ",", &["-$0.05"], Ok(&["-0.05"])),
    ("", Utf8, ",", &["($0.05)"], Ok(&["-0.05"])),
    ("", Utf8, ",", &["0.05-"], Ok(&["-0.05"])),
    ("", Utf8, ",", &["\u{2212}0.05"], Ok(&["-0.05"])),
    ("", Utf8, ",", &["€0.05"], Err("US dollars")),
    ("", Western, ";", &["0,05 €"], Err("US dollars")),
    ("", Utf8, ",", &["0.05 EUR"], Err("US dollars")),
    ("", Utf8, ",", &["5USDUSD"], Err("`5USDUSD`")),
    ("", Utf8, ",", &["1$2"], Err("`1$2`")),
    ("", Utf8, ",", &["--5"], Err("`--5`")),
    // Numbers as spreadsheets abbreviate them, and errors of theirs.
    ("", Utf8, ",", &["5E-05"], Ok(&["0.00005"])),
    ("", Utf8, ";", &["5,5E-05"], Ok(&["0.000055"])),
    ("", Utf8, ",", &[".05"], Ok(&["0.05"])),
    ("", Utf8, ",", &["#REF!"], Err("`#REF!`")),
    ("", Utf8, ",", &["########"], Err("is not a number")),
    ("", Utf8, ",", &[""], Err("is empty")),
    // Lines before the header.
    ("Invoice 17\n\n", Utf8, ",", &["0.05"], Ok(&["0.05"])),
    ("Invoice;17;of;March\n", Utf8, ",", &["0.05"], Ok(&["0.05"])),
    (
        "From, to, amount\n1,2,3\n",
        Utf8,
        ";",
        &["0,05"],
        Ok(&["0.05"]),
    ),
    ("sep=;\r\n", Utf8, ";", &["0,05"], Ok(&["0.05"])),
    ("\r\n\r\n", Utf16Le, "\t", &["0.05"], Ok(&["0.05"])),
];

#[test]
fn each_dialect_is_read_exactly_or_refused() {
    assert!(CASES.len() >= 60);
    for (preamble, encoded, delimiter, amounts, expected) in CASES {
        for end in ["\n", "\r\n"] {
            let mut text = format!("{preamble}ID{delimiter}Amount{end}");
            for amount in *amounts {
                write!(text, "{ID}{delimiter}{amount}{end}").unwrap();
            }
            let what = format!("{encoded:?} {delimiter:?} {amounts:?} {end:?}");
            demand(&what, &encoded.bytes(&text), None, *expected);
        }
    }
}

#[test]
fn named_decimal_sign_decides_what_is_ambiguous() {
    let (point, comma) = (Some(DecimalSign::Point), Some(DecimalSign::Comma));
    for (amount, decimal, expected) in [
        ("0,050", comma, Ok(&["0.050"][..])),
        ("1,234", comma, Ok(&["1.234"])),
        ("1,234", point, Ok(&["1234"])),
        ("1.234", point, Ok(&["1.234"])),
        ("1.234", comma, Ok(&["1234"])),
        ("12345,678", comma, Ok(&["12345.678"])),
        ("0,050", point, Err("with decimal point")),
        ("0.050", comma, Err("with decimal comma")),
        ("12345,678", point, Err("with decimal point")),
        ("1,5", point, Err("with decimal point")),
    ] {
        let text = format!("id;amount\n{ID};{amount}\n");
        demand(amount, text.as_bytes(), decimal, expected);
    }
}

#[test]
fn file_that_is_no_text_is_refused_with_the_way_out() {
    for bytes in [
        &b"PK\x03\x04\x14\0"[..],
        b"\xd0\xcf\x11\xe0\xa1\xb1",
        b"%PDF-1.7",
    ] {
        demand("format", bytes, None, Err("export it as CSV"));
    }
    demand(
        "mixed",
        b"id,amount\n\xc3\xa9,\xe9\n",
        None,
        Err("--encoding"),
    );
    demand("empty", b"", None, Err("no lines"));
    demand("old Mac", b"id,amount\rx,1\r", None, Err("carriage return"));
}
