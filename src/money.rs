//! Money: an exact decimal amount of US dollars, never a binary float.
#![deny(
    clippy::float_arithmetic,
    clippy::float_cmp,
    clippy::cast_precision_loss
)]

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;

/// An amount in US dollars, exactly as the provider spelled it (scale included).
///
/// Holds up to 28 significant digits; a token that needs more is refused rather than rounded.
#[derive(Clone, Copy)]
pub struct Usd(Decimal);

/// The token is not a decimal number, or has more digits than can be held exactly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{token}` is not an amount that fits 28 decimal digits exactly")]
pub struct InexactAmount {
    token: String,
}

impl Usd {
    pub const fn decimal(self) -> Decimal {
        self.0
    }

    /// Reads a JSON token: a number (`0.050`, `1e-7`) or a string holding one (`"0.05"`).
    /// `null` and the empty string are no amount.
    ///
    /// The provider types the same money as a number in one endpoint and as a string in another.
    pub fn from_json_token(token: &str) -> Result<Option<Self>, InexactAmount> {
        let text = token.trim().trim_matches('"').trim();
        match text {
            "" | "null" => Ok(None),
            _ => text.parse().map(Some),
        }
    }
}

impl From<Decimal> for Usd {
    fn from(amount: Decimal) -> Self {
        Self(amount)
    }
}

impl FromStr for Usd {
    type Err = InexactAmount;

    fn from_str(text: &str) -> Result<Self, InexactAmount> {
        let inexact = || InexactAmount {
            token: text.chars().take(64).collect(),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => {
                (mantissa, exponent.parse::<i32>().map_err(|_| inexact())?)
            }
            None => (text, 0),
        };
        // `Decimal` takes `1_000` for 1000, which no JSON number is.
        if mantissa.contains('_') {
            return Err(inexact());
        }
        let mut amount = Decimal::from_str_exact(mantissa).map_err(|_| inexact())?;
        let scale = i64::from(amount.scale()) - i64::from(exponent);
        if scale >= 0 {
            let scale = u32::try_from(scale).map_err(|_| inexact())?;
            amount.set_scale(scale).map_err(|_| inexact())?;
        } else {
            amount.set_scale(0).map_err(|_| inexact())?;
            for _ in scale..0 {
                amount = amount.checked_mul(Decimal::TEN).ok_or_else(inexact)?;
                if amount.is_zero() {
                    break;
                }
            }
        }
        Ok(Self(amount))
    }
}

impl PartialEq for Usd {
    /// Equal in value: `0.05` equals `0.050`.
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Usd {}

impl fmt::Display for Usd {
    /// A plain decimal with the scale it came in, no exponent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Usd({})", self.0)
    }
}

impl serde::Serialize for Usd {
    /// As a string: JSON numbers become floats in most readers.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tokens_keep_value_and_scale() {
        for (token, shown) in [
            ("0.05", "0.05"),
            ("0.050", "0.050"),
            ("\"0.05\"", "0.05"),
            ("0", "0"),
            ("0.00", "0.00"),
            ("-0.0025", "-0.0025"),
            ("1e-7", "0.0000001"),
            ("5.06e-6", "0.00000506"),
            ("1.5E2", "150"),
            ("12e3", "12000"),
            ("1.250e1", "12.50"),
            ("0e999999", "0"),
            ("123456789.123456789", "123456789.123456789"),
        ] {
            let amount = Usd::from_json_token(token).unwrap().unwrap();
            assert_eq!(amount.to_string(), shown, "{token}");
        }
    }

    #[test]
    fn null_is_no_amount() {
        assert_eq!(Usd::from_json_token("null"), Ok(None));
        assert_eq!(Usd::from_json_token("\"\""), Ok(None));
    }

    #[test]
    fn what_cannot_be_held_exactly_is_refused() {
        for token in [
            "true",
            "{}",
            "\"free\"",
            "\"1_000\"",
            "1_0e2",
            "0.0_5",
            "1e-40",
            "1e40",
            "1e99999999999",
            "0.12345678901234567890123456789012345",
        ] {
            assert!(Usd::from_json_token(token).is_err(), "{token}");
        }
    }

    proptest! {
        #[test]
        fn any_decimal_survives_being_shown_and_read(units: i64, scale in 0_u32..=18) {
            let amount = Usd(Decimal::new(units, scale));
            let again: Usd = amount.to_string().parse().unwrap();
            prop_assert_eq!(again.to_string(), amount.to_string());
        }

        #[test]
        fn an_exponent_only_moves_the_point(units in -1_000_000_i64..1_000_000, exponent in -12_i32..=12) {
            let moved: Usd = format!("{units}e{exponent}").parse().unwrap();
            let expected = if exponent < 0 {
                Decimal::new(units, exponent.unsigned_abs())
            } else {
                Decimal::from(units) * Decimal::from(10_i64.pow(exponent.unsigned_abs()))
            };
            prop_assert_eq!(moved.decimal(), expected);
        }
    }
}
