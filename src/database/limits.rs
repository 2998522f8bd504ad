//! How many connections the server lets this process have.

use sqlx::{PgConnection, Row};

/// With fewer, nothing works: one waits for notifications.
pub(super) const LEAST_CONNECTIONS: u32 = 2;

/// The limits of role, database and server, less what others use; those of role and database hold
/// for no superuser.
const LEFT: &str = "WITH others AS (
         SELECT usesysid, datid FROM pg_stat_activity
          WHERE backend_type = 'client backend' AND pid <> ALL ($1))
     SELECT least(
         CASE WHEN NOT rolsuper AND rolconnlimit >= 0
              THEN rolconnlimit - (SELECT count(*) FROM others WHERE usesysid = r.oid) END,
         CASE WHEN NOT rolsuper AND datconnlimit >= 0
              THEN datconnlimit - (SELECT count(*) FROM others WHERE datid = d.oid) END,
         current_setting('max_connections')::int
              - current_setting('superuser_reserved_connections')::int
              - coalesce(current_setting('reserved_connections', true)::int, 0)
              - (SELECT count(*) FROM others))
       FROM pg_roles r, pg_database d
      WHERE rolname = session_user AND datname = current_database()";

/// Returns how many connections this process may have, with those of the sessions `own`.
pub(super) async fn connections_left(
    connection: &mut PgConnection,
    own: &[i32],
) -> Result<u32, sqlx::Error> {
    let row = sqlx::query(LEFT)
        .bind(own)
        .fetch_one(&mut *connection)
        .await?;
    Ok(u32::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0))
}
