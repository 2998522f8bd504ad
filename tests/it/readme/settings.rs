//! Configuration: the examples load, the keys and variables exist.

use std::fs;

use recording_archiver::config::{Config, Environment, Origin};

use super::markdown::{README, blocks, code_spans, table};

const SECRETS: [(&str, &str); 3] = [
    ("SIGNALWIRE_API_TOKEN", "token"),
    ("AWS_ACCESS_KEY_ID", "id"),
    ("AWS_SECRET_ACCESS_KEY", "key"),
];

#[test]
fn every_configuration_shown_is_complete_but_for_the_secrets() {
    for block in blocks("toml") {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        fs::write(&path, block).unwrap();
        let environment = Environment::isolated(directory.path(), SECRETS);
        let config = Config::load(Some(&path), &environment).unwrap();
        config.storage().unwrap();
        if block.contains("[signalwire]") {
            config.signalwire().unwrap();
        }
        assert!(config.warnings().is_empty(), "{:?}", config.warnings());
    }
}

fn load(variables: &[(&str, &str)]) -> Config {
    let directory = tempfile::tempdir().unwrap();
    let environment = Environment::isolated(directory.path(), variables.iter().copied());
    Config::load(None, &environment).unwrap()
}

#[test]
fn every_setting_named_exists() {
    let config = load(&[]);
    let keys: Vec<&str> = config.origins().map(|(key, _, _)| key).collect();
    let views = [
        "recordings",
        "monthly_costs",
        "session_costs",
        "cost_changes",
        "unit_costs",
        "monthly_changes",
        "provisional_costs",
        "not_archived",
    ];
    let mut settings = 0;
    for span in code_spans() {
        let name = span.split(" = ").next().unwrap_or_default();
        let Some((section, leaf)) = name.split_once('.') else {
            continue;
        };
        let is_section = keys.iter().any(|key| {
            key.split_once('.')
                .is_some_and(|(of_key, _)| of_key == section)
        });
        if !is_section || (section == "finance" && views.contains(&leaf)) {
            continue;
        }
        assert!(keys.contains(&name), "`{name}` is no setting");
        settings += 1;
    }
    assert!(settings >= 20, "only {settings} settings were found");
}

#[test]
fn the_settings_that_a_reload_reaches_are_all_named_and_no_others() {
    let (_, after) = README.split_once("A reload reaches").unwrap();
    let (sentence, _) = after.split_once(';').unwrap();
    let named: Vec<&str> = sentence.split('`').skip(1).step_by(2).collect();
    assert_eq!(named, Config::reloadable_keys().collect::<Vec<_>>());
}

/// Any value that the setting behind the name takes.
fn plausible(name: &str) -> &'static str {
    match name {
        "DATABASE_URL" | "database_url" => "postgres://archiver@localhost/archiver",
        "AWS_ENDPOINT_URL" => "https://s3.example.com",
        "RECORDING_ARCHIVER_STORAGE_URL" => "s3://recordings/video",
        _ => "example",
    }
}

/// The names in backticks in the second cell of the row that begins so.
fn names_in_row(source: &str) -> Vec<String> {
    let rows = table("source");
    let row = rows.iter().find(|row| row[0].starts_with(source)).unwrap();
    let names = row[1].split('`').skip(1).step_by(2);
    names.map(str::to_owned).collect()
}

#[test]
fn every_variable_and_credential_named_is_read() {
    let mut variables = names_in_row("environment, by the key");
    variables.truncate(1);
    variables.extend(names_in_row("environment, by the usual name"));
    assert_eq!(variables.len(), 10);
    for variable in variables {
        let config = load(&[(&variable, plausible(&variable))]);
        let read = Origin::Environment(variable.clone());
        assert!(
            config.origins().any(|(_, origin, _)| *origin == read),
            "{variable} is not read"
        );
    }
    let credentials = names_in_row("secrets: systemd credentials");
    assert_eq!(credentials.len(), 4);
    for credential in credentials {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(&credential), plausible(&credential)).unwrap();
        let path = directory.path().to_str().unwrap();
        let config = load(&[("CREDENTIALS_DIRECTORY", path)]);
        assert!(
            config
                .origins()
                .any(|(_, origin, _)| origin.to_string().contains(&credential)),
            "{credential} is not read"
        );
    }
}
