//! What ranges of one recording, asked for beside each other, can meet in the middle.

use std::{io::Write, time::Duration};

use recording_archiver::simulator::{Media, MediaFault, SimulatedRecording, Times};
use reqwest::{Client, redirect};
use sha2::{Digest, Sha256};

use super::{ID, Setup, header_of, refusal};

const RANGE: [(&str, &str); 1] = [("Range", "bytes=100-199")];

/// A simulator with one recording of 1000 bytes; its third request for media meets `fault`.
async fn setup_with_late_fault(fault: MediaFault) -> (Setup, String) {
    let setup = Setup::new(1000).await;
    setup.simulator.inject(ID, fault, Times::ONCE.after(2));
    let link = setup.link().await;
    for _ in 0..2 {
        assert_eq!(setup.open(&link, &RANGE).await.status(), 206);
    }
    (setup, link)
}

#[tokio::test]
async fn a_range_can_come_shorter_than_asked() {
    for (missing, last) in [(30, 169), (99, 100), (5000, 100)] {
        let (setup, link) = setup_with_late_fault(MediaFault::ShortRange(missing)).await;
        // Without a range nothing can be shorter, and the fault waits.
        let whole = setup.open(&link, &[]).await.bytes().await.unwrap();
        assert_eq!(whole.len(), 1000);
        let short = setup.open(&link, &RANGE).await;
        assert_eq!(short.status(), 206);
        let expected = format!("bytes 100-{last}/1000");
        assert_eq!(header_of(&short, "content-range"), Some(expected));
        assert_eq!(short.content_length(), Some(last - 99));
        let end = usize::try_from(last + 1).unwrap();
        assert_eq!(short.bytes().await.unwrap(), whole[100..end]);
        let again = setup.open(&link, &RANGE).await;
        assert_eq!(again.bytes().await.unwrap(), whole[100..200]);
    }
}

#[tokio::test]
async fn the_media_can_change_between_two_ranges() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&[7; 1000]).unwrap();
    let generated = SimulatedRecording::new(ID, 1000).media;
    let file = Media::File(file.path().into());
    for media in [generated, Media::Bytes(vec![7; 1000].into()), file] {
        the_media_changes(media).await;
    }
}

async fn the_media_changes(media: Media) {
    let setup = Setup::new(0).await;
    setup.simulator.update(ID, |recording| {
        recording.media = media;
    });
    let link = setup.link().await;
    let before = setup.open(&link, &[]).await;
    let [etag, modified] = ["etag", "last-modified"].map(|it| header_of(&before, it).unwrap());
    let before = before.bytes().await.unwrap();

    let schedule = Times::ONCE.after(1);
    setup
        .simulator
        .inject(ID, MediaFault::MediaChanges, schedule);
    let condition = |validator| [RANGE[0], ("If-Range", validator)];
    let unchanged = setup.open(&link, &condition(&etag)).await;
    assert_eq!(unchanged.status(), 206);
    assert_eq!(unchanged.bytes().await.unwrap(), before[100..200]);

    let changed = setup.open(&link, &condition(&etag)).await;
    assert_eq!(changed.status(), 200);
    assert_ne!(header_of(&changed, "etag").unwrap(), etag);
    assert_ne!(header_of(&changed, "last-modified").unwrap(), modified);
    let after = changed.bytes().await.unwrap();
    assert_eq!(after.len(), before.len());
    assert_ne!(after[100..200], before[100..200]);
    assert_eq!(&after[4..8], b"ftyp");
    assert_eq!(setup.open(&link, &condition(&modified)).await.status(), 200);

    let part = setup.open(&link, &RANGE).await;
    assert_eq!(part.status(), 206);
    assert_eq!(part.bytes().await.unwrap(), after[100..200]);
    let digest = <[u8; 32]>::from(Sha256::digest(&after));
    assert_eq!(setup.simulator.media_sha256(ID), Some(digest));
    let metadata = setup.metadata().await;
    assert_eq!(metadata["size_in_bytes"], 1000);
    assert_eq!(metadata["updated_at"], "2022-01-01T11:01:00Z");
}

#[tokio::test]
async fn a_response_under_way_ends_as_it_began_when_the_media_changes() {
    const SIZE: u64 = 50_000_000;
    let setup = Setup::new(SIZE).await;
    let digest = setup.simulator.media_sha256(ID);
    let link = setup.link().await;
    let under_way = setup.open(&link, &[]).await;
    setup
        .simulator
        .inject(ID, MediaFault::MediaChanges, Times::ONCE);
    assert_eq!(setup.open(&link, &RANGE).await.status(), 206);
    let sent = <[u8; 32]>::from(Sha256::digest(under_way.bytes().await.unwrap()));
    assert_eq!(Some(sent), digest);
    assert_ne!(setup.simulator.media_sha256(ID), digest);
}

#[tokio::test]
async fn links_can_die_between_two_ranges_in_two_ways() {
    for (fault, status) in [
        (MediaFault::LinkDies, 403),
        (MediaFault::BadRequestExpired, 400),
    ] {
        let setup = Setup::new(50_000_000).await;
        setup.simulator.inject(ID, fault, Times::ONCE.after(2));
        let (link, other) = (setup.link().await, setup.link().await);
        let under_way = setup.open(&link, &[]).await;
        assert_eq!(setup.open(&link, &RANGE).await.status(), 206);
        for (link, status) in [(&link, status), (&link, 403), (&other, 403)] {
            let (refused, body) = refusal(setup.open(link, &RANGE).await).await;
            assert_eq!(refused, status, "{body}");
            assert!(body.contains("<Code>AccessDenied</Code>"), "{body}");
            let message = "<Message>Request has expired</Message>";
            assert!(body.contains(message), "{body}");
        }
        assert_eq!(setup.media(&RANGE).await.status(), 206);
        assert_eq!(under_way.bytes().await.unwrap().len(), 50_000_000);
    }
}

#[tokio::test]
async fn a_page_can_come_in_place_of_a_later_range() {
    for (fault, content_type) in [
        (MediaFault::Html, "text/html; charset=utf-8"),
        (MediaFault::HtmlAsMedia, "video/mp4"),
    ] {
        let (setup, link) = setup_with_late_fault(fault).await;
        let page = setup.open(&link, &RANGE).await;
        assert_eq!(page.status(), 200);
        assert_eq!(header_of(&page, "content-range"), None);
        let labelled = header_of(&page, "content-type");
        assert_eq!(labelled.as_deref(), Some(content_type));
        assert!(page.text().await.unwrap().starts_with("<!DOCTYPE html>"));
        assert_eq!(setup.open(&link, &RANGE).await.status(), 206);
    }
}

#[tokio::test]
async fn a_range_survives_a_redirect_on_the_same_host() {
    let (mut setup, link) = setup_with_late_fault(MediaFault::RedirectLoop).await;
    setup.client = Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::limited(1))
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap();
    let response = setup.open(&link, &RANGE).await;
    assert_eq!(response.status(), 206);
    let content_range = header_of(&response, "content-range");
    assert_eq!(content_range.as_deref(), Some("bytes 100-199/1000"));
    assert_eq!(setup.simulator.counts(ID).ranges.len(), 4);
}
