//! The command line.

mod human;
pub mod report;
pub mod status;
