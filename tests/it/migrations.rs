//! Migrating again: whoever the role is, a database that is up to date is left alone.

use recording_archiver::database::migrate;
use recording_archiver::simulator::SimulatedRecording;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::harness::postgres::database;
use crate::harness::world::World;
use crate::seed::execute;

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

#[tokio::test]
async fn object_urls_of_former_versions_are_spelled_as_they_are_now() {
    let world = World::s3().await;
    let id = world
        .add(SimulatedRecording::new(Uuid::new_v4(), 100))
        .await;
    world.attempt(&world.archiver()).await;
    let url = world.row(id).await.object_url.unwrap();
    execute(
        &world.pool,
        "UPDATE archiver.recordings
            SET object_url = replace(object_url, '=', '%3D'),
                kept_aside_url = 's3://recordings/a%3Db%2Bc%27.mp4'",
    )
    .await;
    assert_ne!(world.row(id).await.object_url.unwrap(), url);
    let migration = include_str!("../../migrations/0020_object_urls.sql");
    execute(&world.pool, migration).await;
    assert_eq!(world.row(id).await.object_url.unwrap(), url);
    let kept = "SELECT kept_aside_url FROM archiver.recordings WHERE recording_id = $1";
    let kept = world.text(kept, id).await.unwrap();
    assert_eq!(kept, "s3://recordings/a=b+c'.mp4");
    let elsewhere = "UPDATE archiver.recordings SET object_url = 'file:///a%3Db'";
    execute(&world.pool, elsewhere).await;
    execute(&world.pool, migration).await;
    let url = world.row(id).await.object_url.unwrap();
    assert_eq!(url, "file:///a%3Db");
}
