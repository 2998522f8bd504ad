//! Money: the ledger of observed costs, and the reports over it.
#![deny(clippy::float_arithmetic)]

pub mod ledger;
