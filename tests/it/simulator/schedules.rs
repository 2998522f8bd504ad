//! When faults happen: after so many requests, at every which of them, beside each other.

use recording_archiver::simulator::{MediaFault, MetadataFault, SimulatedRecording, Times};
use uuid::Uuid;

use super::{ID, Setup, json};

/// The statuses of so many requests for one range.
async fn statuses(setup: &Setup, link: &str, requests: usize) -> Vec<u16> {
    let mut seen = Vec::new();
    for _ in 0..requests {
        let response = setup.open(link, &[("Range", "bytes=10-19")]).await;
        seen.push(response.status().as_u16());
    }
    seen
}

#[tokio::test]
async fn a_fault_can_wait_for_later_requests_or_come_at_every_nth() {
    let setup = Setup::new(1000).await;
    let link = setup.link().await;
    setup
        .simulator
        .inject(ID, MediaFault::Status(503), Times::ONCE.after(2));
    let expected = [206, 206, 503, 206, 206];
    assert_eq!(statuses(&setup, &link, 5).await, expected);

    setup
        .simulator
        .inject(ID, MediaFault::Status(500), Times::Always.every(5));
    let expected = [206, 206, 206, 206, 500, 206, 206, 206, 206, 500];
    assert_eq!(statuses(&setup, &link, 10).await, expected);
}

#[tokio::test]
async fn faults_that_wait_keep_none_waiting_and_each_counts_for_itself() {
    let setup = Setup::new(1000).await;
    let link = setup.link().await;
    setup
        .simulator
        .inject_for_all(MediaFault::Status(404), Times::ONCE.after(3));
    setup
        .simulator
        .inject(ID, MediaFault::Status(503), Times::Always.every(2));
    setup
        .simulator
        .inject(ID, MediaFault::Status(410), Times::ONCE);
    // The one for all was due at the 4th, which met the recording's own.
    let expected = [410, 503, 206, 503, 404, 503];
    assert_eq!(statuses(&setup, &link, 6).await, expected);
}

#[tokio::test]
async fn only_requests_that_could_meet_the_fault_count() {
    let setup = Setup::new(1000).await;
    let link = setup.link().await;
    setup
        .simulator
        .inject(ID, MediaFault::IgnoreRange, Times::ONCE.after(1));
    for _ in 0..3 {
        assert_eq!(setup.open(&link, &[]).await.status(), 200);
    }
    assert_eq!(statuses(&setup, &link, 3).await, [206, 200, 206]);

    let other = Uuid::from_u128(5);
    setup.simulator.add(SimulatedRecording::new(other, 10));
    setup
        .simulator
        .inject(ID, MetadataFault::NotReady, Times::ONCE.after(1));
    let path = format!("room_recordings/{other}");
    assert_eq!(json(setup.api(&path).await).await["status"], "completed");
    assert_eq!(setup.metadata().await["status"], "completed");
    assert_eq!(setup.metadata().await["status"], "processing");
}
