//! Archives SignalWire video room recordings into S3-compatible storage.

pub mod archive;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod database;
pub mod digest;
pub mod error;
pub mod finance;
pub mod memory;
pub mod metrics;
pub mod money;
pub mod printable;
pub mod progress;
pub mod queue;
pub mod recording;
pub mod retry;
pub mod signalwire;
pub mod signed_url;
pub mod simulator;
pub mod storage;
pub mod telemetry;
pub mod transfer;
pub mod upkeep;
