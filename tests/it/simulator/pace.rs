//! How fast the media host is.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use recording_archiver::simulator::{SimulatedRecording, SimulatorConfig};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use url::Url;

use super::{ID, Setup, drain};

/// 100,000 bytes per second, in slices of 5,000 each 50 ms.
async fn slow_setup() -> Setup {
    let setup = Setup::with(SimulatorConfig {
        connection_rate: Some(100_000),
        ..SimulatorConfig::default()
    })
    .await;
    setup.simulator.add(SimulatedRecording::new(ID, 80_000));
    setup
}

async fn fetch(setup: &Setup, link: &str, range: &str) {
    let response = setup.open(link, &[("Range", range)]).await;
    assert_eq!(response.status(), 206);
    response.bytes().await.unwrap();
}

#[tokio::test]
async fn parallel_ranges_are_faster_where_each_connection_is_slow() {
    let setup = slow_setup().await;
    let link = setup.link().await;
    let started = Instant::now();
    fetch(&setup, &link, "bytes=0-").await;
    let one = started.elapsed();
    assert!(one >= Duration::from_millis(740), "{one:?}");

    let started = Instant::now();
    let ranges: Vec<_> = (0..8)
        .map(|part| format!("bytes={}-{}", part * 10_000, part * 10_000 + 9_999))
        .collect();
    join_all(ranges.iter().map(|range| fetch(&setup, &link, range))).await;
    let eight = started.elapsed();
    assert!(eight < one, "{eight:?} {one:?}");
}

#[tokio::test]
async fn the_answers_on_one_connection_share_its_rate() {
    let setup = slow_setup().await;
    let link = Url::parse(&setup.link().await).unwrap();
    let host = format!("{}:{}", link.host_str().unwrap(), link.port().unwrap());
    let target = &link[url::Position::BeforePath..];
    let request = |connection| {
        format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nRange: bytes=0-4999\r\n\
             Connection: {connection}\r\n\r\n"
        )
    };
    let requests = [request("keep-alive").repeat(3), request("close")].concat();
    let mut socket = TcpStream::connect(&host).await.unwrap();
    let started = Instant::now();
    socket.write_all(requests.as_bytes()).await.unwrap();
    let (answers, end) = drain(&mut socket).await;
    end.unwrap();
    // The fourth is due after 0.15 s.
    let elapsed = started.elapsed();
    assert!(elapsed >= Duration::from_millis(145), "{elapsed:?}");
    assert!(answers.len() > 20_000);
}

#[tokio::test]
async fn a_recording_slower_than_its_connection_keeps_its_own_pace() {
    for (own, slices) in [(50_000, 4), (1_000_000, 2)] {
        let setup = slow_setup().await;
        let link = setup.link().await;
        setup
            .simulator
            .update(ID, |recording| recording.bytes_per_second = Some(own));
        let started = Instant::now();
        fetch(&setup, &link, "bytes=0-9999").await;
        let due = Duration::from_millis(50 * (slices - 1) - 5);
        assert!(started.elapsed() >= due, "{own}: {:?}", started.elapsed());
    }
}
