//! What each granted role can do, whole: a new grant has to be stated here.

use recording_archiver::database::{Access, grant};

use super::roles::{Role, rights_of};
use crate::seed::migrated_database;

async fn granted(access: Access) -> Vec<String> {
    let database = migrated_database().await;
    let pool = database.pool();
    let role = Role::create(&pool).await;
    // Twice: granting again changes nothing.
    for _ in 0..2 {
        grant(&pool, access, role.name()).await.unwrap();
    }
    let rights = rights_of(&pool, role.name()).await;
    role.drop(&pool).await;
    rights
}

#[tokio::test]
async fn enqueue_role_may_insert_an_id_and_nothing_else() {
    assert_eq!(
        granted(Access::Enqueue).await,
        [
            "archiver.recordings: INSERT (recording_id)",
            "schema archiver: USAGE",
        ]
    );
}

#[tokio::test]
async fn finance_role_may_read_the_views_and_nothing_else() {
    let rights = granted(Access::Finance).await;
    let (views, rest): (Vec<_>, Vec<_>) = rights
        .iter()
        .map(String::as_str)
        .partition(|right| right.starts_with("finance.") && right.ends_with(": SELECT"));
    assert!(views.len() >= 8, "{views:?}");
    assert_eq!(rest, ["schema finance: USAGE"]);
}

#[tokio::test]
async fn service_role_may_not_rewrite_ledger_or_audit() {
    let rights = granted(Access::Service).await;
    // Every table and view may be read; the list is of what goes beyond.
    let beyond: Vec<&str> = rights
        .iter()
        .map(String::as_str)
        .filter(|right| !right.ends_with(": SELECT"))
        .collect();
    assert_eq!(
        beyond,
        [
            "archiver.attempts: SELECT, INSERT, UPDATE",
            "archiver.chores: SELECT, INSERT, UPDATE",
            "archiver.cost_observations: SELECT, INSERT (recording_id, observed_at, cost_usd, recording_status, observed_by)",
            "archiver.coverage(interval): EXECUTE",
            "archiver.discoveries: SELECT, INSERT, UPDATE",
            "archiver.finance_rules: SELECT, UPDATE (final_after)",
            "archiver.others_to_ask(text[]): EXECUTE",
            "archiver.projects: SELECT, INSERT, UPDATE",
            "archiver.recordings: SELECT, INSERT, UPDATE",
            "archiver.retirements: SELECT, INSERT (recording_id, retired_by, object_url, size_bytes, sha256, evidence, cost_usd), UPDATE (begun_at, ended_at, retired_by, outcome, reason, object_url, size_bytes, sha256, evidence, cost_usd)",
            "archiver.store_probes: SELECT, INSERT, UPDATE",
            "archiver.upload_parts: SELECT, INSERT, UPDATE, DELETE",
            "archiver.uploads: SELECT, INSERT, UPDATE, DELETE",
            "schema archiver: USAGE",
            "schema finance: USAGE",
        ]
    );
}
