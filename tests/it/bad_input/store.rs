//! A store whose answers are too long, too deep, or not what S3 documents.

use recording_archiver::config::{StorageConfig, StorageLocation};
use recording_archiver::error::ErrorKind;
use recording_archiver::progress::Progress;
use recording_archiver::queue::archived;
use recording_archiver::restore::Restore;
use recording_archiver::simulator::SimulatedRecording;
use recording_archiver::storage::{ObjectKey, Storage, StorageError};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::server::{Answer, GIB, Liar};
use crate::harness::world::{MIB, World};

async fn store(world: &World, answer: Answer) -> (Liar, Storage) {
    let liar = Liar::start(answer).await;
    let settings = world.settings();
    let storage = Storage::open(&StorageConfig {
        location: StorageLocation::S3 {
            bucket: "recordings".to_owned(),
            prefix: "video".to_owned(),
        },
        endpoint: Some(format!("http://{}/", liar.address).parse().unwrap()),
        ..settings.storage
    });
    (liar, storage.unwrap())
}

fn key() -> ObjectKey {
    ObjectKey::from_stored("video/a.mp4".to_owned()).unwrap()
}

fn demand_bounded(error: &StorageError, about: &str) {
    let said = recording_archiver::error::chain(error);
    assert!(said.len() < 8000, "{about}: {}", said.len());
    let obeyed = |it: char| it.is_control() || it == '\u{202e}';
    assert!(!said.contains(obeyed), "{about}: {said:?}");
}

/// Every question to the store, and what it came to.
async fn ask_everything(storage: &Storage) -> Vec<(&'static str, Option<StorageError>)> {
    vec![
        ("list", storage.inventory().next().await.err()),
        ("list uploads", storage.unfinished().next().await.err()),
        ("manifest", storage.manifest(&key()).await.err()),
        ("read", storage.open_object(&key(), 0, 1).await.err()),
        ("enforcement", storage.enforcement().await.err()),
    ]
}

#[tokio::test]
async fn an_answer_without_end_is_not_taken_in() {
    let world = World::local().await;
    let list = "<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>false</IsTruncated>";
    let entry = "<Contents><Key>video/a</Key><Size>1</Size><LastModified>2026-11-25T01:02:03.000Z</LastModified></Contents>";
    let error = "<Error><Code>AccessDenied</Code><Message>\u{202e}";
    for (about, answer) in [
        ("a list of a GiB", Answer::endless("200 OK", list, entry)),
        ("nesting of a GiB", Answer::endless("200 OK", list, "<a>")),
        ("chunks without end", Answer::chunked("200 OK", list, entry)),
        ("an error of a GiB", Answer::endless("403 No", error, "x")),
        (
            "an error in chunks without end",
            Answer::chunked("403 No", error, "x"),
        ),
        ("headers without end", Answer::headers()),
    ] {
        let (liar, storage) = store(&world, answer).await;
        for question in [0, 1] {
            let answer = match question {
                0 => storage.inventory().next().await.map(drop),
                _ => storage.unfinished().next().await.map(drop),
            };
            let error = answer.unwrap_err();
            demand_bounded(&error, about);
            assert_ne!(error.kind(), ErrorKind::Internal, "{about}: {error}");
        }
        let asked = liar.asked.lock().unwrap().len() as u64;
        // Each of the two requests is tried six times at most.
        assert!(asked <= 12, "{about}: {asked}");
        liar.demand_not_taken_in(asked * 20 * MIB, about);
    }
}

/// The client of the store sets aside at once what is announced.
#[tokio::test]
async fn a_length_that_nobody_could_hold_is_not_believed() {
    let world = World::local().await;
    let head = format!(
        "HTTP/1.1 403 No\r\nContent-Length: {}\r\n\r\n<Error><Code>AccessDenied</Code>",
        i64::MAX
    );
    let (liar, storage) = store(
        &world,
        Answer {
            head: head.into_bytes(),
            again: vec![b'x'; 65_536],
            bytes: 64 * MIB,
        },
    )
    .await;
    for (about, error) in ask_everything(&storage).await {
        let error = error.unwrap_or_else(|| panic!("{about}"));
        demand_bounded(&error, about);
        assert_eq!(error.kind(), ErrorKind::StorageDenied, "{about}: {error}");
    }
    drop(liar);
}

#[tokio::test]
async fn what_s3_does_not_document_is_an_error_that_can_be_read() {
    let world = World::local().await;
    let bomb = "<?xml version=\"1.0\"?><!DOCTYPE l [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">\
                <!ENTITY c \"&b;&b;&b;&b;&b;&b;&b;&b;\"><!ENTITY f SYSTEM \"file:///etc/passwd\">]>";
    let object = |key: &str, size: &str, at: &str| {
        format!(
            "<ListBucketResult><Contents><Key>{key}</Key><Size>{size}</Size><LastModified>{at}</LastModified></Contents></ListBucketResult>"
        )
    };
    let at = "2026-11-25T01:02:03.000Z";
    let long = "\u{202e}x".repeat(500_000);
    for body in [
        String::new(),
        "not XML at all".to_owned(),
        "{\"Contents\":[]}".to_owned(),
        "<a>".repeat(300_000),
        format!("{bomb}{}", object("&c;", "1", at)),
        format!("{bomb}{}", object("&f;", "1", at)),
        object("video/a", "-1", at),
        object("video/a", "18446744073709551616", at),
        object("video/a", "1e3", at),
        object("video/a", "1", "yesterday"),
        object("video/a", &long, at),
        format!("<{long}>"),
        "<ListBucketResult><IsTruncated>perhaps</IsTruncated></ListBucketResult>".to_owned(),
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>".to_owned(),
    ] {
        let answer = Answer::whole(
            "200 OK",
            "Content-Type: application/xml\r\n",
            body.as_bytes(),
        );
        let (_liar, storage) = store(&world, answer).await;
        let about: String = body.chars().take(80).collect();
        match storage.inventory().next().await {
            Err(error) => demand_bounded(&error, &about),
            Ok(found) => assert_eq!(found, None, "{about}"),
        }
        if let Err(error) = storage.unfinished().next().await {
            demand_bounded(&error, &about);
        }
    }
}

/// An answer that declares `size` bytes, and whose body goes on without end.
fn longer_than_declared(size: usize, again: &str) -> Answer {
    let answer = Answer::chunked("200 OK", "{", again);
    let head = String::from_utf8(answer.head).unwrap();
    let headers = format!(
        "Content-Length: {size}\r\nETag: \"e\"\r\n\
         Last-Modified: Wed, 25 Nov 2026 01:02:03 GMT\r\n"
    );
    let head = head.replacen("\r\n", &format!("\r\n{headers}"), 1);
    Answer {
        head: head.into_bytes(),
        ..answer
    }
}

#[tokio::test]
async fn body_longer_than_declared_is_read_to_its_bound() {
    let world = World::local().await;
    let (liar, storage) = store(&world, longer_than_declared(10, "x")).await;
    drop(storage.manifest(&key()).await);
    liar.demand_not_taken_in(8 * MIB, "a manifest");

    let (liar, storage) = store(&world, longer_than_declared(10, "x")).await;
    let found = storage.read_back(&key(), 10).await;
    if let Ok(found) = found {
        assert_eq!(found.map(|it| it.size_bytes), Some(11));
    }
    liar.demand_not_taken_in(MIB, "an object");
}

#[tokio::test]
async fn object_without_end_is_read_one_byte_further_than_known() {
    let world = World::local().await;
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nETag: \"e\"\r\n\
         Last-Modified: Wed, 25 Nov 2026 01:02:03 GMT\r\n\r\n",
        i64::MAX
    );
    let answer = Answer {
        head: head.into_bytes(),
        again: vec![b'x'; 65_536],
        bytes: GIB,
    };
    let (liar, storage) = store(&world, answer).await;
    let found = storage.read_back(&key(), 1000).await.unwrap().unwrap();
    assert_eq!(found.size_bytes, 1001);
    liar.demand_not_taken_in(MIB, "an object");

    let id = world
        .add(SimulatedRecording::new(Uuid::new_v4(), 1000))
        .await;
    world.attempt(&world.archiver()).await;
    let mut objects = archived(&world.pool, &[id.into()]).await.unwrap();
    let mut object = objects.remove(0);
    object.object_key = key().to_string();
    let restore = Restore {
        storage: &storage,
        object: &object,
        progress: &Progress::default(),
        stop: &CancellationToken::new(),
    };
    let mut written = Vec::new();
    let error = restore.to_pipe(&mut written).await.unwrap_err();
    assert!(
        error.to_string().contains("more than 1000 bytes"),
        "{error}"
    );
    assert_eq!(written.len(), 1000);
}

#[tokio::test]
async fn a_list_that_leads_on_without_an_object_comes_to_an_end() {
    let world = World::local().await;
    let page = "<ListBucketResult><IsTruncated>true</IsTruncated>\
                <NextContinuationToken>on</NextContinuationToken></ListBucketResult>";
    let (liar, storage) = store(&world, Answer::whole("200 OK", "", page.as_bytes())).await;
    let error = storage.inventory().next().await.unwrap_err();
    demand_bounded(&error, "a list of nothing");
    assert_eq!(liar.asked.lock().unwrap().len(), 101);
}
