//! Money: the ledger of observed costs, and the reports over it.
#![deny(
    clippy::float_arithmetic,
    clippy::float_cmp,
    clippy::cast_precision_loss
)]

pub mod ledger;
pub mod reconcile;
pub mod report;
