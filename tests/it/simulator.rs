//! The simulator, over real sockets: is it as strict as the real service, and do its faults
//! happen as they say?

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use recording_archiver::simulator::{SimulatedRecording, Simulator, SimulatorConfig};
use reqwest::{Client, Response, header, redirect};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use url::Url;
use uuid::{Uuid, uuid};

mod api;
mod counts;
mod faults;
mod media;
mod pace;
mod ranges;
mod schedules;

const ID: Uuid = uuid!("0dd5bd3b-3f0c-4e4c-9d5e-2f2a1a6b7c11");

/// A simulator with one recording, and a client that does nothing by itself.
struct Setup {
    simulator: Simulator,
    client: Client,
}

impl Setup {
    async fn new(size_bytes: u64) -> Self {
        let setup = Self::with(SimulatorConfig::default()).await;
        setup.simulator.add(SimulatedRecording::new(ID, size_bytes));
        setup
    }

    async fn with(config: SimulatorConfig) -> Self {
        let simulator = Simulator::start(config).await.unwrap();
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .timeout(Duration::from_secs(20))
            .build()
            .unwrap();
        Self { simulator, client }
    }

    fn credentials(&self) -> String {
        let pair = format!(
            "{}:{}",
            self.simulator.project_id(),
            self.simulator.api_token()
        );
        format!("Basic {}", STANDARD.encode(pair))
    }

    /// GET below `/api/video/`, with the right credentials.
    async fn api(&self, path: &str) -> Response {
        self.try_api(path).await.unwrap()
    }

    async fn try_api(&self, path: &str) -> reqwest::Result<Response> {
        self.get_api(&format!("{}/api/video/{path}", self.simulator.base_url()))
            .await
    }

    async fn get_api(&self, url: &str) -> reqwest::Result<Response> {
        self.client
            .get(url)
            .header(header::AUTHORIZATION, self.credentials())
            .send()
            .await
    }

    async fn metadata(&self) -> Value {
        let response = self.api(&format!("room_recordings/{ID}")).await;
        assert_eq!(response.status(), 200);
        json(response).await
    }

    async fn link(&self) -> String {
        self.metadata().await["uri"].as_str().unwrap().to_owned()
    }

    /// GET of a fresh link with these headers.
    async fn media(&self, headers: &[(&str, &str)]) -> Response {
        self.open(&self.link().await, headers).await
    }

    async fn open(&self, link: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = self.client.get(link);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    /// A socket on which a fresh link has been asked for, so that a test sees what the kernel sees.
    async fn socket(&self) -> TcpStream {
        let link = Url::parse(&self.link().await).unwrap();
        let host = format!("{}:{}", link.host_str().unwrap(), link.port().unwrap());
        let mut socket = TcpStream::connect(&host).await.unwrap();
        let target = &link[url::Position::BeforePath..];
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        socket
    }
}

async fn json(response: Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

fn header_of(response: &Response, name: &str) -> Option<String> {
    Some(response.headers().get(name)?.to_str().unwrap().to_owned())
}

/// Status and body of a refusal.
async fn refusal(response: Response) -> (u16, String) {
    (response.status().as_u16(), response.text().await.unwrap())
}

/// Reads until the end, and says how it ended.
async fn drain(socket: &mut TcpStream) -> (Vec<u8>, std::io::Result<()>) {
    let mut bytes = Vec::new();
    let end = socket.read_to_end(&mut bytes).await.map(drop);
    (bytes, end)
}

/// What follows the header block.
fn body_of(answer: &[u8]) -> &[u8] {
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap();
    &answer[end + 4..]
}
