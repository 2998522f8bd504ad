//! A migrated database of its own for a test.
// To be replaced by harness::postgres::database().

use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

pub(crate) struct ScratchDatabase {
    pool: PgPool,
}

impl ScratchDatabase {
    pub(crate) fn pool(&self) -> PgPool {
        self.pool.clone()
    }
}

pub(crate) async fn migrated_database() -> ScratchDatabase {
    let url = std::env::var("TEST_DATABASE_URL").expect("TEST_DATABASE_URL names a server");
    let name = format!("scratch_{}", Uuid::new_v4().simple());
    let admin = PgPool::connect(&url).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&admin)
        .await
        .unwrap();
    let options = (*admin.connect_options()).clone().database(&name);
    let pool = PgPool::connect_with(options).await.unwrap();
    sqlx::migrate!().run(&pool).await.unwrap();
    ScratchDatabase { pool }
}
