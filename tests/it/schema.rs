//! The schema as others see it: comments, view columns, and rows that it refuses.

use sqlx::PgPool;

use crate::seed::{Seed, execute, migrated_database, refused};

#[tokio::test]
async fn every_schema_table_view_and_column_explains_itself() {
    let database = migrated_database().await;
    let silent: Vec<String> = sqlx::query_scalar(
        "SELECT nspname::text FROM pg_namespace
          WHERE nspname IN ('archiver', 'finance') AND obj_description(oid, 'pg_namespace') IS NULL
         UNION ALL
         SELECT c.oid::regclass::text FROM pg_class c
          WHERE relnamespace IN ('archiver'::regnamespace, 'finance'::regnamespace)
            AND relkind IN ('r', 'p', 'v', 'm') AND obj_description(c.oid, 'pg_class') IS NULL
         UNION ALL
         SELECT c.oid::regclass || '.' || attname FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid
          WHERE relnamespace IN ('archiver'::regnamespace, 'finance'::regnamespace)
            AND relkind IN ('r', 'p', 'v', 'm') AND attnum > 0 AND NOT attisdropped
            AND coalesce(col_description(c.oid, attnum), '') = ''",
    )
    .fetch_all(&database.pool())
    .await
    .unwrap();
    assert_eq!(silent, Vec::<String>::new());
}

async fn columns_of(pool: &PgPool, view: &str) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT column_name::text || ' ' || data_type::text FROM information_schema.columns
          WHERE table_schema = 'finance' AND table_name = $1 ORDER BY ordinal_position",
    )
    .bind(view)
    .fetch_all(pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn finance_views_keep_their_columns_order_and_types() {
    let database = migrated_database().await;
    let pool = database.pool();
    assert_eq!(
        columns_of(&pool, "recordings").await,
        [
            "recording_id uuid",
            "project_id text",
            "room_session_id uuid",
            "billing_month date",
            "started_at timestamp with time zone",
            "finished_at timestamp with time zone",
            "duration_secs bigint",
            "size_bytes bigint",
            "cost_usd numeric",
            "cost_state text",
            "cost_observed_at timestamp with time zone",
            "archive_state text",
            "archived_at timestamp with time zone",
            "object_url text",
        ]
    );
    assert_eq!(
        columns_of(&pool, "monthly_costs").await,
        [
            "billing_month date",
            "project_id text",
            "recordings bigint",
            "archived bigint",
            "duration_secs bigint",
            "size_bytes bigint",
            "cost_usd numeric",
            "provisional bigint",
            "missing_cost bigint",
        ]
    );
    assert_eq!(
        columns_of(&pool, "session_costs").await,
        [
            "room_session_id uuid",
            "project_id text",
            "billing_month date",
            "recordings bigint",
            "duration_secs bigint",
            "size_bytes bigint",
            "cost_usd numeric",
        ]
    );
    assert_eq!(
        columns_of(&pool, "cost_changes").await,
        [
            "recording_id uuid",
            "project_id text",
            "billing_month date",
            "observed_at timestamp with time zone",
            "previous_cost_usd numeric",
            "cost_usd numeric",
            "change_usd numeric",
            "after_month_end boolean",
        ]
    );
}

#[tokio::test]
async fn what_finance_asks_next_keeps_its_columns_order_and_types() {
    let database = migrated_database().await;
    let pool = database.pool();
    assert_eq!(
        columns_of(&pool, "unit_costs").await,
        [
            "billing_month date",
            "project_id text",
            "recordings bigint",
            "cost_usd numeric",
            "duration_secs bigint",
            "usd_per_hour numeric",
            "size_bytes bigint",
            "usd_per_gib numeric",
        ]
    );
    assert_eq!(
        columns_of(&pool, "monthly_changes").await,
        [
            "billing_month date",
            "project_id text",
            "previous_cost_usd numeric",
            "cost_usd numeric",
            "change_usd numeric",
            "change_percent numeric",
            "previous_recordings bigint",
            "recordings bigint",
        ]
    );
    assert_eq!(
        columns_of(&pool, "provisional_costs").await,
        [
            "billing_month date",
            "project_id text",
            "recordings bigint",
            "cost_usd numeric",
        ]
    );
    assert_eq!(
        columns_of(&pool, "not_archived").await,
        [
            "recording_id uuid",
            "project_id text",
            "billing_month date",
            "archive_state text",
            "error_kind text",
            "queued_at timestamp with time zone",
            "cost_usd numeric",
        ]
    );
}

#[tokio::test]
async fn an_id_alone_is_a_complete_enqueue_and_again_changes_nothing() {
    let database = migrated_database().await;
    let pool = database.pool();
    let enqueue = "INSERT INTO archiver.recordings (recording_id)
        VALUES ('c22d24f6-5a47-4597-9a23-c7d01e696b92') ON CONFLICT DO NOTHING";
    execute(&pool, enqueue).await;
    execute(&pool, enqueue).await;
    let due: Vec<(String, bool)> =
        sqlx::query_as("SELECT state, next_attempt_at <= now() FROM archiver.recordings")
            .fetch_all(&pool)
            .await
            .unwrap();
    assert_eq!(due, [("pending".to_owned(), true)]);
}

/// Starts from a sound row in `state` and applies one wrong assignment.
const WRONG_ROWS: &[(&str, &str, &str)] = &[
    ("pending", "state = 'done'", "state_is_known"),
    (
        "pending",
        "state = 'in_progress'",
        "lease_exactly_while_in_progress",
    ),
    (
        "pending",
        "lease_token = gen_random_uuid()",
        "lease_exactly_while_in_progress",
    ),
    (
        "pending",
        "lease_expires_at = now()",
        "lease_exactly_while_in_progress",
    ),
    (
        "pending",
        "leased_by = 'host'",
        "lease_exactly_while_in_progress",
    ),
    (
        "in_progress",
        "state = 'pending'",
        "lease_exactly_while_in_progress",
    ),
    (
        "in_progress",
        "lease_token = NULL",
        "lease_exactly_while_in_progress",
    ),
    (
        "in_progress",
        "lease_expires_at = NULL",
        "lease_exactly_while_in_progress",
    ),
    (
        "in_progress",
        "leased_by = NULL",
        "lease_exactly_while_in_progress",
    ),
    (
        "archived",
        "lease_token = gen_random_uuid(), lease_expires_at = now(), leased_by = 'host'",
        "lease_exactly_while_in_progress",
    ),
    (
        "pending",
        "finalized_at = now()",
        "finalized_exactly_when_terminal",
    ),
    (
        "in_progress",
        "finalized_at = now()",
        "finalized_exactly_when_terminal",
    ),
    (
        "archived",
        "finalized_at = NULL",
        "finalized_exactly_when_terminal",
    ),
    (
        "failed",
        "finalized_at = NULL",
        "finalized_exactly_when_terminal",
    ),
    (
        "failed",
        "state = 'pending'",
        "finalized_exactly_when_terminal",
    ),
    ("archived", "object_url = NULL", "archived_is_proven"),
    ("archived", "object_key = NULL", "archived_is_proven"),
    ("archived", "size_bytes = NULL", "archived_is_proven"),
    ("archived", "sha256 = NULL", "archived_is_proven"),
    ("archived", "crc64nvme = NULL", "archived_is_proven"),
    ("archived", "evidence = NULL", "archived_is_proven"),
    ("archived", "archived_at = NULL", "archived_is_proven"),
    ("failed", "state = 'archived'", "archived_is_proven"),
    ("failed", "error_kind = NULL", "failed_has_a_reason"),
    ("failed", "error_message = NULL", "failed_has_a_reason"),
    ("archived", "state = 'failed'", "failed_has_a_reason"),
    ("archived", "evidence = 'size'", "evidence_is_known"),
    ("archived", "sha256 = '\\x00'", "sha256_is_32_bytes"),
    ("pending", "attempts = -1", "amounts_are_not_negative"),
    ("archived", "size_bytes = -1", "amounts_are_not_negative"),
    (
        "pending",
        "declared_size_bytes = -1",
        "amounts_are_not_negative",
    ),
    ("pending", "duration_secs = -1", "amounts_are_not_negative"),
];

#[tokio::test]
async fn rows_outside_the_state_machine_are_refused() {
    let database = migrated_database().await;
    let pool = database.pool();
    for number in 1..=3 {
        Seed {
            number,
            ..Seed::default()
        }
        .insert(&pool)
        .await;
    }
    Seed {
        number: 4,
        archived: true,
        ..Seed::default()
    }
    .insert(&pool)
    .await;
    // The sound ways into the other states are open.
    execute(
        &pool,
        "UPDATE archiver.recordings SET state = 'in_progress', lease_token = gen_random_uuid(),
                lease_expires_at = now() + interval '2 min', leased_by = 'host'
          WHERE recording_id = '00000000-0000-0000-0000-000000000002';
         UPDATE archiver.recordings SET state = 'failed', error_kind = 'not_found',
                error_message = 'gone', finalized_at = now()
          WHERE recording_id = '00000000-0000-0000-0000-000000000003'",
    )
    .await;
    for (state, assignment, constraint) in WRONG_ROWS {
        let statement =
            format!("UPDATE archiver.recordings SET {assignment} WHERE state = '{state}'");
        let error = refused(&pool, &statement).await;
        let violated = error
            .as_database_error()
            .and_then(|error| error.constraint());
        assert_eq!(
            violated,
            Some(*constraint),
            "{state}: {assignment}: {error}"
        );
    }
}

#[tokio::test]
async fn wrong_attempts_and_observations_are_refused() {
    let database = migrated_database().await;
    let pool = database.pool();
    Seed {
        number: 1,
        ..Seed::default()
    }
    .insert(&pool)
    .await;
    let attempt = |columns: &str, values: &str| {
        format!(
            "INSERT INTO archiver.attempts (recording_id, attempt, leased_by, lease_token, {columns})
             VALUES ('00000000-0000-0000-0000-000000000001', 1, 'host', gen_random_uuid(), {values})"
        )
    };
    execute(&pool, &attempt("outcome, finished_at", "'archived', now()")).await;
    for (statement, constraint) in [
        (
            attempt("outcome, finished_at", "'won', now()"),
            "outcome_is_known",
        ),
        (
            attempt("outcome", "'archived'"),
            "finished_exactly_with_an_outcome",
        ),
        (
            attempt("finished_at", "now()"),
            "finished_exactly_with_an_outcome",
        ),
        (
            "INSERT INTO archiver.cost_observations (recording_id, cost_usd, observed_by)
             VALUES ('00000000-0000-0000-0000-000000000001', 1, 'guess')"
                .to_owned(),
            "observed_by_is_known",
        ),
    ] {
        let error = refused(&pool, &statement).await;
        let violated = error
            .as_database_error()
            .and_then(|error| error.constraint());
        assert_eq!(violated, Some(constraint), "{error}");
    }
}

#[tokio::test]
async fn the_ledger_takes_rows_and_refuses_every_change() {
    let database = migrated_database().await;
    let pool = database.pool();
    Seed {
        number: 1,
        ..Seed::default()
    }
    .insert(&pool)
    .await;
    execute(
        &pool,
        "INSERT INTO archiver.cost_observations (recording_id, cost_usd, observed_by)
         SELECT recording_id, 0.05, 'archive' FROM archiver.recordings",
    )
    .await;
    for statement in [
        "UPDATE archiver.cost_observations SET cost_usd = 0",
        "DELETE FROM archiver.cost_observations",
        "TRUNCATE archiver.cost_observations",
        "TRUNCATE archiver.recordings CASCADE",
    ] {
        let error = refused(&pool, statement).await.to_string();
        assert!(error.contains("append-only"), "{statement}: {error}");
    }
    let kept: String =
        sqlx::query_scalar("SELECT sum(cost_usd)::text FROM archiver.cost_observations")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(kept, "0.05");
}
