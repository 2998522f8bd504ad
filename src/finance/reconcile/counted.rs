//! What a comparison has found so far.

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::Discrepancy;
use super::compare::CompareError;
use super::difference::Difference;
use super::sorter::Sorter;
use super::sums::Sums;
use crate::finance::report::Month;

/// Amounts to add, by the name of their sum.
pub(super) type Amounts = Vec<(&'static str, String)>;

#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) sums: Sums,
    pub(super) by_kind: [i64; Discrepancy::ALL.len()],
    pub(super) differences: Sorter<Difference>,
    pub(super) ours: i64,
    pub(super) matched: i64,
    /// Units of the invoice that the ledger knows.
    pub(super) known: i64,
    pub(super) lines: i64,
}

impl Counted {
    /// Takes a row of the comparison.
    pub(super) fn line(&mut self, row: &PgRow, amounts: &mut Amounts) -> Result<(), CompareError> {
        let (word, amount): (String, String) =
            (row.try_get("discrepancy")?, row.try_get("amount")?);
        self.lines += row.try_get::<i64, _>("lines")?;
        self.known += i64::from(row.try_get::<bool, _>("is_known")?);
        amounts.push(("theirs", amount.clone()));
        let mut kinds = Discrepancy::ALL.into_iter();
        let Some(kind) = kinds.find(|kind| kind.as_str() == word) else {
            self.matched += 1;
            return Ok(());
        };
        let held_until: Option<String> = row.try_get("held_until")?;
        let difference = Difference {
            line: row.try_get("line")?,
            month: row.try_get("month")?,
            cost: row.try_get("cost")?,
            amount: Some(amount),
            text: held_until
                .filter(|_| kind == Discrepancy::LateChange)
                .map(|time| format!("held until {time} UTC")),
            ..Difference::new(row.try_get("id")?, &word, row.try_get("difference")?)
        };
        self.differ(kind, difference, amounts)
    }

    /// Takes a cost of the month that the invoice has not.
    pub(super) fn missing(
        &mut self,
        id: Option<Uuid>,
        month: Month,
        (cost, difference): (String, String),
        amounts: &mut Amounts,
    ) -> Result<(), CompareError> {
        let kind = Discrepancy::MissingOnInvoice;
        let difference = Difference {
            month: Some(month.first_day().to_string()),
            cost: Some(cost),
            text: id
                .is_none()
                .then(|| "recordings without a session".to_owned()),
            ..Difference::new(id, kind.as_str(), difference)
        };
        self.differ(kind, difference, amounts)
    }

    fn differ(
        &mut self,
        kind: Discrepancy,
        difference: Difference,
        amounts: &mut Amounts,
    ) -> Result<(), CompareError> {
        self.by_kind[kind as usize] += 1;
        amounts.push((kind.as_str(), difference.change.clone()));
        Ok(self.differences.push(difference)?)
    }
}
