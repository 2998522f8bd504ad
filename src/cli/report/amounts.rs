//! A column of money for people: shown to the cent, with a rounding line, and exact in the sum.

use rust_decimal::{Decimal, RoundingStrategy};

use crate::money::Usd;

/// Amounts with at most this many decimals are shown as they are.
const EXACT_DECIMALS: u32 = 4;
/// Else they are rounded to cents.
const CENTS: u32 = 2;

/// The amounts need more digits than can be added exactly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the total needs more than 28 digits to be exact; use --output csv, which is exact at any size"
)]
pub struct InexactSum;

/// A column of amounts ready to be shown: `rows` plus `rounding` is `total`, to the last digit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Amounts {
    pub(super) rows: Vec<Option<Decimal>>,
    /// What rounding the rows took away; `None` when nothing was rounded.
    pub(super) rounding: Option<Decimal>,
    /// `None` when no amount is known.
    pub(super) total: Option<Decimal>,
}

impl Amounts {
    /// Takes the amounts as Postgres spells them.
    pub(super) fn new(spelled: &[Option<String>]) -> Result<Self, InexactSum> {
        let amounts = spelled
            .iter()
            .map(|text| {
                text.as_deref()
                    .map(|text| {
                        text.parse::<Usd>()
                            .map(|amount| amount.decimal().normalize())
                    })
                    .transpose()
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| InexactSum)?;
        let total = sum(&amounts)?;
        if amounts
            .iter()
            .flatten()
            .all(|amount| amount.scale() <= EXACT_DECIMALS)
        {
            return Ok(Self {
                rows: amounts,
                rounding: None,
                total,
            });
        }
        let rows: Vec<_> = amounts.iter().map(|amount| amount.map(to_cents)).collect();
        let rounding = match (total, sum(&rows)?) {
            (Some(total), Some(shown)) => Some(add_exactly(total, -shown)?),
            _ => None,
        };
        Ok(Self {
            rows,
            rounding,
            total,
        })
    }

    /// Spells an amount of this column so that, aligned to the right, all points stand in line.
    pub(super) fn spell(&self, amount: Decimal) -> String {
        let scale = amount.normalize().scale().max(CENTS);
        let mut shown = amount;
        shown.rescale(scale);
        let widest = self
            .rows
            .iter()
            .flatten()
            .chain(&self.rounding)
            .chain(&self.total)
            .map(|amount| amount.normalize().scale())
            .fold(CENTS, u32::max);
        let padding = usize::try_from(widest - scale).unwrap_or(0);
        format!("{shown}{:padding$}", "")
    }
}

fn to_cents(amount: Decimal) -> Decimal {
    let mut rounded = amount.round_dp_with_strategy(CENTS, RoundingStrategy::MidpointNearestEven);
    if rounded.is_zero() {
        rounded.set_sign_positive(true);
    }
    rounded
}

/// The exact sum of the known amounts; `None` when none is known.
fn sum(amounts: &[Option<Decimal>]) -> Result<Option<Decimal>, InexactSum> {
    let mut known = amounts.iter().copied().flatten();
    known
        .next()
        .map(|first| known.try_fold(first, add_exactly))
        .transpose()
}

/// Adds, or refuses where the library would round to make the sum fit.
fn add_exactly(a: Decimal, b: Decimal) -> Result<Decimal, InexactSum> {
    let scale = a.scale().max(b.scale());
    let mut sum = a.checked_add(b).ok_or(InexactSum)?;
    sum.rescale(scale);
    if sum.scale() == scale {
        Ok(sum)
    } else {
        Err(InexactSum)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn amounts(spelled: &[&str]) -> Result<Amounts, InexactSum> {
        let spelled: Vec<_> = spelled
            .iter()
            .map(|text| (!text.is_empty()).then(|| (*text).to_owned()))
            .collect();
        Amounts::new(&spelled)
    }

    fn shown(amounts: &Amounts, amount: Option<Decimal>) -> String {
        amount.map_or_else(String::new, |amount| amounts.spell(amount))
    }

    #[test]
    fn few_decimals_are_shown_as_they_are() {
        let column = amounts(&["0.1", "0.2", "", "1.2500", "3"]).unwrap();
        let rows: Vec<_> = column.rows.iter().map(|row| shown(&column, *row)).collect();
        assert_eq!(rows, ["0.10", "0.20", "", "1.25", "3.00"]);
        assert_eq!(column.rounding, None);
        assert_eq!(shown(&column, column.total), "4.55");
    }

    #[test]
    fn many_decimals_are_rounded_to_cents_and_the_rest_has_its_own_line() {
        let column = amounts(&["123456789.123456789", "0.005", "-0.001"]).unwrap();
        let rows: Vec<_> = column.rows.iter().map(|row| shown(&column, *row)).collect();
        assert_eq!(rows, ["123456789.12       ", "0.00       ", "0.00       "]);
        assert_eq!(shown(&column, column.rounding), "0.007456789");
        assert_eq!(shown(&column, column.total), "123456789.127456789");
    }

    #[test]
    fn no_known_amount_has_no_total() {
        let column = amounts(&["", ""]).unwrap();
        assert_eq!((column.rounding, column.total), (None, None));
    }

    #[test]
    fn a_sum_that_would_be_rounded_is_refused() {
        let largest = Decimal::MAX.to_string();
        assert_eq!(amounts(&[&largest, "1"]), Err(InexactSum));
        assert_eq!(amounts(&[&largest, "0.1"]), Err(InexactSum));
        assert_eq!(amounts(&["NaN"]), Err(InexactSum));
        assert!(amounts(&[&largest, "0", "-0.00"]).is_ok());
        assert!(amounts(&["0.0000000000000000000000000001", "1"]).is_ok());
    }

    proptest! {
        #[test]
        fn rows_and_rounding_are_the_total(
            units in proptest::collection::vec((-1_000_000_000_000_i64..1_000_000_000_000, 0_u32..=9), 1..40)
        ) {
            let spelled: Vec<_> = units
                .iter()
                .map(|(units, scale)| Some(Decimal::new(*units, *scale).to_string()))
                .collect();
            let column = Amounts::new(&spelled).unwrap();
            // In units of 10^-9 the exact total is an integer.
            let nanos: i128 = units
                .iter()
                .map(|(units, scale)| i128::from(*units) * 10_i128.pow(9 - scale))
                .sum();
            prop_assert_eq!(column.total, Some(Decimal::from_i128_with_scale(nanos, 9)));
            let printed: Decimal = column.rows.iter().flatten().sum();
            prop_assert_eq!(Some(printed + column.rounding.unwrap_or_default()), column.total);
        }
    }
}
