//! The provider's API: what it says of one recording, asked fresh before every attempt.
//!
//! Facts about the API come from the vendor's published REST specification; where it is silent
//! the parsing is lenient and the verdict cautious.

mod client;
mod listing;
mod outage;
mod pace;
pub(crate) mod wire;

pub use client::{ApiError, SignalWire};
pub use listing::{Catalogue, NextPage, Page, Unreadable};
pub use outage::Outage;
pub use wire::described;
