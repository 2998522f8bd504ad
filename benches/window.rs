//! The window alone: a recording fetched from the simulator on loopback, its parts in order, stored
//! nowhere. One connection beside several, from a fast host and from one that limits each.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use recording_archiver::config::{SignalWireConfig, TransferConfig};
use recording_archiver::memory::MemoryBudget;
use recording_archiver::progress::Progress;
use recording_archiver::signalwire::SignalWire;
use recording_archiver::signed_url::SignedUrl;
use recording_archiver::simulator::{SimulatedRecording, Simulator, SimulatorConfig};
use recording_archiver::transfer::{Expected, LinkPolicy, MediaClient, Next};
use tokio::runtime::Runtime;
use uuid::Uuid;

const MIB: u64 = 1024 * 1024;
const SIZE: u64 = 96 * MIB;
const PART: u64 = 5 * MIB;
/// What a slow host gives each connection.
const SLOW: u64 = 200 * MIB;

fn window(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("start a runtime");
    for (host, connection_rate) in [("a fast host", None), ("200 MiB/s each", Some(SLOW))] {
        let (_simulator, link) = runtime.block_on(serve(connection_rate));
        let mut group = criterion.benchmark_group(host);
        group.throughput(Throughput::Bytes(SIZE)).sample_size(10);
        for connections in [1, 2, 4, 8] {
            let client = client(connections);
            let name = format!("{connections} connections");
            group.bench_function(&name, |bencher| {
                bencher.to_async(&runtime).iter(|| fetch(&client, &link));
            });
        }
        group.finish();
    }
}

/// A provider with one recording, and a link to it.
async fn serve(connection_rate: Option<u64>) -> (Simulator, SignedUrl) {
    let config = SimulatorConfig {
        connection_rate,
        ..SimulatorConfig::default()
    };
    let simulator = Simulator::start(config).await.expect("start the simulator");
    let recording = SimulatedRecording::new(Uuid::new_v4(), SIZE);
    let id = recording.id;
    simulator.add(recording);
    let base_url = simulator.base_url();
    let api = SignalWire::new(&SignalWireConfig {
        api_base: base_url.parse().expect("an address"),
        space: base_url.trim_start_matches("http://").to_owned(),
        project_id: simulator.project_id().to_owned(),
        api_token: simulator.api_token().into(),
        media_ttl: Duration::from_hours(1),
        requests_per_second: 100.try_into().expect("not zero"),
        allow_private_media: true,
        require_https: false,
    })
    .expect("a client");
    let recording = api.recording(id.into()).await.expect("it is there");
    (simulator, recording.link.expect("it has a link"))
}

fn client(connections: u16) -> MediaClient {
    let config = TransferConfig {
        connections: NonZeroU16::new(connections).expect("not zero"),
        connections_per_host: NonZeroU16::MAX,
        memory_limit_bytes: 256 * MIB,
        idle_timeout: Duration::from_secs(30),
        min_bytes_per_second: 1024,
        bandwidth_limit_bytes: None,
    };
    let links = LinkPolicy {
        require_https: false,
        allow_private: true,
    };
    MediaClient::new(&config, links).expect("a client")
}

async fn fetch(client: &MediaClient, link: &SignedUrl) -> u64 {
    let (budget, progress) = (MemoryBudget::new(96 * MIB), Arc::new(Progress::default()));
    let expected = Expected::default();
    let source = client.open(link, &expected, PART, None).await;
    let source = source.expect("it opens");
    let mut download = source.download(PART, &budget, &progress);
    let mut bytes = 0;
    while let Next::Part(part) = download.next().await.expect("it comes whole") {
        bytes += part.bytes.len() as u64;
    }
    assert_eq!(bytes, SIZE);
    bytes
}

criterion_group!(benches, window);
criterion_main!(benches);
