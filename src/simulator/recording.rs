//! Answers for what the simulator knows of one recording, and for the JSON it makes of it.

use std::{io, path::PathBuf};

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, TimeDelta};
use uuid::{Uuid, uuid};

use super::{container::Container, media::MediaSource};

/// One recording as the provider would hold it. Public fields: tests say what they need and take
/// the rest from [`SimulatedRecording::new`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatedRecording {
    pub id: Uuid,
    pub room_session_id: Uuid,
    /// `None` is sent as `null`. Anything but `completed` hides `finished_at`, `duration`,
    /// `size_in_bytes`, `format` and `uri`.
    pub status: Option<String>,
    /// Text as sent, RFC 3339 in the real service.
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
    /// JSON token as sent, in seconds: `120`, or `1812.4` for a service that is less strict.
    pub duration: Option<String>,
    /// What the metadata claims instead of the true size, in bytes.
    pub declared_size_bytes: Option<u64>,
    /// MIME type, in the metadata and as the `Content-Type` of the media.
    pub format: Option<String>,
    pub cost: CostToken,
    pub created_at: String,
    pub updated_at: String,
    pub media: Media,
    /// Keys beyond the documented twelve: name and raw JSON.
    pub extra_fields: Vec<(String, String)>,
    /// Pace of the media host for each connection; `None` is as fast as the simulator may.
    pub bytes_per_second: Option<u64>,
}

/// `cost_in_dollars` exactly as it stands in the JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CostToken {
    /// The raw token: `0.050`, `1e-7`, `"0.05"`, `null`.
    Json(String),
    /// The key is not there at all, as before 2026.
    Absent,
}

/// The bytes behind a recording's `uri`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Media {
    /// Made while it is read: any size, no file, the same bytes every time.
    Generated {
        size_bytes: u64,
        seed: u64,
        container: Container,
    },
    File(PathBuf),
    Bytes(Bytes),
    /// No file: `uri` and `size_in_bytes` are null.
    None,
}

impl SimulatedRecording {
    /// A completed two-minute MP4 recording of `size_bytes`, whose content follows from its id.
    pub fn new(id: Uuid, size_bytes: u64) -> Self {
        Self {
            id,
            room_session_id: uuid!("a1b2c3d4-5e6f-7890-abcd-ef1234567890"),
            status: Some("completed".into()),
            started_at: Some("2022-01-01T10:00:00Z".into()),
            finished_at: Some("2022-01-01T11:00:00Z".into()),
            duration: Some("120".into()),
            declared_size_bytes: None,
            format: Some("video/mp4".into()),
            cost: CostToken::Json("0.05".into()),
            created_at: "2022-01-01T10:00:00Z".into(),
            updated_at: "2022-01-01T11:00:00Z".into(),
            media: Media::Generated {
                size_bytes,
                seed: id.as_u64_pair().1,
                container: Container::Mp4,
            },
            extra_fields: Vec::new(),
            bytes_per_second: None,
        }
    }

    /// The recording of the vendor's documentation page: 20 MiB, 120 s, 0.05 dollars.
    pub fn documented_example() -> Self {
        Self::new(
            uuid!("c22d24f6-5a47-4597-9a23-c7d01e696b92"),
            20 * 1024 * 1024,
        )
    }

    /// Puts other bytes of the same length in place of the media, and updates the recording a
    /// minute later than it was.
    pub(super) fn encode_again(&mut self) -> io::Result<()> {
        let Some(source) = MediaSource::open(&self.media)? else {
            return Ok(());
        };
        self.media = source.encoded_again(self.format.as_deref().unwrap_or_default());
        let updated_at = DateTime::parse_from_rfc3339(&self.updated_at).unwrap_or_default();
        self.updated_at = (updated_at + TimeDelta::minutes(1))
            .to_utc()
            .to_rfc3339_opts(SecondsFormat::Secs, true);
        Ok(())
    }

    pub(super) fn is_completed(&self) -> bool {
        self.status.as_deref() == Some("completed")
    }

    /// The object as sent, in the documented order. `uri` and `true_size_bytes` are only shown
    /// when the recording is completed.
    pub(super) fn to_json(&self, uri: Option<&str>, true_size_bytes: Option<u64>) -> JsonObject {
        let done = self.is_completed();
        let text = |value: Option<&str>| value.map_or_else(|| "null".into(), quoted);
        let when_done =
            |token: Option<String>| token.filter(|_| done).unwrap_or_else(|| "null".into());
        let size = self.declared_size_bytes.or(true_size_bytes);

        let mut object = JsonObject::default();
        object.set("id", quoted(&self.id.to_string()));
        object.set("room_session_id", quoted(&self.room_session_id.to_string()));
        object.set("status", text(self.status.as_deref()));
        object.set("started_at", text(self.started_at.as_deref()));
        object.set(
            "finished_at",
            when_done(self.finished_at.as_deref().map(quoted)),
        );
        object.set("duration", when_done(self.duration.clone()));
        object.set(
            "size_in_bytes",
            when_done(size.map(|bytes| bytes.to_string())),
        );
        object.set("format", when_done(self.format.as_deref().map(quoted)));
        if let CostToken::Json(token) = &self.cost {
            object.set("cost_in_dollars", token.clone());
        }
        object.set("uri", when_done(uri.map(quoted)));
        object.set("created_at", quoted(&self.created_at));
        object.set("updated_at", quoted(&self.updated_at));
        for (name, token) in &self.extra_fields {
            object.set(name, token.clone());
        }
        object
    }
}

/// A JSON object whose keys keep their order and whose values are raw tokens, so that a number
/// leaves exactly as it was written.
#[derive(Debug, Clone, Default)]
pub(super) struct JsonObject(Vec<(String, String)>);

impl JsonObject {
    pub(super) fn set(&mut self, name: &str, token: String) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, value)) => *value = token,
            None => self.0.push((name.to_owned(), token)),
        }
    }

    /// The raw token.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let (_, token) = self.0.iter().find(|(known, _)| known == name)?;
        Some(token)
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    pub(super) fn render(&self) -> String {
        let members: Vec<_> = self
            .0
            .iter()
            .map(|(name, token)| format!("{}:{token}", quoted(name)))
            .collect();
        format!("{{{}}}", members.join(","))
    }
}

/// `text` as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(json: &str) -> Vec<String> {
        json.trim_matches(['{', '}'])
            .split(',')
            .map(|member| member.split('"').nth(1).unwrap().to_owned())
            .collect()
    }

    #[test]
    fn a_completed_recording_has_the_twelve_documented_keys_in_order() {
        let json = SimulatedRecording::documented_example()
            .to_json(Some("https://files.example"), Some(20_971_520))
            .render();
        assert_eq!(
            keys(&json),
            [
                "id",
                "room_session_id",
                "status",
                "started_at",
                "finished_at",
                "duration",
                "size_in_bytes",
                "format",
                "cost_in_dollars",
                "uri",
                "created_at",
                "updated_at"
            ]
        );
        assert!(json.contains(r#""size_in_bytes":20971520,"#), "{json}");
    }

    #[test]
    fn a_recording_still_running_hides_what_is_not_known_yet() {
        let mut recording = SimulatedRecording::new(Uuid::nil(), 10);
        recording.status = Some("processing".into());
        let json = recording
            .to_json(Some("https://files.example"), Some(10))
            .render();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        for hidden in ["finished_at", "duration", "size_in_bytes", "format", "uri"] {
            assert!(value[hidden].is_null(), "{hidden} in {json}");
        }
        assert_eq!(value["started_at"], "2022-01-01T10:00:00Z");
    }

    #[test]
    fn the_cost_leaves_as_the_very_token_it_was_given() {
        let mut recording = SimulatedRecording::new(Uuid::nil(), 10);
        for token in ["0.050", "1e-7", "\"0.05\"", "null"] {
            recording.cost = CostToken::Json(token.into());
            let json = recording.to_json(None, None).render();
            assert!(
                json.contains(&format!(r#""cost_in_dollars":{token},"#)),
                "{json}"
            );
        }
        recording.cost = CostToken::Absent;
        assert!(
            !recording
                .to_json(None, None)
                .render()
                .contains("cost_in_dollars")
        );
    }
}
