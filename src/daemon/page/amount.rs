//! Money on the page: shown to four decimals at most, exact in the markup, never a float.
#![deny(
    clippy::float_arithmetic,
    clippy::float_cmp,
    clippy::cast_precision_loss
)]

use maud::{Markup, html};
use rust_decimal::{Decimal, RoundingStrategy};

use super::value::{grouped, unknown};
use crate::money::Usd;

const FEWEST: u32 = 2;
const MOST: u32 = 4;

/// A column of amounts, all with as many decimals as one of them needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Amounts {
    decimals: u32,
    /// Whether one of them has more than are shown.
    pub(super) is_rounded: bool,
}

impl Amounts {
    /// Takes the amounts as Postgres spells them.
    pub(super) fn of<'a>(spelled: impl IntoIterator<Item = Option<&'a str>>) -> Self {
        let scales = spelled.into_iter().flatten().filter_map(decimal);
        let widest = scales.map(|amount| amount.scale()).fold(FEWEST, u32::max);
        Self {
            decimals: widest.min(MOST),
            is_rounded: widest > MOST,
        }
    }

    /// The amount as it is shown, and exactly as it is in the markup. One that is too long to be
    /// calculated with is shown as it is.
    pub(super) fn show(self, spelled: Option<&str>) -> Markup {
        let Some(exact) = spelled else {
            return unknown();
        };
        let shown = decimal(exact).map_or_else(
            || exact.to_owned(),
            |amount| {
                let mut shown = rounded(amount, self.decimals);
                shown.rescale(self.decimals);
                shown.to_string()
            },
        );
        html! { data value=(exact) { (grouped(&shown)) } }
    }
}

/// In ten-thousandths of a dollar, for the height of a bar.
pub(super) fn ten_thousandths(spelled: &str) -> i64 {
    let Some(amount) = decimal(spelled) else {
        return i64::MAX;
    };
    let far = if amount.is_sign_negative() {
        i64::MIN
    } else {
        i64::MAX
    };
    rounded(amount, MOST)
        .checked_mul(Decimal::from(10_000))
        .and_then(|amount| i64::try_from(amount).ok())
        .unwrap_or(far)
}

/// The reverse, for the axis: `$1,234.50`.
pub(super) fn dollars(ten_thousandths: i64) -> String {
    let amount = Decimal::new(ten_thousandths, MOST).normalize();
    format!("${}", grouped(&amount.to_string()))
}

fn rounded(amount: Decimal, decimals: u32) -> Decimal {
    let mut rounded =
        amount.round_dp_with_strategy(decimals, RoundingStrategy::MidpointNearestEven);
    if rounded.is_zero() {
        rounded.set_sign_positive(true);
    }
    rounded
}

fn decimal(spelled: &str) -> Option<Decimal> {
    let amount: Usd = spelled.parse().ok()?;
    Some(amount.decimal().normalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(spelled: &[&str]) -> (Amounts, Vec<String>) {
        let amounts = Amounts::of(spelled.iter().map(|text| Some(*text)));
        let shown = spelled.iter().map(|text| {
            let markup = amounts.show(Some(text)).into_string();
            let exact = format!("<data value=\"{text}\">");
            let inner = markup
                .strip_prefix(exact.as_str())
                .expect("exact in the markup");
            inner.trim_end_matches("</data>").to_owned()
        });
        let shown = shown.collect();
        (amounts, shown)
    }

    #[test]
    fn a_column_has_as_many_decimals_as_it_needs_and_four_at_most() {
        assert_eq!(column(&["0.1", "1234.500"]).1, ["0.10", "1,234.50"]);
        assert_eq!(column(&["0.1", "0.0042"]).1, ["0.1000", "0.0042"]);
        let (amounts, shown) = column(&["0.7294001", "-0.00001", "123456789.123456789"]);
        assert_eq!(shown, ["0.7294", "0.0000", "123,456,789.1235"]);
        assert!(amounts.is_rounded);
        assert!(!column(&["0.7294"]).0.is_rounded);
    }

    #[test]
    fn what_is_too_long_is_shown_as_it_is() {
        let long = "12345678901234567890123456789012345.5";
        assert_eq!(
            column(&[long]).1,
            ["12,345,678,901,234,567,890,123,456,789,012,345.5"]
        );
        assert_eq!(ten_thousandths(long), i64::MAX);
        assert_eq!(
            Amounts::of([None]).show(None).into_string(),
            unknown().into_string()
        );
    }

    #[test]
    fn bars_are_measured_in_whole_ten_thousandths() {
        assert_eq!(ten_thousandths("0.72945"), 7294);
        assert_eq!(ten_thousandths("-2.5"), -25_000);
        assert_eq!(ten_thousandths("9999999999999999999999999999"), i64::MAX);
        assert_eq!(ten_thousandths("-9999999999999999999999999999"), i64::MIN);
        assert_eq!(dollars(12_345_000), "$1,234.5");
        assert_eq!(dollars(0), "$0");
    }
}
