//! The months of a report: `YYYY-MM`, both ends included.

use std::fmt;
use std::str::FromStr;

use chrono::{Datelike as _, NaiveDate};

/// A calendar month in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month {
    first_day: NaiveDate,
}

/// The text is no month.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a month; write it as YYYY-MM, such as 2026-01")]
pub struct InvalidMonth(String);

impl Month {
    pub const fn first_day(self) -> NaiveDate {
        self.first_day
    }
}

impl From<NaiveDate> for Month {
    /// The month that the day lies in.
    fn from(day: NaiveDate) -> Self {
        Self {
            first_day: day.with_day(1).unwrap_or(day),
        }
    }
}

impl FromStr for Month {
    type Err = InvalidMonth;

    fn from_str(text: &str) -> Result<Self, InvalidMonth> {
        let number = |digits: &str| {
            digits
                .bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| digits.parse().ok())
                .flatten()
        };
        let first_day = match text.split_once('-') {
            Some((year, month)) if year.len() == 4 && month.len() == 2 => number(year)
                .zip(number(month))
                .filter(|(year, _)| *year > 0)
                .and_then(|(year, month)| {
                    NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, 1)
                }),
            _ => None,
        };
        first_day
            .map(|first_day| Self { first_day })
            .ok_or_else(|| InvalidMonth(text.chars().take(40).collect()))
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first_day.format("%Y-%m"))
    }
}

/// From which month to which, both included; open where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Period {
    from: Option<Month>,
    to: Option<Month>,
}

/// The period ends before it begins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "--from {from} is after --to {to}; both months are included, so name the earlier one first"
)]
pub struct ReversedPeriod {
    from: Month,
    to: Month,
}

impl Period {
    pub fn new(from: Option<Month>, to: Option<Month>) -> Result<Self, ReversedPeriod> {
        match (from, to) {
            (Some(from), Some(to)) if from > to => Err(ReversedPeriod { from, to }),
            _ => Ok(Self { from, to }),
        }
    }

    pub(super) fn first_day_of_from(self) -> Option<NaiveDate> {
        self.from.map(Month::first_day)
    }

    pub(super) fn first_day_of_to(self) -> Option<NaiveDate> {
        self.to.map(Month::first_day)
    }
}

impl fmt::Display for Period {
    /// As part of a sentence: `from 2026-01 to 2026-03`; empty where nothing bounds it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from, self.to) {
            (None, None) => Ok(()),
            (Some(from), None) => write!(f, "from {from} on"),
            (None, Some(to)) => write!(f, "up to {to}"),
            (Some(from), Some(to)) if from == to => write!(f, "in {from}"),
            (Some(from), Some(to)) => write!(f, "from {from} to {to}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_four_digits_and_two() {
        for text in ["2026-01", "2024-02", "0001-12", "9999-12"] {
            assert_eq!(text.parse::<Month>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "2026",
            "2026-1",
            "2026-00",
            "2026-13",
            "26-01",
            "2026-01-01",
            "2026/01",
            "+202-01",
            "2026-+1",
            "0000-01",
            "20260-1",
            " 2026-01",
            "2026-0１",
        ] {
            assert!(text.parse::<Month>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_day_lies_in_its_month() {
        let leap_day = NaiveDate::from_ymd_opt(2024, 2, 29).unwrap();
        assert_eq!(Month::from(leap_day).to_string(), "2024-02");
    }

    #[test]
    fn both_months_are_included_and_in_order() {
        let month = |text: &str| Some(text.parse::<Month>().unwrap());
        assert!(Period::new(month("2026-02"), month("2026-02")).is_ok());
        assert!(Period::new(month("2025-12"), month("2026-01")).is_ok());
        let error = Period::new(month("2026-01"), month("2025-12")).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("--from 2026-01 is after --to 2025-12")
        );
    }
}
