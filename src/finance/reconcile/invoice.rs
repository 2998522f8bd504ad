//! An invoice as a provider sends it: a delimited text file with a header, read strictly.

use std::io::{Read, Seek};

use rust_decimal::Decimal;
use uuid::Uuid;

use self::amount::{BadAmount, read_amount};
use crate::human::count;
use crate::money::Usd;
use crate::printable::printable;

mod amount;
pub(super) mod charges;
mod columns;
mod dialect;
mod encoding;
mod error;
mod rows;

pub use amount::DecimalSign;
pub use charges::{Charge, ChargeKind, ChargeSum, OtherLines};
pub use columns::{Columns, Length};
pub use dialect::{Dialect, Format};
pub use error::InvoiceError;

/// Bad lines that are named.
const SHOWN: usize = 10;
/// Characters of a bad row that are shown.
const ROW_CHARS: usize = 160;
/// Characters of a text in the file that are shown.
const QUOTED_CHARS: usize = 48;
/// Lines that are handed on together.
const BATCH: usize = 1000;

/// One line about one recording, or one session.
#[derive(Debug, Clone, Copy)]
pub struct InvoiceLine {
    /// In the file, from 1.
    pub number: u64,
    /// Of a recording, or of what the column names.
    pub id: Uuid,
    pub amount: Usd,
    pub seconds: Option<Decimal>,
}

/// The lines of a file that cannot be read.
#[derive(Default)]
struct BadLines {
    named: Vec<String>,
    number: u64,
}

impl BadLines {
    fn add(&mut self, line: u64, what: impl FnOnce() -> String) {
        self.number += 1;
        if self.named.len() < SHOWN {
            self.named.push(format!("line {line}: {}", what()));
        }
    }

    fn demand_none(mut self) -> Result<(), InvoiceError> {
        let others = self.number - self.named.len() as u64;
        if others > 0 {
            self.named.push(format!("and {others} more"));
        }
        if self.named.is_empty() {
            return Ok(());
        }
        Err(InvoiceError::Lines(self.named.join("\n  ")))
    }
}

/// Reads an invoice and hands its lines about recordings on in batches, until `batch` wants no
/// more. Lines whose ID is empty or no UUID are no recordings: they are returned.
///
/// # Errors
/// With each line that cannot be read.
pub fn read_invoice(
    file: &mut (impl Read + Seek),
    format: &Format,
    dialect: &Dialect,
    mut batch: impl FnMut(Vec<InvoiceLine>) -> bool,
) -> Result<OtherLines, InvoiceError> {
    let mut rows = dialect.rows(file)?;
    let (mut lines, mut others) = (Vec::new(), OtherLines::default());
    let mut bad = BadLines::default();
    let unreadable = |what: &str, text: &str, why: BadAmount| {
        let text = quoted(text);
        format!("the {what} `{text}` {why}; correct it in the file, or remove the line")
    };
    while let Some(row) = rows.next()? {
        let number = row.line;
        if row.is_blank() && (row.fields.len() <= 1 || row.fields.len() == dialect.fields) {
            others.blank += 1;
            continue;
        }
        if row.fields.len() != dialect.fields {
            bad.add(number, || wrong_fields(&row.fields, dialect));
            continue;
        }
        let field = |place: usize| row.fields.get(place).map_or("", |it| it.trim());
        let id = field(dialect.places.id);
        let text = field(dialect.places.amount);
        let amount = read_amount(text, dialect.decimal);
        let Ok(id) = Uuid::try_parse(id) else {
            if !id.is_empty() && others.foreign_id.is_none() {
                others.foreign_id = Some(quoted(id));
            }
            let amount = match amount {
                Ok(amount) => Some(amount),
                Err(BadAmount::Blank) => None,
                Err(why) => {
                    bad.add(number, || unreadable("amount", text, why));
                    continue;
                }
            };
            let label = label(&row.fields, dialect.places.amount);
            if let Err(why) = others.add(number, &label, amount)? {
                bad.add(number, || {
                    let label = quoted(&label);
                    format!("the amount of `{label}` {why}; enter it, or remove the line")
                });
            }
            continue;
        };
        let amount = match amount {
            Ok(amount) => amount,
            Err(why) => {
                bad.add(number, || unreadable("amount", text, why));
                continue;
            }
        };
        let length = dialect.places.length.map_or("", field);
        let seconds = match (&format.columns.length, length) {
            (None, _) | (_, "") => None,
            (Some(kind), text) => {
                let read = read_amount(text, dialect.decimal);
                let seconds = read.and_then(|length| {
                    let seconds = length.decimal().checked_mul(kind.seconds_each);
                    seconds.ok_or(BadAmount::TooLong)
                });
                match seconds {
                    Ok(seconds) => Some(seconds),
                    Err(why) => {
                        bad.add(number, || unreadable("length", text, why));
                        continue;
                    }
                }
            }
        };
        lines.push(InvoiceLine {
            number,
            id,
            amount,
            seconds,
        });
        if lines.len() == BATCH && !batch(std::mem::take(&mut lines)) {
            return Ok(others);
        }
    }
    bad.demand_none()?;
    batch(lines);
    Ok(others)
}

fn wrong_fields(fields: &[String], dialect: &Dialect) -> String {
    let row = fields.iter().take(ROW_CHARS).map(|field| quoted(field));
    let row = row.collect::<Vec<_>>().join(" | ");
    let shown: String = row.chars().take(ROW_CHARS).collect();
    let cause = if fields.len() > dialect.fields {
        "quote fields that hold the delimiter, such as a decimal comma"
    } else {
        "fill the row up to the header, or remove it"
    };
    format!(
        "{} ({shown}) where the header has {}; {cause}",
        count(i64::try_from(fields.len()).unwrap_or(i64::MAX), "field"),
        dialect.fields
    )
}

/// Returns the text of a row beside its amount.
fn label(fields: &[String], amount: usize) -> String {
    let texts = fields.iter().enumerate();
    let texts = texts.filter(|(place, text)| *place != amount && !text.trim().is_empty());
    texts
        .map(|(_, text)| text.trim())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The beginning of a text in the file, safe to print.
fn quoted(text: &str) -> String {
    let beginning: String = text.chars().take(QUOTED_CHARS).collect();
    // Escapes are longer than what they stand for.
    printable(&beginning).chars().take(QUOTED_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    const ID: &str = "c22d24f6-5a47-4597-9a23-c7d01e696b92";

    fn format() -> Format {
        Format {
            columns: Columns {
                id: "id".to_owned(),
                id_flag: "--id-column",
                amount: "amount".to_owned(),
                length: Some(Length {
                    column: "minutes".to_owned(),
                    seconds_each: Decimal::from(60),
                }),
            },
            encoding: None,
            delimiter: None,
            decimal: None,
            header_line: None,
        }
    }

    fn read(text: &str) -> Result<(Vec<InvoiceLine>, OtherLines), String> {
        let mut all = Vec::new();
        let mut file = Cursor::new(text);
        let format = format();
        let others = Dialect::detect(&mut file, &format)
            .and_then(|dialect| {
                read_invoice(&mut file, &format, &dialect, |lines| {
                    all.extend(lines);
                    true
                })
            })
            .map_err(|error| error.to_string())?;
        Ok((all, others))
    }

    #[test]
    fn lines_without_recording_are_listed_and_totals_are_not_added() {
        let text = format!(
            "ID,Minutes,Amount\n{ID},2.5,0.05\n,,\nTax,,0.01\nTotal,,\"$1,000.00\"\nThank you,,\n"
        );
        let (lines, others) = read(&text).unwrap();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].number, 2);
        assert_eq!(lines[0].seconds, Some(Decimal::from(150)));
        let tax = others.sum(ChargeKind::Tax);
        assert_eq!((tax.lines, tax.amount_usd), (1, "0.01".parse().unwrap()));
        assert_eq!(others.total, Some((5, Decimal::from(1000).into())));
        assert_eq!((others.lines(), others.blank), (3, 1));
        assert_eq!(others.listed[2].kind, ChargeKind::Note);
    }

    #[test]
    fn unreadable_file_is_refused_with_place_and_fix() {
        let missing = "id,price\n";
        let bad = format!("id,minutes,amount\n{ID},1,free\n{ID},long,1\n{ID},,\nTotal,,n/a\n");
        let empty_total = "id,minutes,amount\nTotal,,\n";
        let comma = format!("id,minutes,amount\n{ID},1,0,27\n{ID},1\n");
        let twice = "id,minutes,amount,Amount\n";
        for (text, parts) in [
            (missing, &["`amount`", "id, price", "--amount-column"][..]),
            (
                &bad,
                &[
                    "line 2: the amount `free` is not a number",
                    "line 3: the length `long`",
                    "line 4: the amount `` is empty",
                    "line 5: the amount `n/a`",
                ],
            ),
            (empty_total, &["line 2: the amount of `Total` is empty"]),
            (
                &comma,
                &["line 2: 4 fields (", "| 1 | 0 | 27)", "line 3: 2 fields"],
            ),
            (twice, &["two columns are named `amount`"]),
            ("", &["no lines"]),
        ] {
            let error = read(text).unwrap_err();
            for part in parts {
                assert!(error.contains(part), "{part}: {error}");
            }
        }
    }

    #[test]
    fn decimal_sign_is_detected_or_refused() {
        let file = |amounts: [&str; 2]| {
            let [first, second] = amounts;
            format!("id;minutes;amount\n{ID};1;{first}\n{ID};1;{second}\n")
        };
        let amounts = |lines: Vec<InvoiceLine>| lines[0].amount.to_string();
        let (lines, _) = read(&file(["0,050", "0,27"])).unwrap();
        assert_eq!(amounts(lines), "0.050");
        let (lines, _) = read(&file(["1,234", "0.27"])).unwrap();
        assert_eq!(amounts(lines), "1234");
        for (pair, parts) in [
            (["0,050", "1"], ["`0,050` in line 2", "--decimal-comma"]),
            (["1.234", "1"], ["`1.234` in line 2", "--decimal-point"]),
            (["0,5", "0.5"], ["`0,5` in line 2", "`0.5` in line 3"]),
        ] {
            let error = read(&file(pair)).unwrap_err();
            for part in parts {
                assert!(error.contains(part), "{error}");
            }
        }
        assert!(read(&file(["0,050", "0.27"])).is_err());
    }
}
