//! `LISTEN`: a wake-up when something is enqueued. Lost notifications do no harm, because the
//! worker polls as well; so no error here is worth more than a debug line and another try.

use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The channel of the trigger on `archiver.recordings`.
const CHANNEL: &str = "recording_archiver";
/// A listener that failed (restart of the database, a pooler in transaction mode) waits this long.
const RECONNECT_AFTER: Duration = Duration::from_secs(15);
/// A half-open connection never speaks again: it is replaced after this much silence.
const SILENCE: Duration = Duration::from_mins(5);

/// Rings `bell` at every notification until cancelled. Takes one connection of the pool.
pub async fn listen(pool: PgPool, bell: &Notify, stop: CancellationToken) {
    let listening = async {
        loop {
            if let Err(error) = listen_once(&pool, bell).await {
                tracing::debug!("listening for new recordings failed, polling goes on: {error}");
                tokio::time::sleep(RECONNECT_AFTER).await;
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = listening => {}
    }
}

async fn listen_once(pool: &PgPool, bell: &Notify) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    // What was enqueued before this moment rang nobody.
    bell.notify_one();
    while let Ok(notification) = tokio::time::timeout(SILENCE, listener.recv()).await {
        notification?;
        bell.notify_one();
    }
    Ok(())
}
