//! No secret in anything a command writes, at the most talkative level, in any spelling.

mod commands;
mod refusals;

use std::fs;
use std::path::{Path, PathBuf};

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
use crate::harness::secrets::demand_no_secret;
use crate::harness::world::{MIB, World, files_below};
use crate::seed::execute;

const TOKEN: &str = "PT+secret/token=of-the-tests";
const PASSWORD: &str = "pass+word/of=the tests";
const SESSION_TOKEN: &str = "Session+token/of=the-tests";
/// Of a link that the API hands out, and of one that the media host redirects to.
const SIGNATURES: [&str; 2] = ["5ec7e75167a7u7e0f11nk", "5ec7e75167a7u7e0fred17ec7"];

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn secrets() -> Vec<String> {
    let mut all = vec![TOKEN, PASSWORD, SECRET_ACCESS_KEY, SESSION_TOKEN];
    all.extend(SIGNATURES);
    // Whatever the simulator signed: no link and no header with a signature is shown.
    all.extend(["X-Amz-Signature", "Signature="]);
    all.into_iter().map(str::to_owned).collect()
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
            secrets: secrets(),
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
            .with("AWS_SESSION_TOKEN", SESSION_TOKEN)
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
        for said in [&ended.stdout, &ended.stderr] {
            demand_no_secret(&self.secrets, &ended.command, said);
        }
    }

    /// Nor does any table or view, which somebody may have a right to read.
    async fn demand_clean_rows(&self) {
        let pool = self.server.pool();
        let tables: Vec<String> = sqlx::query_scalar(
            "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables
              WHERE table_schema NOT IN ('pg_catalog', 'information_schema')",
        )
        .fetch_all(&pool)
        .await
        .unwrap();
        assert!(
            tables.contains(&"archiver.attempts".to_owned()),
            "{tables:?}"
        );
        for table in tables {
            let query =
                format!("SELECT coalesce(json_agg(row_to_json(t)), '[]')::text FROM {table} t");
            let rows: String = sqlx::query_scalar(sqlx::AssertSqlSafe(query))
                .fetch_one(&pool)
                .await
                .unwrap();
            demand_no_secret(&self.secrets, &table, &rows);
            if table == "archiver.recordings" {
                assert!(rows.contains(&id(1).to_string()), "{rows}");
            }
        }
    }

    /// Nor does any file in these directories.
    fn demand_clean_files(&self, directories: &[&Path]) -> Vec<PathBuf> {
        let mut all = Vec::new();
        for file in directories.iter().flat_map(|it| files_below(it)) {
            let name = file.display().to_string();
            demand_no_secret(&self.secrets, "a file name", &name);
            let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
            demand_no_secret(&self.secrets, &name, &text);
            all.push(file);
        }
        all
    }

    async fn end(self) {
        let role = &self.role;
        let drop_role = format!("DROP OWNED BY {role}; DROP ROLE {role}");
        execute(&self.server.pool(), &drop_role).await;
    }
}
