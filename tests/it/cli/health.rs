//! `health`: what a container's health check learns from it.

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::harness::binary::Binary;
use crate::harness::world::World;

fn asking(listen: impl Into<String>) -> Binary {
    Binary::unconfigured().with("RECORDING_ARCHIVER_HTTP_LISTEN", listen.into())
}

#[tokio::test]
async fn a_running_service_is_alive_and_one_that_ended_is_not() {
    let world = World::local().await;
    let daemon = Binary::of(&world).start(&["run"]);
    let url = daemon.http().await;
    let address = url.strip_prefix("http://").unwrap();
    let everywhere = address.replace("127.0.0.1", "0.0.0.0");
    for listen in [address, &everywhere] {
        // A proxy for the rest of the world has no say in it.
        let asking = asking(listen).with("http_proxy", "http://127.0.0.1:1");
        let ended = asking.run(&["health"]).await.demand_code(0);
        assert_eq!(ended.stdout, "alive\n");
    }
    daemon.signal(Signal::SIGTERM);
    daemon.ended().await.demand_code(0);
    let gone = asking(address).run(&["health"]).await.demand_code(1);
    gone.demand_error(&["ask the service", address]);
}

#[tokio::test]
async fn a_service_that_says_it_is_stuck_is_not_alive() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stuck = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let length = connection.read(&mut request).await.unwrap();
        let body = "the worker's loop was last seen 100 s ago\n";
        let answer = format!(
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(request[..length].to_vec()).unwrap()
    });
    let ended = asking(&address).run(&["health"]).await.demand_code(1);
    ended.demand_error(&[&address, "last seen 100 s ago"]);
    let request = stuck.await.unwrap();
    assert!(request.starts_with("GET /livez "), "{request}");
}

#[tokio::test]
async fn where_nobody_listens_asking_is_wrong_usage() {
    let ended = asking("off").run(&["health"]).await.demand_code(2);
    ended.demand_error(&["http.listen is off"]);
}
