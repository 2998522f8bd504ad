//! Brings a recording's bytes from its signed link: one streaming GET, checked while it passes.
//!
//! The media client holds no credentials, sends no Referer, decompresses nothing, follows few
//! redirects and refuses addresses inside the network.

mod container;
mod guard;
mod media;

pub use guard::LinkPolicy;
pub use media::{Expected, Media, MediaClient, TransferError};
