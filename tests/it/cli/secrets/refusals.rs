//! Every command, while it is refused or nobody answers, or what it is told makes no sense.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use futures_util::StreamExt;
use futures_util::stream;

use super::commands::COMMANDS;
use super::{Confidential, SESSION_TOKEN, TOKEN};
use crate::harness::binary::Binary;
use crate::harness::s3::SECRET_ACCESS_KEY;

/// So many at once: most of the time they wait.
const SIDE_BY_SIDE: usize = 4;

/// The API is not there.
const SILENT: &str = "SIGNALWIRE_SPACE";

/// Whether it waits a minute and a half for an API that is not there. It asks through the same
/// client as all others.
fn walks(line: &str) -> bool {
    line.starts_with("discover") || line.starts_with("reconcile")
}

/// Runs every command, and `doctor` must find fault with what is.
async fn run_all(here: &Confidential, broken: &Binary, what: &str) {
    here.lay_out(broken);
    let lines = COMMANDS.iter().enumerate();
    let lines = lines.filter(|(_, line)| what != SILENT || !walks(line));
    let runs = stream::iter(lines).map(|(number, line)| async move {
        let format = ["json", "text"][number % 2];
        let mut arguments: Vec<&str> = line.split(' ').collect();
        arguments.extend(["--log-format", format]);
        let ended = broken.run(&arguments).await;
        here.demand_silence(&ended);
        assert_ne!(
            (ended.code, *line),
            (Some(0), "doctor"),
            "{what}: {ended:?}"
        );
    });
    runs.buffer_unordered(SIDE_BY_SIDE).collect::<()>().await;
    here.demand_clean_files(&[broken.directory()]);
}

#[tokio::test]
async fn no_command_shows_a_secret_when_the_database_or_the_api_refuses() {
    let here = Confidential::start().await;
    here.demand_silence(&here.binary().run(&["migrate"]).await.demand_code(0));
    let (mut gone, mut deaf, mut stranger) = (here.url(), here.url(), here.url());
    gone.set_path("no_such_database");
    deaf.set_port(Some(9)).unwrap();
    stranger.set_username("nobody_knows").unwrap();
    let mangled = here.url().as_str().replacen("://", "//", 1);
    for (variable, value) in [
        ("DATABASE_URL", gone.as_str()),
        ("DATABASE_URL", deaf.as_str()),
        ("DATABASE_URL", stranger.as_str()),
        ("DATABASE_URL", &mangled),
        (SILENT, "http://127.0.0.1:9"),
        ("SIGNALWIRE_PROJECT_ID", "another"),
        ("SIGNALWIRE_API_TOKEN", &format!("{TOKEN}x")),
    ] {
        run_all(&here, &here.binary().with(variable, value), variable).await;
    }
    here.demand_clean_rows().await;
    here.end().await;
}

#[tokio::test]
async fn no_command_shows_a_secret_when_the_store_refuses() {
    let here = Confidential::start().await;
    here.demand_silence(&here.binary().run(&["migrate"]).await.demand_code(0));
    for (variable, value) in [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AWS_ACCESS_KEY_ID", "another"),
        ("AWS_SECRET_ACCESS_KEY", &format!("{SECRET_ACCESS_KEY}x")),
        ("RECORDING_ARCHIVER_STORAGE_URL", "s3://nowhere"),
    ] {
        run_all(&here, &here.binary().with(variable, value), variable).await;
    }
    here.demand_clean_rows().await;
    here.end().await;
}

#[tokio::test]
async fn no_command_shows_a_secret_of_a_configuration_that_makes_no_sense() {
    let here = Confidential::start().await;
    let url = here.url();
    for text in [
        // Not quoted, in a key that does not exist, in a place for something else, not a URL.
        format!("[signalwire]\napi_token = {TOKEN}\n"),
        format!("[signalwire]\napi_tokn = \"{TOKEN}\"\n"),
        format!("[storage]\nsecret_access_key = \"{SECRET_ACCESS_KEY}\"\n"),
        format!("[storage]\nsession_token = \"{SESSION_TOKEN}\"\n"),
        format!("[database]\nurl = \"{url}\nschema = 1\n"),
        format!("[database]\nurl = \"mysql{url}\"\n"),
        format!("[database]\nurl = [\"{url}\"]\n"),
        format!("database_url = \"{url}\"\n"),
        format!(
            "[storage]\nendpoint = \"https://key:{SECRET_ACCESS_KEY}@store.example\"\nchecksum = 1"
        ),
    ] {
        // Kept apart from what the commands write.
        let elsewhere = tempfile::tempdir().unwrap();
        let file = elsewhere.path().join("config.toml");
        fs::write(&file, &text).unwrap();
        let broken = here
            .binary()
            .without("DATABASE_URL")
            .without("SIGNALWIRE_API_TOKEN")
            .with("RECORDING_ARCHIVER_CONFIG", &file);
        run_all(&here, &broken, &text).await;
    }
    here.end().await;
}

#[tokio::test]
async fn a_file_with_a_secret_that_everybody_may_read_is_warned_of_with_the_cure() {
    let here = Confidential::start().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("token");
    fs::write(&file, TOKEN).unwrap();
    let binary = here
        .binary()
        .without("SIGNALWIRE_API_TOKEN")
        .with("SIGNALWIRE_API_TOKEN_FILE", &file)
        .with("RUST_LOG", "warn");
    let cure = format!("`chmod o= {}`", file.display());
    for (mode, is_open) in [(0o644, true), (0o604, true), (0o640, false), (0o600, false)] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        for command in ["doctor", "migrate", "status"] {
            let ended = binary.run(&[command]).await.demand_code(0);
            here.demand_silence(&ended);
            let said = ended.stderr.contains(&cure);
            assert_eq!(said, is_open, "{mode:o}: {ended:?}");
        }
    }
    here.end().await;
}
