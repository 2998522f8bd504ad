//! What the simulator counts for each recording.

use recording_archiver::simulator::{MediaFault, MetadataFault, RequestCounts, Times};

use super::{ID, Setup};

#[tokio::test]
async fn only_answers_with_a_fresh_link_count_as_links_issued() {
    let setup = Setup::new(1000).await;
    setup.link().await;
    for fault in [
        MetadataFault::Status(503),
        MetadataFault::TruncatedJson,
        MetadataFault::NotReady,
        MetadataFault::NullUri,
        MetadataFault::Uri("https://example.com/".into()),
    ] {
        setup.simulator.inject(ID, fault, Times::ONCE);
        setup.api(&format!("room_recordings/{ID}")).await;
    }
    setup.api("room_recordings").await;
    setup.link().await;
    let counts = setup.simulator.counts(ID);
    assert_eq!((counts.metadata_requests, counts.links_issued), (7, 2));
}

#[tokio::test]
async fn ranges_are_counted_as_they_were_asked_and_bytes_as_they_were_sent() {
    let setup = Setup::new(1000).await;
    let link = setup.link().await;
    setup
        .simulator
        .inject(ID, MediaFault::ShortRange(60), Times::ONCE.after(1));
    setup
        .simulator
        .inject(ID, MediaFault::LinkDies, Times::ONCE.after(2));
    for range in ["bytes=0-99", "bytes=100-199", "bytes=140-199", "bytes=200-"] {
        setup
            .open(&link, &[("Range", range)])
            .await
            .bytes()
            .await
            .unwrap();
    }
    let expected = RequestCounts {
        metadata_requests: 1,
        links_issued: 1,
        media_requests: 4,
        media_refused: 1,
        media_bytes_sent: 140,
        ranges: ["bytes=0-99", "bytes=100-199", "bytes=140-199", "bytes=200-"]
            .map(Into::into)
            .into(),
        peak_media_responses: 1,
    };
    assert_eq!(setup.simulator.counts(ID), expected);
}

#[tokio::test]
async fn a_response_that_stalls_stays_open_until_the_client_leaves() {
    let setup = Setup::new(1000).await;
    let link = setup.link().await;
    setup
        .simulator
        .inject(ID, MediaFault::StallAfter(10), Times::Always);
    let mut stalled = Vec::new();
    for open in 1..=4 {
        stalled.push(setup.open(&link, &[]).await);
        assert_eq!(setup.simulator.counts(ID).peak_media_responses, open);
    }
}
