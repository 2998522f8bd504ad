//! Bytes that nobody who means well would send: to whatever reads them directly, and through the
//! whole program from the provider and from the store.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

mod api;
mod listing;
mod odd_values;
mod outages;
mod properties;
mod server;
mod store;

/// What means something to a reader, and is seldom hit upon.
const TOKENS: &[&[u8]] = &[
    b"null",
    b"{}",
    b"[]",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\\u202e",
    b"\0",
    b"\xff",
    b"-",
    b"1e400",
    b"1e-40",
    b"0.1234567890123456789012345678901",
    b"9223372036854775808",
    b"18446744073709551616",
    b"79228162514264337593543950335",
    b"../../",
    b"\r\n",
    b",",
    b"(",
    b"$",
    b"=",
    b"#",
    b"'''",
    b"[[",
    b"-0001-01-01T00:00:00Z",
    b"signature=",
    b"\xef\xbb\xbf",
];

#[derive(Debug, Clone)]
enum Edit {
    Insert(Index, &'static [u8]),
    Replace(Index, u8),
    Remove(Index, Index),
    Repeat(Index, Index),
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len();
        let span = |from: &Index, to: &Index| {
            let (a, b) = (from.index(length + 1), to.index(length + 1));
            a.min(b)..a.max(b)
        };
        match self {
            Self::Insert(at, token) => {
                let at = at.index(length + 1);
                bytes.splice(at..at, token.iter().copied());
            }
            Self::Replace(at, byte) if length > 0 => bytes[at.index(length)] = *byte,
            Self::Replace(..) => {}
            Self::Remove(from, to) => drop(bytes.drain(span(from, to))),
            Self::Repeat(from, to) => {
                let again = bytes[span(from, to)].to_vec();
                let at = to.index(length + 1);
                bytes.splice(at..at, again);
            }
        }
    }
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let at = any::<Index>;
    let token = prop::sample::select(TOKENS);
    let edit = prop_oneof![
        4 => (at(), token).prop_map(|(at, token)| Edit::Insert(at, token)),
        4 => (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Replace(at, byte)),
        1 => (at(), at()).prop_map(|(from, to)| Edit::Remove(from, to)),
        1 => (at(), at()).prop_map(|(from, to)| Edit::Repeat(from, to)),
    ];
    prop::collection::vec(edit, 0..6)
}

/// The seeds of the fuzz target of this name.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/seeds")
        .join(target);
    let files =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    files
        .map(|file| fs::read(file.unwrap().path()).unwrap())
        .collect()
}

fn cases(cases: u32) -> TestRunner {
    TestRunner::new(Config {
        cases,
        // Beside the sources is no place for what a run found; it is printed.
        failure_persistence: None,
        ..Config::default()
    })
}

#[test]
fn whatever_the_bytes_are_the_readers_keep_their_properties() {
    for (_, demand) in properties::ALL {
        let bytes = prop::collection::vec(any::<u8>(), 0..300);
        let run = cases(200).run(&bytes, |bytes| {
            demand(&bytes);
            Ok(())
        });
        run.unwrap();
    }
}

#[test]
fn what_is_nearly_right_keeps_the_properties_too() {
    for (target, demand) in properties::ALL {
        let seeds = seeds(target);
        assert!(!seeds.is_empty(), "{target}");
        for seed in &seeds {
            demand(seed);
        }
        let edited = (prop::sample::select(seeds), edits());
        let run = cases(500).run(&edited, |(mut bytes, edits)| {
            for edit in &edits {
                edit.apply(&mut bytes);
            }
            demand(&bytes);
            Ok(())
        });
        run.unwrap();
    }
}

#[test]
fn each_property_has_its_fuzz_target() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/Cargo.toml");
    let manifest: toml::Table = fs::read_to_string(manifest).unwrap().parse().unwrap();
    let targets = manifest["bin"].as_array().unwrap().iter();
    let names: Vec<_> = targets.map(|bin| bin["name"].as_str().unwrap()).collect();
    assert_eq!(names, properties::ALL.map(|(name, _)| name));
}
