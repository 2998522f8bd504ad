//! The database: where it runs and how to reach it.

pub mod embedded;
