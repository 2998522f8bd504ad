use chrono::{DateTime, TimeZone, Utc};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::recording::Metadata;

const ID: &str = "c22d24f6-5a47-4597-9a23-c7d01e696b92";

fn recording() -> Recording {
    Recording {
        id: ID.parse().unwrap(),
        room_session_id: None,
        status: None,
        started_at: None,
        finished_at: None,
        created_at: Utc.with_ymd_and_hms(2026, 3, 4, 23, 59, 59).single(),
        updated_at: None,
        duration_secs: None,
        declared_size_bytes: None,
        media_format: Some("video/mp4".to_owned()),
        cost: None,
        link: None,
        metadata: Metadata::default(),
        unread_fields: Vec::new(),
    }
}

fn layout(template: &str) -> Layout {
    template.parse().unwrap()
}

fn key(template: &str, recording: &Recording) -> String {
    layout(template)
        .key_for("", "project", recording)
        .unwrap()
        .to_string()
}

#[test]
fn the_default_layout_files_by_utc_day_of_creation() {
    let key = layout(Layout::DEFAULT)
        .key_for("video/rooms", "project", &recording())
        .unwrap();
    let expected = format!("video/rooms/year=2026/month=03/day=04/{ID}.mp4");
    assert_eq!(key.as_str(), expected);
    assert_eq!(key.location().as_ref(), expected);
    let manifest = key.manifest();
    assert_eq!(manifest.as_ref(), format!("{expected}.manifest.json"));
    assert_eq!(ObjectKey::of_manifest(manifest.as_ref()), Some(key));
    assert_eq!(ObjectKey::of_manifest(&expected), None);
}

#[test]
fn the_date_falls_back_to_the_start_and_then_fails() {
    let mut started = recording();
    started.created_at = None;
    started.started_at = Utc.with_ymd_and_hms(987, 12, 31, 0, 0, 0).single();
    let template = "{year}/{month}/{day}/{recording_id}";
    assert_eq!(key(template, &started), format!("0987/12/31/{ID}"));

    started.started_at = None;
    let error = layout(template).key_for("", "p", &started).unwrap_err();
    assert_eq!(error, KeyError::NoDate);
    assert_eq!(error.kind(), ErrorKind::BadMetadata);
    // Without a date in the layout none is missed.
    assert_eq!(key("{recording_id}", &started), ID);
}

#[test]
fn every_variable_is_filled_in() {
    let mut recording = recording();
    let template = "{project_id}/{room_session_id}/{recording_id}.{ext}";
    assert_eq!(key(template, &recording), format!("project/none/{ID}.mp4"));
    recording.room_session_id = Some(Uuid::nil());
    assert_eq!(
        key(template, &recording),
        format!("project/{}/{ID}.mp4", Uuid::nil())
    );
}

#[test]
fn a_value_is_never_empty_nor_a_step_up() {
    for (value, safe) in [("", "none"), ("..", "__"), ("a/../b", "a_.._b"), ("é", "_")] {
        assert_eq!(path_safe(value), safe);
    }
}

#[test]
fn the_extension_comes_from_the_media_type() {
    let extension = |format: Option<&str>| {
        let mut recording = recording();
        recording.media_format = format.map(str::to_owned);
        key("{ext}/{recording_id}", &recording)
            .split('/')
            .next()
            .unwrap()
            .to_owned()
    };
    for (format, expected) in [
        ("video/mp4", "mp4"),
        ("Video/MP4; codecs=\"avc1\"", "mp4"),
        ("mp4", "mp4"),
        ("video/webm", "webm"),
        ("video/quicktime", "mov"),
        ("video/x-matroska", "mkv"),
        ("audio/mpeg", "mp3"),
        ("audio/x-wav", "wav"),
        ("application/ogg", "ogg"),
        ("video/ogg", "ogv"),
        ("audio/x-m4a", "m4a"),
        ("audio/webm", "weba"),
        ("video/mp2t", "ts"),
        ("../../etc/passwd", "bin"),
        ("", "bin"),
    ] {
        assert_eq!(extension(Some(format)), expected, "{format}");
    }
    assert_eq!(extension(None), "bin");
}

#[test]
fn a_bad_layout_is_refused_with_the_place() {
    for (template, at, word) in [
        ("year={year}/x.mp4", 18, "recording_id"),
        ("", 1, "empty"),
        ("a/{recordingid}", 3, "not a variable"),
        ("a/{recording_id", 3, "never closed"),
        ("a/recording_id}", 15, "not taken"),
        ("/{recording_id}", 1, "begin with"),
        ("a//{recording_id}", 3, "empty segment"),
        ("{recording_id}/", 16, "empty segment"),
        ("a/../{recording_id}", 3, "lead out"),
        ("./{recording_id}", 1, "lead out"),
        ("{recording_id}#7", 15, "unfinished"),
        ("{recording_id}.manifest.json", 15, "manifests"),
        ("a b/{recording_id}", 2, "not taken"),
        ("é/{recording_id}", 1, "not taken"),
        ("a\\{recording_id}", 2, "not taken"),
    ] {
        let error = template.parse::<Layout>().unwrap_err();
        assert!(error.to_string().contains(word), "{template}: {error}");
        assert_eq!(error.at, at, "{template}: {error}");
    }
}

#[test]
fn a_stored_key_is_checked_again() {
    let refused = |key: &str| ObjectKey::from_stored(key.to_owned()).unwrap_err().kind();
    for key in [
        "",
        "/a",
        "a/",
        "a//b",
        "a/../b",
        "a/.",
        "a%2e",
        "a#1",
        "a.manifest.json",
    ] {
        assert_eq!(refused(key), ErrorKind::Internal, "{key}");
    }
    refused(&"a".repeat(242));
    refused(&"a/".repeat(506));
    let longest_name = "a".repeat(241);
    assert!(ObjectKey::from_stored(longest_name).is_ok());
}

#[test]
fn a_prefix_is_checked_like_a_key() {
    for prefix in ["", "a", "a/b=c"] {
        check_prefix(prefix).unwrap();
    }
    for prefix in ["/a", "a/", "../a", "a b"] {
        check_prefix(prefix).unwrap_err();
    }
}

#[test]
fn every_character_taken_stays_as_it_is_in_the_store() {
    let plain: String = (0..=127_u8)
        .map(char::from)
        .filter(|c| is_plain(*c))
        .collect();
    let key = ObjectKey::from_stored(format!("x/{plain}")).unwrap();
    assert_eq!(key.location().as_ref(), key.as_str());
}

fn any_layout() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("{project_id}".to_owned()),
        Just("{room_session_id}".to_owned()),
        Just("{recording_id}".to_owned()),
        Just("{year}".to_owned()),
        Just("{month}-{day}".to_owned()),
        Just("{ext}".to_owned()),
        Just("/".to_owned()),
        Just(".".to_owned()),
        "[ -~é]{1,3}",
    ];
    proptest::collection::vec(piece, 1..10).prop_map(|pieces| pieces.concat())
}

#[test]
fn uuids_are_found_wherever_they_stand() {
    let id = Uuid::from_u128(0xc22d_24f6_5a47_4597_9a23_c7d0_1e69_6b92);
    let key = format!("vid/{id}ä/x-{id}.mp4");
    assert_eq!(uuids_in(&key).collect::<Vec<_>>(), [id, id]);
    assert_eq!(uuids_in("short").count(), 0);
    assert_eq!(uuids_in("").count(), 0);
}

proptest! {
    #[test]
    fn a_key_never_leaves_the_prefix(
        template in any_layout(),
        project_id in "(\\PC{0,12}|[./]{0,4}|\\.manifest\\.json)",
        format in proptest::option::of("[ -~]{0,20}"),
        seconds in 0_i64..4_102_444_800,
    ) {
        let template = format!("{template}{{recording_id}}");
        if let Ok(layout) = template.parse::<Layout>() {
            let mut recording = recording();
            recording.media_format = format;
            recording.created_at = DateTime::from_timestamp(seconds, 0);
            let key = layout.key_for("in/here", &project_id, &recording).unwrap();
            prop_assert!(key.as_str().starts_with("in/here/"));
            prop_assert!(!key.as_str().contains("//"));
            prop_assert!(key.as_str().split('/').all(|part| !matches!(part, "" | "." | "..")));
            prop_assert!(key.as_str().contains(ID));
            let again = layout.key_for("in/here", &project_id, &recording).unwrap();
            prop_assert_eq!(&again, &key);
            prop_assert_eq!(ObjectKey::from_stored(key.to_string()).unwrap(), key);
        }
    }

    #[test]
    fn a_project_id_cannot_spell_a_path(project_id in "\\PC{0,40}") {
        let safe = path_safe(&project_id);
        prop_assert_eq!(fault_in_segment(&safe), None);
    }
}

#[test]
fn key_of_the_layout_names_its_recording_and_no_other_key_does() {
    let id: crate::recording::RecordingId = ID.parse().unwrap();
    for template in [
        Layout::DEFAULT,
        "{recording_id}",
        "{project_id}/{room_session_id}/{recording_id}.{ext}",
        "{project_id}-{year}{month}{day}-{recording_id}",
        "a/{recording_id}/{recording_id}.{ext}",
        "{project_id}{recording_id}",
    ] {
        let made = key(template, &recording());
        assert_eq!(layout(template).recording_at(&made), Some(id), "{made}");
        for other in [
            format!("x{made}"),
            format!("{made}x"),
            format!("{made}.manifest.json"),
            format!("sub/{made}"),
            made.to_uppercase(),
            made.replace(ID, "c22d24f6"),
            made.replace(ID, &format!("{ID}é")),
        ] {
            // A project ID may be anything at the beginning.
            if template.starts_with("{project_id}") && other.starts_with('x') {
                continue;
            }
            assert_eq!(layout(template).recording_at(&other), None, "{other}");
        }
    }
    let of = |path: &str| layout(Layout::DEFAULT).recording_at(path);
    assert_eq!(
        of(&format!("year=2026/month=03/day=04/{ID}.webm")),
        Some(id)
    );
    for other in [
        format!("year=2026/month=13/day=04/{ID}.mp4"),
        format!("year=2026/month=03/day=00/{ID}.mp4"),
        format!("year=+026/month=03/day=04/{ID}.mp4"),
        format!("year=2026/month=03/day=04/{ID}.tar.gz"),
        format!("year=2026/month=03/day=04/{ID}-hd.mp4"),
        format!("year=2026/month=03/day=04/{ID}/hd.mp4"),
    ] {
        assert_eq!(of(&other), None, "{other}");
    }
    let twice = layout("{recording_id}/{recording_id}");
    assert_eq!(twice.recording_at(&format!("{ID}/{}", Uuid::nil())), None);
}

proptest! {
    #[test]
    fn every_key_is_recognised_by_its_own_layout(
        project in "[ -~]{1,40}",
        session: Option<u128>,
        id: u128,
        format in proptest::option::of("[a-z/0-9-]{0,20}"),
        template in proptest::sample::select(vec![
            Layout::DEFAULT,
            "{project_id}/{room_session_id}/{year}/{month}{day}_{recording_id}.{ext}",
            "{ext}-{room_session_id}-{project_id}-{recording_id}",
        ]),
    ) {
        let mut recording = recording();
        recording.id = Uuid::from_u128(id).into();
        recording.room_session_id = session.map(Uuid::from_u128);
        recording.media_format = format;
        let layout = layout(template);
        let made = layout.key_for("", &project, &recording).unwrap();
        prop_assert_eq!(layout.recording_at(made.as_str()), Some(recording.id));
    }
}
