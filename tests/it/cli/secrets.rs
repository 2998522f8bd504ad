//! No secret in anything a command writes, at the most talkative level, in any spelling.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::Signal;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use recording_archiver::simulator::{
    Fault, MediaFault, MetadataFault, SimulatedRecording, Simulator, SimulatorConfig, Times,
};
use url::Url;
use uuid::Uuid;

use super::{KIB, id};
use crate::harness::binary::{Binary, Ended};
use crate::harness::postgres::{TestDatabase, database};
use crate::harness::s3::{Call, SECRET_ACCESS_KEY, StoreFault, on_server_threads};
use crate::harness::world::{MIB, World};
use crate::seed::execute;

const TOKEN: &str = "PT+secret/token=of-the-tests";
const PASSWORD: &str = "pass+word/of=the tests";
/// Of a link that the API hands out, and of one that the media host redirects to.
const SIGNATURES: [&str; 2] = ["5ec7e75167a7u7e0f11nk", "5ec7e75167a7u7e0fred17ec7"];

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// The secrets in plain, percent- and base64 form, also as Basic auth sends them.
fn spellings(project_id: &str) -> Vec<String> {
    let mut secrets = vec![TOKEN, PASSWORD, SECRET_ACCESS_KEY];
    secrets.extend(SIGNATURES);
    let mut all = Vec::new();
    for secret in secrets {
        all.extend([
            secret.to_owned(),
            encoded(secret),
            secret.replace(' ', "%20"),
            secret.replace(' ', "+"),
            STANDARD.encode(secret).trim_end_matches('=').to_owned(),
        ]);
    }
    all.push(STANDARD.encode(format!("{project_id}:{TOKEN}")));
    // Whatever the simulator signed: no link and no header with a signature is shown.
    all.extend(["X-Amz-Signature".to_owned(), "Signature=".to_owned()]);
    all
}

/// A world whose every key and password is known, and a database with a role of its own.
struct Confidential {
    world: World,
    simulator: Simulator,
    server: TestDatabase,
    role: String,
    secrets: Vec<String>,
}

impl Confidential {
    async fn start() -> Self {
        let simulator = on_server_threads(Simulator::start(SimulatorConfig {
            api_token: TOKEN.to_owned(),
            ..SimulatorConfig::default()
        }));
        let simulator = simulator.await.unwrap();
        let server = database().await;
        let role = format!("archiver_secret_{}", Uuid::new_v4().simple());
        let name = server.options().get_database().unwrap().to_owned();
        execute(
            &server.pool(),
            &format!(
                "CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}';
                 GRANT CREATE ON DATABASE {name} TO {role};
                 GRANT CREATE ON SCHEMA public TO {role}"
            ),
        )
        .await;
        Self {
            world: World::s3().await,
            secrets: spellings(simulator.project_id()),
            simulator,
            server,
            role,
        }
    }

    fn binary(&self) -> Binary {
        Binary::of(&self.world)
            .with("DATABASE_URL", self.url().as_str())
            .with("SIGNALWIRE_SPACE", self.simulator.base_url())
            .with("SIGNALWIRE_API_TOKEN", TOKEN)
            .with("RUST_LOG", "trace")
    }

    /// The database's URL for the role with the password.
    fn url(&self) -> Url {
        let mut url = Url::parse(&self.server.url()).unwrap();
        url.set_username(&self.role).unwrap();
        url.set_password(Some(&encoded(PASSWORD))).unwrap();
        url
    }

    /// Thirteen recordings, of which most go wrong and the last is not there.
    fn lay_traps(&self) -> String {
        let simulator = &self.simulator;
        for number in 1..=12 {
            let size = if number == 1 { 11 * MIB } else { KIB };
            simulator.add(SimulatedRecording::new(id(number), size));
        }
        let signed = |place: &str, signature| format!("{place}?X-Amz-Signature={signature}");
        let refused = signed(&format!("{}/files/x", simulator.base_url()), SIGNATURES[0]);
        let silent = signed("http://127.0.0.1:9/y", SIGNATURES[0]);
        let elsewhere = signed("http://127.0.0.1:9/x", SIGNATURES[1]);
        let traps: [(u128, Fault); 9] = [
            (2, MetadataFault::Uri(refused).into()),
            (3, MediaFault::Redirect(elsewhere).into()),
            (4, MediaFault::LinkDies.into()),
            (5, MediaFault::ResetAfter(100).into()),
            (6, MetadataFault::Html.into()),
            (7, MetadataFault::Status(503).into()),
            (8, MetadataFault::WrongTypes.into()),
            (9, MediaFault::RedirectLoop.into()),
            (10, MetadataFault::Uri(silent).into()),
        ];
        for (number, trap) in traps {
            simulator.inject(id(number), trap, Times::Always);
        }
        let server = self.world.s3_server();
        server.inject(Call::PutPart, StoreFault::Cut, 1);
        let ids: Vec<String> = (1..=13).map(|number| id(number).to_string()).collect();
        ids.join("\n")
    }

    fn demand_silence(&self, ended: &Ended) {
        for secret in &self.secrets {
            for said in [&ended.stdout, &ended.stderr] {
                assert!(!said.contains(secret), "{secret:?} in {ended:?}");
            }
        }
    }

    /// Nor do rows hold one, which anybody with rights on them may read.
    async fn demand_clean_rows(&self) {
        let rows: String = sqlx::query_scalar(
            "SELECT (SELECT string_agg(r::text, ' ') FROM archiver.recordings r)
                 || (SELECT string_agg(a::text, ' ') FROM archiver.attempts a)",
        )
        .fetch_one(&self.server.pool())
        .await
        .unwrap();
        for secret in &self.secrets {
            assert!(!rows.contains(secret), "{secret:?} in {rows}");
        }
    }

    async fn end(self) {
        let role = &self.role;
        let drop_role = format!("DROP OWNED BY {role}; DROP ROLE {role}");
        execute(&self.server.pool(), &drop_role).await;
    }
}

#[tokio::test]
async fn no_command_shows_a_secret_while_recordings_go_wrong() {
    let here = Confidential::start().await;
    let binary = here.binary();
    fs::write(binary.directory().join("ids"), here.lay_traps()).unwrap();
    let one = id(1).to_string();
    for (arguments, code) in [
        (&["migrate"][..], 0),
        (&["enqueue", "--ids-file", "ids"], 0),
        (&["doctor"], 0),
        (&["archive", "--dry-run", "--ids-file", "ids"], 0),
        (&["archive", "--ids-file", "ids", "--output", "jsonl"], 1),
        (&["run", "--once"], 75),
        (&["retry", "--failed"], 0),
        (&["reprice"], 0),
        (&["sweep"], 0),
        (&["status"], 0),
        (&["status", "--id", &one], 0),
        (&["report", "costs"], 0),
    ] {
        let ended = binary.run(arguments).await;
        here.demand_silence(&ended);
        assert!(ended.stderr.contains("DEBUG"), "it is talkative: {ended:?}");
        ended.demand_code(code);
    }
    let daemon = binary.start(&["run"]);
    daemon.demand_log("ready").await;
    daemon.signal(Signal::SIGTERM);
    here.demand_silence(&daemon.ended().await.demand_code(0));
    here.demand_clean_rows().await;
    here.end().await;
}

#[tokio::test]
async fn no_command_shows_a_secret_when_it_is_refused_or_nobody_answers() {
    let here = Confidential::start().await;
    let one = id(1).to_string();
    let mut gone = here.url();
    gone.set_path("no_such_database");
    let mangled = here.url().as_str().replacen("://", "//", 1);
    for (variable, value) in [
        ("DATABASE_URL", gone.as_str()),
        ("DATABASE_URL", &mangled),
        ("SIGNALWIRE_SPACE", "http://127.0.0.1:9"),
        ("SIGNALWIRE_PROJECT_ID", "another"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AWS_ACCESS_KEY_ID", "another"),
        ("RECORDING_ARCHIVER_STORAGE_URL", "s3://nowhere"),
    ] {
        let broken = here.binary().with(variable, value);
        for arguments in [
            &["doctor"][..],
            &["archive", "--id", &one],
            &["run", "--once"],
        ] {
            let ended = broken.run(arguments).await;
            here.demand_silence(&ended);
            assert_ne!((ended.code, arguments[0]), (Some(0), "doctor"), "{ended:?}");
        }
    }
    here.end().await;
}
