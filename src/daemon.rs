//! The long-running service: a schedule that rings, a worker that claims, a life that ends well.

mod http;
mod lifecycle;
mod schedule;
mod worker;

pub use http::{Health, HttpServer};
pub use lifecycle::{Shutdown, notify_ready};
pub use schedule::{Chime, Chimes};
pub use worker::{Ending, Pulse, Worker};
