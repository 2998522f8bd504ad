//! The media host: signatures, lifetimes, ranges and conditions.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use recording_archiver::simulator::{
    Media, MediaFault, SimulatedRecording, SimulatorConfig, Times,
};
use sha2::{Digest, Sha256};

use super::{ID, Setup, header_of, refusal};

#[tokio::test]
async fn a_link_opens_the_very_bytes() {
    let setup = Setup::new(1_000_003).await;
    let response = setup.media(&[]).await;
    assert_eq!(response.status(), 200);
    for (name, expected) in [
        ("content-length", "1000003"),
        ("content-type", "video/mp4"),
        ("accept-ranges", "bytes"),
        ("last-modified", "Sat, 01 Jan 2022 11:00:00 GMT"),
    ] {
        assert_eq!(
            header_of(&response, name).as_deref(),
            Some(expected),
            "{name}"
        );
    }
    let disposition = header_of(&response, "content-disposition").unwrap();
    assert_eq!(disposition, format!("attachment; filename=\"{ID}.mp4\""));
    let etag = header_of(&response, "etag").unwrap();
    assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    let bytes = response.bytes().await.unwrap();
    assert_eq!(&bytes[4..8], b"ftyp");
    let digest: [u8; 32] = Sha256::digest(&bytes).into();
    assert_eq!(setup.simulator.media_sha256(ID), Some(digest));
    assert_eq!(setup.simulator.counts(ID).media_bytes_sent, 1_000_003);
}

#[tokio::test]
async fn a_real_file_is_served_as_it_is() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let content: Vec<u8> = (0..400_000_u32).flat_map(u32::to_le_bytes).collect();
    file.write_all(&content).unwrap();
    let setup = Setup::new(0).await;
    let path = file.path().to_owned();
    setup
        .simulator
        .update(ID, |recording| recording.media = Media::File(path));
    assert_eq!(setup.metadata().await["size_in_bytes"], 1_600_000);
    assert_eq!(setup.media(&[]).await.bytes().await.unwrap(), content);
    let part = setup.media(&[("Range", "bytes=1000000-")]).await;
    assert_eq!(part.bytes().await.unwrap(), content[1_000_000..]);
}

/// Headers; status; first byte expected, and the end.
type Case<'a> = (Vec<(&'a str, &'a str)>, u16, Option<(usize, usize)>);

#[tokio::test]
async fn ranges_and_conditions_are_honoured() {
    let setup = Setup::new(1000).await;
    let link = setup.link().await;
    let whole = setup.open(&link, &[]).await;
    let etag = header_of(&whole, "etag").unwrap();
    let modified = header_of(&whole, "last-modified").unwrap();
    let whole = whole.bytes().await.unwrap();
    let weak = format!("W/{etag}");
    let later = "Sat, 01 Jan 2022 11:00:01 GMT";

    let cases: Vec<Case<'_>> = vec![
        (vec![("Range", "bytes=0-")], 206, Some((0, 1000))),
        (vec![("Range", "bytes=10-19")], 206, Some((10, 20))),
        (vec![("Range", "bytes=990-5000")], 206, Some((990, 1000))),
        (vec![("Range", "bytes=-7")], 206, Some((993, 1000))),
        (vec![("Range", "bytes=1000-")], 416, None),
        (vec![("Range", "bytes=-0")], 416, None),
        (vec![("Range", "bytes=0-1,3-4")], 200, Some((0, 1000))),
        (vec![("Range", "bytes=7-3")], 200, Some((0, 1000))),
        (
            vec![("Range", "bytes=5-"), ("If-Range", &etag)],
            206,
            Some((5, 1000)),
        ),
        (
            vec![("Range", "bytes=5-"), ("If-Range", &modified)],
            206,
            Some((5, 1000)),
        ),
        (
            vec![("Range", "bytes=5-"), ("If-Range", "\"other\"")],
            200,
            Some((0, 1000)),
        ),
        (
            vec![("Range", "bytes=5-"), ("If-Range", &weak)],
            200,
            Some((0, 1000)),
        ),
        (
            vec![("Range", "bytes=5-"), ("If-Range", later)],
            200,
            Some((0, 1000)),
        ),
        (
            vec![("Range", "bytes=1000-"), ("If-Range", "\"other\"")],
            200,
            Some((0, 1000)),
        ),
        (
            vec![("Range", "bytes=5-"), ("If-Match", &etag)],
            206,
            Some((5, 1000)),
        ),
        (
            vec![("Range", "bytes=5-"), ("If-Match", "\"a\", *")],
            206,
            Some((5, 1000)),
        ),
        (
            vec![("Range", "bytes=5-"), ("If-Match", "\"other\"")],
            412,
            None,
        ),
        (vec![("If-Match", &weak)], 412, None),
        (vec![("If-None-Match", &etag)], 304, None),
        (vec![("If-None-Match", "\"other\"")], 200, Some((0, 1000))),
    ];
    for (headers, status, bytes) in cases {
        let response = setup.open(&link, &headers).await;
        assert_eq!(response.status(), status, "{headers:?}");
        let content_range = header_of(&response, "content-range");
        match (status, bytes) {
            (206, Some((from, until))) => {
                let expected = format!("bytes {from}-{}/1000", until - 1);
                assert_eq!(content_range, Some(expected), "{headers:?}");
            }
            (416, _) => assert_eq!(content_range.as_deref(), Some("bytes */1000")),
            _ => assert_eq!(content_range, None, "{headers:?}"),
        }
        if let Some((from, until)) = bytes {
            assert_eq!(
                response.bytes().await.unwrap(),
                whole[from..until],
                "{headers:?}"
            );
        }
    }
    assert_eq!(
        setup.simulator.counts(ID).ranges[..2],
        ["bytes=0-", "bytes=10-19"]
    );
}

#[tokio::test]
async fn a_weak_validator_never_lets_a_range_go_on() {
    let setup = Setup::new(1000).await;
    setup
        .simulator
        .inject(ID, MediaFault::WeakEtag, Times::Always);
    let link = setup.link().await;
    let weak = header_of(&setup.open(&link, &[]).await, "etag").unwrap();
    for (condition, status) in [("If-Range", 200), ("If-Match", 412)] {
        let headers = [("Range", "bytes=5-"), (condition, weak.as_str())];
        let response = setup.open(&link, &headers).await;
        assert_eq!(response.status(), status, "{condition}");
    }
}

#[tokio::test]
async fn an_empty_file_satisfies_no_range() {
    let setup = Setup::new(0).await;
    let response = setup.media(&[("Range", "bytes=0-")]).await;
    assert_eq!(response.status(), 416);
    assert_eq!(
        header_of(&response, "content-range").as_deref(),
        Some("bytes */0")
    );
    let plain = setup.media(&[]).await;
    assert_eq!(
        (plain.status().as_u16(), plain.content_length()),
        (200, Some(0))
    );
}

#[tokio::test]
async fn a_link_opens_only_as_it_was_issued() {
    let setup = Setup::new(1000).await;
    let link = setup.link().await;
    let unsigned = link.split_once('?').unwrap().0.to_owned();
    let elsewhere = link.replace("127.0.0.1", "localhost");
    for (changed, code) in [
        (
            link.replace("X-Amz-Expires=900", "X-Amz-Expires=901"),
            "SignatureDoesNotMatch",
        ),
        (
            link.replace("video%2Fmp4", "text%2Fhtml"),
            "SignatureDoesNotMatch",
        ),
        (link.replace("%2F", "%2f"), "SignatureDoesNotMatch"),
        (format!("{link}&a=b"), "SignatureDoesNotMatch"),
        (elsewhere, "SignatureDoesNotMatch"),
        (unsigned, "AccessDenied"),
    ] {
        let (status, body) = refusal(setup.open(&changed, &[]).await).await;
        assert_eq!(status, 403, "{changed}");
        assert!(
            body.contains(&format!("<Code>{code}</Code>")),
            "{changed}: {body}"
        );
    }
    let head = setup.client.head(&link).send().await.unwrap();
    assert_eq!(head.status(), 403);

    let credentials = setup.credentials();
    let response = setup.open(&link, &[("Authorization", &credentials)]).await;
    let (status, body) = refusal(response).await;
    assert_eq!(status, 400);
    assert!(body.contains("Only one auth mechanism allowed"), "{body}");

    assert_eq!(setup.open(&link, &[]).await.status(), 200);
    assert_eq!(setup.simulator.counts(ID).media_refused, 8);
}

#[tokio::test]
async fn a_dead_link_is_refused_and_a_fresh_one_opens() {
    let setup = Setup::new(50_000_000).await;
    let dead = super::json(
        setup
            .api(&format!("room_recordings/{ID}?media_ttl=0"))
            .await,
    )
    .await;
    let (status, body) = refusal(setup.open(dead["uri"].as_str().unwrap(), &[]).await).await;
    assert_eq!(status, 403);
    assert!(body.contains("<Code>AccessDenied</Code>"), "{body}");
    assert!(
        body.contains("<Message>Request has expired</Message>"),
        "{body}"
    );

    let link = setup.link().await;
    let under_way = setup.open(&link, &[]).await;
    setup.simulator.expire_links();
    assert_eq!(setup.open(&link, &[]).await.status(), 403);
    assert_eq!(setup.media(&[]).await.status(), 200);
    assert_eq!(under_way.bytes().await.unwrap().len(), 50_000_000);
}

#[tokio::test]
async fn a_slow_recording_keeps_its_pace() {
    let setup = Setup::new(40_000).await;
    setup
        .simulator
        .update(ID, |recording| recording.bytes_per_second = Some(100_000));
    let started = Instant::now();
    let bytes = setup.media(&[]).await.bytes().await.unwrap();
    // The last of the steps of 5,000 bytes is due after 0.35 s.
    assert!(
        started.elapsed().as_millis() >= 340,
        "{:?}",
        started.elapsed()
    );
    assert_eq!(bytes.len(), 40_000);
}

#[tokio::test]
async fn what_was_asked_is_remembered_without_secrets() {
    let setup = Setup::new(1000).await;
    let link = setup.link().await;
    setup
        .open(
            &link,
            &[
                ("Range", "bytes=0-"),
                ("Accept-Encoding", "identity"),
                ("Cookie", "a=b"),
            ],
        )
        .await;
    let requests = setup.simulator.requests();
    let [metadata, media] = &requests[..] else {
        panic!("{requests:?}")
    };
    assert!(
        metadata.has_authorization && !metadata.has_cookie,
        "{metadata:?}"
    );
    assert_eq!(metadata.path, format!("/api/video/room_recordings/{ID}"));
    assert!(
        !media.has_authorization && media.has_cookie && !media.has_referer,
        "{media:?}"
    );
    assert_eq!(media.range.as_deref(), Some("bytes=0-"));
    assert_eq!(media.accept_encoding.as_deref(), Some("identity"));
    let written = format!("{requests:?}");
    assert!(
        !written.contains("X-Amz") && !written.contains(&setup.credentials()),
        "{written}"
    );
}

#[tokio::test]
async fn two_responses_at_once_are_counted_as_such() {
    let setup = Setup::new(50_000_000).await;
    let link = setup.link().await;
    let first = setup.open(&link, &[("Range", "bytes=0-39999999")]).await;
    let second = setup.open(&link, &[("Range", "bytes=40000000-")]).await;
    assert_eq!(setup.simulator.counts(ID).peak_media_responses, 2);
    let mut hasher = Sha256::new_with_prefix(first.bytes().await.unwrap());
    hasher.update(second.bytes().await.unwrap());
    let digest: [u8; 32] = hasher.finalize().into();
    assert_eq!(setup.simulator.media_sha256(ID), Some(digest));
}

#[tokio::test]
async fn a_stopped_simulator_answers_no_more() {
    let setup = Setup::new(50_000_000).await;
    let under_way = setup.media(&[]).await;
    let base_url = setup.simulator.base_url();
    setup.simulator.stop().await;
    assert!(under_way.bytes().await.is_err());
    assert!(setup.client.get(&base_url).send().await.is_err());

    let config = SimulatorConfig {
        listen: base_url.strip_prefix("http://").unwrap().parse().unwrap(),
        ..SimulatorConfig::default()
    };
    let again = Setup::with(config).await;
    again.simulator.add(SimulatedRecording::new(ID, 10));
    assert_eq!(again.media(&[]).await.status(), 200);
}

#[tokio::test]
async fn a_client_that_never_reads_does_not_keep_the_simulator_from_stopping() {
    let setup = Setup::new(1 << 40).await;
    let socket = setup.socket().await;
    // Until the buffers of both kernels are full.
    let mut sent = 0;
    while sent == 0 || sent < setup.simulator.counts(ID).media_bytes_sent {
        sent = setup.simulator.counts(ID).media_bytes_sent;
        tokio::time::timeout(Duration::from_millis(200), std::future::pending::<()>())
            .await
            .unwrap_err();
    }
    tokio::time::timeout(Duration::from_secs(10), setup.simulator.stop())
        .await
        .unwrap();
    drop(socket);
}
