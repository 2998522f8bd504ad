//! Answers for recordings by the dozen: a generated series, and the files of a directory.

use std::{fs, io, path::Path, time::SystemTime};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use uuid::Uuid;

use super::recording::{Media, SimulatedRecording};

/// MIME types by file extension; the first extension of a type is the one its links carry.
const FORMATS: &[(&str, &str)] = &[
    ("mp4", "video/mp4"),
    ("m4v", "video/mp4"),
    ("webm", "video/webm"),
    ("mkv", "video/x-matroska"),
    ("mov", "video/quicktime"),
    ("m4a", "audio/mp4"),
    ("mp3", "audio/mpeg"),
    ("ogg", "audio/ogg"),
    ("wav", "audio/wav"),
    ("wav", "audio/x-wav"),
    ("webm", "audio/webm"),
    ("bin", "application/octet-stream"),
];

/// The extension of the links to media of this format.
pub(super) fn extension_of(format: &str) -> &'static str {
    FORMATS
        .iter()
        .find(|(_, known)| *known == format)
        .map_or("bin", |(extension, _)| extension)
}

fn format_of(path: &Path) -> &'static str {
    let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
    FORMATS
        .iter()
        .find(|(known, _)| *known == extension)
        .map_or("application/octet-stream", |(_, format)| format)
}

/// A completed recording for each of these sizes, in bytes, the same in every run: one starts
/// every seven hours from 2022 on, ten share a room session.
pub fn generated_recordings(
    sizes: impl IntoIterator<Item = u64>,
) -> impl Iterator<Item = SimulatedRecording> {
    let named = |name: String| Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes());
    (0_u32..).zip(sizes).map(move |(number, size_bytes)| {
        let started_at = DateTime::UNIX_EPOCH
            + TimeDelta::seconds(1_640_995_200) // 2022-01-01T00:00:00Z
            + TimeDelta::hours(7) * i32::try_from(number).unwrap_or(i32::MAX);
        let mut recording =
            SimulatedRecording::new(named(format!("simulated recording {number}")), size_bytes);
        recording.room_session_id = named(format!("simulated room session {}", number / 10));
        date(&mut recording, started_at);
        recording
    })
}

/// The regular files of `directory` as recordings, by name; hidden ones are left out. Each id is
/// the `UUIDv5` (URL namespace) of the file's name, so that it stays when the directory moves.
pub fn recordings_in(directory: &Path) -> io::Result<Vec<(String, SimulatedRecording)>> {
    let session = directory.canonicalize()?;
    let session = Uuid::new_v5(&Uuid::NAMESPACE_URL, session.as_os_str().as_encoded_bytes());
    let mut recordings = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let known = fs::metadata(entry.path())?;
        if !known.is_file() || name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_encoded_bytes());
        let mut recording = SimulatedRecording::new(id, 0);
        recording.room_session_id = session;
        recording.media = Media::File(entry.path());
        recording.format = Some(format_of(&entry.path()).into());
        date(
            &mut recording,
            known.modified().unwrap_or(SystemTime::UNIX_EPOCH).into(),
        );
        recordings.push((name.to_string_lossy().into_owned(), recording));
    }
    recordings.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(recordings)
}

/// Lets the two minutes of the recording begin at `started_at`.
fn date(recording: &mut SimulatedRecording, started_at: DateTime<Utc>) {
    let text = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
    let finished_at = text(started_at + TimeDelta::minutes(2));
    recording.started_at = Some(text(started_at));
    recording.created_at = text(started_at);
    recording.finished_at = Some(finished_at.clone());
    recording.updated_at = finished_at;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_series_is_the_same_in_every_run_and_no_two_are_alike() {
        let series: Vec<_> = generated_recordings([10; 120]).collect();
        assert_eq!(series, generated_recordings([10; 120]).collect::<Vec<_>>());
        let distinct = |key: fn(&SimulatedRecording) -> String| {
            series.iter().map(key).collect::<BTreeSet<_>>().len()
        };
        assert_eq!(distinct(|it| it.id.to_string()), 120);
        assert_eq!(distinct(|it| it.room_session_id.to_string()), 12);
        assert_eq!(distinct(|it| it.created_at[..7].to_owned()), 2);
        assert_eq!(
            series[1].started_at.as_deref(),
            Some("2022-01-01T07:00:00Z")
        );
        assert_eq!(
            series[1].finished_at.as_deref(),
            Some("2022-01-01T07:02:00Z")
        );
    }

    #[test]
    fn the_files_of_a_directory_become_recordings_that_keep_their_ids() {
        let listed = |names: &[&str]| {
            let directory = tempfile::tempdir().unwrap();
            for name in names {
                fs::write(directory.path().join(name), name).unwrap();
            }
            fs::create_dir(directory.path().join("folder.mp4")).unwrap();
            recordings_in(directory.path()).unwrap()
        };
        let here = listed(&["b.WEBM", "a.mp4", ".hidden.mp4", "notes"]);
        let names: Vec<_> = here.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a.mp4", "b.WEBM", "notes"]);
        let formats: Vec<_> = here
            .iter()
            .filter_map(|(_, it)| it.format.as_deref())
            .collect();
        assert_eq!(
            formats,
            ["video/mp4", "video/webm", "application/octet-stream"]
        );
        assert_eq!(here[0].1.room_session_id, here[2].1.room_session_id);

        let elsewhere = listed(&["a.mp4"]);
        assert_eq!(elsewhere[0].1.id, here[0].1.id);
        assert_ne!(elsewhere[0].1.room_session_id, here[0].1.room_session_id);
    }

    #[test]
    fn each_format_has_the_extension_of_its_files() {
        for (format, extension) in [
            ("video/mp4", "mp4"),
            ("audio/x-wav", "wav"),
            ("audio/webm", "webm"),
            ("x", "bin"),
        ] {
            assert_eq!(extension_of(format), extension);
        }
    }
}
