//! One value of a report, typed so that each output can spell it rightly.

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use serde::{Serialize, Serializer};
use uuid::Uuid;

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// Not known.
    Null,
    Id(Uuid),
    /// Free text, perhaps from the provider: not to be trusted.
    Text(String),
    /// A count, or the unit in the column's name.
    Integer(i64),
    /// US dollars as Postgres spells a NUMERIC: exact, any size, no exponent.
    Usd(String),
    Day(NaiveDate),
    Time(DateTime<Utc>),
    Truth(bool),
}

impl Cell {
    /// An amount that Postgres has cast to text.
    pub fn usd(amount: Option<String>) -> Self {
        amount.map_or(Self::Null, Self::Usd)
    }

    /// A time that Postgres has spelled as in JSON; as text if it is infinite or beyond the
    /// years of RFC 3339, which the database can hold.
    pub fn time(spelled: Option<String>) -> Self {
        spelled.map_or(Self::Null, |spelled| {
            let time = DateTime::parse_from_rfc3339(&spelled);
            time.map_or(Self::Text(spelled), |time| Self::Time(time.to_utc()))
        })
    }

    /// A day that Postgres has spelled as in JSON; as text if it is infinite or out of range.
    pub fn day(spelled: Option<String>) -> Self {
        spelled.map_or(Self::Null, |spelled| {
            let day = NaiveDate::parse_from_str(&spelled, "%Y-%m-%d");
            day.map_or(Self::Text(spelled), Self::Day)
        })
    }

    /// The value as a CSV field, before quoting.
    ///
    /// A spreadsheet would run text that looks like a formula: such text gets a leading
    /// apostrophe. Numbers never do, negative ones included.
    pub fn to_csv(&self) -> String {
        match self {
            Self::Text(text) if looks_like_a_formula(text) => format!("'{text}"),
            other => other.plain().unwrap_or_default(),
        }
    }

    /// The value spelled exactly; `None` for null.
    fn plain(&self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Id(id) => Some(id.to_string()),
            Self::Text(text) | Self::Usd(text) => Some(text.clone()),
            Self::Integer(number) => Some(number.to_string()),
            Self::Day(day) => Some(day.to_string()),
            Self::Time(time) => Some(time.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            Self::Truth(truth) => Some(truth.to_string()),
        }
    }
}

fn looks_like_a_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n'])
}

impl Serialize for Cell {
    /// Integers as numbers, truths and null as themselves, all else as strings; money too, because most readers
    /// make a float of a JSON number.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Truth(truth) => serializer.serialize_bool(*truth),
            other => other.plain().serialize(serializer),
        }
    }
}

impl From<Uuid> for Cell {
    fn from(id: Uuid) -> Self {
        Self::Id(id)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<NaiveDate> for Cell {
    fn from(day: NaiveDate) -> Self {
        Self::Day(day)
    }
}

impl From<DateTime<Utc>> for Cell {
    fn from(time: DateTime<Utc>) -> Self {
        Self::Time(time)
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_looks_like_a_formula_is_disarmed_but_numbers_are_not() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"] {
            assert_eq!(Cell::Text(text.into()).to_csv(), format!("'{text}"));
        }
        assert_eq!(Cell::Text("a=1".into()).to_csv(), "a=1");
        assert_eq!(Cell::Usd("-0.0500".into()).to_csv(), "-0.0500");
        assert_eq!(Cell::Integer(-1).to_csv(), "-1");
        assert_eq!(Cell::Null.to_csv(), "");
    }

    #[test]
    fn json_has_money_as_strings_and_counts_as_numbers() {
        let cells = [
            Cell::Usd("0.050".into()),
            Cell::Integer(7),
            Cell::Null,
            Cell::Text("=1".into()),
        ];
        assert_eq!(
            serde_json::to_string(&cells).unwrap(),
            r#"["0.050",7,null,"=1"]"#
        );
    }
}
