//! The sums that are kept instead of counted: the same as the rows, whoever writes them, and
//! reading them reads no row that is not asked for.

use std::fs;
use std::path::Path;
use std::time::Duration;

use recording_archiver::cli::report::CostsOutput;
use recording_archiver::finance::report::Grouping;
use recording_archiver::queue::{self, overview};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use uuid::Uuid;

use super::{report, report_between};
use crate::harness::postgres::database;
use crate::seed::{execute, migrated_database};

/// Each figure that is kept, and the plain question to all rows that it must be the answer to.
const PLAIN: &[(&str, &str)] = &[
    (
        "SELECT * FROM finance.provisional_costs",
        "SELECT billing_month, project_id, count(*), sum(cost_usd)
           FROM finance.recordings WHERE cost_state = 'provisional'
          GROUP BY billing_month, project_id",
    ),
    (
        "SELECT * FROM finance.monthly_costs",
        "SELECT billing_month, project_id, count(*),
                count(*) FILTER (WHERE archive_state = 'archived'),
                sum(duration_secs)::bigint, sum(size_bytes)::bigint, sum(cost_usd),
                count(*) FILTER (WHERE cost_state = 'provisional'),
                count(*) FILTER (WHERE cost_state = 'missing')
           FROM finance.recordings GROUP BY billing_month, project_id",
    ),
    (
        "SELECT * FROM finance.unit_costs",
        "SELECT billing_month, project_id, count(*), sum(cost_usd), sum(duration_secs)::bigint,
                round(sum(cost_usd) FILTER (WHERE duration_secs > 0) * 3600
                      / nullif(sum(duration_secs), 0), 9),
                sum(size_bytes)::bigint,
                round(sum(cost_usd) FILTER (WHERE size_bytes > 0) * 1073741824
                      / nullif(sum(size_bytes), 0), 9)
           FROM finance.recordings WHERE cost_usd IS NOT NULL GROUP BY billing_month, project_id",
    ),
    (
        "SELECT * FROM finance.not_archived",
        "SELECT recording_id, project_id, billing_month, state, error_kind, enqueued_at, cost_usd
           FROM archiver.recordings WHERE state <> 'archived'",
    ),
    (
        "SELECT * FROM archiver.coverage('9 days 7 hours')",
        // A reading in the future counts as none.
        "SELECT count(*), coalesce(sum(size_bytes), 0),
                count(*) FILTER (WHERE read_at > now() - interval '9 days 7 hours'),
                coalesce(sum(size_bytes)
                         FILTER (WHERE read_at > now() - interval '9 days 7 hours'), 0),
                count(*) FILTER (WHERE error_kind IS NOT NULL),
                min(coalesce(read_at, archived_at))
           FROM archiver.recordings,
                LATERAL (SELECT CASE WHEN verified_at <= now() THEN verified_at END AS read_at) r
          WHERE state = 'archived'",
    ),
];

/// Spelled out, so that `0.10` is not `0.1`; kept and counted in one statement, so that both are
/// of one moment.
async fn demand_plain_answers(pool: &PgPool) {
    for (kept, plain) in PLAIN {
        let differences = format!(
            "WITH kept AS (SELECT row(k.*)::text AS line FROM ({kept}) k),
                  plain AS (SELECT row(p.*)::text AS line FROM ({plain}) p)
             (SELECT 'kept ' || line FROM (TABLE kept EXCEPT ALL TABLE plain) a)
             UNION ALL
             (SELECT 'plain ' || line FROM (TABLE plain EXCEPT ALL TABLE kept) b)"
        );
        let differences: Vec<String> = sqlx::query_scalar(AssertSqlSafe(differences))
            .fetch_all(pool)
            .await
            .unwrap();
        assert_eq!(differences, Vec::<String>::new(), "{kept}");
    }
    let wrong = "SELECT total || ' ' || side || ' ' || figures FROM archiver.wrong_totals()";
    let wrong: Vec<String> = sqlx::query_scalar(wrong).fetch_all(pool).await.unwrap();
    assert_eq!(wrong, Vec::<String>::new());
}

/// What may happen to recordings, each to many of them at once; `random()` chooses. Locked in one
/// order, so that connections wait for each other instead of embracing.
const CHANGES: &[&str] = &[
    "INSERT INTO archiver.recordings (recording_id)
     SELECT gen_random_uuid() FROM generate_series(1, 1 + (random() * 20)::int)",
    "INSERT INTO archiver.recordings (recording_id, started_at, duration_secs, cost_usd, project_id)
     SELECT gen_random_uuid(), timestamptz '2026-01-31T23:00Z' + n * interval '20 min', n, n / 7.0, 'c'
       FROM generate_series(1, (random() * 12)::int) n",
    "UPDATE archiver.recordings SET
            started_at = CASE WHEN random() < 0.9
                              THEN timestamptz '2026-01-01Z' + random() * interval '100 days' END,
            project_id = (ARRAY['a', 'b', '', NULL])[1 + (random() * 3)::int],
            duration_secs = CASE WHEN random() < 0.8 THEN (random() * 5)::int END
      WHERE recording_id IN (SELECT some_of(0.2))",
    "UPDATE archiver.recordings SET
            cost_usd = CASE WHEN random() < 0.9
                            THEN round((random() * 3)::numeric, (random() * 12)::int) END,
            recording_status = (ARRAY['completed', 'processing', NULL])[1 + (random() * 2)::int],
            cost_changed_at = now() - random() * interval '20 days', cost_observed_at = now()
      WHERE recording_id IN (SELECT some_of(0.3))",
    // The same amount with other digits.
    "UPDATE archiver.recordings SET cost_usd = trim_scale(cost_usd)
      WHERE recording_id IN (SELECT some_of(0.1))",
    "UPDATE archiver.recordings SET cost_usd = round(cost_usd, 14)
      WHERE recording_id IN (SELECT some_of(0.02))",
    "UPDATE archiver.recordings SET source_deleted_at = CASE WHEN random() < 0.5 THEN now() END
      WHERE recording_id IN (SELECT some_of(0.1))",
    "UPDATE archiver.recordings SET cost_observed_at = cost_observed_at + interval '5 days'
      WHERE recording_id IN (SELECT some_of(0.2))",
    "UPDATE archiver.recordings SET
            state = 'archived', object_url = 'file:///a', object_key = 'a',
            size_bytes = (random() * 3)::int, sha256 = sha256(''), crc64nvme = '',
            evidence = 'parts', archived_at = now() - random() * interval '30 days',
            finalized_at = now(), error_kind = NULL, lease_token = NULL, lease_expires_at = NULL,
            leased_by = NULL
      WHERE recording_id IN (SELECT some_of(0.2))",
    "UPDATE archiver.recordings SET
            state = 'failed', error_kind = 'not_found', error_message = 'gone', finalized_at = now(),
            lease_token = NULL, lease_expires_at = NULL, leased_by = NULL
      WHERE recording_id IN (SELECT some_of(0.1))",
    // By hand, in a way that the program has not.
    "UPDATE archiver.recordings SET
            state = 'failed', error_kind = 'not_found', error_message = 'gone'
      WHERE state = 'archived' AND recording_id IN (SELECT some_of(0.1))",
    "UPDATE archiver.recordings SET
            state = 'in_progress', lease_token = gen_random_uuid(), lease_expires_at = now(),
            leased_by = 'host', finalized_at = NULL
      WHERE recording_id IN (SELECT some_of(0.1))",
    "UPDATE archiver.recordings SET
            verified_at = now() - random() * interval '20 days',
            error_kind = CASE WHEN random() < 0.1 THEN 'object_missing' END
      WHERE state = 'archived' AND recording_id IN (SELECT some_of(0.3))",
    "DELETE FROM archiver.recordings WHERE recording_id IN (SELECT some_of(0.03))",
    "UPDATE archiver.finance_rules SET final_after = random() * interval '20 days'",
];

const SOME_OF: &str = "CREATE FUNCTION some_of(share float8) RETURNS SETOF uuid
    LANGUAGE plpgsql AS $$
    BEGIN
        RETURN QUERY SELECT recording_id FROM archiver.recordings
            WHERE random() < share * 500 / greatest((SELECT count(*) FROM archiver.recordings), 500)
            ORDER BY recording_id FOR UPDATE;
    END $$";

#[tokio::test]
async fn whatever_several_writers_do_at_once_the_sums_are_those_of_the_rows() {
    let database = migrated_database().await;
    let pool = database.pool();
    execute(&pool, SOME_OF).await;
    // Folded often, so that writers meet at it.
    execute(
        &pool,
        "CREATE OR REPLACE FUNCTION archiver.is_time_to_fold(last_total_id bigint, written bigint)
         RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT last_total_id % 20 < written'",
    )
    .await;
    let writers = (0..4).map(|_| {
        let options = database.options();
        tokio::spawn(async move {
            let mut connection = PgConnection::connect_with(&options).await.unwrap();
            for _ in 0..25 {
                if rand::random_range(0..20) == 0 {
                    // Dies in the middle, whatever it has written.
                    let mut dying = PgConnection::connect_with(&options).await.unwrap();
                    let mut lost = dying.begin().await.unwrap();
                    change(&mut lost).await.ok();
                    drop(lost);
                    dying.close_hard().await.unwrap();
                }
                let mut transaction = connection.begin().await.unwrap();
                let mut done = Ok(());
                for _ in 0..rand::random_range(1..4) {
                    done = done.and(change(&mut transaction).await);
                }
                match done {
                    Ok(()) if rand::random_range(0..5) > 0 => transaction.commit().await.unwrap(),
                    Ok(()) => transaction.rollback().await.unwrap(),
                    // Of two that want each other's rows, Postgres ends one.
                    Err(error) if code(&error).as_deref() == Some("40P01") => {
                        transaction.rollback().await.unwrap();
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        })
    });
    // Whoever looks in between sees rows and sums of one moment.
    let writers: Vec<_> = writers.collect();
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        demand_plain_answers(&pool).await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    demand_plain_answers(&pool).await;
    let (written, kept): (i64, i64) =
        sqlx::query_as("SELECT max(total_id), count(*) FROM archiver.cost_totals")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert!(kept < written / 2, "{kept} of {written}: they were folded");
    execute(&pool, "SELECT archiver.recount()").await;
    demand_plain_answers(&pool).await;
}

async fn change(connection: &mut PgConnection) -> sqlx::Result<()> {
    // A new rule is as rare as it is dear.
    let kinds = CHANGES.len() - usize::from(rand::random_range(0..10) > 0);
    let statement = CHANGES[rand::random_range(0..kinds)];
    sqlx::raw_sql(statement).execute(connection).await.map(drop)
}

fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

#[tokio::test]
async fn what_was_there_before_the_sums_is_counted() {
    let database = database().await;
    let pool = database.pool();
    let mut migrations: Vec<_> =
        fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|kind| kind == "sql"))
            .collect();
    migrations.sort();
    let (before, since): (Vec<_>, Vec<_>) = migrations
        .iter()
        .partition(|path| path.file_name().unwrap() < "0009_rollup.sql");
    for path in before {
        execute(&pool, &fs::read_to_string(path).unwrap()).await;
    }
    execute(&pool, SOME_OF).await;
    for statement in CHANGES.iter().cycle().take(3 * CHANGES.len()) {
        execute(&pool, statement).await;
    }
    for path in since {
        execute(&pool, &fs::read_to_string(path).unwrap()).await;
    }
    demand_plain_answers(&pool).await;
}

#[tokio::test]
async fn a_role_that_may_only_insert_is_counted_too() {
    let database = migrated_database().await;
    let pool = database.pool();
    let role = format!("enqueuer_{}", Uuid::new_v4().simple());
    execute(
        &pool,
        &format!(
            "CREATE ROLE {role}; GRANT USAGE ON SCHEMA archiver TO {role};
             GRANT INSERT ON archiver.recordings TO {role}"
        ),
    )
    .await;
    // An operator of its own in the way of ours, which run with their owner's rights.
    execute(
        &pool,
        &format!(
            "CREATE SCHEMA {role} AUTHORIZATION {role};
             SET ROLE {role}; SET search_path = {role}, pg_catalog;
             CREATE FUNCTION {role}.sum(bigint) RETURNS bigint LANGUAGE sql AS 'SELECT 7::bigint';
             INSERT INTO archiver.recordings (recording_id)
             VALUES ('c22d24f6-5a47-4597-9a23-c7d01e696b92');
             RESET ROLE; RESET search_path;
             DROP OWNED BY {role}; DROP ROLE {role}"
        ),
    )
    .await;
    let csv = report(&pool, Grouping::Month, CostsOutput::Csv).await;
    assert!(csv.ends_with("\r\n,,1,0,,,,0,1\r\n"), "{csv}");
    demand_plain_answers(&pool).await;
}

#[tokio::test]
async fn a_claim_and_a_wait_write_no_sum_and_a_settled_recording_does() {
    let database = migrated_database().await;
    let pool = database.pool();
    let written = || async {
        sqlx::query_scalar::<_, i64>("SELECT coalesce(max(total_id), 0) FROM archiver.cost_totals")
            .fetch_one(&pool)
            .await
            .unwrap()
    };
    execute(
        &pool,
        "INSERT INTO archiver.recordings (recording_id) SELECT gen_random_uuid()
           FROM generate_series(1, 100)",
    )
    .await;
    assert_eq!(written().await, 1, "one row for all of one statement");
    let lease = Duration::from_mins(2);
    let queue = queue::Queue::new(pool.clone(), "p".to_owned(), "host".to_owned(), lease);
    let due = queue
        .claim_due(&mut queue::Cursor::default(), 100)
        .await
        .unwrap();
    assert_eq!(due.claims.len(), 100);
    execute(
        &pool,
        "UPDATE archiver.recordings SET state = 'pending', next_attempt_at = now() + interval '1 h',
                error_kind = 'stalled', lease_token = NULL, lease_expires_at = NULL, leased_by = NULL",
    )
    .await;
    assert_eq!(written().await, 1);
    execute(
        &pool,
        "UPDATE archiver.recordings SET duration_secs = 60
          WHERE recording_id = (SELECT recording_id FROM archiver.recordings LIMIT 1)",
    )
    .await;
    assert_eq!(written().await, 2);
}

#[tokio::test]
async fn whoever_folds_holds_up_nobody_and_loses_nothing() {
    let database = migrated_database().await;
    let pool = database.pool();
    let singles = "DO $$ BEGIN FOR n IN 1..5000 LOOP
            INSERT INTO archiver.recordings (recording_id) VALUES (gen_random_uuid());
        END LOOP; END $$";
    let mut other = PgConnection::connect_with(&database.options())
        .await
        .unwrap();
    let mut folding = other.begin().await.unwrap();
    sqlx::raw_sql(singles).execute(&mut *folding).await.unwrap();
    let mut writer = pool.acquire().await.unwrap();
    for statement in ["SET lock_timeout = '5s'", singles] {
        sqlx::raw_sql(statement)
            .execute(&mut *writer)
            .await
            .unwrap();
    }
    demand_plain_answers(&pool).await;
    folding.commit().await.unwrap();
    demand_plain_answers(&pool).await;
    sqlx::raw_sql(singles).execute(&mut *writer).await.unwrap();
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM archiver.cost_totals")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert!(kept <= 4000, "{kept} rows of 15,000");
    demand_plain_answers(&pool).await;
}

#[tokio::test]
async fn statements_that_write_several_rows_are_folded_too() {
    let database = migrated_database().await;
    let pool = database.pool();
    for (table, statement) in [
        // Two rows a change: what was, and what is.
        (
            "cost_totals",
            "INSERT INTO archiver.recordings (recording_id, cost_usd) VALUES (gen_random_uuid(), 1);
             DO $$ BEGIN FOR n IN 1..4500 LOOP
                 UPDATE archiver.recordings SET cost_usd = n;
             END LOOP; END $$",
        ),
        // A row a project.
        (
            "cost_totals",
            "DO $$ BEGIN FOR n IN 1..180 LOOP
                 INSERT INTO archiver.recordings (recording_id, project_id)
                 SELECT gen_random_uuid(), p FROM generate_series(1, 50) p;
             END LOOP; END $$",
        ),
        (
            "read_totals",
            "INSERT INTO archiver.recordings
                    (recording_id, state, object_url, object_key, size_bytes, sha256, crc64nvme,
                     evidence, archived_at, finalized_at, verified_at)
             VALUES ('c22d24f6-5a47-4597-9a23-c7d01e696b92', 'archived', 'file:///a', 'a', 1,
                     sha256(''), '', 'parts', now(), now(), now());
             DO $$ BEGIN FOR n IN 1..4500 LOOP
                 UPDATE archiver.recordings SET verified_at = verified_at + interval '1 min'
                  WHERE recording_id = 'c22d24f6-5a47-4597-9a23-c7d01e696b92';
             END LOOP; END $$",
        ),
    ] {
        execute(&pool, statement).await;
        let kept = format!("SELECT count(*) FROM archiver.{table}");
        let kept: i64 = sqlx::query_scalar(AssertSqlSafe(kept))
            .fetch_one(&pool)
            .await
            .unwrap();
        assert!(
            kept <= 4000 + 50,
            "{kept} rows of 9,000 after {statement}"
        );
    }
    demand_plain_answers(&pool).await;
}

#[tokio::test]
async fn reports_and_figures_read_no_month_that_is_not_asked_for() {
    let database = migrated_database().await;
    // Statistics are a connection's own until it tells them: here there is only one.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect_with(database.options())
        .await
        .unwrap();
    execute(
        &pool,
        "INSERT INTO archiver.recordings
             (recording_id, state, project_id, room_session_id, started_at, duration_secs, cost_usd,
              object_url, object_key, size_bytes, sha256, crc64nvme, evidence, archived_at,
              verified_at, finalized_at)
         SELECT gen_random_uuid(), 'archived', 'project', gen_random_uuid(),
                timestamptz '2024-01-01Z' + n * interval '1 hour', 60, 0.05, 'file:///a', 'a', 1,
                sha256(''), '', 'parts', now() - n * interval '3 hours',
                now() - n * interval '1 hour', now()
           FROM generate_series(0, 17543) n;
         INSERT INTO archiver.recordings (recording_id, error_kind, enqueued_at)
         SELECT gen_random_uuid(), 'stalled', now() - interval '2 days'
           FROM generate_series(1, 100)",
    )
    .await;
    execute(&pool, "VACUUM ANALYZE archiver.recordings").await;
    let (month, within) = (Some("2025-03"), Duration::from_hours(90 * 24));
    let scanned = || async {
        execute(&pool, "SELECT pg_stat_force_next_flush()").await;
        let read: (i64, i64) = sqlx::query_as(
            "SELECT t.seq_scan, i.idx_tup_read
               FROM pg_stat_user_tables t, pg_stat_user_indexes i
              WHERE t.relid = 'archiver.recordings'::regclass
                AND i.indexrelname = 'recordings_by_month'",
        )
        .fetch_one(&pool)
        .await
        .unwrap();
        read
    };
    let before = scanned().await;
    for by in [
        Grouping::Month,
        Grouping::Project,
        Grouping::Session,
        Grouping::Recording,
    ] {
        for output in [CostsOutput::Table, CostsOutput::Csv] {
            report_between(&pool, by, output, month, month)
                .await
                .unwrap();
        }
    }
    report(&pool, Grouping::Month, CostsOutput::Table).await;
    report(&pool, Grouping::Project, CostsOutput::Table).await;
    let overview = overview::overview(&pool, within).await.unwrap();
    assert_eq!(
        (overview.states.archived, overview.states.pending),
        (17_544, 100)
    );
    assert_eq!(overview.coverage.read_again, 90 * 24);
    queue::depth(&pool).await.unwrap();
    for query in [
        "SELECT * FROM finance.unit_costs",
        "SELECT * FROM finance.monthly_changes",
        "SELECT * FROM finance.not_archived",
        "SELECT * FROM finance.session_costs WHERE billing_month = '2025-03-01'",
        "SELECT * FROM finance.recordings WHERE billing_month = '2025-03-01'",
        "SELECT * FROM archiver.coverage('90 days')",
    ] {
        execute(&pool, query).await;
    }
    let after = scanned().await;
    assert_eq!(after.0 - before.0, 0, "scans of all recordings");
    // Sessions as table and CSV with their remarks, recordings as both, and two queries.
    let (read, in_month) = (after.1 - before.1, 31 * 24);
    assert_eq!(read, 7 * in_month, "entries of the index by month");
}
