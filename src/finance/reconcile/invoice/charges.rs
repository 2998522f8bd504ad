//! Lines without a recording: tax, fees, credits, and the totals that the invoice states itself.

use rust_decimal::Decimal;

use super::{InvoiceError, quoted};
use crate::money::Usd;

/// Lines that are kept to be listed; all are counted and added up.
const LISTED: usize = 1000;

/// What a line without a recording is about, by its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChargeKind {
    Tax,
    Fee,
    Credit,
    Other,
    /// Adds up lines above it, so it is part of no sum.
    Subtotal,
    /// What is to be paid.
    Total,
    /// Text without an amount.
    Note,
}

impl ChargeKind {
    /// The kinds that are added to the costs of recordings.
    pub const ADDED: [Self; 4] = [Self::Tax, Self::Fee, Self::Credit, Self::Other];

    /// The word in tables, CSV and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tax => "tax",
            Self::Fee => "fee",
            Self::Credit => "credit",
            Self::Other => "not_a_recording",
            Self::Subtotal => "subtotal",
            Self::Total => "total",
            Self::Note => "note",
        }
    }

    /// Returns the kind of a line with this text.
    fn of(text: &str) -> Self {
        let words: Vec<String> = text
            .split(|it: char| !it.is_alphabetic())
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect();
        let has = |any: &[&str]| words.iter().any(|word| any.contains(&&**word));
        let has_pair = |first: &str, second: &str| {
            let mut pairs = words.windows(2);
            pairs.any(|pair| pair[0] == first && pair[1] == second)
        };
        let is_total = has(&[
            "total",
            "totals",
            "payable",
            "due",
            "gesamt",
            "gesamtbetrag",
        ]) || has(&["summe", "rechnungsbetrag", "zahlbetrag"])
            || has_pair("grand", "total");
        let is_tax = has(&[
            "tax", "taxes", "vat", "gst", "hst", "pst", "mwst", "ust", "tva",
        ]) || has(&["steuer", "mehrwertsteuer", "umsatzsteuer"]);
        let without = has(&[
            "excl",
            "excluding",
            "exclusive",
            "before",
            "without",
            "exkl",
        ]) || has(&["net", "netto", "ohne", "zzgl", "ht"]);
        let with = has(&["incl", "including", "inclusive", "after", "with", "inkl"])
            || has(&["gross", "brutto", "mit", "ttc"]);
        if has(&["subtotal", "subtotals", "zwischensumme", "nettobetrag"])
            || has_pair("sub", "total")
            || is_total && without
        {
            Self::Subtotal
        } else if is_total && (!is_tax || with) {
            Self::Total
        } else if is_tax {
            Self::Tax
        } else if has(&[
            "credit",
            "credits",
            "refund",
            "discount",
            "gutschrift",
            "rabatt",
        ]) {
            Self::Credit
        } else if has(&["fee", "fees", "surcharge", "gebühr", "gebühren"]) {
            Self::Fee
        } else {
            Self::Other
        }
    }
}

/// One line without a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// In the file, from 1.
    pub number: u64,
    pub kind: ChargeKind,
    /// The line's text, safe to print.
    pub label: String,
    pub amount: Option<Usd>,
}

/// Lines of one kind together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChargeSum {
    pub lines: u64,
    pub amount_usd: Decimal,
    /// Lines whose amount is not zero.
    pub charged: u64,
}

/// What of an invoice is no line about a recording.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OtherLines {
    sums: [ChargeSum; 7],
    /// The first of them.
    pub listed: Vec<Charge>,
    /// The last total that the invoice states.
    pub total: Option<(u64, Usd)>,
    /// Rows without any text.
    pub blank: u64,
    /// An ID that is no UUID, for errors.
    pub foreign_id: Option<String>,
}

impl OtherLines {
    pub fn sum(&self, kind: ChargeKind) -> ChargeSum {
        self.sums[kind as usize]
    }

    pub fn lines(&self) -> u64 {
        self.sums.iter().map(|sum| sum.lines).sum()
    }

    /// Adds a line. `amount` is `None` where the column is empty.
    ///
    /// # Errors
    /// With what is wrong, if a line that should have an amount has none.
    pub(super) fn add(
        &mut self,
        number: u64,
        text: &str,
        amount: Option<Usd>,
    ) -> Result<Result<(), &'static str>, InvoiceError> {
        let kind = match (ChargeKind::of(text), amount) {
            (ChargeKind::Other, None) => ChargeKind::Note,
            (_, None) => return Ok(Err("is empty")),
            (kind, Some(_)) => kind,
        };
        let sum = &mut self.sums[kind as usize];
        sum.lines += 1;
        if let Some(amount) = amount {
            let added = add_exactly(sum.amount_usd, amount.decimal());
            sum.amount_usd = added.ok_or(InvoiceError::Sum)?;
            sum.charged += u64::from(!amount.decimal().is_zero());
            if kind == ChargeKind::Total {
                self.total = Some((number, amount));
            }
        }
        if self.listed.len() < LISTED {
            self.listed.push(Charge {
                number,
                kind,
                label: quoted(text),
                amount,
            });
        }
        Ok(Ok(()))
    }
}

/// Adds without rounding: [`Decimal`] drops digits that it cannot hold.
pub(in crate::finance::reconcile) fn add_exactly(one: Decimal, other: Decimal) -> Option<Decimal> {
    let sum = one.checked_add(other)?;
    let is_exact =
        one.is_zero() || other.is_zero() || sum.scale() >= one.scale().max(other.scale());
    is_exact.then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_of_line_follows_from_its_words() {
        for (text, kind) in [
            ("Tax", ChargeKind::Tax),
            ("Sales tax 8.875 %", ChargeKind::Tax),
            ("19 % MwSt.", ChargeKind::Tax),
            ("Total tax", ChargeKind::Tax),
            ("Total", ChargeKind::Total),
            ("TOTAL DUE", ChargeKind::Total),
            ("Amount due", ChargeKind::Total),
            ("Grand total incl. tax", ChargeKind::Total),
            ("Gesamtbetrag brutto", ChargeKind::Total),
            ("Subtotal", ChargeKind::Subtotal),
            ("Sub-total", ChargeKind::Subtotal),
            ("Total excl. VAT", ChargeKind::Subtotal),
            ("Zwischensumme", ChargeKind::Subtotal),
            ("Regulatory fee", ChargeKind::Fee),
            ("Credit note 17", ChargeKind::Credit),
            ("RE-c22d24f6-5a47-4597-9a23-c7d01e696b92", ChargeKind::Other),
            ("", ChargeKind::Other),
            ("Taxi", ChargeKind::Other),
        ] {
            assert_eq!(ChargeKind::of(text), kind, "{text}");
        }
    }

    #[test]
    fn inexact_sum_is_refused() {
        let big: Decimal = "7922816251426433759354395033".parse().unwrap();
        let small: Decimal = "0.0000000001".parse().unwrap();
        assert_eq!(add_exactly(big, small), None);
        assert_eq!(add_exactly(Decimal::MAX, Decimal::ONE), None);
        assert_eq!(add_exactly(Decimal::ZERO, small), Some(small));
        assert_eq!(
            add_exactly(Decimal::ONE, small).map(|it| it.scale()),
            Some(10)
        );
    }
}
