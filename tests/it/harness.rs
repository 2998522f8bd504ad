//! What several tests stand on.

pub(crate) mod postgres;
pub(crate) mod s3;
pub(crate) mod world;

use std::future::Future;
use std::time::Duration;

/// Tries `attempt` until it gives something, at most for half a minute.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> T {
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..600 {
        ticks.tick().await;
        if let Some(value) = attempt().await {
            return value;
        }
    }
    panic!("never came about: {what}");
}
