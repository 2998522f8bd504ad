//! A headless Chromium, driven over `WebDriver`.

use std::env;
use std::process::Stdio;
use std::time::Duration;

use axum::http::Method;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use url::Url;

/// From Debian's packages `chromium` and `chromium-driver`.
const DRIVER: &str = "chromedriver";
const STARTS_WITHIN: Duration = Duration::from_secs(30);
const SAYS_PORT: &str = "was started successfully on port ";

pub(super) struct Browser {
    pub(super) client: Client,
    _driver: Child,
}

impl Browser {
    /// `None` where it is not installed; the gate installs it, and insists.
    pub(super) async fn start() -> Option<Self> {
        let driver = Command::new(DRIVER)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let mut driver = match driver {
            Ok(driver) => driver,
            Err(error) => {
                let cure = "`apt-get install chromium chromium-driver`";
                assert!(
                    env::var_os("CI").is_none(),
                    "{DRIVER}: {error}; install it: {cure}"
                );
                println!("skipped: {DRIVER} is not installed ({cure})");
                return None;
            }
        };
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = timeout(STARTS_WITHIN, async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some((_, port)) = line.split_once(SAYS_PORT) {
                    return port.trim_end_matches('.').to_owned();
                }
            }
            panic!("{DRIVER} ended without naming its port");
        });
        let port = port.await.expect("the driver starts in time");
        let capabilities = json!({
            "goog:chromeOptions": {
                // Root, as in containers, has no sandbox; /dev/shm may be small.
                "args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                         "--hide-scrollbars", "--force-device-scale-factor=1"],
            },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let Value::Object(capabilities) = capabilities else {
            unreachable!("it is written as one")
        };
        let connected =
            ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
                .capabilities(capabilities)
                .connect(&format!("http://127.0.0.1:{port}"))
                .await;
        let client = connected.unwrap_or_else(|error| {
            panic!("start Chromium ({error}); is it installed (`apt-get install chromium`)?")
        });
        Some(Self {
            client,
            _driver: driver,
        })
    }

    /// A command of the `DevTools`.
    async fn devtools(&self, command: &'static str, parameters: Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        self.client
            .issue_cmd(OfChromium("goog/cdp/execute", body))
            .await
            .unwrap()
    }

    /// What the page's console has said since it was asked last, policy violations included.
    pub(super) async fn console(&self) -> Vec<Value> {
        let said = self
            .client
            .issue_cmd(OfChromium("se/log", json!({ "type": "browser" })));
        said.await.unwrap().as_array().unwrap().clone()
    }

    pub(super) async fn look_like(&self, width: u32, height: u32, scheme: &str) {
        let screen = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", screen)
            .await;
        let feature = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", feature).await;
    }

    /// What a script gives; the page itself has none.
    pub(super) async fn ask<T: serde::de::DeserializeOwned>(&self, script: &str) -> T {
        let given = self.client.execute(script, Vec::new()).await.unwrap();
        serde_json::from_value(given).unwrap()
    }

    /// The whole page as PNG.
    pub(super) async fn picture(&self) -> Vec<u8> {
        let taken = self.devtools(
            "Page.captureScreenshot",
            json!({ "format": "png", "captureBeyondViewport": true }),
        );
        let taken = taken.await;
        BASE64_STANDARD
            .decode(taken["data"].as_str().unwrap())
            .unwrap()
    }

    pub(super) async fn close(self) {
        self.client.close().await.unwrap();
    }
}

/// A command beyond the standard, by its path and body.
#[derive(Debug)]
struct OfChromium(&'static str, Value);

impl WebDriverCompatibleCommand for OfChromium {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, url::ParseError> {
        base.join(&format!(
            "session/{}/{}",
            session.unwrap_or_default(),
            self.0
        ))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.1.to_string()))
    }
}
