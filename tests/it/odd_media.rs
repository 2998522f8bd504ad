//! Files that are not what the provider calls them: only a document is kept out, any other file is
//! archived as it is sent, flagged, and labelled from a fixed table.

use bytes::Bytes;
use object_store::ObjectStoreExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use recording_archiver::error::ErrorKind;
use recording_archiver::metrics::Metrics;
use recording_archiver::queue::Outcome;
use recording_archiver::simulator::{Container, Media, MediaFault, SimulatedRecording, Times};
use uuid::Uuid;

use crate::harness::binary::Binary;
use crate::harness::media_host::{Framing, MediaHost, MediaReply, MediaRequest, add_at};
use crate::harness::s3::{ACCESS_KEY_ID, BUCKET, SECRET_ACCESS_KEY};
use crate::harness::world::{PART, World};

const MISMATCH: &str = "SELECT format_mismatch FROM archiver.recordings WHERE recording_id = $1";

fn file(format: Option<&str>, bytes: &[u8]) -> SimulatedRecording {
    let mut recording = SimulatedRecording::new(Uuid::new_v4(), 0);
    recording.format = format.map(str::to_owned);
    recording.media = Media::Bytes(Bytes::copy_from_slice(bytes));
    recording
}

#[tokio::test]
async fn archive_accepts_any_media_and_flags_what_is_not_of_the_declared_format() {
    let world = World::local().await;
    let archiver = world.archiver();
    let mp4 = Some("video/mp4");
    let mut stream = vec![0; 2000];
    stream.iter_mut().step_by(188).for_each(|byte| *byte = 0x47);
    for (format, bytes, mismatch) in [
        (mp4, &b"\0\0\0\x18ftypmp42\0\0\0\0isom"[..], None),
        (mp4, b"\0\0\0\x18stypmsdh\0\0\0\0msdh", None),
        (mp4, b"\0\0\0\x10moof\0\0\0\x08mfhd", None),
        (mp4, b"\0\0\0\x20sidx\0\0\0\0\0\0\0\x01", None),
        (mp4, b"\0\0\0\x18uuid0123456789abcdef", None),
        (mp4, b"\0\0\0\x20emsg\0\0\0\0urn:", None),
        (
            Some("video/quicktime"),
            b"\0\0\0\x14pnot\xd4\x8a\x1d\x63\0\0PICT",
            None,
        ),
        (
            Some("video/quicktime"),
            b"\0\0\0\x08wide\0\0\0\x01mdat",
            None,
        ),
        (Some("audio/wav"), b"BW64\xff\xff\xff\xffWAVEds64", None),
        (Some("audio/wav"), b"RF64\xff\xff\xff\xffWAVEds64", None),
        (Some("video/mp2t"), &stream, None),
        (Some("video/unheard-of"), b"anything at all.", None),
        (None, b"anything at all.", None),
        (mp4, b"\x1aE\xdf\xa3\x01\0\0\0\0\0\0\x23", Some("matroska")),
        (mp4, &stream, Some("mpeg_ts")),
        (mp4, b"ID3\x04\0\0\0\0\0\0\xff\xfb", Some("mp3")),
        (mp4, b"\xff\xf1\x50\x80\x02\x1f\xfc\0\0\0\0\0", Some("aac")),
        (Some("audio/wav"), b"RIFF\0\0\0\0AVI LIST", Some("avi")),
        (
            Some("video/webm"),
            b"\0\0\0\x18ftypmp42\0\0\0\0",
            Some("mp4"),
        ),
        (
            mp4,
            b"\x8f\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b",
            Some("unknown"),
        ),
        (mp4, b"Not Found, as plain text", Some("unknown")),
        (mp4, b"x", Some("too_short")),
        (mp4, b"\0\0\0\x18ft", Some("too_short")),
    ] {
        let id = world.add(file(format, bytes)).await;
        let report = world.attempt(&archiver).await;
        let about = format!("{format:?} {}: {report:?}", bytes.escape_ascii());
        assert_eq!(report.outcome, Outcome::Archived, "{about}");
        let found = world.text(MISMATCH, id).await;
        assert_eq!(found.as_deref(), mismatch, "{about}");
        let key = world.row(id).await.object_key.unwrap();
        assert_eq!(std::fs::read(world.path_of(&key)).unwrap(), bytes);
        let manifest = std::fs::read_to_string(world.path_of(&format!("{key}.manifest.json")));
        let manifest: serde_json::Value = serde_json::from_str(&manifest.unwrap()).unwrap();
        assert_eq!(manifest["format_mismatch"].as_str(), mismatch, "{about}");
        let metrics = Metrics::new();
        metrics.count(&report);
        let line = format!(
            "format_mismatches_total{{found=\"{}\"}} 1",
            mismatch.unwrap_or("none")
        );
        assert_eq!(
            metrics.encode().contains(&line),
            mismatch.is_some(),
            "{about}"
        );
    }
    // An empty file that is not declared to be empty is an error as before.
    let mut empty = file(mp4, b"");
    empty.declared_size_bytes = Some(5);
    world.add(empty).await;
    let report = world.attempt(&archiver).await;
    let kind = report.failure.map(|failure| failure.kind);
    assert_eq!(kind, Some(ErrorKind::Truncated));
}

#[tokio::test]
async fn archive_keeps_documents_out_whatever_their_label() {
    let world = World::local().await;
    let archiver = world.archiver();
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let documents: [Vec<u8>; 8] = [
        b"<!DOCTYPE html>\n<html>".to_vec(),
        format!("{}<html>", " \r\n".repeat(50)).into_bytes(),
        b"\xef\xbb\xbf<?xml version=\"1.0\"?><Error/>".to_vec(),
        b"{\"error\":\"Not Found\"}".to_vec(),
        b"[ {\"code\": 404}]".to_vec(),
        b"{}".to_vec(),
        utf16("\u{feff}<html><body>Sign in</body>"),
        utf16("{\"error\":\"Not Found\"}"),
    ];
    for document in documents {
        for format in ["video/mp4", "video/unheard-of", "application/octet-stream"] {
            let id = world.add(file(Some(format), &document)).await;
            let report = world.attempt(&archiver).await;
            let about = format!("{}: {report:?}", document.escape_ascii());
            assert_eq!(report.outcome, Outcome::Retrying, "{about}");
            let kind = report.failure.map(|failure| failure.kind);
            assert_eq!(kind, Some(ErrorKind::NotMedia), "{about}");
            world.demand_nothing_stored(id).await;
            crate::seed::execute(
                &world.pool,
                "UPDATE archiver.recordings SET next_attempt_at = now() + interval '1 day'
                  WHERE state = 'pending'",
            )
            .await;
        }
    }
}

async fn next_attempt_at(world: &World, id: Uuid, time: &str) {
    let due = "UPDATE archiver.recordings SET next_attempt_at = $2::text::timestamptz
                WHERE recording_id = $1";
    let due = sqlx::query(due).bind(id).bind(time);
    due.execute(&world.pool).await.unwrap();
}

/// Attempts one recording twice, unless the first attempt ends it: what is wrong with a size twice is
/// final.
async fn outcome_of_two(world: &World, id: Uuid) -> (Outcome, Option<ErrorKind>) {
    let archiver = world.archiver();
    let mut report = world.attempt(&archiver).await;
    if report.outcome == Outcome::Retrying {
        next_attempt_at(world, id, "now").await;
        report = world.attempt(&archiver).await;
    }
    if report.outcome == Outcome::Retrying {
        world.demand_nothing_stored(id).await;
        next_attempt_at(world, id, "infinity").await;
    }
    (report.outcome, report.failure.map(|failure| failure.kind))
}

#[tokio::test]
async fn text_is_archived_only_if_it_has_the_declared_size() {
    let world = World::local().await;
    let archived = (Outcome::Archived, None);
    let kept_out = (Outcome::Retrying, Some(ErrorKind::NotMedia));
    let wrong_size = (Outcome::Failed, Some(ErrorKind::SizeMismatch));
    let long = "Too many requests, try again later.\r\n".repeat(100);
    for (bytes, label, is_text) in [
        (&b"Service Unavailable"[..], "text/plain", true),
        (b"Service Unavailable", "video/mp4", true),
        (long.as_bytes(), "application/octet-stream", true),
        (b"\x8f\x01\x02\x03\x04\x05\x06\x07", "text/plain", true),
        (b"\x8f\x01\x02\x03\x04\x05\x06\x07", "video/mp4", false),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "text/plain", false),
    ] {
        let bytes = Bytes::copy_from_slice(bytes);
        let size = bytes.len() as u64;
        for framing in [Framing::ContentLength, Framing::Chunked] {
            let host = MediaHost::start(bytes.clone(), None, move |_: &MediaRequest, size| {
                let whole = MediaReply::whole(size).with("Content-Type", label);
                whole.framed(framing)
            })
            .await;
            // The size of a body without a length is known only if its head is all of it.
            let is_known = framing == Framing::ContentLength || size < 512;
            for (declared, expected) in [
                (None, if is_text { kept_out } else { archived }),
                (Some(size + 1), if is_text { kept_out } else { wrong_size }),
                (Some(size - 1), if is_text { kept_out } else { wrong_size }),
                (
                    Some(size),
                    if is_text && !is_known {
                        kept_out
                    } else {
                        archived
                    },
                ),
            ] {
                let about = format!("{label} {framing:?} {declared:?} {}", bytes.escape_ascii());
                let id = add_at(&world, &host, &bytes, declared).await;
                assert_eq!(outcome_of_two(&world, id).await, expected, "{about}");
            }
        }
    }
}

#[tokio::test]
async fn an_object_has_its_content_type_from_the_table() {
    let world = World::s3().await;
    let archiver = world.archiver();
    let store = AmazonS3Builder::new()
        .with_bucket_name(BUCKET)
        .with_endpoint(world.s3_server().endpoint())
        .with_allow_http(true)
        .with_access_key_id(ACCESS_KEY_ID)
        .with_secret_access_key(SECRET_ACCESS_KEY)
        .build()
        .unwrap();
    let mp4 = Container::Mp4;
    for (format, container, content_type) in [
        ("text/html", mp4, "video/mp4"),
        ("text/html", Container::Raw, "application/octet-stream"),
        ("image/svg+xml", Container::Raw, "application/octet-stream"),
        (
            "application/javascript",
            Container::Webm,
            "video/x-matroska",
        ),
        ("Video/MP4; codecs=\"avc1\"", mp4, "video/mp4"),
        ("video/mp4, text/html", mp4, "video/mp4"),
        ("video/webm", Container::Webm, "video/webm"),
        ("video/mp4", Container::Webm, "video/x-matroska"),
        ("video/quicktime", mp4, "video/quicktime"),
        ("audio/x-wav", Container::Wav, "audio/wav"),
    ] {
        // In one request, and in parts.
        for size_bytes in [2000, PART + 1] {
            let mut recording = SimulatedRecording::new(Uuid::new_v4(), size_bytes);
            // Of the metadata only: under this label no host would send media.
            recording.extra_fields = vec![("format".to_owned(), format!("{format:?}"))];
            recording.media = Media::Generated {
                size_bytes,
                seed: 7,
                container,
            };
            let id = world.add(recording).await;
            let report = world.attempt(&archiver).await;
            assert_eq!(report.outcome, Outcome::Archived, "{format}: {report:?}");
            let key = world.row(id).await.object_key.unwrap();
            let found = store.get(&Path::from(key)).await.unwrap();
            let found = found.attributes.get(&object_store::Attribute::ContentType);
            assert_eq!(found.unwrap().as_ref(), content_type, "{format}");
        }
    }
}

#[tokio::test]
async fn a_resumed_transfer_keeps_the_flag_and_status_shows_it() {
    let world = World::s3().await;
    let mut recording = SimulatedRecording::new(Uuid::new_v4(), 3 * PART);
    recording.media = Media::Generated {
        size_bytes: 3 * PART,
        seed: 7,
        container: Container::Webm,
    };
    let id = world.add(recording).await;
    let cut = MediaFault::CutAfter(1000);
    // The first part comes, then nothing more.
    world.simulator.inject(id, cut, Times::Always.after(1));
    let archiver = world.archiver_with(|settings| {
        settings.transfer.connections = std::num::NonZeroU16::MIN;
    });
    let report = world.attempt(&archiver).await;
    assert_eq!(report.outcome, Outcome::Retrying, "{report:?}");
    assert!(world.parts_on_record(id).await > 0);
    world.simulator.clear_faults();
    world.make_due().await;
    let report = world.attempt(&archiver).await;
    assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
    assert!(report.bytes_fetched < 3 * PART, "it was resumed");
    assert_eq!(world.text(MISMATCH, id).await.as_deref(), Some("matroska"));

    let binary = Binary::of(&world);
    let one = binary.run(&["status", "--id", &id.to_string()]).await;
    let one = one.demand_code(0).stdout;
    assert!(one.contains("but the file is     matroska"), "{one}");
    let all = binary.run(&["status"]).await.demand_code(0).stdout;
    assert!(
        all.contains("1 archived file not of the declared format"),
        "{all}"
    );
    let json = binary.run(&["status", "--output", "json"]).await;
    assert_eq!(json.demand_code(0).json_line()["format_mismatches"], 1);
}
