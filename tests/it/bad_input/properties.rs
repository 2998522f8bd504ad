//! What must hold of whatever reads bytes from outside, whichever bytes they are: it does not
//! panic, what it says is bounded, safe to print and holds no secret, and what it accepts reads
//! back the same. The fuzz targets demand the same (`tests/fuzz/`).

use std::io::Cursor;
use std::time::{Duration, SystemTime};

use recording_archiver::finance::reconcile::{Columns, Dialect, Format, Length, read_invoice};
use recording_archiver::fuzzing;
use recording_archiver::money::Usd;
use recording_archiver::recording::{Metadata, Recording, RecordingId};
use recording_archiver::retry::{parse_retry_after, throttle_delay};
use recording_archiver::signalwire::described;
use recording_archiver::storage::{Layout, Manifest, ObjectKey};
use rust_decimal::Decimal;
use url::Url;

/// Of which the seeds speak.
const ID: &str = "c22d24f6-5a47-4597-9a23-c7d01e696b92";
/// Stands in the seeds where a secret would.
const CANARY: &str = "LinkSecretCanary";

/// What is demanded of any bytes.
type Property = fn(&[u8]);

pub(crate) const ALL: [(&str, Property); 9] = [
    ("recording", recording),
    ("page", page),
    ("error_message", error_message),
    ("config", config),
    ("ids", ids),
    ("content_range", content_range),
    ("retry_after", retry_after),
    ("invoice", invoice),
    ("manifest", manifest),
];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Nothing that a terminal obeys, but for the ends of lines where there may be several.
fn demand_printable(text: &str, lines: bool) {
    let obeyed = |it: char| {
        (it.is_control() && !(lines && it == '\n'))
            || matches!(it, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!text.contains(obeyed), "{text:?}");
}

fn demand_problem(problem: &str) {
    assert!(problem.len() <= 300, "{problem}");
    demand_printable(problem, false);
    assert!(!problem.contains(CANARY), "{problem}");
}

fn recording(bytes: &[u8]) {
    let id: RecordingId = ID.parse().expect("it is one");
    match fuzzing::recording(id, &text(bytes)) {
        Ok(recording) => {
            assert_eq!(recording.id, id);
            demand_described(&recording);
        }
        Err(problem) => demand_problem(&problem),
    }
}

fn demand_described(recording: &Recording) {
    let json = recording.metadata.to_json();
    assert!(!json.to_ascii_lowercase().contains("signature="), "{json}");
    // The host is shown, and what is short may be part of anything.
    if let Some(link) = recording.link.as_ref().map(|link| link.expose().as_str())
        && let Some((_, path)) = link
            .split_once("://")
            .and_then(|(_, it)| it.split_once('/'))
        && path.len() > 12
    {
        assert!(!json.contains(link), "{json}");
        assert!(!format!("{recording:?}").contains(link), "{recording:?}");
    }
    let again: Metadata = serde_json::from_str(&json).expect("it is spelled as JSON");
    assert_eq!(again.to_json(), json);
    let again = described(again).expect("it was understood before");
    let said = |it: &Recording| {
        let times = [it.created_at, it.started_at, it.finished_at, it.updated_at];
        let numbers = (
            it.declared_size_bytes,
            it.duration_secs,
            it.cost.map(|cost| cost.to_string()),
        );
        (
            it.id,
            it.room_session_id,
            it.status.clone(),
            it.media_format.clone(),
            times,
            numbers,
        )
    };
    assert_eq!(said(&again), said(recording));
    if let Some(cost) = recording.cost {
        demand_spelled_back(cost);
    }
    let jsonb = recording.metadata.to_jsonb_text();
    let again: Metadata = serde_json::from_str(&jsonb).expect("it is JSON");
    assert_eq!(again.to_jsonb_text(), jsonb);
    let layouts = [
        Layout::DEFAULT,
        "{project_id}/{room_session_id}/{year}{month}{day}/{recording_id}.{ext}",
    ];
    for layout in layouts.map(|layout| layout.parse::<Layout>().expect("it is one")) {
        // One without a date has no key; any other has a sound one, of which it is the name.
        if let Ok(key) = layout.key_for("video", "project", recording) {
            assert!(
                key.as_str().starts_with("video/") && key.as_str().contains(ID),
                "{key}"
            );
            assert_eq!(ObjectKey::from_stored(key.as_str().to_owned()), Ok(key));
        } else {
            assert_eq!(recording.filing_date(), None);
        }
    }
}

fn demand_spelled_back(amount: Usd) {
    let again: Usd = amount
        .to_string()
        .parse()
        .expect("it is spelled as it is read");
    assert_eq!(again.to_string(), amount.to_string());
}

fn page(bytes: &[u8]) {
    let base: Url = "https://example.signalwire.com/"
        .parse()
        .expect("it is one");
    match fuzzing::page(&base, &text(bytes)) {
        Ok(page) => {
            assert!(page.recordings.len() + page.unreadable.len() <= 1000);
            // Those of any ID; the key's property is about one.
            for recording in page.recordings.iter().filter(|it| it.id.to_string() == ID) {
                demand_described(recording);
            }
            for entry in &page.unreadable {
                demand_problem(&entry.problem);
            }
            if let Some(next) = page.next {
                assert!(!next.as_str().is_empty());
                let path = format!("api/video/room_recordings?{}", next.as_str());
                let url = base.join(&path).expect("it leads on");
                assert_eq!(url.host_str(), base.host_str(), "{url}");
                assert_eq!(url.path(), "/api/video/room_recordings");
                assert!(
                    url.query_pairs().all(|(name, _)| name != "media_ttl"),
                    "{url}"
                );
            }
        }
        Err(problem) => demand_problem(&problem),
    }
}

fn error_message(bytes: &[u8]) {
    let message = fuzzing::error_message(&text(bytes));
    assert!(!message.is_empty() && message.len() <= 2000, "{message}");
    demand_printable(&message, false);
}

/// A file in which a secret stands on the last line.
fn config(bytes: &[u8]) {
    let text = text(bytes);
    if text.contains(CANARY) {
        // As a host, say: then it is no secret.
        return;
    }
    let text = format!("{text}\n[signalwire]\napi_token = \"{CANARY}\"\n");
    let lines = text.lines().count();
    match fuzzing::config(text) {
        Ok(config) => {
            assert!(!format!("{config:?}").contains(CANARY));
            for (key, origin, shown) in config.origins() {
                let said = format!("{key} {origin} {shown}");
                assert!(!said.contains(CANARY), "{said}");
            }
        }
        Err(error) => {
            let said = error.to_string();
            assert!(!said.contains(CANARY), "{said}");
            assert!(!said.is_empty() && lines > 0);
        }
    }
}

fn ids(bytes: &[u8]) {
    match fuzzing::ids(&text(bytes)) {
        Ok(ids) => {
            let spelled: Vec<String> = ids.iter().map(ToString::to_string).collect();
            assert_eq!(fuzzing::ids(&spelled.join("\n")), Ok(ids));
        }
        Err(problems) => {
            assert!(problems.len() <= 20_000, "{}", problems.len());
            demand_printable(&problems, true);
        }
    }
}

fn content_range(bytes: &[u8]) {
    if let Some(range) = fuzzing::content_range(&text(bytes)) {
        let [first, last, total] = range;
        let spelled = format!("bytes {first}-{last}/{total}");
        assert_eq!(fuzzing::content_range(&spelled), Some(range));
    }
}

fn retry_after(bytes: &[u8]) {
    // Any time would do; this one is the same in every run.
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let wanted = parse_retry_after(&text(bytes), now);
    let taken = throttle_delay(wanted);
    assert!(
        (Duration::from_secs(1)..=Duration::from_hours(1)).contains(&taken),
        "{taken:?}"
    );
    if let Some(wanted) = wanted {
        let spelled = wanted.as_secs().to_string();
        assert_eq!(
            parse_retry_after(&spelled, now).map(|it| it.as_secs()),
            Some(wanted.as_secs())
        );
    }
}

fn invoice(bytes: &[u8]) {
    let format = Format {
        columns: Columns {
            id: "id".to_owned(),
            id_flag: "--id-column",
            amount: "amount".to_owned(),
            length: Some(Length {
                column: "minutes".to_owned(),
                seconds_each: Decimal::from(60),
            }),
        },
        encoding: None,
        delimiter: None,
        decimal: None,
        header_line: None,
    };
    let mut file = Cursor::new(bytes);
    let mut lines = 0;
    let read = Dialect::detect(&mut file, &format).and_then(|dialect| {
        demand_printable(&dialect.to_string(), false);
        read_invoice(&mut file, &format, &dialect, |batch| {
            lines += batch.len();
            for line in batch {
                demand_spelled_back(line.amount);
            }
            true
        })
    });
    match read {
        Ok(others) => assert!(lines as u64 + others.lines() <= bytes.len() as u64),
        Err(error) => {
            let said = error.to_string();
            assert!(said.len() <= 10_000, "{}", said.len());
            demand_printable(&said, true);
        }
    }
}

fn manifest(bytes: &[u8]) {
    let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes) else {
        return;
    };
    let spelled = serde_json::to_vec_pretty(&manifest).expect("it can be spelled");
    let again: Manifest = serde_json::from_slice(&spelled).expect("it is spelled as it is read");
    assert_eq!(
        serde_json::to_vec_pretty(&again).expect("it can be spelled"),
        spelled
    );
    if let Ok(facts) = manifest.facts() {
        let again = again.facts().expect("it was understood before");
        assert_eq!(again.fingerprint, facts.fingerprint);
        assert_eq!(
            (again.recording_id, again.archived_at),
            (facts.recording_id, facts.archived_at)
        );
        assert_eq!(format!("{:?}", again.proof), format!("{:?}", facts.proof));
    }
}
