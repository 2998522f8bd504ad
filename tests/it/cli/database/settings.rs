//! Defaults of the database that the program's sessions must not depend on.

use crate::cli::{id, id_flags, offer, texts};
use crate::harness::binary::Binary;
use crate::harness::postgres::{TestDatabase, database};
use crate::harness::world::World;
use crate::seed::execute;

/// Each may be set for a database by its owner. Some exist in newer versions of Postgres only.
const HOSTILE: [(&str, &str); 22] = [
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_deferrable", "on"),
    ("DateStyle", "SQL, DMY"),
    ("IntervalStyle", "sql_standard"),
    ("TimeZone", "America/St_Johns"),
    ("client_encoding", "LATIN1"),
    ("search_path", "elsewhere, pg_catalog"),
    ("standard_conforming_strings", "off"),
    ("row_security", "off"),
    ("client_min_messages", "debug1"),
    ("bytea_output", "escape"),
    ("extra_float_digits", "-15"),
    ("array_nulls", "off"),
    ("transform_null_equals", "on"),
    ("quote_all_identifiers", "on"),
    ("exit_on_error", "on"),
    ("synchronous_commit", "off"),
    ("enable_indexscan", "off"),
    ("statement_timeout", "1s"),
    ("idle_in_transaction_session_timeout", "1s"),
    ("idle_session_timeout", "200ms"),
    ("transaction_timeout", "1s"),
];

async fn make_hostile(database: &TestDatabase) {
    for (name, value) in HOSTILE {
        execute(
            &database.pool(),
            &format!(
                "DO $$ BEGIN IF current_setting('{name}', true) IS NOT NULL THEN
                   EXECUTE format('ALTER DATABASE %I SET {name} = ''{value}''', current_database());
                 END IF; END $$"
            ),
        )
        .await;
    }
    // Found first by every session that has the database's search_path.
    execute(
        &database.pool(),
        "CREATE SCHEMA elsewhere;
         CREATE FUNCTION elsewhere.now() RETURNS timestamptz LANGUAGE sql
             AS $$ SELECT timestamptz '1999-01-01 00:00:00+00' $$",
    )
    .await;
}

/// Archives twenty recordings from nothing, and returns what the commands print.
async fn archive_and_report(database: &TestDatabase) -> Vec<String> {
    let world = World::local().await;
    let ids = offer(&world, 0..20, 1000);
    let binary = Binary::of(&world).with("DATABASE_URL", database.url());
    binary.run(&["migrate"]).await.demand_code(0);
    let ids = texts(&ids);
    let mut archive = vec!["archive", "--output", "jsonl"];
    archive.extend(id_flags(&ids));
    let archived = binary.run(&archive).await.demand_code(0);
    let mut outcomes: Vec<String> = archived
        .json_lines()
        .iter()
        .map(|line| {
            ["recording_id", "outcome", "sha256", "cost_usd", "evidence"]
                .map(|name| line[name].to_string())
                .join(" ")
        })
        .collect();
    outcomes.sort();
    for command in [
        &["report", "costs", "--output", "json"][..],
        &["report", "costs", "--by", "session", "--output", "csv"],
        &["report", "focus"],
        &["reconcile", "--output", "csv"],
    ] {
        let ended = binary.run(command).await.demand_code(0);
        outcomes.extend([ended.stdout, ended.stderr]);
    }
    binary.run(&["doctor"]).await.demand_code(0);
    let again = "SELECT count(*) FROM archiver.attempts WHERE attempt > 1 OR outcome <> 'archived'";
    let again: i64 = sqlx::query_scalar(again)
        .fetch_one(&database.pool())
        .await
        .unwrap();
    assert_eq!(again, 0, "each is archived by its first attempt");
    outcomes
}

#[tokio::test]
async fn hostile_defaults_of_a_database_change_no_outcome_and_no_report() {
    let (plain, hostile) = (database().await, database().await);
    make_hostile(&hostile).await;
    let expected = archive_and_report(&plain).await;
    let found = archive_and_report(&hostile).await;
    assert_eq!(found, expected);
    assert_eq!(id(0).to_string(), expected[0][1..37]);
}
