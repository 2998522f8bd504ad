//! The store: S3-compatible or a directory.

pub mod key;
