//! Amounts as invoices spell them: currency signs, negative amounts, thousands separators.
//!
//! A separator is read only where it can stand: thousands are groups of exactly three digits, and
//! one number has one kind of separator. Everything else is refused, because a misread separator
//! changes an amount by a factor of ten or more.

use std::fmt;

use crate::money::Usd;

/// The character between whole dollars and their fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecimalSign {
    Point,
    Comma,
}

impl DecimalSign {
    const fn character(self) -> char {
        match self {
            Self::Point => '.',
            Self::Comma => ',',
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Point => Self::Comma,
            Self::Comma => Self::Point,
        }
    }
}

impl fmt::Display for DecimalSign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Point => "decimal point",
            Self::Comma => "decimal comma",
        })
    }
}

/// Why a text is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadAmount {
    Blank,
    Currency,
    Separators(DecimalSign),
    NotANumber,
    TooLong,
}

impl fmt::Display for BadAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => f.write_str("is empty"),
            Self::Currency => f.write_str("is not in US dollars"),
            Self::Separators(sign) => {
                write!(f, "has separators where a number with {sign} has none")
            }
            Self::NotANumber => f.write_str("is not a number"),
            Self::TooLong => f.write_str("has more than 28 digits"),
        }
    }
}

/// What one text reveals of the decimal sign of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evidence {
    /// The same number either way, or no number.
    None,
    /// Two readings, or one that a broken separator could explain as well.
    Either,
    Only(DecimalSign),
}

/// Returns what `text` reveals.
pub(super) fn evidence(text: &str) -> Evidence {
    let Ok((_, body)) = strip(text) else {
        return Evidence::None;
    };
    let point = digits(body, DecimalSign::Point);
    let comma = digits(body, DecimalSign::Comma);
    match (point, comma) {
        (Some(point), Some(comma)) if point == comma => Evidence::None,
        (Some(_), Some(_)) => Evidence::Either,
        (Some(_), None) => Evidence::Only(DecimalSign::Point),
        // `0,050`: a decimal comma, or a thousands separator in a broken number.
        (None, Some(_)) if looks_grouped(body) => Evidence::Either,
        (None, Some(_)) => Evidence::Only(DecimalSign::Comma),
        (None, None) => Evidence::None,
    }
}

fn looks_grouped(body: &str) -> bool {
    let after = body.split_once(',').map(|(_, after)| after);
    after.is_some_and(|it| it.len() == 3 && it.bytes().all(|it| it.is_ascii_digit()))
}

/// Reads an amount in US dollars.
pub(super) fn read_amount(text: &str, sign: DecimalSign) -> Result<Usd, BadAmount> {
    let (negative, body) = strip(text)?;
    let plain = digits(body, sign).ok_or_else(|| {
        if digits(body, sign.other()).is_some() || digits(&without_separators(body), sign).is_some()
        {
            BadAmount::Separators(sign)
        } else {
            BadAmount::NotANumber
        }
    })?;
    let sign = if negative { "-" } else { "" };
    format!("{sign}{plain}")
        .parse()
        .map_err(|_| BadAmount::TooLong)
}

fn without_separators(body: &str) -> String {
    let kept = |it: &char| !is_separator(*it) && !matches!(it, '_');
    body.chars().filter(kept).collect()
}

/// Longest first: `US$` ends with `$`.
const CODES: [&str; 3] = ["US$", "USD", "$"];

fn code_before(text: &str) -> Option<(&'static str, &str)> {
    CODES.into_iter().find_map(|code| {
        let start = text.get(..code.len())?;
        let is_code = start.eq_ignore_ascii_case(code);
        is_code.then(|| (code, &text[code.len()..]))
    })
}

fn code_after(text: &str) -> Option<(&'static str, &str)> {
    CODES.into_iter().find_map(|code| {
        let start = text.len().checked_sub(code.len())?;
        let is_code = text.get(start..)?.eq_ignore_ascii_case(code);
        is_code.then(|| (code, &text[..start]))
    })
}

/// Takes sign and currency off, and returns whether the amount is negative, and the rest.
fn strip(text: &str) -> Result<(bool, &str), BadAmount> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(BadAmount::Blank);
    }
    let (mut before, mut after, mut negative) = (None, None, None);
    let mut is_open = false;
    loop {
        let sign = rest.chars().next().filter(|_| negative.is_none());
        if let Some(sign @ ('-' | '\u{2212}' | '+' | '(')) = sign {
            negative = Some(sign != '+');
            is_open = sign == '(';
            rest = rest[sign.len_utf8()..].trim_start();
        } else if let (None, Some((code, inner))) = (before, code_before(rest)) {
            (before, rest) = (Some(code), inner.trim_start());
        } else {
            break;
        }
    }
    loop {
        let sign = rest.chars().next_back();
        match sign {
            Some(')') if is_open => (is_open, rest) = (false, &rest[..rest.len() - 1]),
            Some(sign @ ('-' | '\u{2212}')) if negative.is_none() => {
                negative = Some(true);
                rest = &rest[..rest.len() - sign.len_utf8()];
            }
            _ => match (after, code_after(rest)) {
                (None, Some((code, inner))) => (after, rest) = (Some(code), inner),
                _ => break,
            },
        }
        rest = rest.trim_end();
    }
    // `$5 USD` is common; any other pair is a mistake.
    let pair = before.zip(after);
    if is_open || pair.is_some_and(|(before, after)| before == "USD" || after != "USD") {
        return Err(BadAmount::NotANumber);
    }
    let is_foreign = |it: char| matches!(it, '€' | '£' | '¥' | '₹' | '¢') || it.is_alphabetic();
    if rest.starts_with(is_foreign) || rest.ends_with(is_foreign) {
        let is_number = rest.contains(|it: char| it.is_ascii_digit()) && after.is_none();
        return Err(if is_number && before.is_none() {
            BadAmount::Currency
        } else {
            BadAmount::NotANumber
        });
    }
    Ok((negative.unwrap_or(false), rest))
}

/// Whether a character can stand between thousands, beside the other decimal sign.
const fn is_apart(it: char) -> bool {
    // Space, no-break space, figure space, thin space, narrow no-break space, apostrophes.
    matches!(
        it,
        ' ' | '\u{a0}' | '\u{2007}' | '\u{2009}' | '\u{202f}' | '\'' | '\u{2019}'
    )
}

const fn is_separator(it: char) -> bool {
    is_apart(it) || matches!(it, ',' | '.')
}

/// Spells a number without sign as a plain decimal, if its separators stand where they can.
fn digits(body: &str, sign: DecimalSign) -> Option<String> {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    let (mantissa, exponent) = match body.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (body, None),
    };
    let (whole, fraction) = match mantissa.split_once(sign.character()) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    if fraction.is_some_and(|it| !is_digits(it)) {
        return None;
    }
    let whole = match (whole, fraction) {
        // `.05`
        ("", Some(_)) => "0".to_owned(),
        (whole, _) if is_digits(whole) => whole.to_owned(),
        _ => {
            let separator = whole.chars().find(|it| is_separator(*it))?;
            let mut groups = whole.split(separator);
            let first = groups.next()?;
            let is_first = is_digits(first) && first.len() <= 3 && !first.starts_with('0');
            let mut groups = groups.peekable();
            groups.peek()?;
            let are_thousands = groups.all(|it| it.len() == 3 && is_digits(it));
            if !is_first || !are_thousands || exponent.is_some() {
                return None;
            }
            whole.replace(separator, "")
        }
    };
    let mut plain = whole;
    if let Some(fraction) = fraction {
        plain.push('.');
        plain.push_str(fraction);
    }
    if let Some(exponent) = exponent {
        is_digits(exponent.trim_start_matches(['-', '+'])).then_some(())?;
        plain.push('e');
        plain.push_str(exponent);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amount_with_point_is_read_as_spelled() {
        for (text, amount) in [
            ("0.05", "0.05"),
            (".05", "0.05"),
            ("$1,234.50", "1234.50"),
            (" 1234.5 USD", "1234.5"),
            ("$5.00 USD", "5.00"),
            ("US$ 5", "5"),
            ("usd 12,345,678", "12345678"),
            ("-0.0025", "-0.0025"),
            ("\u{2212}0.0025", "-0.0025"),
            ("+1", "1"),
            ("$-3", "-3"),
            ("-$3", "-3"),
            ("3.10-", "-3.10"),
            ("(0.10)", "-0.10"),
            ("($0.10)", "-0.10"),
            ("$(0.10)", "-0.10"),
            ("(0.10 USD)", "-0.10"),
            ("1e-7", "0.0000001"),
            ("5.06E-6", "0.00000506"),
            ("1'234'567.8", "1234567.8"),
            ("1\u{a0}234.8", "1234.8"),
            ("1 234", "1234"),
        ] {
            let read = read_amount(text, DecimalSign::Point).map(|it| it.to_string());
            assert_eq!(read, Ok(amount.to_owned()), "{text}");
        }
    }

    #[test]
    fn amount_with_comma_is_read_as_spelled() {
        for (text, amount) in [
            ("0,050", "0.050"),
            ("1.234,50", "1234.50"),
            ("1.234", "1234"),
            ("12345,678", "12345.678"),
            ("1 234,5 $", "1234.5"),
            ("1\u{202f}234,5", "1234.5"),
            ("(0,10)", "-0.10"),
            ("5,0E-05", "0.000050"),
        ] {
            let read = read_amount(text, DecimalSign::Comma).map(|it| it.to_string());
            assert_eq!(read, Ok(amount.to_owned()), "{text}");
        }
    }

    #[test]
    fn impossible_amount_is_refused() {
        for text in [
            "",
            " ",
            "free",
            "1.2.3",
            "$",
            "0,05",
            "0,050",
            "1,50",
            "1.000,50",
            "12345,678",
            "1_000",
            "1$2",
            "1 2 3",
            "1 23",
            "5USDUSD",
            "USD5$",
            "$5$",
            "$$5",
            "--5",
            "-(5)",
            "(5",
            "5)",
            "-5-",
            "5.",
            ".",
            ",",
            "1,,234",
            "1,234,56",
            "1234,567",
            "0,123,456",
            "1,234 567",
            "1,234.567.8",
            "1,234e2",
            "1e",
            "e5",
            "1e5.5",
            "0x10",
            "٣",
            "NaN",
            "inf",
            "5%",
            "1:30",
            "€5",
            "5 EUR",
            "A$5",
            "CAD 5",
            "1 e5",
            "1.5 2",
        ] {
            let read = read_amount(text, DecimalSign::Point);
            assert!(read.is_err(), "{text}: {read:?}");
        }
        let long = "0.12345678901234567890123456789";
        let read = read_amount(long, DecimalSign::Point);
        assert_eq!(read, Err(BadAmount::TooLong));
        let read = read_amount("EUR 5", DecimalSign::Point);
        assert_eq!(read, Err(BadAmount::Currency));
    }

    #[test]
    fn evidence_is_found_only_where_one_reading_is_possible() {
        let point = Evidence::Only(DecimalSign::Point);
        let comma = Evidence::Only(DecimalSign::Comma);
        for (text, expected) in [
            ("5", Evidence::None),
            ("", Evidence::None),
            ("free", Evidence::None),
            ("1'234", Evidence::None),
            ("0.05", point),
            ("0.050", point),
            ("1,234.5", point),
            ("1,234,567", point),
            ("0,05", comma),
            ("1.234,5", comma),
            ("1.234.567", comma),
            ("1,234", Evidence::Either),
            ("1.234", Evidence::Either),
            ("0,050", Evidence::Either),
            ("12345,678", Evidence::Either),
        ] {
            assert_eq!(evidence(text), expected, "{text}");
        }
    }
}
