//! The provider's JSON, read leniently: any field but the ID may be missing or null, unknown
//! fields and status words are kept, numbers may come as strings.
//!
//! A field that decides nothing blocks nothing: one that cannot be read stays as it was sent, in
//! the metadata, and is `None` in the recording, with its name noted. What decides is strict: the ID,
//! the status and the link.

use crate::printable::printable;
use crate::recording::{Metadata, Recording, RecordingId, RecordingStatus};
use crate::signed_url::SignedUrl;

mod fields;
mod page;

use fields::Fields;

pub(crate) use page::page;

/// Longest part of a provider's own words that is passed on in a message.
const MAX_QUOTED_CHARS: usize = 200;

/// Reads the answer to a question for `id`; the error says what is wrong with it.
pub(crate) fn recording(id: RecordingId, body: &str) -> Result<Recording, String> {
    let object: Metadata = serde_json::from_str(body).map_err(|e| no_json(&e))?;
    let recording = described(object)?;
    if recording.id != id {
        return Err("it is about another recording".to_owned());
    }
    Ok(recording)
}

/// Only the place: `serde_json` may quote the body, and with it the link.
fn no_json(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    format!("not the JSON that is documented (line {line}, column {column})")
}

fn id_of(object: &Metadata) -> Result<RecordingId, String> {
    let id = text(object, "id")?.ok_or("it has no id")?;
    id.parse().map_err(|_| "its id is no UUID".to_owned())
}

/// Understands the provider's object, as it was sent or as it was kept.
///
/// # Errors
/// What is wrong with it, in words.
pub fn described(object: Metadata) -> Result<Recording, String> {
    let id = id_of(&object)?;
    let link = match text(&object, "uri")? {
        Some(uri) => Some(SignedUrl::parse(&uri).ok_or("its uri is not an absolute URL")?),
        None => None,
    };
    // Before anything is kept of it: a link may be repeated in any field.
    let object = object.without_link();
    let status = text(&object, "status")?.map(|word| RecordingStatus::from(&*short(&word)));
    let mut fields = Fields::of(&object);
    let recording = Recording {
        id,
        room_session_id: fields.uuid("room_session_id"),
        status,
        started_at: fields.time("started_at"),
        finished_at: fields.time("finished_at"),
        created_at: fields.time("created_at"),
        updated_at: fields.time("updated_at"),
        duration_secs: fields.duration_secs("duration"),
        declared_size_bytes: fields.size_bytes("size_in_bytes"),
        media_format: fields.word("format"),
        cost: fields.cost(id, "cost_in_dollars"),
        link,
        metadata: Metadata::default(),
        unread_fields: fields.into_unread(),
    };
    Ok(Recording {
        metadata: object,
        ..recording
    })
}

/// The provider's own words from an error body, in either documented shape, made printable.
pub(crate) fn error_message(body: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let message = match &value["errors"] {
        serde_json::Value::Array(errors) => errors
            .iter()
            .filter_map(|error| error["message"].as_str())
            .collect::<Vec<_>>()
            .join("; "),
        _ => value["message"]
            .as_str()
            .or_else(|| value["error"].as_str())
            .unwrap_or_default()
            .to_owned(),
    };
    let quoted: String = message
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_QUOTED_CHARS)
        .collect();
    if quoted.is_empty() {
        "no reason given".to_owned()
    } else {
        printable(&quoted).into_owned()
    }
}

/// A field's token, unless it is absent, null or an empty string.
fn token<'a>(object: &'a Metadata, name: &str) -> Option<&'a str> {
    let token = object.token(name);
    token.filter(|token| !matches!(*token, "null" | "\"\""))
}

fn text(object: &Metadata, name: &str) -> Result<Option<String>, String> {
    token(object, name)
        .map(|token| {
            serde_json::from_str::<String>(token).map_err(|_| format!("its {name} is not a string"))
        })
        .transpose()
}

/// A word of the provider's as it goes on in rows, headers and messages.
fn short(word: &str) -> String {
    word.chars().take(MAX_QUOTED_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "c22d24f6-5a47-4597-9a23-c7d01e696b92";

    fn id() -> RecordingId {
        ID.parse().unwrap()
    }

    fn read(fields: &str) -> Result<Recording, String> {
        recording(id(), &format!(r#"{{"id":"{ID}"{fields}}}"#))
    }

    #[test]
    fn the_documented_example_is_read() {
        let recording = read(
            r#","room_session_id":"a1b2c3d4-5e6f-7890-abcd-ef1234567890","status":"completed",
            "started_at":"2022-01-01T10:00:00Z","finished_at":"2022-01-01T11:00:00Z",
            "duration":120,"size_in_bytes":20971520,"format":"video/mp4","cost_in_dollars":0.05,
            "uri":"https://files.signalwire.com/temporary/link","created_at":"2022-01-01T10:00:00Z",
            "updated_at":"2022-01-01T11:00:00Z""#,
        )
        .unwrap();
        assert_eq!(recording.status, Some(RecordingStatus::Completed));
        assert_eq!(recording.declared_size_bytes, Some(20_971_520));
        assert_eq!(recording.duration_secs, Some(120));
        assert_eq!(recording.cost.unwrap().to_string(), "0.05");
        assert_eq!(recording.media_format.as_deref(), Some("video/mp4"));
        assert_eq!(
            recording.created_at.unwrap().to_rfc3339(),
            "2022-01-01T10:00:00+00:00"
        );
        assert!(recording.link.is_some());
        assert!(!recording.metadata.to_json().contains("temporary"));
    }

    #[test]
    fn what_repeats_the_link_or_goes_on_for_ever_is_not_kept() {
        let link = "https://h/p?X-Amz-Signature=1";
        let recording = read(&format!(
            r#","uri":"{link}","format":"{link}","status":"{link}","room_session_id":"{link}""#
        ))
        .unwrap();
        assert!(recording.link.is_some());
        assert_eq!((recording.status, recording.media_format), (None, None));
        let recording = read(
            r#","uri":"https://@H/files/1?key=secret","format":"https://h/files/1?key=secret""#,
        )
        .unwrap();
        assert_eq!(recording.media_format, None, "another spelling of the host");
        let id = read("").unwrap().id;
        let recording = read(&format!(r#","uri":"https://h/{id}""#)).unwrap();
        assert!(recording.metadata.token("id").is_some(), "the ID stays");
        let long = "x".repeat(100_000);
        let recording = read(&format!(r#","format":"{long}","status":"{long}""#)).unwrap();
        assert_eq!(recording.status.unwrap().as_str().len(), MAX_QUOTED_CHARS);
        assert_eq!(recording.media_format.unwrap().len(), MAX_QUOTED_CHARS);
    }

    #[test]
    fn nulls_missing_fields_and_unknown_ones_are_fine() {
        for fields in [
            "",
            r#","status":null,"uri":null,"size_in_bytes":null,"cost_in_dollars":null"#,
            r#","status":"archived","future":{"nested":[1]},"uri":"""#,
        ] {
            let recording = read(fields).unwrap();
            assert!(recording.link.is_none());
            assert!(recording.cost.is_none());
        }
    }

    #[test]
    fn odd_but_plain_values_are_understood() {
        let recording = read(
            r#","duration":1812.4,"size_in_bytes":"5368709120","cost_in_dollars":"0.050","format":"mp4","created_at":"2024-02-29T23:59:59.999999+02:00","updated_at":"2024-02-29T23:59:59""#,
        )
        .unwrap();
        assert_eq!(recording.duration_secs, Some(1812));
        assert_eq!(recording.declared_size_bytes, Some(5_368_709_120));
        assert_eq!(recording.cost.unwrap().to_string(), "0.050");
        assert_eq!(
            recording.created_at.unwrap().to_rfc3339(),
            "2024-02-29T21:59:59.999999+00:00"
        );
    }

    #[test]
    fn described_keeps_unreadable_fields_as_sent_and_names_them() {
        for (field, token) in [
            ("room_session_id", "17"),
            ("room_session_id", "\"none\""),
            ("started_at", "\"yesterday\""),
            ("finished_at", "true"),
            ("created_at", "1"),
            ("created_at", "\"-10000-01-01T00:00:00\""),
            ("updated_at", "[\"2022-01-01T10:00:00Z\"]"),
            ("duration", "\"long\""),
            ("duration", "-5"),
            ("duration", "9223372036854775807"),
            ("size_in_bytes", "-2147483648"),
            ("size_in_bytes", "1.5"),
            ("size_in_bytes", "18446744073709551616"),
            ("format", "[\"video/mp4\"]"),
            ("cost_in_dollars", "{\"amount\":1}"),
            ("cost_in_dollars", "0.12345678901234567890123456789"),
        ] {
            let recording = read(&format!(r#","{field}":{token}"#)).unwrap();
            // A cost is logged by itself.
            let expected = Some(field).filter(|it| *it != "cost_in_dollars");
            assert_eq!(recording.unread_fields, Vec::from_iter(expected), "{token}");
            assert_eq!(recording.metadata.token(field), Some(token));
            let debug = format!("{recording:?}");
            assert_eq!(recording.room_session_id, None, "{debug}");
            let dates = (recording.started_at, recording.created_at);
            assert_eq!(dates, (None, None), "{debug}");
            let numbers = (recording.duration_secs, recording.declared_size_bytes);
            assert_eq!(numbers, (None, None), "{debug}");
            assert!(recording.cost.is_none() && recording.media_format.is_none());
        }
    }

    #[test]
    fn filing_date_needs_a_date_that_was_sent() {
        let date = |fields| {
            read(fields)
                .unwrap()
                .filing_date()
                .map(|at| at.to_rfc3339())
        };
        let started = r#","created_at":"soon","started_at":"2022-01-01T10:00Z""#;
        assert_eq!(date(started).as_deref(), Some("2022-01-01T10:00:00+00:00"));
        let unreadable = r#","created_at":"soon","started_at":null"#;
        assert_eq!(
            date(unreadable).as_deref(),
            Some("1970-01-01T00:00:00+00:00")
        );
        assert_eq!(date(r#","created_at":"","started_at":null"#), None);
    }

    #[test]
    fn described_refuses_what_decides_and_cannot_be_read() {
        for (fields, problem) in [
            (r#","uri":"/relative""#, "uri"),
            (r#","uri":17"#, "uri"),
            (r#","uri":"https://h/\ud800""#, "uri"),
            (r#","status":[]"#, "status"),
            (r#","status":7"#, "status"),
        ] {
            assert!(read(fields).unwrap_err().contains(problem), "{fields}");
        }
    }

    #[test]
    fn an_answer_about_something_else_is_refused() {
        for body in [
            "",
            "[]",
            "<html></html>",
            r#"{"error":"Not Found"}"#,
            r#"{"id":null}"#,
            r#"{"id":"00000000-0000-0000-0000-000000000000"}"#,
            r#"{"id":"c22d24f6-5a47-4597-9a23-c7d01e696b92","#,
        ] {
            assert!(recording(id(), body).is_err(), "{body}");
        }
    }

    #[test]
    fn error_bodies_are_read_in_both_shapes() {
        for (body, message) in [
            (r#"{"error":"Bad Request"}"#, "Bad Request"),
            (
                r#"{"errors":[{"code":"a","message":"too long"},{"message":"and wrong"}]}"#,
                "too long; and wrong",
            ),
            (r#"{"type":"t","code":"c","message":"flat"}"#, "flat"),
            ("<html>", "no reason given"),
            (r#"{"error":"a\u001b[31mb"}"#, "a[31mb"),
            (r#"{"error":"a\u202egpj"}"#, "a\\u{202e}gpj"),
        ] {
            assert_eq!(error_message(body), message);
        }
    }
}
