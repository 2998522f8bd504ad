//! Single values as they stand in the page.

use chrono::{DateTime, SecondsFormat, Utc};
use maud::{Markup, html};
use uuid::Uuid;

use crate::human;
use crate::printable::printable;

/// Text from outside, with what acts unseen spelled out; what HTML would take for its own is
/// escaped like everything else.
pub(super) fn safe(text: &str) -> Markup {
    html! { (printable(text)) }
}

/// A text of ours, in which commands stand between backticks.
pub(super) fn told(text: &str) -> Markup {
    html! {
        @for (place, part) in text.split('`').enumerate() {
            @if place % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// What is not known.
pub(super) fn unknown() -> Markup {
    html! { span.unknown { "–" } }
}

/// `5,000,000`.
pub(super) fn number(number: i64) -> String {
    grouped(&number.to_string())
}

/// The digits before the point in groups of three.
pub(super) fn grouped(plain: &str) -> String {
    let (whole, fraction) = match plain.find('.') {
        Some(point) => plain.split_at(point),
        None => (plain, ""),
    };
    let digits = whole.len() - usize::from(whole.starts_with('-'));
    let mut text = String::with_capacity(plain.len() + digits / 3);
    for (place, digit) in whole.chars().enumerate() {
        let left = whole.len() - place;
        if left < digits && left.is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + fraction
}

/// `1.5 GiB`.
pub(super) fn size(bytes: i64) -> String {
    human::size(bytes.into())
}

/// How long ago, or in how long; the time itself is in the markup.
pub(super) fn age(at: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    let exact = at.to_rfc3339_opts(SecondsFormat::Secs, true);
    html! { time datetime=(exact) title=(exact) { (human::age(at, now)) } }
}

/// The time, and how long ago it was.
pub(super) fn time(at: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    let exact = at.to_rfc3339_opts(SecondsFormat::Secs, true);
    html! { time datetime=(exact) { (exact) } " (" (human::age(at, now)) ")" }
}

/// A link to a recording's page.
pub(super) fn recording(id: Uuid) -> Markup {
    html! { a.id href={ "/recordings/" (id) } { (id) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_in_groups_of_three() {
        for (plain, shown) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (-999, "-999"),
            (-1000, "-1,000"),
            (5_000_000, "5,000,000"),
            (i64::MIN, "-9,223,372,036,854,775,808"),
        ] {
            assert_eq!(number(plain), shown);
        }
        assert_eq!(grouped("1234567.891"), "1,234,567.891");
        assert_eq!(grouped("-0.0001"), "-0.0001");
    }

    #[test]
    fn text_from_outside_is_neither_markup_nor_steers() {
        let hostile = "<script>\"'&\u{202e}\u{0}";
        let escaped = r"&lt;script&gt;&quot;'&amp;\u{202e}\u{0}";
        assert_eq!(safe(hostile).into_string(), escaped);
    }
}
