//! The README keeps its word: what it tells an operator to type, to write or to expect is so.

mod markdown;
mod settings;
mod sql;

use std::path::Path;

use clap::Parser;
use clap::error::ErrorKind as UsageErrorKind;
use recording_archiver::cli::Cli;
use recording_archiver::error::{Disposition, ErrorKind};
use recording_archiver::queue::JobState;
use recording_archiver::storage::Evidence;

pub(crate) use markdown::table;
use markdown::{README, blocks, code_spans, is_code};

/// Every call of the program in the text, without what the shell does around it.
fn command_lines() -> Vec<Vec<&'static str>> {
    let fenced = blocks("sh").into_iter().flat_map(str::lines);
    fenced
        .chain(code_spans())
        .flat_map(|line| line.split('#').next().unwrap_or_default().split(" && "))
        .flat_map(|line| line.split([';', '|', '>']))
        .filter_map(|call| {
            let call = call.trim().trim_start_matches("sudo ");
            let arguments = call
                .strip_prefix("cargo run --release -- ")
                .or_else(|| call.strip_prefix("recording-archiver "))?;
            let name = std::iter::once("recording-archiver");
            Some(name.chain(arguments.split_whitespace()).collect())
        })
        .collect()
}

#[test]
fn every_command_line_is_one_the_program_takes() {
    for words in command_lines() {
        match Cli::try_parse_from(&words) {
            Ok(_) => {}
            Err(error) if error.kind() == UsageErrorKind::DisplayHelp => {}
            Err(error) => panic!("{}: {error}", words.join(" ")),
        }
    }
}

#[test]
fn every_command_is_shown() {
    let shown = command_lines();
    for command in Cli::definition().get_subcommands() {
        let name = command.get_name();
        assert!(
            shown.iter().any(|words| words.contains(&name)),
            "the README never calls `{name}`"
        );
    }
}

#[test]
fn the_test_command_stands_where_the_gate_looks_for_it() {
    let after = README.split("\n<!-- test-command -->\n").nth(1).unwrap();
    assert!(after.starts_with("```sh\ncargo test\n```\n"), "{after:.80}");
}

#[test]
fn every_link_leads_to_a_file() {
    let links: Vec<&str> = README
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .collect();
    assert!(links.contains(&"config.example.toml"), "{links:?}");
    for link in links {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(link);
        assert!(path.is_file(), "{link}");
    }
}

const fn word(disposition: Disposition) -> &'static str {
    match disposition {
        Disposition::Retry => "retry",
        Disposition::Defer => "defer",
        Disposition::Throttle => "throttle",
        Disposition::Fail => "fail",
        Disposition::Halt => "halt",
        Disposition::Release => "release",
    }
}

#[test]
fn every_error_kind_is_told_with_what_follows_from_it() {
    let told: Vec<(String, String)> = table("`error_kind`")
        .into_iter()
        .map(|row| (row[0].clone(), row[2].clone()))
        .collect();
    let real: Vec<(String, String)> = ErrorKind::ALL
        .iter()
        .map(|kind| (format!("`{kind}`"), word(kind.disposition()).to_owned()))
        .collect();
    assert_eq!(told, real);

    let explained: Vec<String> = table("what the program does")
        .into_iter()
        .map(|row| row[0].clone())
        .collect();
    for (kind, disposition) in real {
        assert!(explained.contains(&disposition), "{kind}: {disposition}");
    }
    assert_eq!(explained.len(), 6);
}

#[test]
fn every_state_and_kind_of_evidence_is_told() {
    let first = |head| -> Vec<String> {
        let rows = table(head).into_iter();
        rows.map(|row| row[0].trim_matches('`').to_owned())
            .collect()
    };
    assert_eq!(first("state"), JobState::ALL.map(|state| state.to_string()));
    assert_eq!(
        first("evidence"),
        Evidence::ALL.map(|evidence| evidence.to_string())
    );
}

#[test]
fn the_exit_codes_are_those_of_the_help() {
    let help = Cli::definition().get_after_help().unwrap().to_string();
    let promised: Vec<String> = help
        .split([' ', ';'])
        .filter(|word| word.parse::<u8>().is_ok())
        .map(str::to_owned)
        .collect();
    let told: Vec<String> = table("code")
        .into_iter()
        .map(|row| row[0].clone())
        .collect();
    assert_eq!(told, promised);
    assert_eq!(told, ["0", "1", "2", "75"]);
}

#[test]
fn the_promise_is_the_one_that_was_made() {
    for part in [
        "a recording is called archived only after the store has proven that it holds the very bytes the source sent;",
        "work is at-least-once, its result is the same however often it runs; no crash loses a recording, a byte of an archived file or a cent.",
    ] {
        assert!(README.contains(part), "{part}");
    }
    assert!(is_code("/livez") && is_code("/readyz") && is_code("/metrics"));
}
