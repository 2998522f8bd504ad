//! Which errors of the database are outages.

/// Returns whether time may cure `error`, so that the same statement is worth another try: the
/// server cannot be reached, has ended the session or the statement, lacks a resource, or does not
/// accept writes now.
pub fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| is_outage_code(&code)),
        _ => false,
    }
}

/// Classes of SQLSTATE: 08 connection, 28 authorization (a password that is being rotated), 40
/// rollback (serialization, deadlock), 53 resources, 57 operator intervention.
fn is_outage_code(code: &str) -> bool {
    let is_class = ["08", "28", "40", "53", "57"]
        .iter()
        .any(|class| code.starts_with(class));
    // Lock timeout, read-only transaction, database dropped or not there yet.
    is_class || ["55P03", "25006", "3D000"].contains(&code)
}
