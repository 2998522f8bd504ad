//! An invoice as a provider sends it: CSV with a header, columns named by whoever asks.

use std::io;

use rust_decimal::Decimal;

use crate::money::Usd;
use crate::printable::printable;
use crate::recording::RecordingId;

/// Bad lines that are named.
const SHOWN: usize = 20;
/// Columns that are named.
const SHOWN_COLUMNS: usize = 50;
/// So much of a text in the file is shown.
const QUOTED_CHARS: usize = 40;
/// Lines that are handed on together.
const BATCH: usize = 1000;

/// Which columns hold what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    pub recording_id: String,
    pub amount: String,
    /// The length that was billed.
    pub length: Option<Length>,
}

/// The column of the billed length, and what its numbers count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Length {
    pub column: String,
    pub seconds_each: Decimal,
}

/// One line about one recording.
#[derive(Debug, Clone, Copy)]
pub struct InvoiceLine {
    /// In the file, from 1.
    pub number: u64,
    pub recording_id: RecordingId,
    pub amount: Usd,
    pub seconds: Option<Decimal>,
}

/// What of an invoice is no line about a recording.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct OtherLines {
    pub lines: u64,
    pub amount_usd: Decimal,
}

/// The file is no invoice that can be compared.
#[derive(Debug, thiserror::Error)]
pub enum InvoiceError {
    #[error("read the invoice")]
    Read(#[source] csv::Error),
    #[error(
        "the invoice has no column `{wanted}`; it has {present}. Name the right one with {flag}"
    )]
    NoColumn {
        wanted: String,
        present: String,
        flag: &'static str,
    },
    #[error("the amounts of lines about no recording add up to more than can be held")]
    Sum,
    #[error("the invoice has lines that cannot be read:\n  {0}")]
    Lines(String),
}

impl Columns {
    fn places(&self, header: &csv::StringRecord) -> Result<[Option<usize>; 3], InvoiceError> {
        let find = |wanted: &str, flag| {
            let named = |name: &str| name.trim().eq_ignore_ascii_case(wanted);
            header
                .iter()
                .position(named)
                .ok_or_else(|| InvoiceError::NoColumn {
                    wanted: wanted.to_owned(),
                    present: {
                        let first = header.iter().take(SHOWN_COLUMNS).map(quoted);
                        first.collect::<Vec<_>>().join(", ")
                    },
                    flag,
                })
        };
        let id = find(&self.recording_id, "--id-column")?;
        let amount = find(&self.amount, "--amount-column")?;
        let length = self.length.as_ref();
        let length =
            length.map(|length| find(&length.column, "--seconds-column or --minutes-column"));
        Ok([Some(id), Some(amount), length.transpose()?])
    }
}

/// Reads an invoice and hands its lines on in batches. Lines whose ID is empty or no UUID, such as
/// taxes and totals, are no recordings: they are counted.
///
/// # Errors
/// With each line that is about a recording and cannot be read.
pub fn read_invoice(
    file: impl io::Read,
    columns: &Columns,
    mut batch: impl FnMut(Vec<InvoiceLine>) -> bool,
) -> Result<OtherLines, InvoiceError> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file);
    let header = reader.headers().map_err(InvoiceError::Read)?.clone();
    let places = columns.places(&header)?;
    let (mut lines, mut others) = (Vec::new(), OtherLines::default());
    let (mut bad, mut bad_lines) = (Vec::new(), 0_u64);
    for record in reader.records() {
        let record = record.map_err(InvoiceError::Read)?;
        let number = record.position().map_or(0, csv::Position::line);
        let [id, amount, length] = places.map(|place| place.and_then(|place| record.get(place)));
        let amount = amount.unwrap_or_default();
        let Ok(recording_id) = id.unwrap_or_default().trim().parse() else {
            others.lines += 1;
            let amount = parse_amount(amount).map_or(Decimal::ZERO, Usd::decimal);
            others.amount_usd = others
                .amount_usd
                .checked_add(amount)
                .ok_or(InvoiceError::Sum)?;
            continue;
        };
        let seconds = match (&columns.length, length) {
            (Some(kind), Some(text)) if !text.trim().is_empty() => parse_amount(text)
                .and_then(|length| length.decimal().checked_mul(kind.seconds_each))
                .map(Some),
            _ => Some(None),
        };
        let (what, text) = match (parse_amount(amount), seconds) {
            (Some(amount), Some(seconds)) => {
                lines.push(InvoiceLine {
                    number,
                    recording_id,
                    amount,
                    seconds,
                });
                if lines.len() == BATCH && !batch(std::mem::take(&mut lines)) {
                    return Ok(others);
                }
                continue;
            }
            (None, _) => ("amount", amount),
            (_, None) => ("length", length.unwrap_or_default()),
        };
        bad_lines += 1;
        if bad.len() < SHOWN {
            let text = quoted(text);
            bad.push(format!("line {number}: the {what} `{text}` is no number"));
        }
    }
    if bad_lines > 0 {
        let others = bad_lines - bad.len() as u64;
        if others > 0 {
            bad.push(format!("and {others} more"));
        }
        return Err(InvoiceError::Lines(bad.join("\n  ")));
    }
    batch(lines);
    Ok(others)
}

/// The beginning of a text in the file, safe to print.
fn quoted(text: &str) -> String {
    let beginning: String = text.chars().take(QUOTED_CHARS).collect();
    printable(&beginning).into_owned()
}

/// `1234.50`, `$1,234.50`, `-0.05`, `(0.05)`: as invoices spell amounts.
fn parse_amount(text: &str) -> Option<Usd> {
    let text = text.trim();
    let (negative, text) = match text.strip_prefix('(').and_then(|it| it.strip_suffix(')')) {
        Some(inner) => ("-", inner),
        None => ("", text),
    };
    let plain: String = text
        .trim_end_matches("USD")
        .chars()
        .filter(|it| !matches!(it, '$' | ' '))
        .collect();
    // A comma before anything but three digits is a decimal one, and no guess is worth the risk.
    let (whole, _) = plain.split_once('.').unwrap_or((&plain, ""));
    let mut groups = whole.split(',').skip(1);
    if plain.matches(',').count() > whole.matches(',').count() || groups.any(|it| it.len() != 3) {
        return None;
    }
    format!("{negative}{}", plain.replace(',', "")).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "c22d24f6-5a47-4597-9a23-c7d01e696b92";

    fn columns() -> Columns {
        Columns {
            recording_id: "id".to_owned(),
            amount: "amount".to_owned(),
            length: Some(Length {
                column: "minutes".to_owned(),
                seconds_each: Decimal::from(60),
            }),
        }
    }

    fn read(text: &str) -> Result<(Vec<InvoiceLine>, OtherLines), InvoiceError> {
        let mut all = Vec::new();
        let others = read_invoice(text.as_bytes(), &columns(), |lines| {
            all.extend(lines);
            true
        })?;
        Ok((all, others))
    }

    #[test]
    fn amounts_are_read_as_invoices_spell_them() {
        for (text, amount) in [
            ("0.05", "0.05"),
            ("$1,234.50", "1234.50"),
            (" 1234.5 USD", "1234.5"),
            ("-0.0025", "-0.0025"),
            ("(0.10)", "-0.10"),
            ("1e-7", "0.0000001"),
        ] {
            assert_eq!(parse_amount(text).unwrap().to_string(), amount, "{text}");
        }
        for text in ["", "free", "1.2.3", "$", "0,05", "1,50", "1.000,50"] {
            assert!(parse_amount(text).is_none(), "{text}");
        }
    }

    #[test]
    fn lines_about_no_recording_are_counted_apart() {
        let text = format!("ID,Minutes,Amount\n{ID},2.5,0.05\n,,\nTotal,,\"$1,000.00\"\n");
        let (lines, others) = read(&text).unwrap();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].number, 2);
        assert_eq!(lines[0].seconds, Some(Decimal::from(150)));
        assert_eq!((others.lines, others.amount_usd), (2, Decimal::from(1000)));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_place() {
        let error = read("id,price\n").unwrap_err().to_string();
        assert!(
            error.contains("`amount`") && error.contains("id, price"),
            "{error}"
        );
        assert!(error.contains("--amount-column"), "{error}");
        let text = format!("id,minutes,amount\n{ID},1,free\n{ID},long,1\n");
        let error = read(&text).unwrap_err().to_string();
        assert!(error.contains("line 2: the amount `free`"), "{error}");
        assert!(error.contains("line 3: the length `long`"), "{error}");
    }
}
