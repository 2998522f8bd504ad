//! Where requests name the bucket. A proxy that is the store itself takes them for any host.

use recording_archiver::simulator::SimulatedRecording;
use uuid::Uuid;

use crate::harness::binary::Binary;
use crate::harness::world::{MIB, PART, World};

const AWS: &str = "http://s3.eu-central-1.amazonaws.com";

#[tokio::test]
async fn bucket_is_named_where_the_setting_says() {
    for (addressing, endpoint, host) in [
        ("virtual", "http://s3.test", "recordings.s3.test"),
        ("path", "http://s3.test", "s3.test"),
        ("auto", "http://s3.test", "s3.test"),
        ("auto", AWS, "recordings.s3.eu-central-1.amazonaws.com"),
        ("path", AWS, "s3.eu-central-1.amazonaws.com"),
    ] {
        let world = World::s3().await;
        let server = world.s3_server();
        let binary = Binary::of(&world)
            .with("RECORDING_ARCHIVER_STORAGE_ADDRESSING", addressing)
            .with("AWS_ENDPOINT_URL", endpoint)
            .with("http_proxy", server.endpoint());
        binary.run(&["doctor"]).await.demand_code(0);
        for size_bytes in [MIB, 2 * PART + 5] {
            let id = Uuid::new_v4();
            world.simulator.add(SimulatedRecording::new(id, size_bytes));
            let id_text = id.to_string();
            binary
                .run(&["archive", "--id", &id_text])
                .await
                .demand_code(0);
            world.demand_archived(id).await;
            // Also what is signed by hand: lists, copies in parts.
            binary.run(&["sweep"]).await.demand_code(0);
        }
        let hosts: Vec<_> = server.hosts().into_iter().collect();
        assert_eq!(hosts, [host], "{addressing} {endpoint}");
    }
}
