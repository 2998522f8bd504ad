//! The provider's object as sent: field order and number tokens untouched, the link left out.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

mod jsonb;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;
use url::Url;

/// A recording has some twenty fields; what has more than this describes none, and would take much
/// more memory than its text.
const MAX_FIELDS: usize = 500;

/// A JSON object whose values are kept as the text that was sent.
///
/// The signed link never gets in: [`Metadata::without_link`] is the only door from the provider.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    fields: Vec<(String, Box<RawValue>)>,
}

impl Metadata {
    /// Drops the field `uri`, and any other field that repeats the link or carries a signature.
    #[must_use]
    pub fn without_link(mut self) -> Self {
        let link = self
            .token("uri")
            .map(|token| unescaped(token).trim_matches('"').to_owned())
            .filter(|link| link.len() > 8 && link != "null");
        let secrets = link.as_deref().map(secrets_of).unwrap_or_default();
        self.fields.retain(|(name, value)| {
            let text = format!("{name} {}", unescaped(value.get()));
            let repeats_link = secrets.iter().any(|secret| text.contains(secret));
            let lower = text.to_ascii_lowercase();
            let is_signed = lower.contains("signature=") || lower.contains("signature%3d");
            // The recording's own ID may be all of a link's path, and is no secret.
            name == "id" || (name != "uri" && !repeats_link && !is_signed)
        });
        for (_, value) in &mut self.fields {
            if let Some(unsigned) = without_signed_queries(value.get())
                && let Ok(unsigned) = RawValue::from_string(unsigned)
            {
                *value = unsigned;
            }
        }
        self
    }

    /// The value of a field as its JSON text.
    pub fn token(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value.get())
    }

    /// The object as JSON text.
    pub fn to_json(&self) -> String {
        let fields: Vec<String> = self
            .fields
            .iter()
            .map(|(name, value)| format!("{}:{}", serde_json::Value::from(name.as_str()), value))
            .collect();
        format!("{{{}}}", fields.join(","))
    }

    /// The object as `jsonb` can hold it. A value that it has no place for is kept as text; see
    /// [`Metadata::rewritten_for_jsonb`].
    pub fn to_jsonb_text(&self) -> String {
        self.jsonb().0
    }

    /// Names the fields that `jsonb` cannot hold as they were sent: numbers beyond `numeric` and
    /// values nested too deep, which it gets as text, and characters that become U+FFFD.
    pub fn rewritten_for_jsonb(&self) -> Vec<&str> {
        self.jsonb().1
    }

    fn jsonb(&self) -> (String, Vec<&str>) {
        let (mut text, mut rewritten) = ("{".to_owned(), Vec::new());
        for (name, value) in &self.fields {
            if text.len() > 1 {
                text.push(',');
            }
            let spelled = serde_json::Value::from(name.as_str()).to_string();
            let is_other_name = jsonb::append_string(&spelled, &mut text);
            text.push(':');
            if jsonb::append(value.get(), 1, &mut text) || is_other_name {
                rewritten.push(name.as_str());
            }
        }
        text.push('}');
        (text, rewritten)
    }
}

/// Decodes a JSON string token; `None` for any other token. A lone surrogate becomes U+FFFD.
pub fn string_of(token: &str) -> Option<String> {
    if !token.starts_with('"') {
        return None;
    }
    serde_json::from_str(token).ok().or_else(|| {
        let mut storable = String::new();
        jsonb::append_string(token, &mut storable);
        serde_json::from_str(&storable).ok()
    })
}

/// JSON text whose strings that are signed URLs have lost their query and fragment; `None` if there is
/// none. All else stays as sent: numbers are not read.
fn without_signed_queries(json: &str) -> Option<String> {
    let is_signed = |url: &Url| {
        url.query_pairs().any(|(name, _)| {
            let name = name.to_ascii_lowercase();
            let names = [
                "sig",
                "token",
                "signature",
                "credential",
                "policy",
                "secret",
                "key",
            ];
            names
                .iter()
                .any(|secret| name.split(['-', '_', '.']).any(|part| part == *secret))
                || [
                    "accesstoken",
                    "apikey",
                    "accesskey",
                    "authtoken",
                    "sessiontoken",
                ]
                .contains(&name.as_str())
        })
    };
    let mut text = String::new();
    let (mut copied, mut place) = (0, 0);
    while let Some(start) = json[place..].find('"').map(|found| place + found) {
        let mut literals = serde_json::Deserializer::from_str(&json[start..]).into_iter::<String>();
        let string = literals.next()?.ok();
        let end = start + literals.byte_offset();
        place = match &string {
            Some(_) => end,
            // Not what JSON readers agree on, such as a lone surrogate: its end is looked for.
            None => start + end_of_string(&json[start..]),
        };
        let url = string.and_then(|text| Url::parse(&text).ok());
        if let Some(mut url) = url.filter(|url| url.has_host() && is_signed(url)) {
            url.set_query(None);
            url.set_fragment(None);
            text.push_str(&json[copied..start]);
            text.push_str(&serde_json::Value::from(url.as_str()).to_string());
            copied = place;
        }
    }
    (copied > 0).then(|| text + &json[copied..])
}

/// The length of the string literal that the text begins with.
fn end_of_string(json: &str) -> usize {
    let mut bytes = json.bytes().enumerate().skip(1);
    while let Some((place, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => return place + 1,
            _ => {}
        }
    }
    json.len()
}

/// What gives a link away: all of it, and what stands behind its host, as sent and as a client spells
/// it, because the host of the same link may be written in many ways.
fn secrets_of(link: &str) -> Vec<String> {
    let mut spellings = vec![link.to_owned()];
    spellings.extend(Url::parse(link).map(String::from));
    let behind_host = |link: &String| {
        let (_, behind) = link.split_once("://")?.1.split_once('/')?;
        // What is short may be part of anything.
        (behind.len() > 12).then(|| behind.to_owned())
    };
    let behind: Vec<_> = spellings.iter().filter_map(behind_host).collect();
    spellings.extend(behind);
    spellings
}

/// JSON text with its escapes resolved, as far as they stand for one character each: the same text
/// can be spelled in many ways.
fn unescaped(json: &str) -> Cow<'_, str> {
    let mut pieces = json.split('\\');
    let first = pieces.next().unwrap_or_default();
    if first.len() == json.len() {
        return Cow::Borrowed(json);
    }
    let mut text = first.to_owned();
    while let Some(piece) = pieces.next() {
        let code = |digits: &str| char::from_u32(u32::from_str_radix(digits, 16).ok()?);
        match (piece.strip_prefix('u'), piece.get(1..5).and_then(code)) {
            (Some(rest), Some(character)) => {
                text.push(character);
                text.push_str(&rest[4..]);
            }
            // A backslash itself: what follows it is no escape.
            _ if piece.is_empty() => {
                text.push('\\');
                text.push_str(pieces.next().unwrap_or_default());
            }
            _ => text.push_str(piece),
        }
    }
    Cow::Owned(text)
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut fields: Vec<(String, Box<RawValue>)> = Vec::new();
                while let Some(field) = map.next_entry()? {
                    if fields.len() == MAX_FIELDS {
                        let problem = format_args!("more than {MAX_FIELDS} fields");
                        return Err(serde::de::Error::custom(problem));
                    }
                    let (name, value): (Box<RawValue>, Box<RawValue>) = field;
                    // A name may hold what no Rust string can.
                    let name = string_of(name.get()).unwrap_or_default();
                    fields.push((name, value));
                }
                // A repeated name means its last value, as JSON readers agree.
                let mut seen = HashSet::with_capacity(fields.len());
                let mut last: Vec<bool> =
                    fields.iter().rev().map(|it| seen.insert(&it.0)).collect();
                fields.retain(|_| last.pop() == Some(true));
                Ok(Metadata { fields })
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len()))?;
        for (name, value) in &self.fields {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_tokens_and_order_stay_as_sent() {
        let sent = r#"{"b":0.050,"a":1e-7,"n":null,"big":9007199254740993,"s":"x\"y"}"#;
        let metadata: Metadata = serde_json::from_str(sent).unwrap();
        assert_eq!(metadata.to_json(), sent);
        assert_eq!(serde_json::to_string(&metadata).unwrap(), sent);
        assert_eq!(metadata.token("b"), Some("0.050"));
    }

    #[test]
    fn the_link_is_left_out_wherever_it_stands() {
        let sent = r#"{"id":"x","uri":"https://h/p?X-Amz-Signature=1","copy":{"u":"https://h/p?X-Amz-Signature=1"},"other":"https://k/?x-amz-signature=2","keep":1}"#;
        let metadata: Metadata = serde_json::from_str(sent).unwrap();
        assert_eq!(metadata.without_link().to_json(), r#"{"id":"x","keep":1}"#);
    }

    #[test]
    fn a_link_is_found_however_it_is_spelled() {
        let sent = r#"{"uri":"https:\/\/h\/p?key=1\u0026x=2","a":"https://h/p?key=1&x=2",
            "b":["\u0068ttps://h\/p?key=1\u0026x=2"],"c":"X-Amz-Signatur\u0065\u003d1",
            "d":"https://k/?to=https%3A%2F%2Fh%2F%3FX-Amz-Signature%3D1","https://h/p?key=1&x=2":0,
            "keep":"\\u0041 \ud800 \u00"}"#
            .replace("\\u00\"", "\"");
        let metadata: Metadata = serde_json::from_str(&sent).unwrap();
        assert_eq!(
            metadata.without_link().to_json(),
            r#"{"keep":"\\u0041 \ud800 "}"#
        );
    }

    #[test]
    fn a_url_with_a_signing_parameter_loses_its_query() {
        let sent = r#"{"uri":null,"n":1.50,"poster":"https://h/p.jpg?sv=1\u0026sig=abc#f","deep":[{"t":"https:\/\/h\/t?token=abc","n":1e-7}],"q":"https://h/p?page=2","x":"https://h/?access_token=abc","a":"https://h/?Key-Pair-Id=abc","bad":"\ud800 \" https://h/?sig=abc","end":"https://h/e?X-Amz-Security-Token=abc"}"#;
        let metadata: Metadata = serde_json::from_str(sent).unwrap();
        assert_eq!(
            metadata.without_link().to_json(),
            r#"{"n":1.50,"poster":"https://h/p.jpg","deep":[{"t":"https://h/t","n":1e-7}],"q":"https://h/p?page=2","x":"https://h/","a":"https://h/","bad":"\ud800 \" https://h/?sig=abc","end":"https://h/e"}"#
        );
    }

    #[test]
    fn of_a_repeated_name_the_last_value_counts() {
        let sent = r#"{"a":1,"b":2,"a":3,"c":4,"b":5}"#;
        let metadata: Metadata = serde_json::from_str(sent).unwrap();
        assert_eq!(metadata.to_json(), r#"{"a":3,"c":4,"b":5}"#);
    }

    #[test]
    fn what_has_fields_without_end_is_refused() {
        let with = |fields: usize| {
            let fields: Vec<String> = (0..fields).map(|it| format!("\"{it}\":0")).collect();
            serde_json::from_str::<Metadata>(&format!("{{{}}}", fields.join(",")))
        };
        assert!(with(MAX_FIELDS).is_ok());
        assert!(with(MAX_FIELDS + 1).is_err());
    }

    #[test]
    fn a_missing_link_drops_nothing_else() {
        let metadata: Metadata = serde_json::from_str(r#"{"id":"null","uri":null}"#).unwrap();
        assert_eq!(metadata.without_link().to_json(), r#"{"id":"null"}"#);
    }

    #[test]
    fn to_jsonb_text_keeps_every_field_of_legal_json() {
        let sent = r#"{"a":"x\u0000y","b":"\ud800","c":1e-20000,"d":"a3e01234","\ud800":1,"k\u0000":2,"e":{}}"#;
        let metadata: Metadata = serde_json::from_str(sent).unwrap();
        assert_eq!(
            metadata.to_jsonb_text(),
            "{\"a\":\"x\u{fffd}y\",\"b\":\"\u{fffd}\",\"c\":\"1e-20000\",\"d\":\"a3e01234\",\
             \"\u{fffd}\":1,\"k\u{fffd}\":2,\"e\":{}}"
        );
        assert_eq!(metadata.rewritten_for_jsonb(), ["a", "b", "c", "k\0"]);
        assert_eq!(Metadata::default().to_jsonb_text(), "{}");
    }

    #[test]
    fn string_of_decodes_any_string_token() {
        for (token, text) in [
            (r#""a\nb""#, Some("a\nb")),
            (r#""\ud83c\udfa5 \ud800""#, Some("🎥 \u{fffd}")),
            ("17", None),
            ("null", None),
        ] {
            assert_eq!(string_of(token).as_deref(), text, "{token}");
        }
    }
}
