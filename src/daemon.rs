//! The long-running service: a schedule that rings, a worker that claims, a life that ends well.

mod clock;
mod gauges;
mod http;
mod lifecycle;
mod page;
mod readiness;
mod schedule;
mod worker;

pub use clock::{WallClock, tick};
pub use gauges::Gauges;
pub use http::{Health, HttpServer, Service};
pub use lifecycle::{Hangups, Shutdown, notify_ready, notify_reloading};
pub use readiness::{Readiness, Standing};
pub use schedule::{Chime, Chimes};
pub use worker::{Controls, Ending, Pulse, Worker};
