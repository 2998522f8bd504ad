//! The projects that share one database.

use super::{Answered, Queue, QueueError};

impl Queue {
    /// Registers this process's project, so that recordings whose project is unknown are left to
    /// it before they are called `not_found`.
    pub async fn register_project(&self, space: &str) -> Result<(), QueueError> {
        sqlx::query!(
            r#"-- queue::register_project
            INSERT INTO archiver.projects (project_id, space) VALUES ($1, $2)
            ON CONFLICT (project_id) DO UPDATE SET space = excluded.space, last_seen_at = now()"#,
            self.project_id,
            space,
        )
        .execute(&self.pool)
        .answered("register the project")
        .await?;
        Ok(())
    }
}
