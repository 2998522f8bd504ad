//! Every question to the database has an end, even if its network has gone away without a word.

use std::io;
use std::time::Duration;

/// The server itself gives up a statement after 30 s: who hears nothing for longer is cut off.
const ANSWER_WITHIN: Duration = Duration::from_secs(35);

/// Waits for the database's answer as long as the server may take for it.
///
/// # Errors
/// Besides those of `work`, [`sqlx::Error::Io`] when the time is up. The connection is not used
/// again then.
pub async fn in_time<T>(
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    tokio::time::timeout(ANSWER_WITHIN, work)
        .await
        .unwrap_or_else(|_| {
            let said = format!("no answer within {} s", ANSWER_WITHIN.as_secs());
            Err(sqlx::Error::Io(io::Error::new(
                io::ErrorKind::TimedOut,
                said,
            )))
        })
}
