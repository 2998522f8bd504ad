//! The integration tests: one binary, real Postgres, real sockets.
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail as the test does"
)]

mod config;
mod simulator;
