//! The configuration as an operator meets it: files, variables, credentials, and their errors.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU64;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use recording_archiver::config::{
    Changes, ChecksumMode, Config, ConfigError, Environment, Origin, S3Credentials,
    StorageLocation, VerifyMode,
};
use secrecy::ExposeSecret as _;
use tempfile::TempDir;

const EXAMPLE: &str = include_str!("../../config.example.toml");

/// The keys of the contract's table.
const CONTRACT: [&str; 42] = [
    "data_dir",
    "signalwire.space",
    "signalwire.project_id",
    "signalwire.api_token",
    "signalwire.media_ttl",
    "signalwire.requests_per_second",
    "signalwire.allow_private_media",
    "database.url",
    "storage.url",
    "storage.endpoint",
    "storage.region",
    "storage.addressing",
    "storage.checksum",
    "storage.verify",
    "storage.part_size",
    "storage.storage_class",
    "storage.kms_key_id",
    "storage.layout",
    "transfer.connections",
    "transfer.connections_per_host",
    "transfer.memory_limit",
    "transfer.idle_timeout",
    "transfer.min_rate",
    "transfer.bandwidth_limit",
    "worker.concurrency",
    "worker.schedule",
    "worker.lease",
    "worker.max_attempts",
    "worker.not_ready_deadline",
    "worker.drain_timeout",
    "discovery.schedule",
    "verify.schedule",
    "verify.within",
    "verify.bandwidth_limit",
    "retire.enabled",
    "sweep.schedule",
    "finance.schedule",
    "finance.final_after",
    "http.listen",
    "http.hosts",
    "log.format",
    "log.level",
];

/// A directory of its own, perhaps with a `config.toml`.
fn directory(config: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    if !config.is_empty() {
        write(&directory.path().join("config.toml"), config, 0o600);
    }
    directory
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn load_in(directory: &Path, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let environment = Environment::isolated(directory, variables.iter().copied());
    Config::load(None, &environment)
}

fn load(config: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    load_in(directory(config).path(), variables)
}

fn refused(config: &str, variables: &[(&str, &str)]) -> String {
    load(config, variables).unwrap_err().to_string()
}

fn origin(config: &Config, key: &str) -> (Origin, String) {
    config
        .origins()
        .find(|(name, ..)| *name == key)
        .map(|(_, origin, shown)| (origin.clone(), shown.to_owned()))
        .unwrap()
}

fn shown(config: &Config) -> BTreeMap<&'static str, String> {
    config
        .origins()
        .map(|(key, _, shown)| (key, shown.to_owned()))
        .collect()
}

#[test]
fn nothing_set_means_the_contract_s_defaults() {
    let directory = directory("");
    let config = load_in(directory.path(), &[]).unwrap();
    let here = directory.path();
    assert_eq!(config.file(), None);
    assert_eq!(config.warnings(), [""; 0]);
    assert_eq!(config.data_dir, here.join("recording-archive"));
    assert!(config.database.url.is_none());

    let storage = config.storage().unwrap();
    let root = here.join("recording-archive/objects");
    assert_eq!(storage.location, StorageLocation::File { root });
    assert_eq!(storage.checksum, ChecksumMode::Auto);
    assert_eq!(storage.verify, VerifyMode::Auto);
    assert_eq!(storage.part_size_bytes, 5 << 20);
    assert_eq!(
        storage.layout.as_str(),
        "year={year}/month={month}/day={day}/{recording_id}.{ext}"
    );
    assert_eq!(config.transfer.connections.get(), 4);
    assert_eq!(config.transfer.connections_per_host.get(), 32);
    assert_eq!(config.transfer.bandwidth_limit_bytes, None);
    assert_eq!(config.transfer.memory_limit_bytes, 256 << 20);
    assert_eq!(config.transfer.idle_timeout, Duration::from_secs(30));
    assert_eq!(config.transfer.min_bytes_per_second, 1024);
    assert_eq!(config.worker.concurrency, 8);
    assert_eq!(config.worker.schedule.as_str(), "*/30 * * * * *");
    assert_eq!(config.worker.lease, Duration::from_mins(2));
    assert_eq!(config.worker.max_attempts, 10);
    let days = |days: u64| Duration::from_hours(days * 24);
    assert_eq!(config.worker.not_ready_deadline, days(7));
    assert_eq!(config.worker.drain_timeout, Duration::from_mins(1));
    assert_eq!(config.sweep.schedule.unwrap().as_str(), "0 0 * * * *");
    assert_eq!(config.finance.schedule.unwrap().as_str(), "0 0 3 * * *");
    assert_eq!(config.finance.final_after, days(7));
    assert_eq!(config.http.listen, "127.0.0.1:9464".parse().ok());
}

#[test]
fn the_example_states_the_defaults() {
    let directory = directory("");
    let defaults = shown(&load_in(directory.path(), &[]).unwrap());
    write(&directory.path().join("config.toml"), EXAMPLE, 0o600);
    let example = load_in(directory.path(), &[]).unwrap();
    assert_eq!(shown(&example), defaults);
    assert_eq!(example.file(), Some(&*directory.path().join("config.toml")));
}

#[test]
fn every_key_of_the_contract_stands_in_the_example() {
    let uncommented: Vec<&str> = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(setting) if setting.split(' ').nth(1) == Some("=") => setting,
            _ => line,
        })
        .collect();
    // The token in the example is no token, and says so by its ellipsis.
    let text = uncommented.join("\n").replace("PT…", "PTexample");
    let config = load(&text, &[]).unwrap();
    let in_example: Vec<_> = config
        .origins()
        .filter(|(_, origin, _)| matches!(origin, Origin::File { .. }))
        .map(|(key, ..)| key)
        .collect();
    assert_eq!(in_example, CONTRACT);
    assert!(config.signalwire().is_ok());
}

/// The environment variable that is the key's own, or that of the AWS keys.
fn variable_of(key: &str) -> String {
    let name = key.replace('.', "_").to_uppercase();
    if name.starts_with("AWS_") {
        return name;
    }
    format!("RECORDING_ARCHIVER_{name}")
}

/// A value that is taken and is not the default.
fn another_value(key: &str) -> &'static str {
    match key.rsplit('.').next().unwrap() {
        "space" => "other",
        "url" if key == "database.url" => "postgres://localhost/db",
        "url" => "file:///srv",
        "endpoint" => "http://127.0.0.1:3900",
        "checksum" => "sha256",
        "verify" => "read_back",
        "part_size" => "16MiB",
        "memory_limit" => "64MiB",
        "layout" => "{recording_id}",
        "allow_private_media" | "enabled" => "true",
        "requests_per_second"
        | "connections"
        | "connections_per_host"
        | "concurrency"
        | "max_attempts" => "3",
        "media_ttl" | "idle_timeout" | "lease" | "not_ready_deadline" | "drain_timeout"
        | "final_after" | "within" => "90s",
        "schedule" if ["discovery.schedule", "verify.schedule"].contains(&key) => "@hourly",
        "schedule" if key.starts_with("worker") => "0 * * * * *",
        "schedule" | "listen" => "off",
        "bandwidth_limit" | "min_rate" => "1MiB",
        "level" => "debug",
        "format" => "json",
        "addressing" => "path",
        _ => "word",
    }
}

#[test]
fn every_key_has_its_environment_variable() {
    for key in CONTRACT {
        let variable = variable_of(key);
        let config = load("", &[(&variable, another_value(key))]).unwrap();
        assert_eq!(
            origin(&config, key).0,
            Origin::Environment(variable),
            "{key}"
        );
        assert_eq!(config.warnings(), [""; 0], "{key}");
    }
}

/// No key can be left out: it either reaches a running service or is named as one that does not.
#[test]
fn a_change_of_any_key_reloads_or_needs_a_restart() {
    let complete = [
        ("SIGNALWIRE_SPACE", "example"),
        ("SIGNALWIRE_PROJECT_ID", "p"),
        ("SIGNALWIRE_API_TOKEN", "PTexample"),
    ];
    let running = load("", &complete).unwrap();
    let same = load("[worker]\nconcurrency = 8\n", &complete).unwrap();
    assert_eq!(running.changes(&same), Changes::default());
    for (key, ..) in running.origins() {
        let variable = variable_of(key);
        let mut variables = complete.to_vec();
        variables.push((&variable, another_value(key)));
        let changed = load("", &variables).unwrap();
        let mut expected = Changes::default();
        let reloads = Config::reloadable_keys().any(|name| name == key);
        if reloads {
            expected.reload.push(key);
        } else {
            expected.restart.push(key);
        }
        assert_eq!(running.changes(&changed), expected);
        let values = [&running, &changed].map(|config| config.reloadable().unwrap());
        assert_eq!(values[0] != values[1], reloads, "{key}");
    }
}

#[test]
fn the_example_marks_what_can_be_reloaded() {
    let (mut section, mut comment) = (String::new(), String::new());
    let mut marked = Vec::new();
    for line in EXAMPLE.lines().skip_while(|line| !line.is_empty()) {
        let setting = line.strip_prefix("# ").unwrap_or(line);
        let words: Vec<&str> = setting.split(' ').collect();
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if words.get(1) == Some(&"=") {
            if comment.contains("[reload]") {
                marked.push(format!("{section}.{}", words[0]));
            }
            comment.clear();
        } else {
            comment.push_str(line);
        }
    }
    assert_eq!(marked, Config::reloadable_keys().collect::<Vec<_>>());
}

#[test]
fn the_environment_wins_over_the_file_and_its_own_name_over_the_conventional_one() {
    let directory = directory("[signalwire]\nspace = 'from-file'\n");
    let space = |variables: &[(&str, &str)]| {
        let config = load_in(directory.path(), variables).unwrap();
        (origin(&config, "signalwire.space"), config.warnings().len())
    };
    let own = ("RECORDING_ARCHIVER_SIGNALWIRE_SPACE", "own");
    let conventional = ("SIGNALWIRE_SPACE", "conventional");
    let environment = |variable: &str| Origin::Environment(variable.to_owned());

    let file = Origin::File {
        path: directory.path().join("config.toml"),
        line: 2,
    };
    assert_eq!(space(&[]), ((file.clone(), "from-file".to_owned()), 0));
    // Empty counts as unset.
    assert_eq!(space(&[("SIGNALWIRE_SPACE", "")]).0.0, file);
    assert_eq!(
        space(&[conventional]).0,
        (environment(conventional.0), conventional.1.to_owned())
    );
    // The loser is named, since it differs.
    assert_eq!(
        space(&[own, conventional]),
        ((environment(own.0), own.1.to_owned()), 1)
    );
    assert_eq!(space(&[own, ("SIGNALWIRE_SPACE", "own")]).1, 0);
}

#[test]
fn the_file_is_looked_for_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    fs::create_dir_all(here.join("etc/recording-archiver")).unwrap();
    let files = [
        "etc/recording-archiver/config.toml",
        "config.toml",
        "named.toml",
        "flag.toml",
    ];
    let named = [("RECORDING_ARCHIVER_CONFIG", "named.toml")];
    for (position, file) in files.iter().enumerate() {
        write(&here.join(file), "", 0o600);
        let variables: &[_] = if position >= 2 { &named } else { &[] };
        let flag = (position == 3).then(|| Path::new("flag.toml"));
        let environment = Environment::isolated(here, variables.iter().copied());
        let config = Config::load(flag, &environment).unwrap();
        assert_eq!(config.file(), Some(&*here.join(file)));
    }
}

#[test]
fn a_named_file_must_be_there() {
    let error = refused("", &[("RECORDING_ARCHIVER_CONFIG", "missing.toml")]);
    assert!(
        error.contains("missing.toml") && error.contains("check that it exists"),
        "{error}"
    );
}

#[test]
fn a_secret_comes_from_the_strongest_of_its_places() {
    let directory = directory("[signalwire]\napi_token = 'in-config'\n");
    let here = directory.path();
    let token_file = here.join("token");
    write(&token_file, "in-file\n", 0o600);
    fs::create_dir(here.join("credentials")).unwrap();
    write(
        &here.join("credentials/signalwire_api_token"),
        "in-credential\r\n",
        0o600,
    );
    let token = |variables: &[(&str, &str)]| {
        let mut all = vec![
            ("SIGNALWIRE_SPACE", "example"),
            ("SIGNALWIRE_PROJECT_ID", "p"),
        ];
        all.extend(variables);
        let config = load_in(here, &all).unwrap();
        let (origin, shown) = origin(&config, "signalwire.api_token");
        assert_eq!(shown, "(hidden)");
        let token = config.signalwire().unwrap().api_token.clone();
        (token.expose_secret().to_owned(), origin)
    };

    let mut variables = Vec::new();
    assert_eq!(token(&variables).0, "in-config");
    variables.push(("CREDENTIALS_DIRECTORY", "credentials"));
    assert_eq!(token(&variables).0, "in-credential");
    variables.push(("SIGNALWIRE_API_TOKEN_FILE", "token"));
    let in_file = ("in-file".to_owned(), Origin::CredentialFile(token_file));
    assert_eq!(token(&variables), in_file);
    variables.push(("SIGNALWIRE_API_TOKEN", "conventional"));
    assert_eq!(token(&variables).0, "conventional");
    variables.push(("RECORDING_ARCHIVER_SIGNALWIRE_API_TOKEN", "own"));
    assert_eq!(token(&variables).0, "own");
}

#[test]
fn a_secret_file_that_is_missing_or_empty_is_an_error() {
    let directory = directory("");
    write(&directory.path().join("empty"), "\n", 0o600);
    for path in ["missing", "empty"] {
        let variables = [("RECORDING_ARCHIVER_DATABASE_URL_FILE", path)];
        let error = load_in(directory.path(), &variables)
            .unwrap_err()
            .to_string();
        assert!(error.contains(path), "{error}");
        assert!(
            error.contains("RECORDING_ARCHIVER_DATABASE_URL_FILE"),
            "{error}"
        );
    }
}

#[test]
fn a_secret_open_to_every_user_is_warned_of() {
    let directory = directory("[signalwire]\napi_token = 'x'\n");
    let here = directory.path();
    let config_file = here.join("config.toml");
    let warnings = |mode| {
        fs::set_permissions(&config_file, fs::Permissions::from_mode(mode)).unwrap();
        load_in(here, &[]).unwrap().warnings().join("\n")
    };
    assert_eq!(warnings(0o600), "");
    assert_eq!(warnings(0o640), "");
    let warning = warnings(0o644);
    assert!(
        warning.contains("chmod 600") && warning.contains("config.toml"),
        "{warning}"
    );

    // Without a secret in it the file may be read by all.
    write(&config_file, "[worker]\nconcurrency = 1\n", 0o644);
    assert_eq!(load_in(here, &[]).unwrap().warnings(), [""; 0]);
    write(&here.join("url"), "postgres://localhost/d", 0o604);
    let config = load_in(here, &[("DATABASE_URL_FILE", "url")]).unwrap();
    assert_eq!(config.warnings().len(), 1);
}

#[test]
fn everything_wrong_is_reported_at_once_with_its_place() {
    let directory = directory(
        "[worker]\nlease = 15\nconcurency = 2\nmax_attempts = '3'\n\n[wroker]\n[storage]\nlayout = 'x/{id}'\n",
    );
    let variables = [("RECORDING_ARCHIVER_HTTP_LISTEN", "everywhere")];
    let error = load_in(directory.path(), &variables)
        .unwrap_err()
        .to_string();
    let error = error.replace(&directory.path().display().to_string(), "DIR");
    insta::assert_snapshot!(error, @r#"
    the configuration cannot be used:
    DIR/config.toml:3:1: unknown key `worker.concurency`; [worker] has concurrency, schedule, lease, max_attempts, not_ready_deadline, drain_timeout
        |
      3 | concurency = …
        | ^^^^^^^^^^
    DIR/config.toml:4:16: `worker.max_attempts`: expected a whole number without quotes, found string
        |
      4 | max_attempts = '3'
        |                ^^^
    DIR/config.toml:6:2: unknown key `wroker`; outside of sections there is data_dir; sections are signalwire, database, storage, transfer, worker, discovery, verify, retire, sweep, finance, http, log
        |
      6 | [wroker]
        |  ^^^^^^
    DIR/config.toml:8:10: `storage.layout`: character 3: `{id}` is not a variable; there are {project_id} {room_session_id} {recording_id} {year} {month} {day} {ext}
        |
      8 | layout = 'x/{id}'
        |          ^^^^^^^^
    DIR/config.toml:2:9: `worker.lease`: `15` has no unit: write "15s" for seconds, or m, h, d
        |
      2 | lease = 15
        |         ^^
    environment variable RECORDING_ARCHIVER_HTTP_LISTEN: `http.listen`: `everywhere` is not an address such as "127.0.0.1:9464"; "off" turns it off
    "#);
}

#[test]
fn a_value_out_of_bounds_is_refused() {
    for (setting, value, word) in [
        ("WORKER_LEASE", "999ms", "at least \"1s\""),
        ("WORKER_LEASE", "25h", "at most \"1day\""),
        ("WORKER_CONCURRENCY", "0", "whole number from 1"),
        ("WORKER_MAX_ATTEMPTS", "0", "whole number from 1"),
        ("WORKER_SCHEDULE", "off", "six"),
        ("SWEEP_SCHEDULE", "* * *", "\"off\" turns it off"),
        (
            "STORAGE_PART_SIZE",
            "4MiB",
            "from \"5.0 MiB\" to \"5.0 GiB\"",
        ),
        ("STORAGE_CHECKSUM", "md5", "crc64nvme"),
        ("STORAGE_VERIFY", "size", "read_back"),
        ("STORAGE_URL", "/srv", "file:///directory"),
        ("TRANSFER_CONNECTIONS", "0", "whole number from 1"),
        ("TRANSFER_CONNECTIONS_PER_HOST", "0", "whole number from 1"),
        ("TRANSFER_MEMORY_LIMIT", "5MiB", "storage.part_size"),
        ("SIGNALWIRE_REQUESTS_PER_SECOND", "0", "from 1 up"),
        ("SIGNALWIRE_ALLOW_PRIVATE_MEDIA", "yes", "true nor false"),
        ("DATABASE_URL", "mysql://h/d", "Postgres"),
        ("DISCOVERY_SCHEDULE", "nightly", "\"off\" turns it off"),
        ("VERIFY_SCHEDULE", "* *", "\"off\" turns it off"),
        ("VERIFY_WITHIN", "90", "has no unit"),
        ("VERIFY_BANDWIDTH_LIMIT", "20", "has no unit"),
        ("RETIRE_ENABLED", "yes", "true nor false"),
        ("TRANSFER_BANDWIDTH_LIMIT", "20", "has no unit"),
        ("TRANSFER_BANDWIDTH_LIMIT", "0MiB", "\"off\" turns it off"),
        ("TRANSFER_BANDWIDTH_LIMIT", "1023B", "\"off\" turns it off"),
    ] {
        let variable = format!("RECORDING_ARCHIVER_{setting}");
        let error = refused("", &[(&variable, value)]);
        assert!(error.contains(word), "{variable}={value}: {error}");
    }
}

#[test]
fn a_bandwidth_limit_is_a_size_a_second_or_off() {
    for (value, bytes) in [
        ("off", None),
        ("1KiB", Some(1024)),
        ("20MiB", Some(20 << 20)),
        ("1GB", Some(1_000_000_000)),
    ] {
        let config = load(
            "",
            &[("RECORDING_ARCHIVER_TRANSFER_BANDWIDTH_LIMIT", value)],
        )
        .unwrap();
        let found = config.transfer.bandwidth_limit_bytes.map(NonZeroU64::get);
        assert_eq!(found, bytes, "{value}");
    }
}

#[test]
fn no_error_warning_or_debug_form_shows_a_secret() {
    const SECRET: &str = "hunter2";
    for config in [
        "[signalwire]\napi_token = hunter2",
        "[signalwire]\napi_token = 'hunter2",
        "[signalwire]\napi_token = \"\"\"\nx\nhunter2",
        "[signalwire]\napi_token = \"\"\"\nhunter2==\n",
        "[signalwire]\nhunter2==\n",
        "[signalwire]\napi_tokn = 'hunter2'",
        "[signalwire]\napi_token = ['hunter2']",
        "[signalwire]\napi_token = 'hunter2 '",
        "signalwire = { api_token = 'hunter2', spce = 'x' }",
        "signalwire.api_token = 'hunter2\n",
        "[signalwire]\nspace = \"x\", api_token = \"hunter2\"",
        "[database]\nurl = 'mysql://u:hunter2@h/d'",
        "[database]\nurl = postgres://u:hunter2@h/d",
        "[storage]\nsecret_access_key = 'hunter2'",
        "[storage]\nendpoint = 'https://u:hunter2@h'",
        "[storage]\nurl = 's3://u:hunter2@h'",
        "api_token = 'hunter2'",
    ] {
        let error = load(config, &[]).unwrap_err();
        assert!(
            !format!("{error} {error:?}").contains(SECRET),
            "{config}: {error}"
        );
    }
    let all = [
        ("SIGNALWIRE_SPACE", "example"),
        ("SIGNALWIRE_PROJECT_ID", "p"),
        ("SIGNALWIRE_API_TOKEN", SECRET),
        ("RECORDING_ARCHIVER_SIGNALWIRE_API_TOKEN", "hunter22"),
        (
            "DATABASE_URL",
            "postgres://u:hunter2@host:5433/db?password=hunter2&sslmode=require",
        ),
        ("AWS_ACCESS_KEY_ID", SECRET),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_SESSION_TOKEN", "https://hunter2/looks/like/a/url"),
        ("AWS_REGION", "eu-central-1"),
        ("RECORDING_ARCHIVER_STORAGE_URL", "s3://bucket"),
    ];
    let config = load("", &all).unwrap();
    assert!(matches!(
        config.storage().unwrap().credentials,
        S3Credentials::Static { .. }
    ));
    assert_eq!(config.warnings().len(), 1);
    let everything = format!("{config:?} {:?}", config.origins().collect::<Vec<_>>());
    assert!(!everything.contains(SECRET), "{everything}");
    assert_eq!(
        origin(&config, "database.url").1,
        "postgres://…@host:5433/db"
    );
    let environment = Environment::isolated("/".as_ref(), all);
    assert!(!format!("{environment:?}").contains(SECRET));
}

#[test]
fn cold_storage_class_is_refused_where_objects_are_read_back() {
    let with = |class: &str, more: &str| {
        let text = format!("[storage]\nurl = 's3://bucket'\nstorage_class = '{class}'\n{more}\n");
        load(&text, &[])
    };
    for class in ["GLACIER", "DEEP_ARCHIVE"] {
        for more in ["verify = 'read_back'", "checksum = 'none'"] {
            let error = with(class, more).unwrap_err().to_string();
            assert!(error.contains("cannot be read, but storage."), "{error}");
        }
        assert!(with(class, "").is_ok());
    }
    assert!(with("GLACIER_IR", "verify = 'read_back'").is_ok());
}

#[test]
fn what_is_missing_stops_only_those_who_need_it() {
    let config = load("[storage]\nurl = 's3://bucket/prefix'\n", &[]).unwrap();
    let error = config.signalwire().unwrap_err().to_string();
    for word in [
        "`signalwire.space` in the configuration file",
        "SIGNALWIRE_PROJECT_ID",
        "RECORDING_ARCHIVER_SIGNALWIRE_API_TOKEN",
        "SIGNALWIRE_API_TOKEN_FILE",
        "systemd credential `signalwire_api_token`",
    ] {
        assert!(error.contains(word), "{error}");
    }
    let error = config.storage().unwrap_err().to_string();
    for word in [
        "AWS_ACCESS_KEY_ID",
        "aws_secret_access_key",
        "AWS_REGION",
        "storage.endpoint",
    ] {
        assert!(error.contains(word), "{error}");
    }

    let config = load(
        "[storage]\nurl = 's3://bucket'\nendpoint = 'http://s3.example.com'\n",
        &[("AWS_ACCESS_KEY_ID", "id"), ("SIGNALWIRE_SPACE", "example")],
    )
    .unwrap();
    let error = config.storage().unwrap_err().to_string();
    assert!(error.contains("AWS_SECRET_ACCESS_KEY"), "{error}");
    assert!(
        !error.contains("AWS_ACCESS_KEY_ID") && !error.contains("AWS_REGION"),
        "{error}"
    );
    let error = config.signalwire().unwrap_err().to_string();
    assert!(!error.contains("signalwire.space"), "{error}");
    assert!(config.warnings()[0].contains("unencrypted"));
}

#[test]
fn private_media_follows_the_space_unless_it_is_set() {
    let allowed = |space: &str, set: Option<&str>| {
        let mut variables = vec![
            ("SIGNALWIRE_SPACE", space),
            ("SIGNALWIRE_PROJECT_ID", "p"),
            ("SIGNALWIRE_API_TOKEN", "t"),
        ];
        variables.extend(set.map(|set| ("RECORDING_ARCHIVER_SIGNALWIRE_ALLOW_PRIVATE_MEDIA", set)));
        let config = load("", &variables).unwrap();
        let signalwire = config.signalwire().unwrap();
        (signalwire.allow_private_media, signalwire.require_https)
    };
    let loopback = "http://127.0.0.1:8080";
    assert_eq!(allowed("example", None), (false, true));
    assert_eq!(allowed("example", Some("true")), (true, true));
    assert_eq!(allowed(loopback, None), (true, false));
    assert_eq!(allowed(loopback, Some("false")), (false, false));
}

#[test]
fn the_data_dir_is_absolute_and_under_systemd_its_own() {
    let directory = directory("");
    let here = directory.path();
    let data_dir = |variables: &[(&str, &str)]| load_in(here, variables).unwrap().data_dir;
    assert_eq!(
        data_dir(&[("RECORDING_ARCHIVER_DATA_DIR", "./a")]),
        here.join("a")
    );
    assert_eq!(
        data_dir(&[("STATE_DIRECTORY", "/var/lib/x:/var/lib/y")]),
        Path::new("/var/lib/x")
    );
    write(
        &here.join("config.toml"),
        "data_dir = '/srv/archive'",
        0o600,
    );
    assert_eq!(
        data_dir(&[("STATE_DIRECTORY", "/var/lib/x")]),
        Path::new("/srv/archive")
    );
}

#[test]
fn off_turns_chores_and_the_listener_off() {
    let config = load(
        "sweep.schedule = 'off'\nfinance.schedule = 'off'\nhttp.listen = 'off'\n",
        &[],
    )
    .unwrap();
    assert_eq!(config.sweep.schedule, None);
    assert_eq!(config.finance.schedule, None);
    assert_eq!(config.http.listen, None);
}

#[test]
fn an_unknown_variable_of_ours_is_warned_of() {
    let config = load("", &[("RECORDING_ARCHIVER_STORAGE_URI", "s3://bucket")]).unwrap();
    assert!(config.warnings()[0].contains("RECORDING_ARCHIVER_STORAGE_URI"));
}
