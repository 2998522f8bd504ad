//! Archives SignalWire video room recordings into S3-compatible storage.

pub mod config;
pub mod digest;
pub mod error;
pub mod money;
pub mod recording;
pub mod retry;
pub mod signed_url;
pub mod storage;
