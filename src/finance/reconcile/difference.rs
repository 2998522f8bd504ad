//! One ID whose costs differ, as it is sorted and printed.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::finance::report::{Cell, Row};

/// One difference; the largest sorts first, whatever its sign.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Difference {
    /// Where it sorts.
    pub(super) place: Reverse<String>,
    pub(super) id: Option<Uuid>,
    pub(super) discrepancy: String,
    pub(super) line: Option<i64>,
    pub(super) month: Option<String>,
    pub(super) cost: Option<String>,
    pub(super) amount: Option<String>,
    pub(super) change: String,
    pub(super) text: Option<String>,
}

impl Difference {
    pub(super) fn new(id: Option<Uuid>, discrepancy: &str, difference: String) -> Self {
        Self {
            place: Reverse(place(&difference)),
            id,
            discrepancy: discrepancy.to_owned(),
            line: None,
            month: None,
            cost: None,
            amount: None,
            change: difference,
            text: None,
        }
    }

    /// Returns the cells of [`super::columns`].
    pub(super) fn into_row(self) -> Row {
        vec![
            Cell::Text(self.discrepancy),
            self.id.into(),
            self.line.into(),
            self.month.into(),
            Cell::usd(self.cost),
            Cell::usd(self.amount),
            Cell::Usd(self.change),
            self.text.into(),
        ]
    }
}

/// Returns a text that sorts as the amount does without its sign: amounts are longer than any
/// number type.
fn place(amount: &str) -> String {
    let amount = amount.trim_start_matches('-');
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    format!("{:08}{whole}.{fraction}", whole.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_sorts_as_amount_without_sign() {
        let amounts = [
            "0.00", "0.0001", "-0.05", "0.5", "-1", "9.99", "10", "-100.001", "1000",
        ];
        for pair in amounts.windows(2) {
            assert!(place(pair[0]) < place(pair[1]), "{pair:?}");
        }
        assert_eq!(place("-0.30"), place("0.3"));
    }
}
