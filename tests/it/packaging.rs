//! Units, package, image and compose file fit the program and each other. `.ci/package` and
//! `.ci/image` try them for real; this is what can be told without.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use recording_archiver::cli::Cli;
use recording_archiver::config::{Config, Environment, Origin};

const DOCKERFILE: &str = include_str!("../../Dockerfile");
const COMPOSE: &str = include_str!("../../compose.yaml");
const WORKFLOW: &str = include_str!("../../.github/workflows/ci.yml");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Name and text of each file in `systemd` with this ending.
fn units(ending: &str) -> Vec<(String, String)> {
    let found: Vec<(String, String)> = fs::read_dir(root().join("systemd"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == ending))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    assert!(!found.is_empty(), "no {ending} in systemd");
    found
}

/// The values of a setting of a unit, in order.
fn values<'a>(unit: &'a str, setting: &str) -> Vec<&'a str> {
    let lines = unit.lines();
    lines
        .filter_map(|line| line.strip_prefix(setting)?.strip_prefix('='))
        .collect()
}

#[track_caller]
fn demand_taken<'a>(words: impl IntoIterator<Item = &'a str>) {
    let words: Vec<&str> = words.into_iter().collect();
    assert_eq!(words[0], "recording-archiver", "{words:?}");
    if let Err(error) = Cli::try_parse_from(&words) {
        panic!("{words:?}: {error}");
    }
}

#[test]
fn every_unit_starts_the_program_in_a_way_it_takes() {
    for (name, text) in units("service") {
        let started = values(&text, "ExecStart");
        assert_eq!(started.len(), 1, "{name}");
        let line = started[0].strip_prefix("/usr/bin/").expect(&name);
        demand_taken(line.split(' '));
    }
}

#[test]
fn what_runs_for_long_is_reloaded_by_the_signal_that_the_program_takes() {
    for (name, text) in units("service") {
        let reload = values(&text, "ExecReload");
        if values(&text, "Type") == ["notify"] {
            assert_eq!(reload, ["/bin/kill -HUP $MAINPID"], "{name}");
        } else {
            assert_eq!(reload, [""; 0], "{name}");
        }
    }
}

/// What the program reads when these stand in the credentials directory.
fn credential_files(names: &BTreeSet<&str>) -> BTreeSet<String> {
    let directory = tempfile::tempdir().unwrap();
    for name in names {
        let value = match *name {
            "database_url" => "postgres://archiver@localhost/archiver",
            _ => "example",
        };
        fs::write(directory.path().join(name), value).unwrap();
    }
    let place = directory.path().to_str().unwrap();
    let environment = Environment::isolated(Path::new("/"), [("CREDENTIALS_DIRECTORY", place)]);
    let config = Config::load(None, &environment).unwrap();
    config
        .origins()
        .filter_map(|(_, origin, _)| match origin {
            Origin::CredentialFile(path) => Some(path.file_name()?.to_str()?.to_owned()),
            _ => None,
        })
        .collect()
}

#[test]
fn every_unit_hands_on_the_secrets_that_the_program_reads_each_from_a_file_of_its_own() {
    let mut places = BTreeSet::new();
    for (name, text) in units("service") {
        let prefix = match name.as_str() {
            "recording-archiver@.service" => "recording-archiver@%i.",
            _ => "recording-archiver.",
        };
        let mut names = BTreeSet::new();
        for value in values(&text, "LoadCredential") {
            let (credential, place) = value.split_once(':').expect("NAME:PLACE");
            assert_eq!(place, format!("{prefix}{credential}"), "{name}");
            names.insert(credential);
            places.insert(place.to_owned());
        }
        let read: BTreeSet<&str> = [
            "aws_access_key_id",
            "aws_secret_access_key",
            "database_url",
            "signalwire_api_token",
        ]
        .into();
        assert_eq!(names, read, "{name}");
        assert_eq!(
            credential_files(&names),
            names.iter().map(|&it| it.to_owned()).collect(),
            "{name}"
        );
    }
    assert_eq!(places.len(), 8, "{places:?}");
}

#[test]
fn no_two_services_of_different_projects_share_a_state_directory() {
    let directory = |name: &str| {
        let path = root().join("systemd").join(name);
        let text = fs::read_to_string(path).unwrap();
        values(&text, "StateDirectory").concat()
    };
    let service = directory("recording-archiver.service");
    assert_eq!(directory("recording-archiver-once.service"), service);
    let instance = directory("recording-archiver@.service");
    assert!(instance.contains("%i"), "{instance}");
    assert_ne!(instance.replace("%i", ""), service);
}

#[test]
fn every_timer_has_its_service() {
    for (name, _) in units("timer") {
        let service = name.replace(".timer", ".service");
        assert!(root().join("systemd").join(&service).is_file(), "{service}");
    }
}

/// `[package.metadata.deb]`.
fn deb() -> toml::Table {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    manifest["package"]["metadata"]["deb"]
        .as_table()
        .unwrap()
        .clone()
}

/// Where each asset comes from, and its whole path in the package.
fn assets(deb: &toml::Table) -> Vec<(String, PathBuf)> {
    let text = |value: &toml::Value| value.as_str().unwrap().to_owned();
    let assets = deb["assets"].as_array().unwrap();
    assets
        .iter()
        .map(|asset| {
            let (source, place) = (text(&asset[0]), text(&asset[1]));
            let mut path = Path::new("/").join(&place);
            if place.ends_with('/') {
                path.push(Path::new(&source).file_name().unwrap());
            }
            (source, path)
        })
        .collect()
}

#[test]
fn the_package_holds_what_there_is() {
    let deb = deb();
    let assets = assets(&deb);
    for (source, _) in &assets {
        let is_made = source.starts_with("target/");
        assert!(is_made || root().join(source).is_file(), "{source}");
    }
    for file in deb["conf-files"].as_array().unwrap() {
        let path = Path::new(file.as_str().unwrap());
        assert!(assets.iter().any(|(_, it)| it == path), "{file}");
    }
    for place in assets.iter().map(|(_, path)| path) {
        let is_settings = place.starts_with("/etc");
        let is_conffile = deb["conf-files"]
            .as_array()
            .unwrap()
            .iter()
            .any(|file| Path::new(file.as_str().unwrap()) == place);
        assert_eq!(is_settings, is_conffile, "{}", place.display());
    }
}

#[test]
fn the_package_holds_every_unit_and_starts_none() {
    let deb = deb();
    let assets = assets(&deb);
    let found = &deb["systemd-units"];
    assert_eq!(found["unit-scripts"].as_str(), Some("systemd/"));
    for setting in ["enable", "start"] {
        assert_eq!(found[setting].as_bool(), Some(false), "{setting}");
    }
    // Those that bear the package's name are found by it.
    let by_name = ["recording-archiver.service", "recording-archiver@.service"];
    for (name, _) in units("service").into_iter().chain(units("timer")) {
        let is_asset = assets
            .iter()
            .any(|(source, _)| *source == format!("systemd/{name}"));
        assert_eq!(is_asset, !by_name.contains(&name.as_str()), "{name}");
    }
}

/// The strings of the JSON array that follows this word in the Dockerfile.
fn instruction(word: &str) -> Vec<String> {
    let line = DOCKERFILE
        .lines()
        .find(|line| line.starts_with(word))
        .expect(word);
    serde_json::from_str(&line[line.find('[').unwrap()..]).unwrap()
}

#[test]
fn the_image_is_started_and_checked_in_ways_the_program_takes() {
    let start = [instruction("ENTRYPOINT"), instruction("CMD")].concat();
    demand_taken(start.iter().map(String::as_str));
    let check = instruction("HEALTHCHECK");
    demand_taken(check.iter().map(String::as_str));
    assert!(check.contains(&"health".to_owned()), "{check:?}");
}

#[test]
fn the_image_answers_on_the_port_it_names() {
    let (_, rest) = DOCKERFILE
        .split_once("RECORDING_ARCHIVER_HTTP_LISTEN=")
        .unwrap();
    let listen = rest.split_whitespace().next().unwrap();
    let variables = [("RECORDING_ARCHIVER_HTTP_LISTEN", listen)];
    let config = Config::load(None, &Environment::isolated(Path::new("/"), variables)).unwrap();
    let listen = config.http.listen.unwrap();
    assert!(listen.ip().is_unspecified(), "{listen}");
    let port = listen.port();
    assert!(DOCKERFILE.contains(&format!("\nEXPOSE {port}\n")));
    assert!(COMPOSE.contains(&format!("127.0.0.1:{port}:{port}")));
}

#[test]
fn the_image_is_built_with_the_rust_of_the_gate() {
    let (_, rest) = DOCKERFILE.split_once("\nFROM rust:").unwrap();
    let (version, _) = rest.split_once("-slim-").unwrap();
    let toolchain = format!("rustup toolchain install {version} ");
    assert!(WORKFLOW.contains(&toolchain), "{toolchain}");
}

/// The value once the person who starts it has said what stands in `${…}`.
fn filled_in(value: &str) -> String {
    let mut parts = value.split("${");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        filled.push_str("example");
        filled.push_str(part.split_once('}').expect("it is closed").1);
    }
    filled
}

#[test]
fn the_compose_file_sets_what_the_program_reads_and_all_it_needs() {
    let (_, rest) = COMPOSE.split_once("\n  archiver:\n").unwrap();
    let (service, _) = rest.split_once("\n  postgres:\n").unwrap();
    let variables: Vec<(&str, String)> = service
        .lines()
        .filter_map(|line| line.strip_prefix("      ")?.split_once(": "))
        .map(|(name, value)| (name, filled_in(value)))
        .collect();
    let environment = Environment::isolated(Path::new("/"), variables.iter().cloned());
    let config = Config::load(None, &environment).unwrap();
    config.signalwire().unwrap();
    config.storage().unwrap();
    assert!(config.database.url.is_some());
    for (name, _) in variables {
        let read = Origin::Environment(name.to_owned());
        let is_read = config.origins().any(|(_, origin, _)| *origin == read);
        assert!(is_read, "{name} is not read");
    }
}
