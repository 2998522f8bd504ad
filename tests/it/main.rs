//! The integration tests: one binary, real Postgres, real sockets.
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail as the test does"
)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test run speaks to a person"
)]

mod addressing;
mod archive;
mod bad_input;
mod claims;
mod cli;
mod config;
mod conflicts;
mod crashes;
mod directory;
mod discover;
mod embedded_postgres;
mod faults;
mod finance;
mod harness;
mod ledger;
mod links;
mod metrics;
mod migrations;
mod odd_media;
mod packaging;
mod page;
mod patience;
mod proof;
mod readme;
mod real_store;
mod rebuild;
mod reconcile;
mod redaction;
mod restore;
mod resume;
mod retire;
mod rights;
mod schema;
mod seed;
mod simulator;
mod soak;
mod status;
mod storage;
mod store_answers;
mod store_probes;
mod store_server;
mod store_troubles;
mod sweep;
mod transfer;
mod verify;
