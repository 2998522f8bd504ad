//! Bars of a column of amounts, for the eye: each as long as its share of the largest one.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

/// A bar of fewer cells tells nothing.
pub(super) const NARROWEST: usize = 8;
/// Longer ones are no easier to compare.
pub(super) const WIDEST: usize = 40;

/// An eighth of a cell, two of them, and so on.
const PARTS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// A bar of at most `cells` for an amount, the largest having all of them. What is unknown or not
/// above zero has none; anything above has a trace at least.
pub(super) fn bar(amount: Option<Decimal>, largest: Decimal, cells: usize) -> String {
    let Some(amount) = amount.filter(|amount| *amount > Decimal::ZERO) else {
        return String::new();
    };
    let eighths = amount
        .checked_div(largest)
        .and_then(|share| share.checked_mul(Decimal::from(cells * 8)))
        .and_then(|eighths| eighths.trunc().to_usize())
        .unwrap_or(0)
        .clamp(1, cells * 8);
    let mut bar = "█".repeat(eighths / 8);
    bar.extend(
        eighths
            .checked_rem(8)
            .and_then(|rest| PARTS.get(rest.wrapping_sub(1))),
    );
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share_of_the_largest() {
        let of = |amount: &str, largest: &str| {
            bar(Some(amount.parse().unwrap()), largest.parse().unwrap(), 8)
        };
        assert_eq!(of("10", "10"), "████████");
        assert_eq!(of("5.00", "10"), "████");
        assert_eq!(of("0.2", "1.6"), "█");
        assert_eq!(of("0.25", "1.6"), "█▎");
        assert_eq!(of("0.000000001", "123456789.123456789"), "▏");
        let most = Decimal::MAX.to_string();
        assert_eq!(of(&most, &most), "████████");
        assert_eq!(of("0", "10"), "");
        assert_eq!(of("-3", "10"), "");
        assert_eq!(bar(None, Decimal::TEN, 8), "");
    }
}
