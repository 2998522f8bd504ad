//! Migrating again: whoever the role is, a database that is up to date is left alone.

use recording_archiver::database::migrate;
use sqlx::AssertSqlSafe;

use crate::harness::postgres::database;

#[tokio::test]
async fn a_role_named_like_our_schema_migrates_more_than_once() {
    let database = database().await;
    let pool = database.pool();
    let options = database.options();
    let name = options.get_database().unwrap();
    // What `"$user"` in the search path comes to for the role `archiver`: the schema comes first
    // as soon as it exists.
    let statement = format!("ALTER DATABASE {name} SET search_path = archiver, public");
    sqlx::query(AssertSqlSafe(statement))
        .execute(&pool)
        .await
        .unwrap();
    migrate(&pool).await.unwrap();
    migrate(&pool).await.unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT schemaname::text FROM pg_tables WHERE tablename = '_sqlx_migrations'",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(tables, ["archiver"]);
}
