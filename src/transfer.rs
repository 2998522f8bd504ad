//! Brings a recording's bytes from its signed link: parallel ranges in a bounded window, handed
//! over in order, and gone on with from the last good byte when something breaks.
//!
//! ```text
//!              ┌ connection: Body → Buffer ┐
//! Plan ─parts─▶├ connection: Body → Buffer ├─▶ Download ─▶ parts in order
//!              └ connection: Body → Buffer ┘
//! ```
//!
//! - [`MediaClient::open`] sends the first request, checks the answer and says by a [`Source`]
//!   what is known: size, validator, whether ranges may be joined.
//! - [`Source::download`] starts the connections. Each takes the next part of the plan with a buffer
//!   from the recording's share of memory and fetches it, again and again from its last good byte.
//! - Each chunk's CRC64NVME is taken before it is copied into the part's buffer: whatever becomes of
//!   the bytes from there on, the part's checksum tells.
//! - [`Download::next`] hands the parts over in order. A link that died is the caller's to renew,
//!   once for all connections ([`Download::relink`]).
//!
//! Not every media host serves parallel ranges. A transfer steps down a ladder as far as the host
//! shows that it must, and the host's rung is remembered (`host.rs`):
//!
//! 1. parallel ranges, joined under one strong validator;
//! 2. fewer connections, down to one, when further ones are refused while others work;
//! 3. one plain GET, when answers cannot be joined. The file is begun again then, because bytes of
//!    two answers are never joined on trust ([`Expected::plain`]).
//!
//! The media client holds no credentials, sends no Referer, decompresses nothing, follows few
//! redirects and refuses addresses inside the network.

mod answer;
mod body;
mod client;
mod connection;
mod container;
mod error;
mod guard;
mod host;
mod http;
mod limits;
mod link;
mod plan;
mod refusal;
mod source;
mod window;

pub(crate) use answer::parse_content_range;
pub use client::MediaClient;
pub use container::FileFormat;
pub use error::TransferError;
pub use guard::LinkPolicy;
pub use host::Step;
pub use limits::Traffic;
pub use plan::Part;
pub use source::{Expected, Resume, Source};
pub use window::{Download, Next};
