//! Each statement of the README runs, finds what there is, and has the columns that it is shown with.

use recording_archiver::database::{Access, grant};
use sqlx::{AssertSqlSafe, Column, PgPool, Row};
use uuid::Uuid;

use super::markdown::{blocks, fences};
use crate::harness::postgres::database;
use crate::seed::{Seed, execute};

fn statements(block: &str) -> Vec<String> {
    let statements = block.split(';').map(str::trim);
    statements
        .filter(|statement| !statement.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The columns of each table that psql printed.
fn headings(output: &str) -> Vec<Vec<String>> {
    let lines: Vec<&str> = output.lines().collect();
    lines
        .windows(2)
        .filter(|pair| pair[1].starts_with("--") && pair[1].trim_matches(['-', '+']).is_empty())
        .map(|pair| {
            pair[0]
                .split('|')
                .map(|name| name.trim().to_owned())
                .collect()
        })
        .collect()
}

async fn rows_of_each_kind(pool: &PgPool) {
    let archived = Seed {
        number: 1,
        archived: true,
        session: Some(7),
        status: Some("completed"),
        started_at: Some("2026-10-15T09:30:00Z"),
        duration_secs: Some(120),
        size_bytes: Some(1 << 20),
        cost_usd: Some("0.06"),
        ..Seed::default()
    };
    archived.insert(pool).await;
    let waiting = Seed {
        number: 2,
        ..Seed::default()
    };
    waiting.insert(pool).await;
    execute(
        pool,
        &format!(
            "INSERT INTO archiver.cost_observations
                 (recording_id, observed_at, cost_usd, observed_by)
             VALUES ('{id}', '2026-10-16', 0.05, 'archive'), ('{id}', '2026-11-02', 0.06, 'reprice')",
            id = archived.id()
        ),
    )
    .await;
}

#[tokio::test]
async fn every_query_finds_rows_in_the_columns_shown() {
    let database = database().await;
    let pool = database.pool();
    recording_archiver::database::migrate(&pool).await.unwrap();
    rows_of_each_kind(&pool).await;

    let fences = fences();
    let mut queries = 0;
    for (place, (_, block)) in fences
        .iter()
        .enumerate()
        .filter(|(_, (of, _))| *of == "sql")
    {
        let mut columns = Vec::new();
        for statement in statements(block) {
            if !statement.starts_with("SELECT") {
                continue;
            }
            let rows = sqlx::query(AssertSqlSafe(statement.clone()))
                .fetch_all(&pool)
                .await
                .unwrap_or_else(|error| panic!("{statement}: {error}"));
            let first = rows
                .first()
                .unwrap_or_else(|| panic!("nothing: {statement}"));
            let names = first
                .columns()
                .iter()
                .map(|column| column.name().to_owned());
            columns.push(names.collect::<Vec<_>>());
            queries += 1;
        }
        if let Some(("text", output)) = fences.get(place + 1) {
            assert_eq!(headings(output), columns, "{block}");
        }
    }
    assert!(queries >= 10, "only {queries} queries");
}

#[tokio::test]
async fn the_insert_is_a_complete_enqueue_and_the_role_can_be_granted() {
    let database = database().await;
    let pool = database.pool();
    recording_archiver::database::migrate(&pool).await.unwrap();
    // Roles belong to the whole server, which other tests use too.
    let role = format!("finance_reader_{}", Uuid::new_v4().simple());
    let mut others = Vec::new();
    for block in blocks("sql") {
        let all = statements(block).into_iter();
        others.extend(all.filter(|statement| !statement.starts_with("SELECT")));
    }
    assert_eq!(others.len(), 4, "{others:?}");
    for statement in &others {
        execute(&pool, &statement.replace("finance_reader", &role)).await;
        if statement.starts_with("INSERT") {
            execute(&pool, statement).await;
        }
    }
    let queued: Vec<(String, bool)> =
        sqlx::query_as("SELECT state, next_attempt_at <= now() FROM archiver.recordings")
            .fetch_all(&pool)
            .await
            .unwrap();
    assert_eq!(queued, [("pending".to_owned(), true)]);
    grant(&pool, Access::Finance, &role).await.unwrap();
    execute(&pool, &format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}
