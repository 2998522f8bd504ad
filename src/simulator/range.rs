//! Answers for one `Range` header: which bytes it asks for, as S3 reads it.

use std::ops::Range;

/// What a `Range` header comes to for an object of known size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// No header, or one that RFC 9110 says to ignore: malformed, another unit, several ranges.
    Everything,
    /// First byte included, end excluded; never empty.
    Part(Range<u64>),
    /// 416: the object has no such byte.
    Unsatisfiable,
}

pub(super) fn asked_range(header: Option<&str>, size_bytes: u64) -> Asked {
    let Some(spec) = header.and_then(|value| value.strip_prefix("bytes=")) else {
        return Asked::Everything;
    };
    let Some((first, last)) = spec.split_once('-') else {
        return Asked::Everything;
    };
    if !is_number_or_empty(first) || !is_number_or_empty(last) || spec == "-" {
        return Asked::Everything;
    }
    // A number beyond 64 bits lies beyond the end of any object.
    let number = |digits: &str| digits.parse().unwrap_or(u64::MAX);
    if first.is_empty() {
        let length = number(last).min(size_bytes);
        return part(size_bytes - length..size_bytes);
    }
    let first = number(first);
    if last.is_empty() {
        return part(first..size_bytes);
    }
    let last = number(last);
    if last < first {
        return Asked::Everything;
    }
    part(first..last.saturating_add(1).min(size_bytes))
}

fn part(range: Range<u64>) -> Asked {
    if range.is_empty() {
        Asked::Unsatisfiable
    } else {
        Asked::Part(range)
    }
}

fn is_number_or_empty(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        for (header, expected) in [
            ("bytes=0-", Asked::Part(0..10)),
            ("bytes=0-0", Asked::Part(0..1)),
            ("bytes=3-5", Asked::Part(3..6)),
            ("bytes=9-100", Asked::Part(9..10)),
            ("bytes=-4", Asked::Part(6..10)),
            ("bytes=-40", Asked::Part(0..10)),
            ("bytes=10-", Asked::Unsatisfiable),
            ("bytes=10-11", Asked::Unsatisfiable),
            ("bytes=-0", Asked::Unsatisfiable),
            ("bytes=99999999999999999999999-", Asked::Unsatisfiable),
            ("bytes=0-18446744073709551615", Asked::Part(0..10)),
            ("bytes=5-3", Asked::Everything),
            ("bytes=-", Asked::Everything),
            ("bytes=a-", Asked::Everything),
            ("bytes=+1-2", Asked::Everything),
            ("bytes=0-1,3-4", Asked::Everything),
            ("items=0-1", Asked::Everything),
        ] {
            assert_eq!(asked_range(Some(header), 10), expected, "{header}");
        }
        assert_eq!(asked_range(None, 10), Asked::Everything);
    }

    #[test]
    fn an_empty_object_satisfies_no_range() {
        for header in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
            assert_eq!(
                asked_range(Some(header), 0),
                Asked::Unsatisfiable,
                "{header}"
            );
        }
    }
}
