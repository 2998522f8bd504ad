//! What several tests stand on.

pub(crate) mod binary;
pub(crate) mod line;
pub(crate) mod media_host;
pub(crate) mod postgres;
pub(crate) mod real_store;
pub(crate) mod s3;
pub(crate) mod secrets;
pub(crate) mod wire;
pub(crate) mod world;

use std::future::Future;
use std::time::Duration;

use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::util::SubscriberInitExt;

/// Tries `attempt` until it gives something, at most for half a minute.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    attempt: impl FnMut() -> F,
) -> T {
    within(30, what, attempt).await
}

/// Tries `attempt` until it gives something, at most for so many seconds.
pub(crate) async fn within<T, F: Future<Output = Option<T>>>(
    seconds: u32,
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> T {
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..seconds * 20 {
        ticks.tick().await;
        if let Some(value) = attempt().await {
            return value;
        }
    }
    panic!("never came about: {what}");
}

/// Lets `subscriber` hear all that this thread logs, until the guards are dropped.
pub(crate) fn subscribe(subscriber: impl Into<Dispatch>) -> (DefaultGuard, Dispatch) {
    // With one subscriber in the process, tracing asks whichever thread comes first to an event
    // whether anybody listens, and believes it for good. With two it asks both.
    let second = Dispatch::new(tracing_subscriber::registry());
    (subscriber.set_default(), second)
}
