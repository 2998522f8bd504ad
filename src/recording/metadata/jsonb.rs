//! Rewrites JSON text so that `jsonb` can hold it.
//!
//! Postgres refuses some JSON that the standard allows: U+0000 and lone surrogates in strings,
//! numbers beyond `numeric`, nesting beyond its stack. One such value would otherwise cost the
//! whole document, and a statement that writes many documents all of them.

/// Maximum nesting that is kept as structure. Postgres allows several thousand levels, depending on
/// its configuration; `serde_json` reads 127.
const MAX_DEPTH: usize = 100;
/// Maximum digits of a number written out without its exponent. `numeric` holds more, but `1e131071`
/// is eight bytes here and 128 KiB in every answer that shows it.
const MAX_EXPANDED_DIGITS: i64 = 1000;
/// Maximum digits of a `numeric` before the decimal point.
const MAX_INTEGER_DIGITS: i64 = 131_072;
/// Maximum digits of a `numeric` after the decimal point.
const MAX_DECIMALS: i64 = 16_383;

/// Appends valid JSON that stands inside `depth` levels of nesting to `out`. Returns whether a value
/// was rewritten: a character that `jsonb` has no place for becomes U+FFFD; a number that is too
/// large, and a subtree that is too deep, becomes a string with its JSON text.
pub(super) fn append(json: &str, mut depth: usize, out: &mut String) -> bool {
    let mut rewritten = false;
    let mut rest = json;
    while let Some(byte) = rest.bytes().next() {
        let length = match byte {
            b'"' => {
                let length = string_length(rest);
                rewritten |= append_string(&rest[..length], out);
                length
            }
            b'-' | b'0'..=b'9' => {
                let length = number_length(rest);
                let number = &rest[..length];
                if fits_numeric(number) {
                    out.push_str(number);
                } else {
                    rewritten = true;
                    append_as_text(number, out);
                }
                length
            }
            b'{' | b'[' if depth >= MAX_DEPTH => {
                let length = nested_length(rest);
                rewritten = true;
                append_as_text(&rest[..length], out);
                length
            }
            // Structure, whitespace and the three literals.
            _ => {
                match byte {
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                let length = rest.chars().next().map_or(1, char::len_utf8);
                out.push_str(&rest[..length]);
                length
            }
        };
        rest = &rest[length..];
    }
    rewritten
}

/// Appends a JSON string token. Returns whether an escape was replaced.
pub(super) fn append_string(token: &str, out: &mut String) -> bool {
    let mut rewritten = false;
    let mut rest = token;
    while let Some(at) = rest.find('\\') {
        let (plain, escape) = rest.split_at(at);
        out.push_str(plain);
        let kept = match unit(escape) {
            // `\n`, `\"` and the like.
            None => 2,
            Some(0xd800..=0xdbff) if matches!(unit(&escape[6..]), Some(0xdc00..=0xdfff)) => 12,
            Some(0 | 0xd800..=0xdfff) => {
                rewritten = true;
                out.push('\u{fffd}');
                rest = &escape[6..];
                continue;
            }
            Some(_) => 6,
        };
        out.push_str(&escape[..kept]);
        rest = &escape[kept..];
    }
    out.push_str(rest);
    rewritten
}

/// The UTF-16 code unit of a `\uXXXX` escape at the beginning of the text.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}

fn append_as_text(json: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(json).to_string());
}

/// Whether Postgres can hold the number, and shows it in about as many characters as were sent.
fn fits_numeric(token: &str) -> bool {
    let (mantissa, exponent) = token.split_once(['e', 'E']).unwrap_or((token, "0"));
    let Ok(exponent) = exponent.parse::<i32>() else {
        return false;
    };
    let exponent = i64::from(exponent);
    let (integer, decimals) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let count = |digits: &str| i64::try_from(digits.len()).unwrap_or(i64::MAX / 4);
    let integer_digits = (count(integer.trim_start_matches('-')) + exponent).max(1);
    let decimals = (count(decimals) - exponent).max(0);
    integer_digits <= MAX_INTEGER_DIGITS
        && decimals <= MAX_DECIMALS
        && integer_digits + decimals <= count(token).max(MAX_EXPANDED_DIGITS)
}

/// Length of the string token at the beginning of valid JSON, both quotes included.
fn string_length(json: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in json.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    json.len()
}

fn number_length(json: &str) -> usize {
    let is_part = |byte: u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    json.bytes()
        .position(|byte| !is_part(byte))
        .unwrap_or(json.len())
}

/// Length of the object or array at the beginning of valid JSON.
fn nested_length(json: &str) -> usize {
    let (mut at, mut open) = (0, 0_usize);
    while let Some(byte) = json.as_bytes().get(at) {
        match byte {
            b'"' => {
                at += string_length(&json[at..]);
                continue;
            }
            b'{' | b'[' => open += 1,
            b'}' | b']' => open -= 1,
            _ => {}
        }
        at += 1;
        if open == 0 {
            break;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn respelled(json: &str) -> (String, bool) {
        let mut out = String::new();
        let rewritten = append(json, 0, &mut out);
        (out, rewritten)
    }

    #[test]
    fn append_leaves_json_that_jsonb_holds_untouched() {
        for json in [
            r#"{"a":1.50,"b":[1e400,-0,1E-7,null,true],"c":"x\n\u0041 \ud83c\udfa5 \\u0000 é"}"#,
            r#"{"id":"a3e01234-5e99-4999-8e12-345678901234"}"#,
            &format!("0.{}", "3".repeat(16_383)),
            &"9".repeat(131_072),
            &format!("{}1{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH)),
        ] {
            assert_eq!(respelled(json), (json.to_owned(), false), "{json:.80}");
        }
    }

    #[test]
    fn append_keeps_numbers_beyond_numeric_as_text() {
        for number in [
            "1e99999999999999999999",
            "-1e131073",
            "1e1001",
            "1e-20000",
            "0e2000000",
            &format!("0.{}", "3".repeat(16_384)),
            &"9".repeat(131_073),
        ] {
            let (text, rewritten) = respelled(&format!("[{number}]"));
            assert_eq!(text, format!("[\"{number}\"]"));
            assert!(rewritten, "{number:.80}");
        }
    }

    #[test]
    fn append_replaces_characters_that_jsonb_refuses() {
        for (json, expected) in [
            (r#""x\u0000y""#, "\"x\u{fffd}y\""),
            (r#""\ud800""#, "\"\u{fffd}\""),
            (r#""\udc00\ud800\n""#, "\"\u{fffd}\u{fffd}\\n\""),
            (r#""\ud800\ud83c\udfa5""#, "\"\u{fffd}\\ud83c\\udfa5\""),
            (r#""\\\u0000""#, "\"\\\\\u{fffd}\""),
        ] {
            assert_eq!(respelled(json), (expected.to_owned(), true), "{json}");
        }
    }

    #[test]
    fn append_keeps_a_subtree_that_is_too_deep_as_text() {
        let deep = format!(
            "{}\"]\\\"\"{}",
            "[".repeat(MAX_DEPTH + 50_000),
            "]".repeat(MAX_DEPTH + 50_000)
        );
        let (text, rewritten) = respelled(&format!("{{\"a\":{deep},\"b\":1}}"));
        assert!(rewritten);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["b"], 1);
        let mut inner = &value["a"];
        while let Some(next) = inner.get(0) {
            inner = next;
        }
        let kept = inner.as_str().unwrap();
        assert!(
            kept.starts_with("[[[") && kept.ends_with("]]]"),
            "{kept:.80}"
        );
        assert!(kept.contains("[\"]\\\"\"]"));
    }
}
